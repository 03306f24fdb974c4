"""Code that comes with a model runs by the setting of that model alone, whatever standard input says."""

import ast
import io
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from tiny import make_classifier, save_model

import alignpro
from alignpro import config
from alignpro.config import FrozenSettings, PrompterSettings, RewardSpec
from alignpro.errors import CheckpointError, ModelNotUsable
from alignpro.fits.classifier import load_base
from alignpro.judges.loading import load_judge, load_second_reward
from alignpro.models.local import load_frozen, load_prompter
from alignpro.remote.opened import Endpoints
from alignpro.rewards import load_reward
from alignpro.train import checkpoint

CODE = """
from pathlib import Path
Path(__file__).resolve()
(Path({ran!r})).write_text("ran")
from transformers import LlamaConfig, LlamaForCausalLM
class OwnConfig(LlamaConfig):
    model_type = "own-code"
class Own(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "model"
    save_model(folder, "llama", seed=1)
    return folder


@pytest.fixture
def ran(tmp_path):
    return tmp_path / "RAN"


@pytest.fixture
def with_code(plain, tmp_path, ran, monkeypatch):
    """A folder whose model is a class of its own; all that asks is answered with yes."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = Path(shutil.copytree(plain, tmp_path / f"own_{tmp_path.name}"))
    (folder / "own.py").write_text(CODE.format(ran=str(ran)))
    tree = json.loads((folder / "config.json").read_text())
    tree |= {"model_type": "own-code", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.Own"}}
    (folder / "config.json").write_text(json.dumps(tree))
    return folder


def judge(folder, **more):
    return load_judge(config.build({"evaluate": {"judge": f"lm:{folder}"}, "judge": more}), "cpu", Endpoints())


LOADERS = {
    "prompter": lambda folder, **more: load_prompter(PrompterSettings(model=str(folder), **more)),
    "frozen": lambda folder, **more: load_frozen(FrozenSettings(model=str(folder), **more)),
    "judge": judge,
}


@pytest.mark.parametrize("role", LOADERS)
def test_a_models_code_runs_by_its_own_setting_alone(with_code, ran, role):
    with pytest.raises(ModelNotUsable, match=rf"Python code of its own.*{role}\.trust_remote_code=true"):
        LOADERS[role](with_code)
    assert not ran.exists()
    LOADERS[role](with_code, trust_remote_code=True)
    assert ran.exists()


def test_no_other_place_runs_a_models_code(with_code, ran):
    settings = config.build({"evaluate": {"second_reward": str(with_code)}})
    with pytest.raises(ModelNotUsable, match=r"second_reward.*Python code of its own"):
        load_second_reward(settings, object(), "cpu", Endpoints())
    with pytest.raises(ModelNotUsable, match=r"evaluate\.judge.*Python code of its own.*judge\.trust_remote_code"):
        load_judge(config.build({"evaluate": {"judge": str(with_code)}}), "cpu", Endpoints())
    with pytest.raises(ModelNotUsable, match=r"reward\.model.*Python code of its own.*reward\.trust_remote_code"):
        load_reward(RewardSpec(model=str(with_code)))
    with pytest.raises(ModelNotUsable, match=r"reward_learning\.base.*Python code of its own"):
        load_base(str(with_code), 0, "cpu", "float32")
    assert not ran.exists()


def test_a_tokenizers_code_does_not_run_either(plain, tmp_path, ran, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = Path(shutil.copytree(plain, tmp_path / "model"))
    (folder / "own.py").write_text(CODE.format(ran=str(ran)))
    path = folder / "tokenizer_config.json"
    tree = json.loads(path.read_text())
    tree |= {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    path.write_text(json.dumps(tree))
    for load in (LOADERS["prompter"], LOADERS["frozen"]):
        try:
            load(folder)  # as its plain class, or not at all
        except ModelNotUsable as error:
            assert "Python code of its own" in str(error)
    assert not ran.exists()


@pytest.mark.parametrize("where", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_an_implementation_that_is_fetched_is_code_too(plain, tmp_path, where):
    folder = Path(shutil.copytree(plain, tmp_path / "model"))
    tree = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(tree | {where: {"": "someone/kernel@main:forward"}}))
    with pytest.raises(ModelNotUsable, match="Python code of its own"):
        load_prompter(PrompterSettings(model=str(folder)))
    (folder / "config.json").write_text(json.dumps(tree | {where: "eager"}))
    assert load_prompter(PrompterSettings(model=str(folder)))


class Runs:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("role", ["prompter", "reward"])
def test_a_pickle_is_refused_with_advice_that_is_safe(plain, tmp_path, ran, role):
    folder = tmp_path / "model"
    if role == "reward":
        make_classifier(folder)
    else:
        shutil.copytree(plain, folder)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    torch.save({"weight": Runs(ran)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelNotUsable, match="safetensors") as told:
        load_prompter(PrompterSettings(model=str(folder))) if role == "prompter" else load_reward(
            RewardSpec(model=str(folder))
        )
    assert "weights_only" not in str(told.value) and "\n" not in str(told.value)
    assert not ran.exists()


def test_a_checkpoint_that_is_another_pickle_is_refused(tmp_path, ran):
    checkpoint.save(tmp_path, 1, {"a": torch.zeros(1)}, keep=2)
    assert checkpoint.load_latest(tmp_path).step == 1
    buffer = io.BytesIO()
    torch.save({"a": Runs(ran)}, buffer)
    for data in (buffer.getvalue(), pickle.dumps(Runs(ran))):
        with pytest.raises(CheckpointError, match="more than tensors") as told:
            checkpoint.tensors_in(data)
        assert "weights_only" not in str(told.value)
    step = next(tmp_path.glob("step-*"))
    (step / "state.pt").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        checkpoint.load_latest(tmp_path)
    assert not ran.exists()


def test_every_loader_of_transformers_is_told_whether_code_may_run():
    silent = []
    for path in Path(alignpro.__file__).parent.rglob("*.py"):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if ".from_pretrained(" in text else ():
            if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".from_pretrained")):
                continue
            if not ast.unparse(node.func).lower().startswith("auto"):
                continue  # of peft: adapters bring no code
            given = [word.arg for word in node.keywords]
            if "trust_remote_code" not in given and None not in given:
                silent.append(f"{path.name}:{node.lineno}")
    assert not silent
