"""Table 1, the figures and the page from fabricated folders: values flow through, and what is missing stays missing."""

import json
from pathlib import Path

import pytest

from alignpro import config
from alignpro.results import Estimate, Paper, read
from alignpro.studies.paper import grid, page, results


def arm(mean: float, variance: float) -> dict:
    return {
        "mean_reward": mean,
        "ci95": [mean - 0.111, mean + 0.111],
        "reward_variance": variance,
        "reward_variance_ci95": [variance - 0.0613, variance + 0.0787],
        "second_reward": {
            "mean": mean + 10,
            "ci95": [mean + 9, mean + 11],
            "variance": variance + 1,
            "variance_ci95": [variance + 0.5, variance + 2],
        },
    }


def win_row(judge: str, win: int, tie: int, loss: int, rate: float) -> dict:
    return {
        "a": "align_pro",
        "b": "no_prompter",
        "judge": judge,
        "win": win,
        "tie": tie,
        "loss": loss,
        "win_ci95": [0.71, 0.79],
        "tie_ci95": [0.0, 0.0],
        "loss_ci95": [0.21, 0.29],
        "win_rate": rate,
        "ci95": [rate - 0.04, rate + 0.04],
        "unparsed": 3,
    }


def finish(folder: Path, cell: grid.Cell, align_pro: float, variance: float, rate: float = 0.75) -> None:
    folder.mkdir()
    (folder / "config.yaml").write_text(config.dump(cell.settings))
    evaluation = {
        "schema": 1,
        "reward": "the reward",
        "second_reward": "another reward",
        "prompts": 37,
        "responses_per_prompt": 4,
        "arms": {"no_prompter": arm(0.4321, 0.7), "align_pro": arm(align_pro, variance), "rlhf": arm(1.5, 0.5)},
        "differences": [
            {
                "a": "align_pro",
                "b": "no_prompter",
                "reward": name,
                "mean_difference": value,
                "ci95": [value - 0.1, value + 0.1],
            }
            for name, value in (("the reward", align_pro - 0.4321), ("another reward", 0.9876))
        ],
        "win_rates": [win_row("an earlier judge", 1, 1, 1, 0.5), win_row("the judge", 75, 0, 25, rate)],
        "cost": {"frozen_calls": 1000},
    }
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    (folder / "report.html").write_text("")
    (folder / "metrics.jsonl").write_text('{"step": 1, "frozen_calls": 23, "seconds": 4.5}\n')
    (folder / "rlhf" / "checkpoints").mkdir(parents=True)
    (folder / "rlhf" / "metrics.jsonl").write_text('{"step": 1, "frozen_calls": 7, "seconds": 1.5}\n')


@pytest.fixture
def found(tmp_path):
    cells = {cell.name: cell for cell in grid.cells("tiny")}
    finish(tmp_path / "p1-f1-orca", cells["p1-f1-orca"], 1.2345, 0.3)
    finish(tmp_path / "p2-f2-helpsteer", cells["p2-f2-helpsteer"], 0.25, 0.9, rate=0.44)
    begun = tmp_path / "p1-f2-orca"
    begun.mkdir()
    (begun / "config.yaml").write_text(config.dump(cells["p1-f2-orca"].settings))
    (tmp_path / "spent.jsonl").write_text(
        '{"seconds": 60, "cpu_seconds": 90, "cells": {}}\n{"seconds": 30, "cpu_seconds": 30, "cells": {}}\n'
    )
    return results.collect(list(cells.values()), tmp_path, "tiny")


def test_a_miniature_without_a_second_reward_says_so_and_draws_none(tmp_path):
    cells = grid.cells("small")
    finish(tmp_path / "p1-f1-orca", cells[-1], 1.2345, 0.3)
    path = tmp_path / "p1-f1-orca" / "evaluation.json"
    held = json.loads(path.read_text()) | {"second_reward": None}
    for one in held["arms"].values():
        del one["second_reward"]
    held["differences"] = held["differences"][:1]
    path.write_text(json.dumps(held))
    text = page.write(results.collect(cells, tmp_path, "small"), tmp_path).read_text()
    assert "The paper's experiments in miniature" in text and "(none was given)" in text
    assert "; by the reward" in text and ", which training did not see" not in text
    assert "Mean rewards (in miniature)" in (tmp_path / "figure2.svg").read_text()


