"""What is written for a setting is what it becomes: texts as they stand, no true for a 1, paths that stay."""

import math
import re

import numpy as np
import pytest
import yaml
from hypothesis import given, settings, strategies
from pydantic import ValidationError

from alignpro import config
from alignpro.config.listing import groups
from alignpro.config.notation import alternatives, from_yaml, meant, type_of
from alignpro.config.section import sections_in
from alignpro.errors import SettingsError
from alignpro.rewards.heads import head_of


def value(override, recipe="local"):
    loaded = config.load(recipe, [override])
    for part in override.partition("=")[0].replace("-", "_").split("."):
        loaded = loaded[part] if isinstance(loaded, dict) else getattr(loaded, part)
    return loaded


@pytest.mark.parametrize(
    "text",
    [
        "# Role: expert",
        "Use #tags.",
        "one line\nand another\n",
        "{prompt}",
        "[INST] {prompt} [/INST]",
        "a: {prompt}",
        "yes",
        "true",
        "010",
        "1e5",
        "1:30",
        "2026-01-31",
        '"quoted"',
        "'",
        "- a list?",
        "& * ! % ` | >",
        "~",
        "say: hello 🦉 [b]",
        " spaces before and after ",
        "\ttab",
    ],
)
def test_a_text_is_taken_as_it_stands(text):
    loaded = config.load("local", [f"{name}={text}" for name in ("frozen.system", "prompter.template", "data.column")])
    assert [loaded.frozen.system, loaded.prompter.template, loaded.data.column] == [text] * 3


def test_every_setting_that_is_a_text_alone_takes_any_text_as_it_stands():
    text, seen = "# 010: no\nyes", set()
    for one in (one for group in groups() for one in group.settings if "[]" not in one.name):
        annotation = type_of(one.name, config.Settings)
        if all(kind in (str, type(None)) for kind in alternatives(annotation)):
            assert meant(text, annotation) == text
            seen.add(one.name)
    assert {"frozen.system", "judge.template", "reward.model", "sft.column", "evaluate.judge", "device"} <= seen


@pytest.mark.parametrize("text", ["", "null"])
def test_null_and_nothing_are_null_where_a_text_may_be_null(text):
    assert value(f"frozen.system={text}", "local") is None
    assert value(f"evaluate.second_reward={text}", "lab") is None
    assert value(f"data.column={text}") == text


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("reward.head=yes", "yes"),
        ("reward.head=no", "no"),
        ("reward.head=true", "true"),
        ("reward.head=010", "010"),
        ("reward.head=1.5", "1.5"),
        ("reward.head=1", 1),
        ("reward.head='1'", "1"),
        ("reward.head=log_odds:no", "log_odds:no"),
        ("reward.head=[1, -1]", [1.0, -1.0]),
        ("reward.head={yes: 1, no: -1}", {"yes": 1.0, "no": -1.0}),
        ("data.validation=0.2", 0.2),
        ("data.validation=010", "010"),
        ("judge.criteria=[no, 010, 'is it # right: yes?']", ["no", "010", "is it # right: yes?"]),
        ("data.columns=[yes, 1]", ["yes", "1"]),
        ("evaluate.arms=[no_prompter]", ["no_prompter"]),
        ("prompter.device_map=auto", "auto"),
        ("train.steps=010", 10),
        ("train.kl.coef=1e-2", 0.01),
        ("seed=1_000", 1000),
        ("rlhf.enabled=yes", True),
        ("rlhf.enabled", True),
        ("train.patience=null", None),
    ],
)
def test_what_may_be_a_text_too_is_a_number_only_where_it_is_written_as_one(override, meant):
    found = value(override)
    assert (found, type(found)) == (meant, type(meant))


def test_a_label_is_found_by_its_name_whatever_yaml_would_make_of_it():
    logits = np.array([[0.25, 0.75]])
    for labels in (("no", "yes"), ("yes", "no")):
        head = head_of(value("reward.head=yes"), labels, "reward.head")
        assert head(logits) == logits[0, labels.index("yes")]


def _not_booleans(section=config.Settings):
    for name, field in section.model_fields.items():
        for inner in sections_in(field.annotation):
            yield from _not_booleans(inner)
        kinds = alternatives(field.annotation)
        if not sections_in(field.annotation) and not {bool, dict} & {*kinds, *map(_origin, kinds)}:
            yield section, name


def _origin(kind):
    return getattr(kind, "__origin__", kind)


