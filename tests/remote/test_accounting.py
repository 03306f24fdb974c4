import threading

import pytest

from alignpro.config import BudgetSettings, PriceSettings
from alignpro.errors import BudgetSpent, SettingsError
from alignpro.remote.accounting import Account, Usage
from alignpro.remote.answers import Unreadable, read, usage_of


def test_money_is_counted_by_model():
    account = Account({"a": PriceSettings(input=2.0, output=8.0)})
    account.open("a"), account.open("b")
    for model in ("a", "b"):
        assert account.reserve(model, Usage(100, 100))
        account.settle(model, Usage(100, 100), Usage(50, 25))
    report = account.report()
    assert report["a"]["money"] == pytest.approx((50 * 2 + 25 * 8) / 1e6) and report["b"]["money"] is None
    assert report["a"]["input_tokens"] == 50 and report["a"]["output_tokens"] == 25


def test_a_budget_waits_for_what_is_under_way_before_it_is_spent():
    account = Account(budget=BudgetSettings(tokens=100))
    account.open("m")
    assert account.reserve("m", Usage(30, 30))
    assert not account.reserve("m", Usage(30, 30))  # it may fit once the first is settled
    account.settle("m", Usage(30, 30), Usage(10, 10))
    assert account.reserve("m", Usage(40, 40))
    account.release("m", Usage(40, 40))
    with pytest.raises(BudgetSpent, match="20 of 100 tokens"):
        account.reserve("m", Usage(41, 40))


def test_what_an_earlier_run_spent_counts(tmp_path):
    (tmp_path / "spending.json").write_text('{"m": {"money": 0.9}}')
    account = Account({"m": PriceSettings(input=1, output=1)}, BudgetSettings(money=1.0))
    account.open("m")
    account.keep(tmp_path / "spending.json")
    with pytest.raises(BudgetSpent, match=r"0\.9 of 1"):
        account.reserve("m", Usage(200_000, 0))
    with pytest.raises(SettingsError, match="price"):
        account.open("unpriced")


def test_threads_together_never_pass_the_budget():
    account = Account(budget=BudgetSettings(tokens=1000))
    account.open("m")

    def spend():
        while True:
            try:
                if account.reserve("m", Usage(3, 4)):
                    account.settle("m", Usage(3, 4), Usage(3, 4))
            except BudgetSpent:
                return

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert account.report()["m"]["requests"] == 1000 // 7


def test_shares_of_usage_add_up_and_content_in_parts_is_read():
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b \ud800"}]
    body = {
        "choices": [{"message": {"content": parts}, "finish_reason": None}, {"message": {"tool_calls": [1]}}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5},
    }
    answers = read(body, 2)
    assert answers[0].usage + answers[1].usage == usage_of(body) == Usage(7, 5)
    assert answers[0].text == "ab ?" and answers[0].failure is None
    assert answers[1].failure == "tool call instead of text"


@pytest.mark.parametrize(
    "body", [None, [], {}, {"choices": []}, {"choices": [1]}, {"choices": [{"message": {"content": 5}}]}]
)
def test_what_is_no_completion_is_unreadable_not_empty(body):
    with pytest.raises(Unreadable):
        read(body, 1)
