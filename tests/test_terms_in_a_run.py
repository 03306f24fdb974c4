"""A sum of rewards and terms on the rewrite through a whole run: objective, files, resuming, the closed form."""

import json

import numpy as np
import pytest
from cli import SMALL, copied, models, settings
from in_texts import in_texts
from tiny_classifiers import save_classifier

from alignpro.config import build
from alignpro.errors import SettingsError
from alignpro.flow.prompters import GibbsPrompter
from alignpro.maths import lengths
from alignpro.running import job
from alignpro.running import rewriter as api
from alignpro.runtime.files import read_json, read_jsonl
from alignpro.studies.compare import compare
from alignpro.types import Generation, PromptResult, RewardResult

TERMS = (
    "reward.model=null",
    "reward.terms=[{model: RM, name: rm, normalise: reference, clip: [-2, 2]},"
    " {model: 'python:rewards:length', name: long, weight: -0.5}]",
    "reward.gate=[{model: 'measure:words', name: brief, at_most: 1}]",
    "prompt_terms=[{term: length, weight: 0.25, limit: 2}, {term: kept, weight: 2}]",
    "train.kl.coef=0.3",
)


def with_terms(workshop, *more):
    save_classifier(workshop / "rm", "gemma", seed=5)
    given = [word.replace("RM", str(workshop / "rm")) for word in TERMS]
    return settings(workshop, *given, *more)


@pytest.fixture(scope="module")
def run(workshop, tmp_path_factory):
    out = tmp_path_factory.mktemp("terms") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workshop)
        job.run(with_terms(workshop), out)
    return out


def test_every_term_has_a_column_everywhere_and_they_add_up(run):
    scale = read_json(run / "reward_scales.json")["terms"]
    assert set(scale) == {"rm"}
    evaluation = read_json(run / "evaluation.json")
    assert evaluation["reward"] == "(brief <= 1) * (1 rm - 0.5 long)"
    samples = [row for row in read_jsonl(run / "samples.jsonl") if row["failure"] is None]
    for row in samples:
        raw = row["reward_terms"]
        rm = np.clip((raw["rm"] - scale["rm"]["mean"]) / scale["rm"]["std"], -2, 2)
        assert raw["brief"] == lengths.words(row["response"]) and raw["gate"] == (raw["brief"] <= 1)
        assert raw["ungated"] == pytest.approx(rm - 0.5 * raw["long"], abs=1e-3)
        assert row["reward"] == pytest.approx(raw["gate"] * raw["ungated"])  # terms on x' are not in it
        assert raw["long"] == pytest.approx(len(row["response"]) / 10)
        assert row["prompt_terms"]["length"] == -max(0, lengths.words(row["rewrite"]) - 2)
    for name, arm in evaluation["arms"].items():
        mine = [row for row in samples if row["arm"] == name and row["stage"] == "evaluation"]
        of_reward = ("rm", "long", "brief", "gate", "ungated")
        for key, terms in (("reward_terms", of_reward), ("prompt_terms", ("length", "kept"))):
            assert set(arm[key]) == set(terms)
            for term in terms:
                mean = np.mean([row[key][term] for row in mine])
                assert arm[key][term]["mean"] == pytest.approx(mean, abs=0.05 if arm["failed"] else 1e-4)
        means = arm["prompt_terms"]
        assert arm["prompt_bonus"] == pytest.approx(0.25 * means["length"]["mean"] + 2 * means["kept"]["mean"])
    assert evaluation["arms"]["no_prompter"]["prompt_terms"]["kept"]["mean"] == 1
    assert {row["reward_terms"]["gate"] for row in samples} == {0, 1}
    page = " ".join((run / "report.html").read_text().split())
    assert ">kept<" in page.replace(" ", "") and ">ungated<" in page.replace(" ", "")
    assert "The reward is (brief &lt;= 1) * (1 rm - 0.5 long)." in page


