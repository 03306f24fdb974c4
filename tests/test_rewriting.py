"""`alignpro rewrite`: by the closed form without training, and by a trained prompter; every wrong combination."""

import io
import zlib

import pytest
from cli import models, settings

import alignpro
from alignpro.errors import UsageError

GIBBS = ("--method=gibbs", "--train.kl.coef=0.1", "--prompter.sampling.max_new_tokens=6")


def own(workshop, reward="length"):
    frozen = "--frozen.sampling.max_new_tokens=8"
    return [*models(workshop)[:2], f"--reward=python:rewards:{reward}", frozen]


def test_without_training_any_model_is_rewritten_for(workshop, spy, inside):
    words = ["rewrite", "is 1=1?  Say why", *GIBBS, *own(workshop, "spy")]
    code, output = inside(*words, "--n=3")
    assert code == 0, output
    assert len(output.strip().splitlines()) == 1
    assert spy.prompts == {"is 1=1?  Say why"}
    assert len(spy.scored) == 3 * 2  # candidates, and answers that score each
    assert inside(*words, "--n=3") == (code, output)
    assert inside(*words, "--n=3", "--seed=1") != (code, output)
    spy.scored = []
    code, output = inside(*words)
    assert len(spy.scored) == 8 * 2
    code, output = inside(*words, "--n=2", "--answer")
    assert code == 0, output
    assert output.count("answered:") == 1
    assert output.strip().splitlines()[-1].startswith("without the prompter: ")


def test_best_is_the_limit_of_a_low_price_and_no_price_draws_from_the_reference(workshop, spy, monkeypatch):
    import rewards

    monkeypatch.setattr(rewards, "spy", lambda xs, ys: [zlib.crc32(y.encode()) / 2**32 for y in ys])  # no ties

    def rewrites(price, best=False):
        chosen = settings(workshop, "reward.model=python:rewards:spy", f"train.kl.coef={price}")
        return alignpro.SampledPrompter.load(chosen, candidates=6, best=best).rewrite(
            "tell me about owls", n=12, seed=0
        )

    best = rewrites(0.1, best=True)
    assert best == rewrites(1e-6) == rewrites(0)
    assert best == rewrites(5.0, best=True)
    assert best != rewrites(1e6)


def test_of_a_run_its_reference_models_and_reward_are_taken(workshop, trained, spy, inside):
    code, output = inside("rewrite", "tell me about owls", "--method=gibbs", f"--run={trained}", "--n=2")
    assert code == 0, output
    code, same = inside(
        *("rewrite", "tell me about owls", "--method=gibbs", f"--run={trained}", "--n=2"),
        "--reward=python:rewards:spy",
    )
    assert (code, same) == (0, output)  # the same reward by another name
    assert len(spy.scored) == 4


def test_a_prompt_from_standard_input_may_begin_with_dashes(workshop, trained, inside, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("--verbose means what?\n"))
    code, output = inside("rewrite", "-", f"--run={trained}")
    assert code == 0, output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["owls"], "--method gibbs, which needs no training"),
        (["owls", "--run=RUN", "--best"], "'--best' is for --method gibbs"),
        (["owls", "--run=RUN", "--frozen=lab"], "is for --method gibbs; a run has its own settings"),
        (["owls", "--run=RUN", "--train.kl.coef=1"], "is for --method gibbs"),
        (["owls", "--run=RUN", "lab"], "'lab' is for --method gibbs"),
        (["owls", "--run=RUN", "--method=gibbs", "lab"], "unexpected argument 'lab'"),
        (["owls", "--run=NONE", "--method=gibbs"], "holds no run"),
        (["owls", "--run=NONE"], "holds no run"),
        (["owls", "--method=gibbs", "--frozen=lab", "lba"], "did you mean lab?"),
        (["owls", "--method=gibbs", "--prompter=/nowhere"], "frozen.model, reward.model not set"),
        (["owls", "--method=gibbs", "--then=lab"], "give the first pass too"),
        (["owls", "--method=best"], "'gibbs'"),
        (["owls", "--method=gibbs", "--n=0"], "'--n'"),
        (["word " * 3000, "--run=RUN"], "overflow=cut"),
        (["  ", "--method=gibbs"], "the prompt is empty"),
        (["--train.kl.coef=1", "--method=gibbs"], "'--train.kl.coef=1' is a setting; give the text to rewrite first"),
    ],
)
def test_what_does_not_go_together_is_told(trained, inside, tmp_path, words, told):
    words = [word.replace("RUN", str(trained)).replace("NONE", str(tmp_path)) for word in words]
    code, output = inside("rewrite", *words)
    assert code == 2, output
    assert told in output
    assert "Traceback" not in output


def test_where_no_candidate_can_be_scored_the_prompt_is_not_passed_off_as_chosen(workshop, spy, inside):
    code, output = inside("rewrite", "owls", *GIBBS, *own(workshop, "always_none"), "--n=2")
    assert code == 1
    assert "no candidate has a reward" in output


def test_from_python(workshop, spy):
    sampler = alignpro.SampledPrompter.load(settings(workshop, "reward.model=python:rewards:spy"), candidates=2)
    assert len(sampler.rewrite("tell me about owls", n=3)) == 3
    assert len(spy.scored) == 3 * 2 * 2  # every rewrite has candidates of its own
    pair = sampler.rewrite(["owls", "rain"], seed=1)
    assert pair == sampler.rewrite(["owls", "rain"], seed=1) != sampler.rewrite(["owls", "rain"], seed=2)
    assert sampler.answer("tell me about owls", seed=1) == sampler.answer("tell me about owls", seed=1)
    with pytest.raises(UsageError, match=r"reward\.model not set"):
        alignpro.SampledPrompter.load(settings(workshop, "reward.model=null", "data.prompts=null"))
    broken = alignpro.SampledPrompter.load(settings(workshop, "reward.model=python:rewards:always_none"), candidates=2)
    made = broken.rewrite(["tell me about owls", "rain"])
    assert [one.text for one in made] == ["tell me about owls", "rain"]
    assert all("no candidate has a reward" in one.failure for one in made)
