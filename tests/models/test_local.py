import numpy as np
import pytest
import torch
from tiny import save_model

from alignpro.config import FrozenSettings, PrompterSettings, Sampling
from alignpro.errors import ModelNotUsable, PromptTooLong, RewardFailure, SettingsError
from alignpro.flow.failures import check_failures
from alignpro.flow.prompters import IdentityPrompter
from alignpro.flow.rollout import rollout
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import load_frozen, load_prompter
from alignpro.models.sampler import NOT_FINITE
from alignpro.rewards.functions import FunctionReward


@pytest.fixture
def folder(tmp_path):
    return save_model(tmp_path / "model", "llama", seed=5, context=128)


def settings(kind, folder, **more):
    return kind(model=str(folder), **{"sampling": Sampling(max_new_tokens=10), **more})


def test_a_frozen_model_has_no_gradients_and_answers_as_often_as_asked(folder):
    frozen = load_frozen(settings(FrozenSettings, folder))
    assert not any(p.requires_grad for p in frozen.lm.model.parameters())
    before = fingerprint(frozen.lm.model)
    answers = frozen.respond(["owls", "rain"], [2, 1], seed=0)
    assert [len(row) for row in answers] == [2, 1]
    assert fingerprint(frozen.lm.model) == before


def test_a_fingerprint_notices_one_changed_weight(folder):
    frozen = load_frozen(settings(FrozenSettings, folder))
    before = fingerprint(frozen.lm.model)
    with torch.no_grad():
        next(frozen.lm.model.parameters())[0, 0] += 1e-7
    assert fingerprint(frozen.lm.model) != before


def test_a_prompt_that_does_not_fit_is_refused_cut_or_a_failed_sample(folder):
    long = "word " * 200
    prompter = load_prompter(settings(PrompterSettings, folder, template="{prompt}"))
    with pytest.raises(PromptTooLong, match="shorten it by"):
        prompter.lm.queries(["short", long])
    assert [row[0].failure for row in prompter.rewrite(["short", long], 1, seed=0)] == [
        None,
        "prompt exceeds the prompter's context",
    ]
    cutting = load_prompter(settings(PrompterSettings, folder, template="{prompt}", overflow="cut"))
    assert all(len(q) <= 128 - 10 for q in cutting.lm.queries(["short", long]))
    frozen = load_frozen(settings(FrozenSettings, folder))
    short, too_long = frozen.respond(["short", long], [1, 2], seed=0)
    assert short[0].failure is None
    assert [g.failure for g in too_long] == ["prompt exceeds the frozen model's context"] * 2


def test_settings_that_cannot_work_are_told_at_load(folder):
    with pytest.raises(SettingsError, match="neither"):
        load_prompter(settings(PrompterSettings, folder, template="no place for the prompt"))
    with pytest.raises(SettingsError, match="leave room for the prompt"):
        load_frozen(settings(FrozenSettings, folder, sampling=Sampling(max_new_tokens=128)))
    with pytest.raises(ModelNotUsable, match="no such folder"):
        load_frozen(settings(FrozenSettings, folder / "gone"))


@pytest.mark.parametrize("overflow", ["refuse", "cut"])
@pytest.mark.parametrize("around", [{"template": "owls " * 120 + "{prompt}"}, {"system": "owls " * 120}])
def test_a_frame_that_fills_the_context_is_told_at_load_with_its_length(folder, overflow, around):
    """No prompt fits, however much is cut off it."""
    for load, kind in ((load_prompter, PrompterSettings), (load_frozen, FrozenSettings)):
        given = {"template": "{prompt}", **around}
        with pytest.raises(SettingsError, match=r"frame around a prompt .* takes 1\d\d tokens, .* context is 128"):
            load(settings(kind, folder, overflow=overflow, **given))


def test_weights_that_are_no_language_model_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelNotUsable, match="no weights could be loaded"):
        load_frozen(settings(FrozenSettings, folder))


def test_an_answer_whose_logits_are_nan_is_a_failed_sample_and_past_max_failed_the_run_stops(tmp_path):
    save_model(tmp_path, seed=2)
    frozen = load_frozen(FrozenSettings(model=str(tmp_path), sampling=Sampling(max_new_tokens=1)))
    (broken,) = frozen.lm.frame.tokens("z")
    with torch.no_grad():
        frozen.lm.model.get_input_embeddings().weight[broken] = np.nan
    words = FunctionReward("words", lambda prompts, responses: [float(len(r.split())) for r in responses])
    drawn = rollout(["tell me", "a z", "rain"], IdentityPrompter(), frozen, words, responses=3, seed=0)
    assert np.isnan(drawn.rewards[1]).all() and np.isfinite(drawn.rewards[[0, 2]]).all()
    assert drawn.failures == {NOT_FINITE: 3}
    check_failures(drawn.rewards, drawn.failures, 0.4, "step 1")
    with pytest.raises(RewardFailure, match=r"step 1: 3 of 9 samples .*logits are not finite"):
        check_failures(drawn.rewards, drawn.failures, 0.2, "step 1")
    prompter = load_prompter(PrompterSettings(model=str(tmp_path), sampling=Sampling(max_new_tokens=1)))
    with torch.no_grad():
        prompter.lm.model.get_input_embeddings().weight[broken] = np.nan
    told = []
    (good, bad) = prompter.rewrite_each(["tell me", "a z"], 2, 0, lambda b, g, rewrite: told.append(b))
    assert [g.failure for g in bad] == [NOT_FINITE] * 2 and all(g.text for g in good) and set(told) == {0}
