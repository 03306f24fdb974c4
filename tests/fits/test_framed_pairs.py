"""`alignpro template`, and pairs that templates make."""

import json
from collections import Counter

import cli
import numpy as np
import pytest

from alignpro.config import DataSettings, SftSettings
from alignpro.data.rewrites import load_rewrites
from alignpro.data.templates import read_templates
from alignpro.errors import UsageError
from alignpro.fits import make_pairs
from alignpro.fits.framed_pairs import draw, weights
from alignpro.results import Estimate, TemplateChoice, TriedTemplate
from alignpro.types import as_prompts

TEXTS = ("[b]{prompt}[/b]", "{prompt} 🦉", "{prompt}\n\nBe brief.")
SMALL = ("--threads=1", "--frozen.sampling.max_new_tokens=6", "--evaluate.template_prompts=5", "--evaluate.responses=2")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("\n---\n".join(TEXTS))
    return path


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_command_prints_the_template_and_what_it_gains(workshop, file, inside, tmp_path):
    out = tmp_path / "found"
    code, output = inside("template", str(file), *cli.models(workshop)[1:], *SMALL, f"--out={out}")
    assert code == 0, output
    told = json.loads((out / "template.json").read_text())
    best = next(row["text"] for row in told["templates"] if row["name"] == told["best"])
    gain = json.loads((out / "evaluation.json").read_text())["differences"][0]
    assert (gain["a"], gain["b"]) == ("template_best", "no_prompter")
    assert output.startswith(best + "\n")
    assert "gain over the bare prompt" in output and "of 4 templates on 5 training prompts" in output
    assert not (out / "prompter").exists() and "Best template" in (out / "report.html").read_text()
    before = (out / "template.json").stat().st_mtime_ns
    code, again = inside("template", str(file), f"--run={out}")  # what the run has found is not sampled again
    assert code == 0 and again.startswith(best + "\n") and "choosing" not in again
    assert (out / "template.json").stat().st_mtime_ns == before
    code, output = inside("template", str(file), "lab", "more")
    assert code == 2 and "unexpected argument 'more'" in output


def test_pairs_of_templates_need_no_model_and_sft_reads_them(workshop, file, inside, tmp_path):
    out = tmp_path / "pairs.jsonl"
    asked = workshop / "prompts.txt"
    words = ("pairs", f"--templates={file}", f"--prompts={asked}", f"--out={out}", "--frozen=nowhere")
    code, output = inside(*words)
    assert code == 0, output
    rows = rows_of(out)
    templates = read_templates(str(file))
    for row in rows:
        assert row["rewrite"] == templates[row["template"]].text.replace("{prompt}", row["prompt"])
    told = json.loads((tmp_path / "pairs.json").read_text())
    counts = Counter(f"template_{row['template']}" for row in rows)
    assert {row["name"]: row["pairs"] for row in told["templates"] if row["pairs"]} == counts
    read = load_rewrites(SftSettings(pairs=str(out)), DataSettings(), 0, lambda pair: None)
    assert {(pair.prompt.text, pair.rewrite) for pair in (*read.train, *read.test)} == {
        (row["prompt"], row["rewrite"]) for row in rows
    }
    assert not read.dropped
    code, output = inside(*words)
    assert code == 0 and rows_of(out) == rows
    code, output = inside(*words, "--seed=1")
    assert code == 2 and "holds other pairs" in output


def test_templates_are_weighed_by_their_gain(workshop, file, spy, tmp_path):
    own = (
        "reward.model=python:rewards:spy",
        f"pairs.templates={file}",
        "pairs.weigh=gain",
        "evaluate.template_prompts=6",
    )
    made = make_pairs(cli.settings(workshop, *own), tmp_path / "pairs.jsonl")
    assert made.frozen_calls == 6 * 4 * 2
    gains = {row.name: row.gain.value for row in made.templates}
    drawn = {f"template_{row['template']}" for row in rows_of(tmp_path / "pairs.jsonl")}
    assert drawn and all(gains[name] > 0 for name in drawn)


def choice(*gains):
    rows = [
        TriedTemplate(name=f"template_{i}", text="", reward=Estimate(0), gain=Estimate(gain))
        for i, gain in enumerate((0.0, *gains))
    ]
    told = {"reward": "r", "best": "", "prompts": 9, "responses": 2, "frozen_calls": 0}
    return TemplateChoice(file="f", templates=tuple(rows), **told)


def test_shares_are_proportional_to_gains():
    templates = read_templates("default")[1:4]
    assert weights(templates, choice(0.3, -0.2, 0.1)) == pytest.approx([0.75, 0, 0.25])
    assert weights(templates, choice(0.3, float("nan"), 0.1)) == pytest.approx([0.75, 0, 0.25])
    assert weights(templates, None) == pytest.approx([1 / 3] * 3)
    with pytest.raises(UsageError, match="no template of f gains over the bare prompt"):
        weights(templates, choice(-0.3, 0.0, float("nan")))


def test_prompts_are_drawn_their_templates_by_the_shares():
    templates = read_templates("default")[1:4]
    prompts = as_prompts(f"p{i}" for i in range(3000))
    drawn = draw(prompts, templates, np.array([0.5, 0, 0.5]), 1, 0)
    counts = Counter(template.number for _, template in drawn)
    assert set(counts) == {1, 3} and abs(counts[1] - 1500) < 4 * np.sqrt(750)
    assert draw(prompts[5:9], templates, np.array([0.5, 0, 0.5]), 1, 0) == drawn[5:9]  # whatever the others


def test_a_prompt_takes_several_templates_each_another():
    templates, prompts = read_templates("default")[1:5], as_prompts(f"p{i}" for i in range(2000))
    shares = np.array([0.4, 0, 0.4, 0.2])
    one, two, all_there_are = (draw(prompts, templates, shares, many, 0) for many in (1, 2, 9))
    assert two[::2] == one  # those that it had alone, and more
    assert all(a[0] == b[0] and a[1] != b[1] for a, b in zip(two[::2], two[1::2], strict=True))
    assert len(all_there_are) == 3 * len(prompts)
    third = Counter(t.number for _, t in two)[templates[3].number] / len(prompts)
    assert third == pytest.approx(0.2 + 2 * 0.4 * 0.2 / 0.6, abs=0.04)
