import os
import sys

import numpy as np
import pytest

from alignpro.errors import SettingsError
from alignpro.rewards.functions import FunctionReward, load_function


def score(function, n=4):
    return FunctionReward("test", function).score([f"x{i}" for i in range(n)], [f"y{i}" for i in range(n)])


def test_good_scores_pass_through():
    result = score(lambda xs, ys: [i for i, _ in enumerate(ys)])
    np.testing.assert_array_equal(result.values, [0, 1, 2, 3])
    assert result.reasons == (None,) * 4


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf"), "high", [1.0]])
def test_one_bad_score_is_masked_with_a_reason_and_the_others_kept(bad):
    result = score(lambda xs, ys: [1.0, bad, 2.0, 3.0])
    assert np.isnan(result.values[1])
    assert result.reasons[1]
    np.testing.assert_array_equal(result.values[[0, 2, 3]], [1, 2, 3])


def test_a_pair_that_makes_it_raise_costs_only_itself():
    def picky(xs, ys):
        if "x2" in xs:
            raise KeyError("x2")
        return [1.0] * len(xs)

    result = score(picky)
    np.testing.assert_array_equal(np.isnan(result.values), [False, False, True, False])
    assert "KeyError" in result.reasons[2]


@pytest.mark.parametrize("wrong", [[], [1.0], [1.0] * 9])
def test_a_wrong_count_is_never_guessed_at(wrong):
    result = score(lambda xs, ys: wrong)
    fits_one = len(wrong) == 1
    assert np.isnan(result.values).all() != fits_one  # [1.0] is right for one pair at a time
    if not fits_one:
        assert f"gave {len(wrong)} scores for 1 pair" in result.reasons[0]


def test_naming_faults_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_reward.py").write_text("def length(prompts, responses):\n    return [len(r) for r in responses]\n")
    assert load_function("python:my_reward:length", "reward.model").score(["a"], ["bcd"]).values.tolist() == [3.0]
    with pytest.raises(SettingsError, match="it has length"):
        load_function("python:my_reward:lenght", "reward.model")
    with pytest.raises(SettingsError, match="importing no_such_module"):
        load_function("python:no_such_module:f", "reward.model")
    with pytest.raises(SettingsError, match="not of the form"):
        load_function("python:my_reward", "reward.model")


class Frame(list):
    """As tables are: of two dimensions, and gone through by columns."""

    shape = (4, 2)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}, "reward gave dict"),
        ("1234", "reward gave str"),
        (b"1234", "reward gave bytes"),
        ({1.0, 2.0, 3.0, 4.0}, "reward gave set"),
        ((float(i) for i in range(4)), "reward gave generator"),
        (Frame([1.0] * 4), "reward gave Frame of shape (4, 2)"),
        (np.ones((4, 2)), "reward gave ndarray of shape (4, 2)"),
        (np.float64(1.0), "reward gave float64 of shape ()"),
        (0.5, "reward gave float"),
        (None, "reward gave NoneType"),
    ],
)
def test_what_is_no_list_of_scores_is_named(given, said):
    result = score(lambda xs, ys: given)
    assert np.isnan(result.values).all()
    assert all(reason.startswith(said) for reason in result.reasons)
    assert "wanted is a list of numbers" in result.reasons[0]


def test_a_coroutine_is_named_and_not_awaited(recwarn):
    async def later(xs, ys):
        return [1.0] * len(xs)

    assert score(lambda xs, ys: later(xs, ys)).reasons[0].startswith("reward gave coroutine")
    assert not recwarn.list


def test_arrays_tensors_and_columns_are_lists():
    torch = pytest.importorskip("torch")
    pandas = pytest.importorskip("pandas")
    for given in (
        np.arange(4),
        np.arange(4.0)[:, None],
        torch.arange(4)[:, None].float(),
        torch.arange(4.0),
        pandas.Series(range(4), index=[7, 5, 3, 1]),
    ):
        assert score(lambda xs, ys, given=given: given).values.tolist() == [0, 1, 2, 3]
    table = score(lambda xs, ys: pandas.DataFrame({"score": [1.0] * len(xs)}))
    assert table.reasons[0].startswith("reward gave DataFrame of shape (1, 1)")
    meta = score(lambda xs, ys: torch.zeros(len(xs), device="meta"))
    assert np.isnan(meta.values).all()
    assert meta.reasons[0].startswith("reward gave Tensor, not a number (")


@pytest.mark.parametrize("asked", ["import sys; sys.exit(0)", "raise SystemExit('so')", "raise asyncio.CancelledError"])
def test_one_that_asks_the_process_to_end_has_failed_on_that_pair_alone(asked):
    import asyncio

    def picky(xs, ys):
        if "x2" in xs:
            exec(asked, {"asyncio": asyncio})
        return [1.0] * len(xs)

    result = score(picky)
    np.testing.assert_array_equal(np.isnan(result.values), [False, False, True, False])
    assert result.reasons[2].startswith(("reward raised SystemExit: ", "reward raised CancelledError: "))


def test_ctrl_c_is_no_failed_pair():
    def stopped(xs, ys):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(stopped)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
@pytest.mark.parametrize(("end", "code"), [("sys.exit(3)", 3), ("sys.exit()", 0), ("1 / 0", 1), ("pass", 1)])
def test_a_child_that_it_forks_does_not_go_on_as_a_second_run(end, code):
    parent = os.getpid()

    def forks(xs, ys):
        child = os.fork()
        if child == 0:
            exec(end, {"sys": sys})
            return [9.0] * len(xs)
        return [float(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))] * len(xs)

    result = score(forks)
    if os.getpid() != parent:
        os._exit(99)
    assert result.values.tolist() == [code] * 4


REFUSED = """
import functools
async def later(prompts, responses): return []
def one_by_one(prompts, responses): yield 1.0
async def both(prompts, responses): yield 1.0
partly = functools.partial(later)
class Later:
    async def __call__(self, prompts, responses): return []
class Yields:
    def __call__(self, prompts, responses): yield 1.0
instance = Later()
class Leaves:
    def __init__(self): raise SystemExit(0)
"""


@pytest.mark.parametrize("name", ["later", "one_by_one", "both", "partly", "Later", "Yields", "instance"])
def test_what_gives_no_scores_when_it_is_called_is_refused_at_load(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refused_kinds.py").write_text(REFUSED)
    with pytest.raises(SettingsError, match="a call of it gives no scores"):
        load_function(f"python:refused_kinds:{name}", "reward.model")
    with pytest.raises(SettingsError, match="SystemExit: 0"):
        load_function("python:refused_kinds:Leaves", "reward.model")
