"""The seed of the split: shared by runs of several seeds, and kept by folders from before it was a setting."""

import pytest
import yaml
from cli import settings

from alignpro import config
from alignpro.errors import UsageError
from alignpro.results import Methods
from alignpro.running import job
from alignpro.running.prompts import prompts_of
from alignpro.runtime import run_folder
from alignpro.runtime.files import read_jsonl
from alignpro.studies import compare as comparing
from alignpro.studies.compare import compare

QUICK = ("train.steps=1", "evaluate.arms=[no_prompter]", "evaluate.every=0")


def split_of(asked):
    return prompts_of(asked.data, asked.split_seed)


def texts(prompts):
    return {prompt.text for prompt in prompts}


def make_older(path):
    """Take out of a file of settings what was written before data.seed was there."""
    tree = yaml.safe_load(path.read_text())
    del tree["data"]["seed"]
    path.write_text(yaml.safe_dump(tree, sort_keys=False))


def test_runs_of_two_seeds_share_one_test_set(workshop):
    first, second = settings(workshop, "seed=0"), settings(workshop, "seed=1")
    assert split_of(first) == split_of(second)
    moved = settings(workshop, "seed=0", "data.seed=1")
    assert set(split_of(moved).test) != set(split_of(first).test)
    assert split_of(settings(workshop, "seed=1", "data.seed=null")) == split_of(moved)


def test_a_folder_from_before_keeps_its_split_when_it_goes_on(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    out = tmp_path / "old"
    asked = settings(workshop, *QUICK, "seed=1")
    as_then = settings(workshop, *QUICK, "seed=1", "data.seed=null")
    job.run(as_then, out, only_train=True)
    make_older(out / "config.yaml")
    job.run(asked, out, resume=True)  # the same command as then, which names no data.seed
    tested = {row["prompt"] for row in read_jsonl(out / "samples.jsonl")}
    assert tested == texts(split_of(as_then).test) != texts(split_of(asked).test)
    assert run_folder.RunFolder(out).settings().split_seed == 1
    with pytest.raises(UsageError, match=r"data\.seed was None, now 0"):
        run_folder.reopen(out, settings(workshop, *QUICK, "seed=1", "data.seed=0"))
    budget = settings(workshop, *QUICK, "seed=1", "budget.calls=7")  # what may change is written, and the split stays
    assert run_folder.reopen(out, budget)[1].split_seed == run_folder.RunFolder(out).settings().split_seed == 1


def test_a_comparison_from_before_keeps_its_splits_too(workshop, tmp_path, monkeypatch):
    monkeypatch.chdir(workshop)
    began = {}
    monkeypatch.setattr(comparing, "run_apart", lambda path, one, stop: began.update({path.name: one}))
    monkeypatch.setattr(comparing, "tabulate", lambda settings, out: Methods.model_validate({}))
    asked = settings(workshop, "compare.seeds=2", "compare.methods={rloo: {rewrites: 2}}")
    compare(asked, tmp_path / "new")
    assert {one.split_seed for one in began.values()} == {0}
    make_older(tmp_path / "new" / "compare.yaml")
    for _ in range(2):
        compare(asked, tmp_path / "new")
        assert {name: one.split_seed for name, one in began.items()} == {name: one.seed for name, one in began.items()}
        assert {one.seed for one in began.values()} == {0, 1}
    assert config.reread(tmp_path / "new" / "compare.yaml").data.seed is None
