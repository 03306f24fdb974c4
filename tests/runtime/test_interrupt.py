"""Children of a run take signals as they would without it; the run itself goes on being asked."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import pytest

from alignpro.runtime.interrupt import StopRequest

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded"),
]
FORK = multiprocessing.get_context("fork") if hasattr(os, "fork") else None


def forever():
    time.sleep(60)


def ended(number, wait=0.0):
    """The exit code of a forked child that a signal was sent to."""
    process = FORK.Process(target=forever)
    process.start()
    time.sleep(wait)
    os.kill(process.pid, number)
    process.join(5)
    code = process.exitcode
    process.kill()
    process.join()
    return code


@pytest.fixture
def asked():
    """Two requests, one within the other, as a study and its run have them."""
    with StopRequest("outer"), StopRequest("inner") as stop:
        yield stop


@pytest.mark.usefixtures("asked")
def test_a_forked_child_ends_by_sigterm_even_one_sent_at_once():
    assert {ended(signal.SIGTERM) for _ in range(20)} == {-signal.SIGTERM}
    codes = []
    thread = threading.Thread(target=lambda: codes.append(ended(signal.SIGTERM)))
    thread.start()
    thread.join()
    assert codes == [-signal.SIGTERM]


def test_a_forked_child_is_interrupted_by_ctrl_c(capfd):
    own = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs without it
    try:
        with StopRequest("outer"), StopRequest("inner"):
            assert ended(signal.SIGINT, wait=0.2) == 1
    finally:
        signal.signal(signal.SIGINT, own)
    assert "KeyboardInterrupt" in capfd.readouterr().err


@pytest.mark.usefixtures("asked")
def test_pools_end():
    begun = time.monotonic()
    with FORK.Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
    with ProcessPoolExecutor(2, mp_context=FORK) as pool:
        assert list(pool.map(abs, [-1, 2])) == [1, 2]
        for process in pool._processes.values():
            process.terminate()
    assert time.monotonic() - begun < 20


def test_the_run_itself_is_asked_and_gets_back_what_there_was(asked, capfd):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert ended(signal.SIGTERM) == -signal.SIGTERM
    assert not asked.asked
    signal.raise_signal(signal.SIGTERM)
    assert asked.asked
    assert "inner; once more to stop at once" in capfd.readouterr().err
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_a_handler_that_was_set_since_is_a_childs_too():
    with StopRequest("here"):
        signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
        assert ended(signal.SIGTERM, wait=0.1) == 7
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_outside_the_main_thread_nothing_is_taken_over():
    before = signal.getsignal(signal.SIGTERM)

    def work():
        with StopRequest("there"):
            seen.append(signal.getsignal(signal.SIGTERM))

    seen = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before] == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.parametrize("way", ["spawn", "forkserver"])
def test_other_ways_of_beginning_a_process_are_not_touched(way, asked):
    process = multiprocessing.get_context(way).Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()
    process.join(20)
    assert process.exitcode == -signal.SIGTERM
    assert not asked.asked
