"""evaluation.json as a type: written as it was read, and read whatever an older or damaged file holds."""

import json
import math

import pytest

from alignpro import results
from alignpro.errors import DamagedResult, UsageError
from alignpro.results import Estimate, Evaluation, Sample
from alignpro.runtime import files

ARM = {
    "mean_reward": 0.5,
    "ci95": [0.25, 0.75],
    "reward_variance": 1.5,
    "reward_variance_ci95": [None, None],
    "variance_between_prompts": None,
    "variance_between_prompts_ci95": [None, None],
    "variance_within_prompts": 0.5,
    "variance_within_prompts_ci95": [0.25, 1.0],
    "kl_to_reference": None,
    "kl_to_reference_ci95": None,
    "frozen_calls": 32,
    "failed": 0,
    "second_reward": {"mean": 0.1, "ci95": [0.0, 0.2], "variance": 1.0, "variance_ci95": [0.5, 2.0]},
    "mean_response_words": 10.5,
    "mean_response_words_ci95": [9.0, 12.0],
    "mean_rewrite_words": None,
    "mean_rewrite_words_ci95": None,
}
WIN = {
    "a": "align_pro",
    "b": "no_prompter",
    "judge": "gold",
    "win": 5,
    "tie": 1,
    "loss": 2,
    "win_rate": 0.6875,
    "ci95": [0.5, 0.875],
    "win_ci95": [0.4, 0.8],
    "tie_ci95": [0.0, 0.3],
    "loss_ci95": [0.1, 0.4],
    "length_controlled": {"win_rate": None, "ci95": [None, None], "withheld": "too few"},
    "order_consistency": 1.0,
    "order_consistency_ci95": [1.0, 1.0],
    "unparsed": 2,
    "unparsed_reasons": {"no verdict": 2},
    "mean_length_difference": -1.5,
    "mean_length_difference_ci95": [-2.0, -1.0],
}
WHOLE = {
    "schema": 1,
    "reward": "lab reward",
    "second_reward": "gold",
    "prompts": 16,
    "responses_per_prompt": 2,
    "training_prompts": 32,
    "arms": {
        "no_prompter": ARM,
        "align_pro": {
            **ARM,
            "kl_to_reference": 0.5,
            "kl_to_reference_ci95": [0.25, 0.75],
            "failures": {"cut off": 3},
            "reward_terms": {"helpful": {"mean": 1.0, "ci95": [0.5, 1.5]}},
            "prompt_bonus": 0.25,
            "prompt_bonus_ci95": [0.0, 0.5],
        },
    },
    "differences": [
        {"a": "align_pro", "b": "no_prompter", "reward": "gold", "mean_difference": 0.25, "ci95": [0.0, 0.5]}
    ],
    "win_rates": [WIN],
    "cost": {"frozen_calls": 64, "endpoints": {"gpt": {"requests": 3, "money": None}}},
    "settings": {"arms": ["no_prompter"], "sampling": None},
    "judges": {"gold": {"judge": None, "tie_margin": 0.0}},
}


def read(tmp_path, tree):
    path = tmp_path / "evaluation.json"
    path.write_text(tree if isinstance(tree, str) else json.dumps(tree), encoding="utf-8")
    found = results.read(Evaluation, path)
    assert found is not None
    return found


def test_what_is_read_is_written_again_key_for_key(tmp_path):
    found = read(tmp_path, WHOLE)
    results.write(tmp_path / "again.json", found)
    again = files.tree_of((tmp_path / "again.json").read_bytes())
    assert again == WHOLE
    assert [*again["arms"]["align_pro"]] != sorted(again["arms"]["align_pro"])
    assert isinstance(again["arms"]["no_prompter"]["frozen_calls"], int)  # whole numbers stay whole


def test_figures_are_attributes_and_keys_of_the_file(tmp_path):
    found = read(tmp_path, WHOLE)
    arm = found.arms["align_pro"]
    assert (arm.name, arm.reward, arm.kl) == ("align_pro", Estimate(0.5, 0.25, 0.75), Estimate(0.5, 0.25, 0.75))
    assert found["arms"]["align_pro"]["mean_reward"] == 0.5
    assert found["arms"]["align_pro"]["ci95"] == [0.25, 0.75]
    assert "failures" in arm and "failures" not in found.arms["no_prompter"]
    assert found.arms["no_prompter"].kl is None
    with pytest.raises(KeyError):
        found["arms_"]


