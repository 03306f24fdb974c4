"""GGUF files are read once, give the model that they hold, and are refused before any work where they would not."""

import shutil

import numpy as np
import pytest
import torch
from tiny import save_model

pytest.importorskip("gguf", reason="the package gguf is not installed")
from gguf_files import rewritten, save_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from alignpro.config import FrozenSettings, LoraSettings, PrompterSettings, Sampling, Settings
from alignpro.config.naming import named
from alignpro.errors import ModelNotUsable
from alignpro.models import checksums, gguf, lora
from alignpro.models.fingerprint import fingerprint
from alignpro.models.loading import base_of, resolve
from alignpro.models.local import load_frozen, load_prompter
from alignpro.running.checks import tell_models
from alignpro.running.inputs import fingerprints
from alignpro.runtime.files import read_json

TEXTS = ("tell me about 12 owls", "  the rain\n\nin a quiet  town ", "<|user|>naïve 1999 café<|end|>")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "model", "llama", seed=4, context=128, spare=3)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    return save_gguf(model, tmp_path_factory.mktemp("files"), temperature=0.5, top_p=0.9)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch, request):
    """One for the module, so that what a test read is there for the next."""
    monkeypatch.setenv("ALIGNPRO_CACHE", str(tmp_path_factory.getbasetemp() / "gguf-cache"))
    return gguf.kept()


def logits(folder, text="tell me about owls"):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        return model(**tokenizer(text, return_tensors="pt")).logits


def frozen(place, **more):
    return load_frozen(FrozenSettings(model=str(place), sampling=Sampling(max_new_tokens=6), **more))


def test_a_file_gives_the_weights_tokens_and_template_that_it_was_made_from(model, file):
    plain = resolve(str(file), "frozen")
    assert torch.equal(logits(plain), logits(model))
    own, read = AutoTokenizer.from_pretrained(model), AutoTokenizer.from_pretrained(plain)
    assert [read(text)["input_ids"] for text in TEXTS] == [own(text)["input_ids"] for text in TEXTS]
    said = [{"role": "user", "content": "owls"}]
    assert read.apply_chat_template(said, tokenize=False, add_generation_prompt=True) == own.apply_chat_template(
        said, tokenize=False, add_generation_prompt=True
    )
    assert (read.eos_token, read.pad_token, read.chat_template) == (own.eos_token, own.pad_token, own.chat_template)
    assert set(own.all_special_ids) == set(read.all_special_ids)
    again = AutoModelForCausalLM.from_pretrained(plain)
    again.save_pretrained(file.parent / "again")  # no mark of the quantiser is left
    assert "quantization_config" not in again.config.to_dict()


def test_a_folder_that_holds_one_answers_as_the_model_itself(model, file, tmp_path):
    folder = tmp_path / "holds"
    folder.mkdir()
    shutil.copy(file, folder / "any.gguf")
    (folder / "config.json").write_text('{"model_type": "gpt2"}')  # as repositories of GGUF files have it beside
    held, plain = frozen(folder), frozen(model)
    assert held.respond(list(TEXTS), [2, 1, 1], 0) == plain.respond(list(TEXTS), [2, 1, 1], 0)
    assert fingerprint(held.lm.model) == fingerprint(plain.lm.model)
    assert resolve(str(file), "frozen") == resolve(str(folder / "any.gguf"), "frozen")


def test_a_file_is_read_once_and_a_damaged_copy_is_made_anew(file, tmp_path, monkeypatch, cache):
    monkeypatch.setenv("ALIGNPRO_CACHE", str(tmp_path))
    reads, real = [], gguf._convert
    monkeypatch.setattr(gguf, "_convert", lambda *given: (reads.append(given), real(*given)))
    plain = gguf.plain(file, "frozen.model m")
    weights = plain / "model.safetensors"
    whole = weights.read_bytes()
    renamed = shutil.copy(file, tmp_path / "model.gguf")  # the same file elsewhere
    assert gguf.plain(file, "frozen.model m") == gguf.plain(renamed, "frozen.model m") == plain and len(reads) == 1
    weights.write_bytes(whole[:-1] + b"!")
    assert checksums.fault(plain)
    assert gguf.plain(file, "frozen.model m") == plain and len(reads) == 2
    assert weights.read_bytes() == whole
    assert [path.name for path in gguf.kept().iterdir()] == [plain.name]


