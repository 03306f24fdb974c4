"""What is exported as GGUF reads back, by transformers, as the prompter that it was; what would not is refused."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import make_tokenizer, save_model

pytest.importorskip("gguf", reason="the package gguf is not installed")
from gguf_files import save_gguf
from tokenizers import Regex, normalizers, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from alignpro.errors import UsageError
from alignpro.export import gguf
from alignpro.models import checksums
from alignpro.models.loading import resolve

TEXT = "tell me about 12 owls"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNPRO_CACHE", str(tmp_path / "cache"))


def outputs(folder):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        return ids["input_ids"].tolist(), model(**ids).logits


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_file_reads_back_with_the_same_tokens_and_logits(tmp_path, kind):
    folder = save_model(tmp_path / "model", kind, seed=2, context=128, spare=2)
    (tokens, logits), (own, read) = outputs(folder), outputs(resolve(str(save_gguf(folder, tmp_path / "f")), "frozen"))
    assert own == tokens and torch.equal(read, logits)


def test_in_float16_matrices_are_rounded_and_nothing_else(tmp_path):
    folder = save_model(tmp_path / "model", "llama", seed=2, context=128)
    plain = resolve(str(save_gguf(folder, tmp_path / "file", "float16")), "frozen")
    read = AutoModelForCausalLM.from_pretrained(plain).state_dict()
    for name, weight in AutoModelForCausalLM.from_pretrained(folder).state_dict().items():
        assert torch.equal(read[name].float(), (weight.half() if weight.ndim > 1 else weight).float()), name


def test_an_adapter_is_merged(tmp_path):
    base = AutoModelForCausalLM.from_pretrained(save_model(tmp_path / "model", "llama", context=128))
    adapted = get_peft_model(base, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    file = save_gguf(tmp_path / "adapter", tmp_path / "file")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(tmp_path / "model").save_pretrained(tmp_path / "merged")
    assert torch.equal(outputs(resolve(str(file), "frozen"))[1], outputs(tmp_path / "merged")[1])


def test_a_run_is_exported_with_what_llama_cpp_and_ollama_want(inside, trained, tmp_path):
    code, output = inside("export", str(trained), f"--out={tmp_path / 'no'}", "--gguf", "--format=adapter")
    assert code == 2 and "leave one of them out" in output
    out = tmp_path / "out"
    code, output = inside("export", str(trained), f"--out={out}", "--gguf", "--gguf-dtype=float32")
    assert code == 0, output
    plain = resolve(str(out / "model.gguf"), "frozen")
    (tokens, logits), (own, read) = outputs(out), outputs(plain)
    assert own == tokens and torch.equal(read, logits)
    assert GenerationConfig.from_pretrained(plain).temperature == 1
    assert (
        out / "Modelfile"
    ).read_text() == "FROM ./model.gguf\nPARAMETER temperature 1\nPARAMETER top_p 1\nPARAMETER top_k 0\n"
    assert "llama-server -m model.gguf" in (out / "README.md").read_text()
    assert resolve(str(out), "frozen") == str(out)  # which still is a plain folder
    assert checksums.fault(out) is None


def test_a_class_that_is_not_written_is_refused_before_anything_is(tmp_path):
    folder = save_model(tmp_path / "model", "phi3", context=128)
    with pytest.raises(UsageError, match="Phi3ForCausalLM is not written here, only classes llama, mistral, qwen2"):
        save_gguf(folder, tmp_path / "file")
    assert not list((tmp_path / "file").iterdir())


def test_what_a_file_would_not_hold_is_named(tmp_path):
    folder = save_model(tmp_path / "model", "llama", context=128)
    path = folder / "config.json"
    path.write_text(path.read_text().replace('"hidden_act": "silu"', '"hidden_act": "gelu"'))
    with pytest.raises(UsageError, match="the prompter has hidden_act gelu, which is not read back"):
        save_gguf(folder, tmp_path / "file")


def test_without_the_package_gguf_its_command_is_told(tmp_path, monkeypatch):
    folder = save_model(tmp_path / "model", "llama", context=128)
    monkeypatch.setattr(gguf, "installed", lambda name: False)
    with pytest.raises(UsageError, match=r"pip install 'alignpro\[gguf\]'"):
        save_gguf(folder, tmp_path / "file")


def split(pattern):
    parts = [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    return pre_tokenizers.Sequence(parts)


def test_how_texts_are_cut_has_a_name_or_the_tokenizer_is_refused():
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(False)])
    known = {"gpt-2": pre_tokenizers.ByteLevel(False), "smollm": digits}
    known |= {name: split(GGUF_PRE_TOKENIZER_SPLITS[name]) for name in ("llama-bpe", "qwen2")}
    tokenizer = make_tokenizer()
    for name, cut in known.items():
        tokenizer.backend_tokenizer.pre_tokenizer = cut
        assert gguf._rule(tokenizer) == name
    for cut in (split(r"\w+"), pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(True)):
        tokenizer.backend_tokenizer.pre_tokenizer = cut
        with pytest.raises(UsageError, match=r"cut by .*convert_hf_to_gguf"):
            gguf._rule(tokenizer)
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(UsageError, match="byte-level merges"):
        gguf._rule(tokenizer)