def row(found, name):
    return next(row for row in found.cells if row.cell == name)


def test_values_flow_from_the_runs_to_the_figures(found):
    mine = row(found, "p1-f1-orca")
    assert mine["table1"]["judge"] == "the judge"  # of several the one that judged last
    assert mine.table1.win == Estimate(0.75, 0.71, 0.79)
    assert mine.table1.loss == Estimate(0.25, 0.21, 0.29)
    assert mine["table1"]["judged"] == 100 and mine["table1"]["unparsed"] == 3
    assert mine["paper"] == {"win": 63, "loss": 26}
    assert mine["arms"]["align_pro"]["reward"]["value"] == 1.2345
    assert mine["arms"]["rlhf"]["second_variance"] == {"value": 1.5, "ci95": [1.0, 2.5]}
    assert mine["gains"]["second_reward"]["value"] == 0.9876
    assert mine["cost"] == {"frozen_calls": 1023, "oracle_calls": 7, "training_seconds": 6.0, "oracle_taken": False}
    assert found["cost"] == {
        "frozen_calls": 2046,
        "oracle_calls": 14,
        "seconds": 90,
        "cpu_seconds": 120,
        "sessions": 2,
    }


def test_what_is_missing_is_missing_and_never_zero(found):
    states = [row["state"] for row in found["cells"]]
    assert (states.count("finished"), states.count("under way"), states.count("missing")) == (2, 1, 9)
    for one in found["cells"]:
        if one["state"] != "finished":
            assert one["table1"] is one["arms"] is one["gains"] is one["cost"] is None
    tie = row(found, "p1-f1-orca").table1.tie
    assert tie.value == 0.0 and not tie.bounded  # nothing varies, so resampling tells no interval


def test_claims_count_only_the_cells_that_can_tell(found):
    reward, variance, wins = found["claims"]
    assert (reward["holds"], reward["certain"], reward["of"]) == (1, 1, 2)
    assert (variance["holds"], variance["of"]) == (1, 2)
    assert (wins["holds"], wins["certain"], wins["of"]) == (1, 1, 2)


def test_the_page_says_all_this_and_loads_nothing(found, tmp_path):
    path = page.write(found, tmp_path)
    html = path.read_text()
    line = next(part for part in html.split("<tr>") if "P1 F1, stand-in for Orca" in part)
    for shown in (
        "75% [71, 79]",
        "25% [21, 29]",
        "63, 26",
        "100<small>on 37 prompts",
        "3 unparsed",
        "+0.99 [0.89, 1.09]",
    ):
        assert shown in line, shown
    gone = next(part for part in html.split("<tr>") if "P2 F1, stand-in for UltraFeedback" in part)
    assert "missing" in gone and "59, 27" in gone and "0%" not in gone and "+0" not in gone
    numbers = next(
        part for part in html.split("<tr>") if "P1 F1, stand-in for Orca" in part and "1.23 [1.12, 1.35]" in part
    )
    assert "11.2 [10.2, 12.2]" in numbers  # the second reward below
    assert "p1-f2-orca is under way." in html and "p2-f1-orca is missing." in html
    assert "says nothing" in html or "say nothing" in html
    assert 'href="p1-f1-orca/report.html"' in html and 'href="p1-f2-orca/report.html"' not in html
    assert "default-src 'none'" in html and "<script" not in html and "src=" not in html
    assert read(Paper, tmp_path / "paper.json") == found
    for name in ("figure2.svg", "figure3.svg"):
        assert (tmp_path / name).read_text().startswith("<svg ")
    before = {name: (tmp_path / name).read_bytes() for name in ("paper.html", "figure2.svg", "figure3.svg")}
    page.write(found, tmp_path)
    assert before == {name: (tmp_path / name).read_bytes() for name in before}


def test_a_page_of_nothing_finished_can_be_drawn(tmp_path):
    found = results.collect(grid.cells("full"), tmp_path, "full")
    html = page.write(found, tmp_path).read_text()
    assert "0 of 12" in html and "stand-in" not in html.replace("lab-size stand-ins", "")
    assert "%" not in html.split('<section id="table1">')[1].split("<tbody>")[1].split("</tbody>")[0]
