"""The shipped models are what `lab build` makes, and a smaller build is made here from scratch."""

import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from alignpro.errors import ModelNotUsable
from alignpro.lab.build import SECOND, Recipe, build, build_second
from alignpro.models.fingerprint import fingerprint
from alignpro.models.loading import resolve

SHIPPED = Path(str(resources.files("alignpro.lab") / "weights"))
SMALL = Recipe(
    frozen_width=32,
    frozen_layers=1,
    frozen_steps=60,
    prompter_width=32,
    prompter_layers=1,
    prompter_steps=60,
    reward_steps=20,
    batch_size=16,
    preference_prompts=48,
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    said = []
    out = tmp_path_factory.mktemp("lab")
    figures = build(out, SMALL, said.append)
    return out, figures, said


def test_a_smaller_lab_is_built_and_learns(small):
    out, figures, said = small
    assert {p.name for p in out.iterdir()} == {"prompter", "frozen", "reward", "build.json"}
    assert figures["frozen_loss"] < 6.0  # a uniform guess over the vocabulary costs 6.8 nats
    assert figures["prompter_loss"] < 4.5  # and 5.4 here
    assert any("held-out accuracy" in line for line in said)


def test_the_same_seed_builds_the_same_models_and_another_does_not(small, tmp_path):
    del small  # built first, so that what it draws cannot leak into these
    quick = Recipe(**(asdict(SMALL) | {"frozen_steps": 2, "prompter_steps": 2, "reward_steps": 2}))
    prints = []
    for name, recipe in (("a", quick), ("b", quick), ("c", Recipe(**(asdict(quick) | {"seed": 1})))):
        build(tmp_path / name, recipe, lambda line: None)
        prints.append(
            [
                fingerprint(AutoModelForCausalLM.from_pretrained(tmp_path / name / part))
                for part in ("prompter", "frozen")
            ]
        )
    assert prints[0] == prints[1]
    assert prints[0] != prints[2]


@pytest.mark.parametrize("part", ["prompter", "frozen", "reward", "prompter-2", "frozen-2"])
def test_the_shipped_models_load_in_plain_transformers(part):
    auto = AutoModelForSequenceClassification if part == "reward" else AutoModelForCausalLM
    model = auto.from_pretrained(SHIPPED / part)
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED / part)
    assert model.config.vocab_size == len(tokenizer)
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model.config.model_type == "llama"


def test_the_shipped_weights_are_small_and_were_made_by_the_default_recipe():
    assert sum(p.stat().st_size for p in SHIPPED.rglob("*") if p.is_file()) < 10_000_000
    figures = json.loads((SHIPPED / "build.json").read_text())
    assert figures["recipe"] == asdict(Recipe())
    assert figures["reward_held_out_accuracy"] > 0.75


def test_prompter_and_frozen_model_read_text_differently():
    texts = "tell me about owls and light a stove"
    pieces = [AutoTokenizer.from_pretrained(SHIPPED / part).tokenize(texts) for part in ("prompter", "frozen")]
    assert pieces[0] != pieces[1]


def test_the_second_models_are_of_the_sizes_that_their_recipe_names():
    for part, width, layers in (
        ("prompter-2", SECOND.prompter_width, SECOND.prompter_layers),
        ("frozen-2", SECOND.frozen_width, SECOND.frozen_layers),
    ):
        shape = json.loads((SHIPPED / part / "config.json").read_text())
        assert (shape["hidden_size"], shape["num_hidden_layers"]) == (width, layers)
    assert SECOND.seed == Recipe().seed  # the same subjects are held out


def test_a_second_pair_is_built(tmp_path):
    quick = Recipe(**(asdict(SMALL) | {"frozen_steps": 2, "prompter_steps": 2}))
    build_second(tmp_path, quick, lambda line: None)
    assert {path.name for path in tmp_path.iterdir()} == {"prompter-2", "frozen-2"}


def test_a_packaged_model_that_there_is_not_names_those_there_are():
    with pytest.raises(ModelNotUsable, match="lab:frozen-2"):
        resolve("lab:frozen-3", "frozen")
    with pytest.raises(ModelNotUsable, match="give lab, or lab:prompter"):
        resolve("lab:frozen-2", "prompter")
    assert resolve("lab:frozen", "frozen") == resolve("lab", "frozen")
