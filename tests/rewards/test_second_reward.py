"""Who measures beside the trained reward: chosen by two settings, loaded once, told apart by name."""

from importlib import resources

import pytest

from alignpro import config
from alignpro.errors import ModelNotUsable, SettingsError
from alignpro.judges.loading import load_judge, load_second_reward
from alignpro.remote.opened import Endpoints
from alignpro.rewards import load_reward

GOLD = "python:alignpro.lab:gold_utility"


def chosen(*overrides):
    settings = config.load("lab", overrides)
    reward = load_reward(settings.reward)
    second = load_second_reward(settings, reward, "cpu", Endpoints())
    return reward, second, load_judge(settings, "cpu", Endpoints(), reward, second)


def test_the_second_reward_judges_unless_another_judge_is_named():
    reward, second, judge = chosen()
    assert second.name == judge.name == "alignpro.lab:gold_utility"
    assert judge.reward is second

    reward, second, judge = chosen("evaluate.judge=lab")
    assert judge.reward is reward
    assert second.name == "alignpro.lab:gold_utility"

    reward, second, judge = chosen("evaluate.second_reward=")
    assert second is None
    assert judge.reward is reward

    reward, second, judge = chosen("evaluate.second_reward=", f"evaluate.judge={GOLD}")
    assert second is None
    assert judge.name == "alignpro.lab:gold_utility"


@pytest.mark.parametrize("overrides", [(), ("evaluate.judge=lab",), ("evaluate.second_reward=",)])
def test_the_judge_of_a_run_that_is_there_is_the_one_it_had(overrides):
    assert load_judge(config.load("lab", overrides), "cpu", Endpoints()).name == chosen(*overrides)[2].name


def test_a_reward_model_can_be_the_second_reward():
    _, second, judge = chosen(f"reward.model={GOLD}", "evaluate.second_reward=lab")
    assert judge.reward is second
    assert second.name == "lab reward"


def test_the_reward_itself_is_no_second_reward():
    with pytest.raises(SettingsError, match=r"evaluate\.second_reward is lab, which is reward\.model itself"):
        chosen("evaluate.second_reward=lab")


def test_two_folders_of_one_name_stay_apart(tmp_path):
    weights = resources.files("alignpro.lab") / "weights" / "reward"
    for parent in ("one", "other"):
        (tmp_path / parent).mkdir()
        (tmp_path / parent / "rm").symlink_to(str(weights))
    one, other = tmp_path / "one" / "rm", tmp_path / "other" / "rm"
    reward, second, _ = chosen(f"reward.model={one}", f"evaluate.second_reward={other}")
    assert reward.name == "rm"
    assert second.name == str(other)


@pytest.mark.parametrize("setting", ["evaluate.second_reward", "evaluate.judge"])
def test_faults_name_the_setting(setting, tmp_path):
    with pytest.raises(ModelNotUsable, match=rf"\A{setting} {tmp_path}/none: no such folder"):
        chosen(f"{setting}={tmp_path}/none")
    with pytest.raises(SettingsError, match=rf"\A{setting} python:alignpro\.lab:gold: alignpro\.lab has no function"):
        chosen(f"{setting}=python:alignpro.lab:gold")