def test_what_is_quantised_keeps_its_values(file, tmp_path):
    from gguf import GGMLQuantizationType, dequantize, quantize

    eight = GGMLQuantizationType.Q8_0
    blocks = lambda name, data: (quantize(data, eight), eight) if name.endswith("ffn_up.weight") else data  # noqa: E731
    plain = resolve(str(rewritten(file, tmp_path / "q8.gguf", tensors=blocks)), "frozen")
    read = AutoModelForCausalLM.from_pretrained(plain).model.layers[0].mlp.up_proj.weight
    exact = AutoModelForCausalLM.from_pretrained(resolve(str(file), "frozen")).model.layers[0].mlp.up_proj.weight
    expected = torch.from_numpy(dequantize(quantize(exact.detach().numpy(), eight), eight))
    assert read.dtype == torch.float32 and torch.equal(read, expected) and not torch.equal(read, exact)


def test_recommended_sampling_is_told_beside_what_is_used(file):
    held = frozen(file)
    told = []
    tell_models({"frozen": held}, told.append)
    assert len(told) == 1
    assert "temperature 0.5 (used: 1.0)" in told[0] and "top_p 0.9 (used: 1.0)" in told[0]


def test_an_adapter_notes_the_file_as_its_base_not_the_copy_of_it(file, tmp_path):
    prompter = load_prompter(
        PrompterSettings(model=str(file), template="{prompt}", sampling=Sampling(max_new_tokens=6))
    )
    with lora.adapted(prompter.lm.model, LoraSettings(rank=2), "prompter.lora", 0) as policy:
        lora.save_trained(policy, tmp_path / "adapter")
    assert base_of(str(tmp_path / "adapter"), "adapter", "frozen") == resolve(str(file), "frozen")
    assert read_json(tmp_path / "adapter" / "adapter_config.json")["base_model_name_or_path"] == str(file)


def test_a_file_is_known_again_by_what_it_holds(file, tmp_path):
    one = shutil.copy(file, tmp_path / "one.gguf")
    settings = Settings(frozen=FrozenSettings(model=str(one)))
    assert not named(settings)  # neither code nor a host, so that another's folder may name it
    before = fingerprints(settings)
    assert list(before) == [f"frozen.model {one}"]
    rewritten(file, one, {"general.name": "another"})
    assert fingerprints(settings) != before


def test_rotary_embeddings_that_llama_3_scales_are_read_though_transformers_leaves_them_out(tmp_path):
    from transformers import LlamaForCausalLM

    source = save_model(tmp_path / "model", "llama", seed=6, context=128)
    scaled = LlamaForCausalLM.from_pretrained(source)
    rope = {"rope_type": "llama3", "factor": 8.0, **gguf.LLAMA3, "rope_theta": 500000.0}
    scaled.config.rope_parameters = rope
    scaled.save_pretrained(source)
    file = save_gguf(source, tmp_path / "file")
    plain = resolve(str(file), "frozen")
    assert AutoModelForCausalLM.from_pretrained(plain).config.rope_parameters == rope
    assert torch.allclose(logits(plain), logits(source), atol=1e-6)
    odd = rewritten(file, tmp_path / "odd.gguf", tensors=lambda n, data: data * 1.5 if n == gguf.ROPE else data)
    with pytest.raises(ModelNotUsable, match="factors that are not Llama 3's"):
        resolve(str(odd), "frozen")


def test_texts_are_cut_as_the_file_says(file, tmp_path):
    """Transformers does not know that SmolLM's rule cuts off single digits."""
    plain = resolve(str(rewritten(file, tmp_path / "digits.gguf", {"tokenizer.ggml.pre": "smollm"})), "frozen")
    cut = AutoTokenizer.from_pretrained(plain).backend_tokenizer.pre_tokenizer.pre_tokenize_str("in 12")
    assert [piece for piece, _ in cut] == ["in", "Ġ", "1", "2"]


