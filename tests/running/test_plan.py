"""What a dry run foretells, beside what a run then asks."""

import json

from cli import settings

from alignpro.config import JudgeSettings
from alignpro.evaluate.arms.pairing import judged_pairs
from alignpro.judges.comparisons import Answers, count_comparisons
from alignpro.running import job
from alignpro.running.plan import judged, plan, plan_lines, seconds
from alignpro.running.prompts import prompts_of
from alignpro.types import Generation

STAGES = ("training", "oracle", "evaluation")
SCALED = "reward.terms=[{model: 'python:rewards:length', normalise: reference}]"


def test_scales_and_grades_of_the_second_reward_are_as_many_as_a_run_asks_for(workshop, spy, tmp_path):
    asked = settings(
        workshop,
        "reward.model=null",
        SCALED,
        "reward.normalise_prompts=8",
        "evaluate.second_reward=python:rewards:spy",
        "evaluate.judge=python:rewards:length",
        "train.steps=2",
        "evaluate.every=1",
    )
    needs = plan(asked, STAGES)
    job.run(asked, tmp_path / "run")
    told = {need.stage: need.calls for need in needs}
    assert told["scales"] == json.loads((tmp_path / "run" / "reward_scales.json").read_text())["frozen_calls"]
    evaluation = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert told["evaluation"] == evaluation["cost"]["frozen_calls"]
    graded = seconds(asked, needs)
    assert sum(need.calls for need in graded) == len(spy.scored)
    assert "scales" not in {need.stage for need in graded}


def test_verdicts_are_as_many_as_a_judge_is_asked_for(workshop):
    for more, limits in (
        ((), JudgeSettings()),
        (("judge.prompts=1", "judge.samples=null", "judge.pairs=no_prompter"), None),
        (("judge.samples=9",), None),
    ):
        asked = settings(workshop, *more)
        limits = limits or asked.judge
        prompts = prompts_of(asked.data, asked.split_seed).test
        answers = tuple((Generation("y"),) * asked.evaluate.responses for _ in prompts)
        arms = [Answers(name, prompts, answers) for name in asked.evaluate.arms]
        assert judged(asked).calls == 2 * count_comparisons(judged_pairs(arms, limits), limits) > 0


def test_a_judge_and_rewards_behind_urls_are_told_with_their_money(workshop):
    price = "{input: 2, output: 4}"
    asked = settings(
        workshop,
        "reward.model=http://127.0.0.1:9#grader",
        f"reward.endpoint.price={price}",
        "evaluate.second_reward=http://127.0.0.1:9#second",
        "evaluate.judge=http://127.0.0.1:9#judge",
        f"judge.endpoint.price={price}",
    )
    lines = list(plan_lines(asked, STAGES))
    need = judged(asked)
    row = next(line for line in lines if line.split()[0] == "judging").split()
    assert row[1:4] == [f"{number:,}" for number in (need.calls, need.input, need.output)]
    assert row[4] == f"{(2 * need.input + 4 * need.output) / 1e6:.2f}"
    text = "\n".join(lines)
    for name in ("the reward, http://127.0.0.1:9#grader", "the second reward", "the judge, http://127.0.0.1:9#judge"):
        assert name in text
    assert "judging" not in "\n".join(plan_lines(asked, ["training"]))
    local = "\n".join(plan_lines(settings(workshop, "evaluate.judge=lm:some/model"), STAGES))
    assert "the judge, lm:some/model (local)" in local and "grades" not in local
