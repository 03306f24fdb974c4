"""Guards through a whole run: counted at every step and for every arm, a stop where too much is rejected, a resume."""

import pytest
from cli import settings

import alignpro
from alignpro.cli.rewriting import ready
from alignpro.errors import Interrupted, UsageError
from alignpro.report.reading import read_run
from alignpro.results import Evaluation, read
from alignpro.rewards.guards import Guards
from alignpro.runtime.files import read_jsonl
from alignpro.runtime.run_folder import RunFolder

REJECTING = (
    *("guards.longest=0.001", "guards.spare_words=0", "guards.stop=0.5"),  # every rewrite with a word is too long
    *("train.steps=9", "train.prompts_per_step=4", "train.save_every=4", "evaluate.every=0"),
    *("reward.model=python:rewards:spy", "prompt_terms=[{term: guards, weight: 0.5}]"),
)


def test_training_counts_and_prices_what_guards_reject_and_stops(workshop, spy, tmp_path):
    out = tmp_path / "run"
    spy.calls, spy.stop_at = 0, 3
    with pytest.raises(Interrupted):
        alignpro.run(settings(workshop, *REJECTING), out, only_train=True)
    assert len(read_jsonl(out / "metrics.jsonl")) < 5
    alignpro.run(None, out, resume=True, only_train=True)
    rows = read_jsonl(out / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    for row in rows:
        assert row["rejected"] > 0.5
        assert row["prompt_term.guards"] == pytest.approx(-row["rejected"])
        assert row["objective"] == pytest.approx(row["reward"] - 0.5 * row["rejected"] - row["kl_coef"] * row["kl"])
    (told,) = [row for row in read_jsonl(out / "notices.jsonl") if row["about"] == "guards"]
    assert "stopped after step 5 of 9: guards rejected more than 50%" in told["text"]
    assert not any("lacks" in note for note in read_run(out).notes)


def test_each_arm_that_rewrites_has_its_share_and_counts(trained):
    own, evaluation = RunFolder(trained).settings(), read(Evaluation, trained / "evaluation.json")
    guards = Guards(own.guards, own.prompter.template)
    assert evaluation.arms["no_prompter"].rejected is None
    for name in ("align_pro", "gibbs_2"):
        arm = evaluation.arms[name]
        rows = [row for row in read_jsonl(trained / "samples.jsonl") if row["stage"] == "evaluation"]
        rows = [row for row in rows if row["arm"] == name and not row["failure"]]
        verdicts = [guards.rejecting(row["prompt"], row["rewrite"]) for row in rows]
        counts = {guard: sum(guard in verdict for verdict in verdicts) for guard in own.guards.names}
        assert arm.rejected_by == {guard: count for guard, count in counts.items() if count}
        assert len(verdicts) < 2 * evaluation.prompts or arm.rejected.value == pytest.approx(
            sum(map(bool, verdicts)) / len(verdicts)
        )
    assert 'id="guards"' in (trained / "report.html").read_text()


def test_a_server_may_turn_each_off(trained):
    served = ready("trained", trained, None, ["guards.numbers=false"], None, False, may="guards.").guards
    assert (served("add 12", "add it"), served("{name}", "name")) == (None, "placeholders")
    assert served.template == RunFolder(trained).settings().prompter.template
    with pytest.raises(UsageError, match="a run has its own settings"):
        ready("trained", trained, None, ["guards.numbers=false"], None, False)
