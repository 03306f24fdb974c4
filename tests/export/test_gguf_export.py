"""What is exported as GGUF reads back, by transformers, as the prompter that it was; what would not is refused."""

import pytest
import torch
from cli import SMALL
from tiny import make_classifier, make_tokenizer, save_model

pytest.importorskip("gguf", reason="the package gguf is not installed")
from gguf_files import save_gguf
from tokenizers import Regex, normalizers, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from alignpro.errors import UsageError
from alignpro.export import gguf
from alignpro.models.loading import resolve
from alignpro.running.rewriter import TrainedPrompter

TEXT = "tell me about 12 owls"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNPRO_CACHE", str(tmp_path / "cache"))


def outputs(folder):
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(TEXT, return_tensors="pt")
    with torch.no_grad():
        return ids["input_ids"].tolist(), model(**ids).logits


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_a_file_reads_back_with_the_same_tokens_and_logits(tmp_path, kind, precision):
    folder = save_model(tmp_path / "model", kind, seed=2, context=128, spare=2)
    tokens, logits = outputs(folder)
    own, read = outputs(resolve(str(save_gguf(folder, tmp_path / "file", precision)), "frozen"))
    assert own == tokens
    if precision == "float32":
        assert torch.equal(read, logits)
    else:
        torch.testing.assert_close(read.float(), logits, rtol=0, atol=5e-3)
        assert not torch.equal(read.float(), logits)


def test_a_run_with_an_adapter_is_exported_merged_with_what_ollama_wants(inside, tmp_path):
    save_model(tmp_path / "p", "llama", seed=3, layers=1)
    save_model(tmp_path / "f", "qwen2", seed=4, layers=1)
    make_classifier(tmp_path / "r", "gemma", seed=5)
    (tmp_path / "q.txt").write_text("".join(f"why is {i} odd?\n" for i in range(15)))
    words = [f"--prompter={tmp_path / 'p'}", f"--frozen={tmp_path / 'f'}", f"--reward={tmp_path / 'r'}"]
    words += [f"--prompts={tmp_path / 'q.txt'}", *SMALL, "--train.steps=1", "--train.prompts_per_step=4"]
    words += ["--evaluate.every=0", "--evaluate.arms=[no_prompter,align_pro]", "--prompter.lora.rank=2"]
    code, output = inside("run", *words, f"--out={tmp_path / 'run'}")
    assert code == 0, output
    code, output = inside("export", str(tmp_path / "run"), f"--out={tmp_path / 'no'}", "--gguf", "--format=adapter")
    assert code == 2 and "leave one of them out" in output
    out = tmp_path / "out"
    code, output = inside("export", str(tmp_path / "run"), f"--out={out}", "--gguf", "--gguf-dtype=float32")
    assert code == 0, output
    plain = resolve(str(out / "model.gguf"), "frozen")
    (tokens, logits), (own, read) = outputs(out), outputs(plain)
    assert own == tokens and torch.equal(read, logits)
    sampling = TrainedPrompter.load(tmp_path / "run").prompter.lm.sampling
    assert GenerationConfig.from_pretrained(plain).temperature == sampling.temperature
    assert (
        (out / "Modelfile").read_text().startswith(f"FROM ./model.gguf\nPARAMETER temperature {sampling.temperature:g}")
    )
    assert "llama-server -m model.gguf" in (out / "README.md").read_text()
    assert resolve(str(out), "frozen") == str(out)  # which still is a plain folder


def test_a_class_that_is_not_written_is_refused_before_anything_is(inside, tmp_path):
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
