"""One URL's limit and rests, over given times: no clock, no sockets."""

import heapq
import random

from alignpro.remote.pool import Host, Policy

POLICY = Policy(first_concurrency=8, most_concurrency=32)


def host() -> Host:
    random.seed(0)  # rests have jitter
    return Host("http://a/v1", POLICY, float(POLICY.first_concurrency))


def drive(url: Host, answers: int, now: float, capacity: int) -> tuple[float, list[int], int]:
    """Ask for so many answers of a server that takes a second for each and turns away whatever is beyond its capacity.

    The time at the end, how many were under way as each was sent, and how many were turned away.
    """
    under_way: list[tuple[float, int, float, bool]] = []
    sent: list[int] = []
    done = refused = 0
    while done < answers:
        while done + len(under_way) < answers and url.room(now):
            url.under_way += 1
            sent.append(url.under_way)
            good = sum(fine for *_, fine in under_way) < capacity
            heapq.heappush(under_way, (now + (1.0 if good else 0.01), len(sent), now, good))
        if not under_way:
            now = url.rest_until
            continue
        now, _, started, good = heapq.heappop(under_way)
        if good:
            url.succeeded()
            done += 1
        else:
            url.throttled(now, started, 0.01)
            refused += 1
        url.under_way -= 1
    return now, sent, refused


def test_the_limit_grows_falls_on_429_alone_and_recovers():
    url = host()
    now, sent, refused = drive(url, 300, 0.0, capacity=1000)
    assert url.limit == POLICY.most_concurrency == max(sent) and refused == 0
    now, sent, refused = drive(url, 300, now, capacity=4)
    settled = sent[len(sent) // 2 :]
    assert sum(settled) / len(settled) < 6 and url.limit < 8
    assert refused < 100  # most requests are not spent on being turned away
    _, sent, refused = drive(url, 400, now, capacity=1000)
    assert url.limit > 12 and refused == 0


def test_a_round_of_429_halves_the_limit_once():
    url = host()
    url.under_way = 8
    for moment in (1.0, 1.1, 1.2):
        url.throttled(moment, started=0.5, retry_after=None)
    assert url.limit == 4 and url.cuts == 1
    url.throttled(9.0, started=8.0, retry_after=None)
    assert url.limit == 2 and url.cuts == 2


def test_the_whole_url_pauses_for_as_long_as_it_asks():
    url = host()
    url.throttled(10.0, started=9.0, retry_after=4.0)
    assert url.room(13.99) == 0 and url.room(15.01) == 4


def test_three_faults_in_a_row_rest_a_url_and_one_request_alone_tries_it_out():
    url = host()
    for moment in (1.0, 2.0):
        url.failed(moment, "server error 500", None, rest=True)
        assert url.room(moment) == 8
    url.failed(3.0, "server error 500", None, rest=True)
    assert url.room(3.0) == 0
    rested = url.rest_until
    assert url.room(rested) == 1
    url.failed(rested, "server error 500", None, rest=True)
    assert url.rest_until - rested > 0.5 * POLICY.first_wait  # each rest is longer, by twice less the jitter
    url.succeeded()
    assert url.room(url.rest_until) >= 8


def test_faults_that_are_the_requests_own_rest_nothing():
    url = host()
    for moment in range(20):
        url.failed(float(moment), "server error 500", None, rest=False)
    assert url.room(20.0) == 8 and url.limit == 8


def test_down_is_after_the_patience_and_not_while_something_may_still_be_answered():
    url = host()
    url.failed(5.0, "cannot be reached", None, rest=True)
    assert not url.down(5.0 + POLICY.patience) and url.down(5.1 + POLICY.patience)
    url.under_way = 1
    assert not url.down(5.1 + POLICY.patience) and url.down(5.1 + POLICY.patience + POLICY.timeout)
    url.succeeded()
    assert not url.down(1e9)
