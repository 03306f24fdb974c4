"""SFT of a reference prompter: the frame of inference, a loss on x' and its end alone, the best epoch kept."""

import json
import signal

import numpy as np
import pytest
import torch
from tiny import save_model
from transformers import AutoModelForCausalLM

from alignpro import config
from alignpro.config import PrompterSettings, Sampling
from alignpro.data.rewrites import BetterPrompt
from alignpro.errors import DataError, Interrupted
from alignpro.fits import learn_prompter
from alignpro.fits.sft import framed, stops, unusable
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import load_prompter
from alignpro.train import sft
from alignpro.types import Prompt, Turn


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft")
    save_model(folder / "base", "qwen2", seed=4)
    save_model(folder / "plain", "llama", seed=5, chat=False)
    rows = [{"prompt": f"owls {i}", "rewrite": f"tell me about owls {i}"} for i in range(40)]
    rows += [rows[0], {"prompt": "a", "rewrite": " a "}, {"prompt": "b", "rewrite": ""}, {"prompt": "c", "rewrite": 3}]
    rows += [{"prompt": "d", "rewrite": '"quoted"'}, {"prompt": "e", "rewrite": "word " * 80}]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


BEFORE = (Turn("user", "owls?"), Turn("assistant", "They fly."))


@pytest.mark.parametrize("base", ["base", "plain"])
@pytest.mark.parametrize("x", [Prompt("tell me of rain"), Prompt("tell me of rain", "Be brief.", BEFORE)])
def test_pairs_are_framed_as_the_prompter_meets_them(shop, base, x):
    settings = PrompterSettings(model=str(shop / base), sampling=Sampling(max_new_tokens=12))
    prompter = load_prompter(settings)
    query, completion = framed(prompter.lm, BetterPrompt(x, "the rain in a town"))
    assert query == list(prompter.rewrite([x], 1, 0)[0][0].query)
    assert (query == prompter.lm.queries([x.text])[0]) == x.alone
    assert prompter.lm.tokenizer.decode(completion[:-1]) == "the rain in a town"
    assert completion[-1] in prompter.lm.eos_ids


def test_the_loss_is_that_of_the_rewrite_and_its_end_alone(shop):
    lm = load_prompter(PrompterSettings(model=str(shop / "base"))).lm
    texts = (("owls", "tell me about owls"), ("rain in town", "rain"))
    pairs = [framed(lm, BetterPrompt(Prompt(x), rewrite)) for x, rewrite in texts]
    total, count = 0.0, 0
    for query, completion in pairs:  # transformers' own loss, a row at a time, everything but the completion ignored
        ids = torch.tensor([[*query, *completion]])
        labels = torch.tensor([[*[-100] * len(query), *completion]])
        with torch.no_grad():
            total += float(lm.model(input_ids=ids, labels=labels).loss) * len(completion)
        count += len(completion)
    for tokens in (None, 1):
        told = sum(told for _, told in sft.pieces(lm.model, pairs, lm.pad_id, tokens))
        assert told == pytest.approx(total / count, rel=1e-4)


def test_what_could_not_be_sampled_or_read_is_left_out(shop):
    settings = PrompterSettings(model=str(shop / "base"), sampling=Sampling(max_new_tokens=10))
    lm = load_prompter(settings).lm
    assert unusable(lm, BetterPrompt(Prompt("owls"), "owls")) is None
    assert "max_new_tokens" in unusable(lm, BetterPrompt(Prompt("owls"), "tell me of owls, of rain, and of towns"))
    assert "otherwise" in unusable(lm, BetterPrompt(Prompt("owls"), '"owls"'))
    assert "context" in unusable(lm, BetterPrompt(Prompt("owls " * 900), "owls"))


def settings(shop, *more):
    return config.load(
        "local",
        [
            f"prompter.model={shop / 'base'}",
            f"sft.pairs={shop / 'pairs.jsonl'}",
            'prompter.template="{prompt}"',
            "sft.epochs=4",
            "sft.batch_size=8",
            "sft.learning_rate=3e-3",
            "sft.save_every=3",
            "sft.bootstrap=100",
            "threads=1",
            *more,
        ],
    )


