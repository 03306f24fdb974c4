"""`alignpro compare FOLDER FOLDER`: finished runs side by side."""

import json
import re

import numpy as np
import pytest
from cli import settings

from alignpro import config
from alignpro.errors import UsageError
from alignpro.maths import stats
from alignpro.maths.shares import share_difference
from alignpro.results import SideBySide, read
from alignpro.studies.side_by_side import side_by_side


def make_run(folder, asked, rewards, *, second=None, finished=True, kind=None):
    """A folder as a run leaves it: `rewards` by arm and prompt, a list of answers each."""
    folder.mkdir()
    (folder / "config.yaml").write_text(config.dump(asked))
    rows = [
        {"stage": "evaluation", "arm": arm, "prompt": prompt, "reward": value, "second_reward": second and 10 * value}
        for arm, prompts in rewards.items()
        for prompt, values in prompts.items()
        for value in values
    ]
    rows.append({"stage": "monitor", "arm": "align_pro", "prompt": "p0", "reward": 1000})
    (folder / "samples.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    arms = {
        arm: {"mean_reward": float(np.mean(np.concatenate([*p.values()]))), "ci95": [0, 9]}
        for arm, p in rewards.items()
    }
    if kind:
        arms = {arm: {"kind": kind, **figures} for arm, figures in arms.items()}
    tree = {"reward": "length", "second_reward": second, "prompts": len(rewards["align_pro"]), "arms": arms}
    if finished:
        (folder / "evaluation.json").write_text(json.dumps(tree))
    return folder


def drawn(numbers, seed, shift=0.0, spread=3.0):
    """Two answers to each prompt, whose rewards differ much from prompt to prompt and little beside that."""
    luck = np.random.default_rng(seed)
    return {f"p{n}": [float(x) for x in spread * np.sin(n) + shift + luck.normal(0, 0.1, 2)] for n in numbers}


@pytest.fixture
def asked(workshop):
    return settings(workshop, "evaluate.bootstrap=500")


def test_runs_are_paired_by_the_prompts_that_both_have(tmp_path, asked):
    a, b = drawn(range(40), 1), drawn(range(10, 60), 2, shift=0.5)
    first = make_run(tmp_path / "one", asked, {"align_pro": a, "gibbs_2": a})
    other = make_run(tmp_path / "two", asked, {"no_prompter": b, "align_pro": b})
    found = side_by_side([first, other])
    (row,) = found.differences  # the one arm that both have
    assert (row.arm, row.a, row.b, row.reward, row.paired, row.prompts) == (
        "align_pro",
        "one",
        "two",
        "length",
        True,
        30,
    )
    gains = [np.mean(b[f"p{n}"]) - np.mean(a[f"p{n}"]) for n in range(10, 40)]
    assert row.mean.value == pytest.approx(np.mean(gains))
    assert 0.4 < row.mean.lo < row.mean.value < row.mean.hi < 0.6  # the prompts' own spread of 2 has gone
    assert not found.settings and not found.notes


def test_shares_of_both_runs_differ_by_a_difference_of_shares(tmp_path, asked):
    luck = np.random.default_rng(3)
    a, b = ({f"p{n}": (luck.random(3) < 0.9).astype(float).tolist() for n in range(40)} for _ in range(2))
    b["p7"] = b["p7"][:2]  # one failed
    runs = [make_run(tmp_path / n, asked, {"align_pro": r}, kind="share") for n, r in (("one", a), ("two", b))]
    found = side_by_side(runs)
    (row,) = found.differences
    rewards = [np.array([[*values, np.nan][:3] for values in side.values()]) for side in (b, a)]
    value, interval = share_difference(*rewards)
    assert (row.mean.value, *row.mean.ci95) == pytest.approx((value, *interval))
    assert found.mean == "accuracy" and "accuracy" in found._repr_html_()
    mixed = side_by_side([runs[0], make_run(tmp_path / "three", asked, {"align_pro": b})])
    assert mixed.mean == "mean reward" and mixed.differences[0].mean != row.mean


def test_runs_without_a_prompt_in_common_are_not_paired_and_say_so(tmp_path, asked):
    a, b = drawn(range(40), 1), drawn(range(40, 80), 2, shift=0.5)
    found = side_by_side([make_run(tmp_path / n, asked, {"align_pro": r}) for n, r in (("one", a), ("two", b))])
    (row,) = found.differences
    assert (row.paired, row.prompts) == (False, 80)
    assert row.mean.value == pytest.approx(np.mean([*b.values()]) - np.mean([*a.values()]))
    assert row.mean.hi - row.mean.lo > 1  # both runs' spread over prompts is in it


