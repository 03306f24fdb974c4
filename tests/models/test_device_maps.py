"""A model spread by accelerate: the same answers, the same fingerprint; what cannot be is told."""

import pytest
from tiny import save_model

from alignpro.config import FrozenSettings, PrompterSettings, Sampling, TrainSettings
from alignpro.errors import SettingsError
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import load_frozen, load_prompter
from alignpro.train.policy import trainable

SPREAD = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.norm": "cpu", "lm_head": "cpu"}
SPREAD |= {"model.layers.0": "cpu", "model.layers.1": "disk"}


def frozen(folder, device_map=None):
    own = FrozenSettings(model=str(folder), sampling=Sampling(max_new_tokens=6), device_map=device_map)
    return load_frozen(own, dtype="float32")


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}, SPREAD])
def test_a_spread_model_answers_the_same_and_has_the_same_fingerprint(device_map, tmp_path):
    save_model(tmp_path, "llama", seed=6)
    plain, spread = frozen(tmp_path), frozen(tmp_path, device_map)
    assert any(p.is_meta for p in spread.lm.model.parameters()) == (device_map is SPREAD)
    texts = [[[g.text for g in row] for row in m.respond(["owls", "rain"], [2, 1], 0)] for m in (plain, spread)]
    assert texts[0] == texts[1]
    assert fingerprint(plain.lm.model) == fingerprint(spread.lm.model)
    save_model(tmp_path / "other", "llama", seed=7)
    assert fingerprint(frozen(tmp_path / "other", device_map).lm.model) != fingerprint(plain.lm.model)


def test_maps_that_cannot_work_are_told(tmp_path):
    save_model(tmp_path)
    with pytest.raises(SettingsError, match=r"frozen\.device_map.*cannot be used here"):
        frozen(tmp_path, {"": 97})
    own = PrompterSettings(model=str(tmp_path), sampling=Sampling(max_new_tokens=6), device_map=SPREAD)
    lm = load_prompter(own, dtype="float32").lm
    with (
        pytest.raises(SettingsError, match=r"prompter\.lora\.rank=16"),
        trainable(lm, None, TrainSettings(), "prompter.lora", 0),
    ):
        pass