@pytest.fixture(scope="module")
def fitted(shop):
    return shop / "whole", learn_prompter(settings(shop), shop / "whole")


def test_it_learns_and_its_folder_is_a_prompter(shop, fitted):
    out, found = fitted
    assert found["gain"]["ci95"][0] > 0.5
    assert found["loss_before"]["value"] - found["loss_per_token"]["value"] == pytest.approx(found["gain"]["value"])
    assert sum(found["dropped"].values()) == 6
    assert {"repeated", "rewrite is the prompt", "empty rewrite"} < set(found["dropped"])
    assert found["kept_epoch"] == int(np.argmin([e["validation_loss"] for e in found["epochs"]])) + 1
    assert sum(found["pairs"].values()) == 40
    prompter = load_prompter(PrompterSettings(model=str(out / "prompter"), sampling=Sampling(max_new_tokens=8)))
    assert prompter.rewrite(["owls 3"], 1, 0)[0][0].text
    assert not list(out.glob("best*"))


def test_its_report_is_read_from_the_figures_alone(fitted, inside):
    out, found = fitted
    page = (out / "report.html").read_bytes()
    text = page.decode()
    assert "likelier to write the better prompts" in text
    assert f"{found['loss_per_token']['value']:.2f}" in text
    assert text.count("<svg") >= 1 and "Epochs" in text
    (out / "report.html").unlink()
    assert inside("report", str(out))[0] == 0
    assert (out / "report.html").read_bytes() == page


def test_an_interrupted_one_goes_on_to_the_same_prompter(shop, fitted, monkeypatch):
    out, real, calls = shop / "stopped", sft.pieces, 0

    def stopping(*given, **named):
        nonlocal calls
        calls += 1
        if calls == 6:
            signal.raise_signal(signal.SIGINT)
        return real(*given, **named)

    monkeypatch.setattr(sft, "pieces", stopping)
    with pytest.raises(Interrupted):
        learn_prompter(settings(shop), out)
    assert learn_prompter(None, out, resume=True) == fitted[1]
    prints = [fingerprint(AutoModelForCausalLM.from_pretrained(f / "prompter")) for f in (out, fitted[0])]
    assert prints[0] == prints[1]


def test_epochs_that_bring_nothing_end_it():
    assert not stops([3.0, 2.0], 2)
    assert not stops([2.0, 3.0, 1.9], 2)
    assert stops([2.0, 3.0, 2.1], 2)
    assert stops([2.0, 2.0], 1)


def test_by_the_command_line_and_what_it_says_of_another_file(shop, inside, tmp_path):
    (tmp_path / "x.csv").write_text("prompt,better\na,b\n")
    base = ("--base", str(shop / "base"))
    code, output = inside("sft", *base, "--pairs", str(tmp_path / "x.csv"), f"--out={tmp_path / 'a'}")
    assert code == 2
    assert "sft.pairs" in output
    assert "found prompt, better; wanted 'prompt' and 'rewrite'" in output
    (tmp_path / "y.csv").write_text("prompt,better\n" + "".join(f"owls {i},tell of owls {i}\n" for i in range(12)))
    words = (
        "--pairs",
        str(tmp_path / "y.csv"),
        "--sft.column=better",
        "--sft.epochs=1",
        "--threads=1",
        '--prompter.template="{prompt}"',
    )
    code, output = inside("sft", *base, *words, "--sft.bootstrap=100", f"--out={tmp_path / 'a'}")
    assert code == 0, output
    assert "perplexity" in output
    with pytest.raises(DataError, match="no pair can be used: 1 rewrite is the prompt"):
        (tmp_path / "z.jsonl").write_text('{"prompt": "a", "rewrite": "a"}\n')
        learn_prompter(settings(shop, f"sft.pairs={tmp_path / 'z.jsonl'}"), tmp_path / "b")