def test_a_rule_that_transformers_does_not_know_is_told(file, tmp_path, capsys):
    resolve(str(rewritten(file, tmp_path / "odd.gguf", {"tokenizer.ggml.pre": "owlish"})), "frozen")
    assert "cuts texts by the rule 'owlish'" in capsys.readouterr().err


def _torn(file, out):
    out.write_bytes(file.read_bytes()[:-100])


def _torn_early(file, out):
    out.write_bytes(file.read_bytes()[:1000])


def _pointer(file, out):
    out.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")


def _old(file, out):
    out.write_bytes(b"GGUF\x01\x00\x00\x00" + file.read_bytes()[8:])


def _lacks(file, out):
    rewritten(file, out, tensors=lambda name, data: None if name == "blk.1.ffn_up.weight" else data)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_torn, r"is torn: it has \d+ bytes of the \d+"),
        (_torn_early, "is torn: its header does not end"),
        (_pointer, "is no GGUF file: it begins with b'vers'"),
        (lambda file, out: out.touch(), "is no GGUF file"),
        (_old, "version 1; versions 2 and 3 can be read"),
        (_lacks, r"lacks model.layers.1.mlp.up_proj.weight, which a LlamaForCausalLM has"),
        (
            lambda file, out: rewritten(file, out, {"general.architecture": "rwkv7"}),
            "architecture is rwkv7, and transformers reads GGUF files of .*llama.*qwen2",
        ),
        (
            lambda file, out: rewritten(file, out, more={"blk.0.attn_q.bias": np.ones(32, np.float32)}),
            "holds blk.0.attn_q.bias, 1 tensors in all that transformers would leave out",
        ),
        (lambda file, out: rewritten(file, out, {"llama.rope.scaling.type": "yarn"}), r"rotary embeddings \(yarn\)"),
        (lambda file, out: rewritten(file, out, {"split.count": 2}), "one of several parts"),
    ],
)
def test_a_file_that_does_not_give_its_model_is_refused(file, tmp_path, make, told, cache):
    make(file, tmp_path / "bad.gguf")
    with pytest.raises(ModelNotUsable, match=f"frozen.model .*bad.gguf: .*{told}"):
        resolve(str(tmp_path / "bad.gguf"), "frozen")
    assert not list(cache.glob("*bad*"))


@pytest.mark.parametrize("part", ["frozen", "prompter"])
def test_a_file_that_is_none_ends_a_command_before_anything_is_read(inside, file, tmp_path, part, monkeypatch):
    monkeypatch.setattr(gguf, "_plain", lambda *given: pytest.fail("a model was read"))
    (tmp_path / "bad.gguf").write_bytes(file.read_bytes()[:-100])
    places = {"frozen": file, "prompter": file} | {part: tmp_path / "bad.gguf"}
    words = [f"--{name}={place}" for name, place in places.items()]
    code, output = inside("run", *words, "--reward=lab", "--prompts=lab", f"--out={tmp_path / 'out'}")
    assert code == 2 and f"{part}.model {tmp_path / 'bad.gguf'}: bad.gguf is torn" in " ".join(output.split()), output
    assert not (tmp_path / "out").exists()


def test_without_the_package_gguf_the_command_is_told_that_installs_it(file, tmp_path, monkeypatch):
    other = rewritten(file, tmp_path / "other.gguf", {"general.name": "not read yet"})
    monkeypatch.setattr("alignpro.runtime.packages.installed", lambda name: name != "gguf")
    with pytest.raises(ModelNotUsable, match=r"pip install 'alignpro\[gguf\]'"):
        resolve(str(other), "frozen")
    assert resolve(str(file), "frozen")  # what was read before needs it no more


def test_of_several_files_in_a_folder_one_is_to_be_chosen(file, tmp_path):
    for name in ("a.gguf", "b.gguf"):
        shutil.copy(file, tmp_path / name)
    with pytest.raises(ModelNotUsable, match=r"2 models: a.gguf, b.gguf. Choose one, as .*/a.gguf"):
        resolve(str(tmp_path), "frozen")
    with pytest.raises(ModelNotUsable, match=r"no such folder or .gguf file"):
        resolve("gone.gguf", "frozen")
