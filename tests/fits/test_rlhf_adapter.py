"""The oracle by an adapter: the frozen model stays, its adapter is plain peft, and evaluation takes it merged."""

import json

import cli
import numpy as np
import pytest
from peft import AutoPeftModelForCausalLM
from tiny import save_model
from transformers import AutoModelForCausalLM

from alignpro.config import FrozenSettings
from alignpro.fits import rlhf
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import LocalFrozenModel, load_frozen
from alignpro.models.logprobs import score
from alignpro.running import stages
from alignpro.running.load import load_other_frozen
from alignpro.runtime.run_folder import RunFolder

SMALL = (
    "--rlhf.steps=2",
    "--rlhf.prompts_per_step=4",
    "--rlhf.ppo.learning_rate=1e-2",
    "--rlhf.lora.rank=4",
    "--rlhf.gradient_checkpointing=true",
    "--evaluate.bootstrap=100",
    "--evaluate.responses=2",
    "--frozen.sampling.max_new_tokens=6",
    "--threads=1",
)
QUERIES, ACTIONS = [[5, 6, 7], [9]], [np.array([4, 8, 1]), np.array([30, 31])]


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("command", ["rlhf", "run"])
def test_the_oracle_by_an_adapter(kind, command, workshop, inside, tmp_path, monkeypatch):
    seen, answered = [], []
    evaluate, respond = stages.evaluate, LocalFrozenModel.respond

    def watched(run):
        seen.append(fingerprint(run.pieces.frozen.lm.model))
        return evaluate(run)

    def heard(self, *given):
        answered.append((self.lm.name, {name for name, _ in self.lm.model.named_parameters() if "lora" in name}))
        return respond(self, *given)

    for module in {rlhf.stages, stages}:
        monkeypatch.setattr(module, "evaluate", watched)
    monkeypatch.setattr(LocalFrozenModel, "respond", heard)
    save_model(tmp_path / "frozen", kind, seed=6, spare=8)  # peft gives rows to tokens that have none
    names = [f"--frozen={tmp_path / 'frozen'}", *(w for w in cli.models(workshop)[1:] if not w.startswith("--frozen"))]
    more = () if command == "rlhf" else (f"--prompter={workshop / 'prompter'}", *cli.SMALL, "--train.steps=0")
    more += () if command == "rlhf" else ("--rlhf.enabled=true", "--evaluate.arms=[no_prompter,rlhf]")
    code, output = inside(command, *names, *more, *SMALL, f"--out={tmp_path / 'o'}")
    assert code == 0, output
    folder = RunFolder(tmp_path / "o")
    settings, target = folder.settings(), folder.rlhf / "model"
    before = load_other_frozen(settings, tmp_path / "frozen").lm
    assert seen == [fingerprint(before.model)]  # to the last bit what lies on the disk
    assert (target / "adapter_model.safetensors").is_file() and not (target / "model.safetensors").exists()
    assert list(json.loads(folder.evaluation.read_text())["arms"]) == ["no_prompter", "rlhf"]
    assert [lora for name, lora in answered if name == "model"] == [set()]  # the arm's model, merged

    plain = score(AutoPeftModelForCausalLM.from_pretrained(target).eval(), QUERIES, ACTIONS, 0)
    merged = score(load_other_frozen(settings, target).lm.model, QUERIES, ACTIONS, 0)
    was = score(before.model, QUERIES, ACTIONS, 0)
    for a, b, c in zip(plain, merged, was, strict=True):
        # W x + s B A x against (W + s B A) x: float32 rounds to 6e-8 of logits up to about 30, over some 100 sums
        np.testing.assert_allclose(a, b, atol=1e-4)
        assert np.abs(a - c).max() > 1e-2


def test_an_oracle_that_is_an_adapter_is_trained_on_by_another(workshop, inside, tmp_path):
    names = cli.models(workshop)[1:]
    assert inside("rlhf", *names, *SMALL, "--rlhf.steps=1", f"--out={tmp_path / 'o'}")[0] == 0
    first, then = tmp_path / "o" / "rlhf" / "model", tmp_path / "p" / "rlhf" / "model"
    given = [w for w in names if not w.startswith("--frozen")] + [f"--frozen={first}"]
    code, output = inside("rlhf", *given, *SMALL, "--rlhf.steps=1", f"--out={tmp_path / 'p'}")
    assert code == 0, output
    begun, own = (load_frozen(FrozenSettings(model=str(folder))).lm.model for folder in (first, then))
    plain = AutoModelForCausalLM.from_pretrained(then).eval()
    one, other, was = (score(model, QUERIES, ACTIONS, 0)[0] for model in (plain, own, begun))
    assert one.tolist() == other.tolist() and np.abs(one - was).max() > 1e-4