def test_training_maximises_reward_and_prompt_terms(run):
    for row in read_jsonl(run / "metrics.jsonl"):
        bonus = 0.25 * row["prompt_term.length"] + 2 * row["prompt_term.kept"]
        assert row["objective"] == pytest.approx(row["reward"] + bonus - 0.3 * row["kl"], abs=1e-5)
    # answers asked for the statistics are counted
    first = read_jsonl(run / "metrics.jsonl")[0]["frozen_calls"]
    assert first == 8 + read_json(run / "reward_scales.json")["frozen_calls"]


def test_statistics_are_taken_once_and_kept(run, workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    again = tmp_path / "again"
    copied(run, again)
    scales = read_json(again / "reward_scales.json")
    scales["terms"]["rm"]["mean"] += 1
    (again / "reward_scales.json").write_text(json.dumps(scales))
    job.evaluate_again(again, ["evaluate.arms=[no_prompter]"])
    before = read_json(run / "evaluation.json")["arms"]["no_prompter"]
    after = read_json(again / "evaluation.json")["arms"]["no_prompter"]
    for term in ("rm", "long", "brief", "gate"):
        assert after["reward_terms"][term] == before["reward_terms"][term]
    shifted = [row["reward"] for row in read_jsonl(again / "samples.jsonl") if row["stage"] == "evaluation"]
    assert np.mean(shifted) < before["mean_reward"] - 0.3
    assert read_json(again / "reward_scales.json") == scales


def test_where_no_run_keeps_statistics_they_must_be_written(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    wanted = with_terms(workshop)
    with pytest.raises(SettingsError, match=r"rm is normalised .*mean: M"):
        api.SampledPrompter.load(wanted)
    with pytest.raises(SettingsError, match=r"rm is normalised .*mean: M"):
        compare(wanted, tmp_path / "compared")


def test_an_offline_method_fits_what_both_make_together(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    offline = ["train.method=dpo", "train.rewrites=3", "train.steps=1", "evaluate.arms=[no_prompter]"]
    tree = settings(workshop, *offline).model_dump()
    tree["prompt_terms"] = [{"term": "length", "weight": 100}]
    job.run(build(tree), tmp_path / "run")
    rows = read_jsonl(tmp_path / "run" / "rollouts.jsonl")
    values = [(g["text"], v) for row in rows for g, v in zip(row["rewrites"], row["rewards"], strict=True)]
    assert values
    for text, value in values:
        if value is not None:
            assert -100 * lengths.words(text) <= value < -100 * lengths.words(text) + 50


class Flow:
    """Two rewrites of one reward, of which the terms like the second."""

    name = "flow"

    @in_texts
    def rewrite(self, prompts, n, seed):
        return [[Generation("plain" if k % 2 else "liked") for k in range(n)] for _ in prompts]

    @in_texts
    def respond(self, prompts, counts, seed):
        return [[Generation(p)] * c for p, c in zip(prompts, counts, strict=True)]

    @in_texts
    def score(self, prompts, texts):
        if set(prompts) & {"plain", "liked"}:
            raise AssertionError("x is neither")
        return RewardResult(np.zeros(len(texts)), (None,) * len(texts))


class Likes:
    @in_texts
    def score(self, prompts, rewrites):
        liked = np.array([10.0 * (text == "liked") for text in rewrites])
        return PromptResult({"likes": liked}, liked, (None,) * len(rewrites))


def test_gibbs_samples_the_same_objective():
    flow = Flow()
    for terms, share in ((None, 0.5), (Likes(), 1.0)):
        gibbs = GibbsPrompter(flow, flow, flow, candidates=2, responses=1, lam=1.0, prompt_terms=terms)
        drawn = [g.text for row in gibbs.rewrite(["x"], 200, 0) for g in row]
        assert drawn.count("liked") / 200 == pytest.approx(share, abs=0.15)


def test_a_failed_term_fails_the_sample_and_is_named(workshop, tmp_path, inside):
    terms = "--reward.terms=[{model: 'python:rewards:length'}, {model: 'python:rewards:always_none', weight: 0}]"
    words = [word for word in models(workshop) if not word.startswith("--reward")]
    code, printed = inside("run", *words, terms, *SMALL, f"--out={tmp_path / 'run'}")
    assert code == 1
    assert "8 x rewards:always_none: reward gave None" in printed