def test_no_number_name_or_list_takes_a_boolean():
    found = dict.fromkeys(_not_booleans())
    assert {"steps", "coef", "head", "clip", "lams", "seed", "model", "targets"} <= {
        *(name for _, name in found),
        "head",
        "clip",
    }
    for section, name in found:
        for wrong in (True, [False], [0.5, True]):
            with pytest.raises(ValidationError) as refused:
                section.model_validate({name: wrong})
            assert any(fault["loc"][0] == name for fault in refused.value.errors())
    with pytest.raises(ValidationError, match="true and false"):
        config.RewardSpec(head={"good": True})


def test_a_boolean_is_told_by_its_setting():
    with pytest.raises(SettingsError, match=r"train\.steps: true and false are no numbers"):
        config.load("lab", ["train.steps=true"])
    with pytest.raises(SettingsError, match=r"'frozen\.system' .* has no value"):
        config.load("lab", ["frozen.system"])


def test_bytes_that_are_no_text_are_refused_before_anything_is_written():
    with pytest.raises(SettingsError, match=r"frozen\.system: 'caf\\udce9' holds bytes that are no UTF-8"):
        config.load("lab", ["frozen.system=caf\udce9"])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a: yes", "yes"),
        ("a: off", "off"),
        ("a: true", True),
        ("a: 010", 10),
        ("a: 1:30", "1:30"),
        ("a: 2026-01-31", "2026-01-31"),
        ("a: 1e-5", 1e-5),
        ("a: .5", 0.5),
        ("a: 1_000", 1000),
        ("a: -.inf", -math.inf),
        ("a: ~", None),
        ("a: =", "="),
        ("a:", None),
    ],
)
def test_recipes_are_read_as_yaml_1_2_has_it(written, read):
    found = from_yaml(written)["a"]
    assert (found, type(found)) == (read, type(read))


TEXTS = strategies.one_of(
    strategies.text(strategies.characters(exclude_categories=["Cs"])),
    strategies.text("#:-?{}[]&*!|>'\"%@`~ \n\t0123456789eyn_.<=", max_size=12),
    strategies.sampled_from(
        ["08", "1e5", "yes", "null", "0x1", "=", "<<", "1:30", "a\x85b\n", "a\u2028b\n", "\ufeff", "\r\n"]
    ),
)


@settings(max_examples=150, deadline=None)
@given(TEXTS)
def test_any_text_survives_being_written_down_for_this_package_and_for_others(text):
    assert meant(text, str) == text
    written = config.as_yaml({"a": text, text: [text]})
    assert from_yaml(written) == yaml.safe_load(written) == {"a": text, text: [text]}


def test_a_key_that_stands_twice_is_refused(tmp_path):
    recipe = tmp_path / "mine.yaml"
    for text, name in [
        ("train: {steps: 3}\nseed: 1\ntrain: {kl: {coef: 1}}\n", "train"),
        ("train:\n  steps: 3\n  steps: 4\n", "steps"),
        ("reward:\n  terms:\n  - {model: a, model: b}\n", "model"),
    ]:
        recipe.write_text(text)
        with pytest.raises(SettingsError, match=rf"not valid YAML: {name} stands there twice .*line \d"):
            config.load(recipe)
    with pytest.raises(SettingsError, match="got '"):
        config.load("local", ["prompter.lora={rank: 1, rank: 2}"])


def test_what_a_recipe_extends_stands_beside_it(tmp_path, monkeypatch):
    (tmp_path / "mine" / "parts").mkdir(parents=True)
    (tmp_path / "mine" / "base.yaml").write_text("seed: 3\nextends: parts/first.yaml\n")
    (tmp_path / "mine" / "parts" / "first.yaml").write_text("extends: [local, second.yml]\n")
    (tmp_path / "mine" / "parts" / "second.yml").write_text("train: {steps: 7}\n")
    (tmp_path / "mine" / "run.yaml").write_text("extends: base.yaml\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "base.yaml").write_text("seed: 4\n")
    monkeypatch.chdir(elsewhere)
    loaded = config.load(tmp_path / "mine" / "run.yaml")
    assert (loaded.seed, loaded.train.steps, loaded.train.prompts_per_step) == (3, 7, 32)
    assert config.load("../mine/run.yaml") == loaded
    (tmp_path / "mine" / "lost.yaml").write_text("extends: gone.yaml\n")
    with pytest.raises(SettingsError, match=r"mine/gone\.yaml does not exist"):
        config.load(tmp_path / "mine" / "lost.yaml")
    (tmp_path / "mine" / "ring.yaml").write_text("extends: parts/back.yaml\n")
    (tmp_path / "mine" / "parts" / "back.yaml").write_text("extends: ../ring.yaml\n")
    with pytest.raises(SettingsError, match="extends itself"):
        config.load(tmp_path / "mine" / "ring.yaml")


def test_a_recipe_that_cannot_be_read_is_told(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_bytes(b"# h\xf6fl\nseed: 1\n")
    with pytest.raises(SettingsError, match=r"mine\.yaml is not UTF-8 \(byte 3\)"):
        config.load(recipe)
    recipe.write_bytes(b"\xef\xbb\xbfseed: 5\n")
    assert config.load(recipe).seed == 5
    with pytest.raises(SettingsError, match="cannot be read"):
        config.load(_folder(tmp_path / "folder.yaml"))


def _folder(path):
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("train.learning_rate=1", "train.ppo.learning_rate, train.group.learning_rate or train.offline.learning_rate?"),
        ("train.lr=1", "train.ppo.learning_rate"),
        ("prompter.temperature=1", "prompter.sampling.temperature?"),
        ("frozen.max_new_tokens=1", "frozen.sampling.max_new_tokens?"),
        ("rlhf.coef=1", "rlhf.kl.coef?"),
        ("prompter.rank=1", "rank"),
        ("evaluate.bootstraps=1", "evaluate.bootstrap?"),
        ("max_new_token=1", "max_new_tokens?"),
    ],
)
def test_the_nearest_setting_is_found_by_the_last_part_of_its_name(override, hint):
    with pytest.raises(SettingsError) as refused:
        config.load("lab", [override])
    assert f"unknown setting {override.partition('=')[0]}, did you mean " in str(refused.value)
    assert hint in str(refused.value)


