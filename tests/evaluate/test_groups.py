"""Arms by a column of the prompts' rows."""

from dataclasses import replace

import numpy as np
import pytest
from scripted_arms import random_arm

from alignpro.errors import SettingsError
from alignpro.evaluate.summary import summarise
from alignpro.maths import stats
from alignpro.running.checks import check_column
from alignpro.types import Prompt


def of_kinds(arm, kinds):
    return replace(arm, prompts=[Prompt(str(p), row={"kind": k}) for p, k in zip(arm.prompts, kinds, strict=True)])


def test_each_group_has_the_means_of_its_own_prompts():
    kinds = ["b", "a", "a"] * 10
    arms = [of_kinds(random_arm(name, seed), kinds) for seed, name in enumerate(("no_prompter", "align_pro"))]
    groups = summarise(arms, "letters", None, by="kind").groups
    assert [(g.group, g.arm, g.prompts) for g in groups] == [
        ("a", "no_prompter", 20),
        ("a", "align_pro", 20),
        ("b", "no_prompter", 10),
        ("b", "align_pro", 10),
    ]
    mine = np.array(kinds) == "a"
    before, after = (arm.rewards[mine] for arm in arms)
    assert groups[1].reward.value == pytest.approx(after.mean()) and groups[0].gain is None
    value, ci95 = stats.paired_difference(after, before)
    assert groups[1].gain.value == pytest.approx(value) and groups[1].gain.ci95 == pytest.approx(list(ci95))
    assert summarise(arms, "letters", None).groups == ()


def test_a_column_that_makes_no_groups_is_refused():
    prompts = [Prompt(str(i), row={"id": i, "kind": "a"}) for i in range(60)]
    check_column("kind", prompts)
    check_column(None, prompts)
    with pytest.raises(SettingsError, match=r"subject: no test prompt has that column; there are: id, kind"):
        check_column("subject", prompts)
    with pytest.raises(SettingsError, match="the column has 60 different values in the test prompts, and 50 at most"):
        check_column("id", prompts)