def test_an_older_file_lacks_figures_and_keeps_what_is_not_known(tmp_path):
    old = {"reward": "r", "arms": {"no_prompter": {"mean_reward": 1.0, "of_old": [1]}}, "optimum": {"kl": 1}}
    found = read(tmp_path, old)
    arm = found.arms["no_prompter"]
    assert arm.reward.value == 1.0 and not arm.reward.bounded
    assert math.isnan(found.prompts) and math.isnan(found.training_prompts) and found.win_rates == ()
    assert not arm.response_words.defined and arm.rewrite_words is None and arm.second_reward is None
    assert found["optimum"] == {"kl": 1} and arm["of_old"] == [1]


@pytest.mark.parametrize("wrong", [None, 3, "text", [1], {"a": 1}, True])
def test_no_shape_of_any_field_breaks_the_reader(tmp_path, wrong):
    for key in WHOLE:
        read(tmp_path, {**WHOLE, key: wrong})
    for key in ARM:
        found = read(tmp_path, {**WHOLE, "arms": {"no_prompter": {**ARM, key: wrong}}})
        results.write(tmp_path / "again.json", found)
    for key in WIN:
        read(tmp_path, {**WHOLE, "win_rates": [{**WIN, key: wrong}]})


def test_numbers_that_are_none_are_undefined_never_zero(tmp_path):
    text = json.dumps(WHOLE).replace('"mean_reward": 0.5', '"mean_reward": NaN').replace("16", "Infinity", 1)
    found = read(tmp_path, text)
    assert not found.arms["align_pro"].reward.defined and math.isnan(found.prompts)


@pytest.mark.parametrize("content", ['{"arms": {"no_pr', "[1, 2]", "3", ""])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, content):
    with pytest.raises(DamagedResult, match=r"evaluation\.json is not complete JSON.*alignpro evaluate") as caught:
        read(tmp_path, content)
    assert isinstance(caught.value, UsageError)
    assert results.read(Evaluation, tmp_path / "none.json") is None


def test_a_comparison_seen_from_the_other_arm_is_the_same(tmp_path):
    (row,) = read(tmp_path, WHOLE).win_rates
    back = row.mirrored()
    assert (back.a, back.win, back.loss, back.win_ci95) == ("no_prompter", 2, 5, row.loss_ci95)
    assert back.rate == Estimate(1 - 0.6875, 1 - 0.875, 1 - 0.5)
    assert back.mirrored() == row
    assert [share.value for share in row.shares] == [5 / 8, 1 / 8, 2 / 8]


def test_trackers_get_every_number_of_an_arm_and_the_win_rates(tmp_path):
    figures = read(tmp_path, WHOLE).figures()
    assert figures["align_pro/mean_reward"] == 0.5 and figures["align_pro/prompt_bonus"] == 0.25
    assert figures["align_pro/win_rate_over_no_prompter"] == 0.6875
    assert "no_prompter/kl_to_reference" not in figures


def test_no_object_prints_all_it_holds(tmp_path):
    found = read(tmp_path, WHOLE)
    for one in (found, found.arms["align_pro"], found.win_rates[0]):
        assert len(repr(one)) < 250 and "0.6875" not in repr(one)


def test_rows_of_samples_are_written_as_they_were(tmp_path):
    row = {
        "stage": "evaluation",
        "step": 3,
        "arm": "align_pro",
        "prompt_id": 4,
        "prompt": "p",
        "rewrite": "q",
        "response": "r",
        "reward": None,
        "second_reward": 0.25,
        "finish": "stop",
        "failure": None,
    }
    results.append_rows(tmp_path / "samples.jsonl", [Sample.model_validate(row)])
    assert files.read_jsonl(tmp_path / "samples.jsonl") == [row]
    (found,) = results.read_rows(Sample, tmp_path / "samples.jsonl")
    assert found.prompt_id == 4 and math.isnan(found.reward) and found.failure is None
