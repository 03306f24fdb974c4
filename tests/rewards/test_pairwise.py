import json

import numpy as np
import pytest
import torch
from tiny_classifiers import save_classifier
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from alignpro import config
from alignpro.config import RewardSpec
from alignpro.errors import DataError, SettingsError
from alignpro.judges.by_pairwise_model import PairwiseJudge
from alignpro.rewards import load_reward
from alignpro.rewards.composite import CompositeReward, Term
from alignpro.rewards.pairwise import NOTHING_TO_COMPARE, load_pairwise
from alignpro.types import as_prompts

TEMPLATE = "<|user|>{prompt}<|assistant|>{first}<|end|>{second}"
XS = ["owls", "rain", "owls", "a town"]
A = ["they fly by night", "it falls", "birds", "quiet"]
B = ["no idea", "wet and long and quiet", "owls", "old"]


def spec(folder, **more):
    return RewardSpec(model=str(folder), kind="pairwise", template=TEMPLATE, **more)


@torch.inference_mode()
def logits(folder, xs, first, second):
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [f"<|user|>{x}<|assistant|>{a}<|end|>{b}" for x, a, b in zip(xs, first, second, strict=True)]
    return np.array([model(**tokenizer(text, return_tensors="pt")).logits[0].numpy() for text in texts])


@pytest.mark.parametrize("kind", ["deberta", "llama"])
def test_verdicts_are_the_sign_of_the_models_own_log_odds(kind, tmp_path):
    save_classifier(tmp_path, kind)
    model = load_pairwise(spec(tmp_path, batch_size=3))
    judge = PairwiseJudge(model)
    odds = logits(tmp_path, XS, A, B)[:, 0]
    np.testing.assert_allclose(model.log_odds(XS, A, B).values, odds, rtol=1e-4, atol=1e-5)
    assert [found.verdict for found in judge.compare(XS, A, B)] == ["a" if value > 0 else "b" for value in odds]
    margin = float(np.median(np.abs(odds)))
    wide = PairwiseJudge(load_pairwise(spec(tmp_path)), tie_margin=margin).compare(XS, A, B)
    assert [found.verdict == "tie" for found in wide] == [abs(value) <= margin for value in odds]
    long = judge.compare(XS[:1], ["a " * 400], B[:1])
    assert [found.verdict for found in long] == [None]


def test_a_model_of_two_or_three_labels_is_told_which_is_which(tmp_path):
    save_classifier(tmp_path, "bert", ("first", "second", "equal"))
    with pytest.raises(SettingsError, match="3 labels"):
        load_pairwise(spec(tmp_path))
    model = load_pairwise(spec(tmp_path, head={"first": 1, "second": -1}))
    found = logits(tmp_path, XS, A, B)
    np.testing.assert_allclose(model.log_odds(XS, A, B).values, found[:, 0] - found[:, 1], rtol=1e-4, atol=1e-5)


def test_it_is_no_reward_by_itself_and_says_so(tmp_path):
    save_classifier(tmp_path, "deberta")
    with pytest.raises(SettingsError, match=r"compares two answers and scores none by itself.*judge.*reward\.against"):
        load_reward(spec(tmp_path))
    with pytest.raises(DataError, match="no such file"):
        load_reward(spec(tmp_path, against="nowhere.jsonl"))
    (tmp_path / "wrong.jsonl").write_text('{"prompt": "x", "answer": "y"}\n')
    with pytest.raises(DataError, match=r"row 1 holds prompt, answer; wanted texts named prompt and response"):
        load_reward(spec(tmp_path, against=str(tmp_path / "wrong.jsonl")))


def test_against_fixed_answers_it_is_one_and_a_preference_for_a_place_cancels(tmp_path):
    save_classifier(tmp_path, "llama")
    rows = [("owls", "one"), ("owls", "two"), ("owls", "two"), ("rain", "three")]
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps({"prompt": x, "response": y}) + "\n" for x, y in rows))
    reward = load_reward(spec(tmp_path, against=str(path)))
    result = reward.score(XS, A)
    judge = reward.model
    half = [
        np.mean([judge.log_odds([x], [y], [c]).values[0] - judge.log_odds([x], [c], [y]).values[0] for c in cs]) / 2
        for x, y, cs in (("owls", A[0], ["one", "two"]), ("rain", A[1], ["three"]), ("owls", A[2], ["one", "two"]))
    ]
    np.testing.assert_allclose(result.values[:3], half, rtol=1e-4, atol=1e-5)
    assert result.reasons == (None, None, None, NOTHING_TO_COMPARE)
    assert np.isnan(result.values[3])
    assert reward.score(["rain"], ["three"]).values[0] == pytest.approx(0, abs=1e-6)  # against itself
    assert np.isnan(reward.score(["owls"], ["a " * 400]).values[0])
    assert reward.check(as_prompts(["owls", "rain"])) == []
    both = CompositeReward((Term("against", reward, 1.0, None, None),))
    with pytest.raises(DataError, match="for 2 prompts, the first being 'a town'"):
        both.check(as_prompts([*XS, "snow"]))


def test_it_stands_in_settings_as_yaml_does(tmp_path):
    settings = config.load("lab", ["reward.model=m", "reward.kind=pairwise", f"reward.template={TEMPLATE}"])
    assert settings.reward.template == TEMPLATE