def test_paths_are_absolute_from_the_start_and_names_stay(tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (
        home / "m",
        here / "models" / "small",
        here / "lab",
        here / "ultrafeedback",
        here / "owner" / "name",
    ):
        folder.mkdir(parents=True)
    (here / "p.txt").write_text("a\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    names = {
        "prompter.model": "models/small",
        "frozen.model": "~/m",
        "reward.against": "answers.jsonl",
        "frozen.cache": "cache.db",
        "data.prompts": "./p.txt",
        "data.test": "p.txt",
        "data.validation": "p.txt",
        "evaluate.judge": "lm:models/small",
        "evaluate.second_reward": "owner/name",
        "reward_learning.base": "models/small/",
        "sft.pairs": "~/pairs.jsonl",
    }
    words = [f"{name}={text}" for name, text in names.items()] + ["prompter.before=[models/small, lab, gpt2]"]
    words += ["headroom.noise=[model=models/small, drop=0.1]", "reward.kind=pairwise"]
    words += ["reward.template={prompt}{first}{second}", "reward.model=~/m"]
    loaded = config.load("local", words)
    found = config.flat(loaded.model_dump(mode="json"))
    assert {name: found[name] for name in names} == {
        "prompter.model": f"{here}/models/small",
        "frozen.model": f"{home}/m",
        "reward.against": f"{here}/answers.jsonl",
        "frozen.cache": f"{here}/cache.db",
        "data.prompts": f"{here}/p.txt",
        "data.test": f"{here}/p.txt",
        "data.validation": f"{here}/p.txt",
        "evaluate.judge": f"lm:{here}/models/small",
        "evaluate.second_reward": f"{here}/owner/name",
        "reward_learning.base": f"{here}/models/small",
        "sft.pairs": f"{home}/pairs.jsonl",
    }
    assert found["prompter.before"] == [f"{here}/models/small", "lab", "gpt2"]
    assert found["headroom.noise"] == [f"model={here}/models/small", "drop=0.1"]
    for name in (
        "lab",
        "lab:prompter-2",
        "python:p:f",
        "verify:number",
        "openai:gpt",
        "http://a/v1#m",
        "hub:a/b",
        "a/b",
    ):
        assert value(f"reward.model={name}") == name
    assert value("data.prompts=ultrafeedback") == "ultrafeedback"
    monkeypatch.chdir(tmp_path)
    assert config.build(from_yaml(config.dump(loaded))) == loaded


def test_every_setting_that_names_a_path_is_one():
    """A new one that names a file or folder must be a `Place` or a `File`."""
    told = {"folder", "folders", "file", "PATH", "lm:FOLDER_OR_HUB_ID"}
    others = {"split", "text", "format", "bootstrap", "template", "arguments"}
    named = [
        (section, name)
        for section, name, description in _described(config.Settings)
        if told & {*re.findall(r"[\w:]+", description)} and name not in others
    ]
    assert len(named) > 10
    for section, name in named:
        assert "AfterValidator" in str(section.model_fields[name]), f"{section.__name__}.{name}"


def _described(section):
    for name, field in section.model_fields.items():
        for inner in sections_in(field.annotation):
            yield from _described(inner)
        if "str" in str(field.annotation):
            yield section, name, field.description or ""
