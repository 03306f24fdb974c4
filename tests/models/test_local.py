import pytest
import torch
from tiny import save_model

from alignpro.config import FrozenSettings, PrompterSettings, Sampling
from alignpro.errors import ModelNotUsable, PromptTooLong, SettingsError
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import load_frozen, load_prompter


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


def test_weights_that_are_no_language_model_are_refused(folder):
    (folder / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(ModelNotUsable, match="no weights could be loaded"):
        load_frozen(settings(FrozenSettings, folder))