def test_different_rewards_are_not_subtracted_but_an_equal_second_reward_is(tmp_path, workshop, asked):
    rewards = {"align_pro": drawn(range(20), 1)}
    other = settings(workshop, "reward.model=python:rewards:slow", "train.kl.coef=0.7")
    computed = settings(workshop, "evaluate.bootstrap=500", "reward.batch_size=3")
    folders = [
        make_run(tmp_path / "one", asked, rewards, second="gold"),
        make_run(tmp_path / "two", other, rewards, second="gold"),
        make_run(tmp_path / "three", computed, rewards),
    ]
    found = side_by_side(folders)
    assert [(row.b, row.reward) for row in found.differences] == [("two", "gold"), ("three", "length")]
    assert [note for note in found.notes if "one and two have different rewards" in note]
    assert found.settings["train.kl.coef"] == {"one": 0.1, "two": 0.7, "three": 0.1}
    assert found.settings["reward.batch_size"]["three"] == 3
    assert "train.steps" not in found.settings


def test_folders_of_one_name_are_told_apart_by_their_paths(tmp_path, asked):
    rewards = {"align_pro": drawn(range(5), 1)}
    folders = []
    for above in ("a", "b"):
        (tmp_path / above).mkdir()
        folders.append(make_run(tmp_path / above / "run", asked, rewards))
    assert [*side_by_side(folders).runs] == [str(folder) for folder in folders]
    with pytest.raises(UsageError, match="given twice"):
        side_by_side([folders[0], folders[0]])


def test_the_interval_of_an_unpaired_difference_has_the_width_that_theory_gives():
    luck = np.random.default_rng(3)
    a, b = luck.normal(1, 2, 400), luck.normal(0, 1, 100)
    value, (low, high) = stats.unpaired_difference(a, b)
    assert value == pytest.approx(a.mean() - b.mean())
    expected = 2 * 1.96 * np.sqrt(a.var(ddof=1) / 400 + b.var(ddof=1) / 100)
    assert high - low == pytest.approx(expected, rel=0.06)
    assert low < value < high
    assert np.isnan(stats.unpaired_difference(a, b[:1])[1]).all()


def test_the_command_shows_them_and_writes_only_where_asked(tmp_path, asked, workshop, inside):
    one = make_run(tmp_path / "one", asked, {"align_pro": drawn(range(30), 1)})
    two = make_run(
        tmp_path / "two", asked.model_copy(update={"seed": 7}), {"align_pro": drawn(range(30), 2, shift=0.5)}
    )
    before = {path: path.read_bytes() for folder in (one, two) for path in folder.iterdir()}
    code, output = inside("compare", str(one), str(two))
    assert code == 0, output
    assert "two - one" in output and "30 prompts that both have, paired" in output
    assert "seed" in output and "7" in output
    assert {path: path.read_bytes() for folder in (one, two) for path in folder.iterdir()} == before
    code, output = inside("compare", str(one), str(two), f"--out={tmp_path / 'out'}")
    assert code == 0, output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["comparison.json"]
    held = read(SideBySide, tmp_path / "out" / "comparison.json")
    assert held == side_by_side([one, two])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("{one}",), "is one run alone"),
        (("{one}", "{one}"), "given twice"),
        (("{one}", "lab"), "is the folder of a run, and lab is none"),
        (("{one}", "{empty}"), "is the folder of a run, and .*empty is none"),
        (("{empty}",), "no config.yaml, and so no run, in .*empty"),
        (("lab", "local"), "no config.yaml, and so no run, in lab, local"),
        (("{one}", "{stopped}"), "stopped holds no evaluation.json.*run --resume --out"),
        (("{one}", "{two}", "--train.steps=3"), "train.steps=3: finished runs have their own settings"),
        (("{one}", "{two}", "--prompter=lab"), "finished runs have their own settings"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path, asked, inside, words, told):
    rewards = {"align_pro": drawn(range(5), 1)}
    made = {name: make_run(tmp_path / name, asked, rewards) for name in ("one", "two")}
    made["stopped"] = make_run(tmp_path / "stopped", asked, rewards, finished=False)
    made["empty"] = tmp_path / "empty"
    made["empty"].mkdir()
    code, output = inside("compare", *(word.format(**made) for word in words))
    assert code == 2
    assert re.search(told, output), output
