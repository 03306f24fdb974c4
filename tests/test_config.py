import math
import re

import pytest
from pydantic import ValidationError

from alignpro import config
from alignpro.config.section import sections_in
from alignpro.errors import SettingsError


@pytest.mark.parametrize("name", sorted(config.recipes()))
def test_every_packaged_recipe_loads_and_survives_a_round_trip(name, tmp_path):
    settings = config.load(name)
    path = tmp_path / "again.yaml"
    path.write_text(config.dump(settings))
    assert config.load(path) == settings
    assert config.recipes()[name], "the first line of a recipe says what it is for"


def test_overrides_reach_every_depth_and_the_last_wins():
    settings = config.load(
        "lab", ["train.steps=5", "train.ppo.learning-rate=1e-5", "train.steps=7", "evaluate.arms=[no_prompter]"]
    )
    assert settings.train.steps == 7
    assert settings.train.ppo.learning_rate == 1e-5
    assert settings.evaluate.arms == ["no_prompter"]
    assert config.load("lab", ["evaluate.second_reward="]).evaluate.second_reward is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stps=3", "did you mean train.steps?"),
        ("trian.steps=3", "did you mean train?"),
        ("train.ppo.clipcoef=0.1", "did you mean train.ppo.clip_coef?"),
        ("train.ppo.lr=1", "did you mean train.ppo.learning_rate?"),
        ("lr=1", "`alignpro settings lr`"),
        ("train.steps=many", "got 'many'"),
        ("train.steps=1.5", "1.5"),
        ("train.kl.coef=-1", "greater than or equal to 0"),
        ("evaluate.arms=[no_prompter, no_prompter]", "named twice"),
        ("prompter.sampling.top_p=0.9", "must be 1 and 0 when training"),
        ("train=3", "train"),
        ("train.steps.more=3", "steps is a value, not a section"),
        ("nonsense", "not of the form"),
    ],
)
def test_wrong_settings_say_what_is_wrong(override, message):
    with pytest.raises(SettingsError, match=r"(?s).*") as caught:
        config.load("lab", [override])
    assert message in str(caught.value)


def test_an_unknown_recipe_names_its_neighbour(tmp_path):
    with pytest.raises(SettingsError, match="did you mean lab"):
        config.load("labb")
    with pytest.raises(SettingsError, match="does not exist"):
        config.load(tmp_path / "gone.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("train: [1, 2")
    with pytest.raises(SettingsError, match="not valid YAML"):
        config.load(broken)


def test_each_setting_is_listed_once():
    assert len(config.keys()) == len(set(config.keys()))
    assert "train.kl.coef" in set(config.keys())


def _numbers(section=config.Settings, prefix=()):
    """Every setting that is a number or holds some, as (its section, its name)."""
    for name, field in section.model_fields.items():
        below = sections_in(field.annotation)
        for inner in below:
            yield from _numbers(inner, (*prefix, name))
        if not below and "float" in str(field.annotation):
            yield section, name


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_no_setting_takes_a_number_that_is_not_finite(number):
    found = dict.fromkeys(_numbers())
    assert {"learning_rate", "coef", "std", "clip", "lams", "head", "money", "alpha"} <= {name for _, name in found}
    for section, name in found:
        for given in (number, [number], [0.5, number], {"helpful": number}):
            with pytest.raises(ValidationError) as refused:
                section.model_validate({name: given})
            assert any(fault["loc"][0] == name for fault in refused.value.errors())


@pytest.mark.parametrize("override", ["train.ppo.learning_rate=.inf", "train.kl.coef=nan", "rlhf.kl.target=1e999"])
def test_such_a_number_is_told_by_its_setting(override):
    with pytest.raises(SettingsError, match=re.escape(override.split("=")[0]) + ": input should be a finite number"):
        config.load("lab", [override])
