"""Pairs for sft: of texts and of conversations, from any place that prompts come from."""

import gzip
import json

import pytest

from alignpro.config import DataSettings, SftSettings
from alignpro.data.rewrites import BetterPrompt, load_rewrites
from alignpro.errors import DataError
from alignpro.types import Prompt, Turn

BEFORE = (Turn("user", "owls?"), Turn("assistant", "They fly."))


def load(path, rows, unusable=lambda pair: None, seed=0, **data):
    held = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(held) if path.suffix == ".gz" else held)
    return load_rewrites(SftSettings(pairs=str(path)), DataSettings(**data), seed, unusable)


def test_a_prompt_keeps_what_stands_before_it_and_not_its_row(tmp_path):
    turns = [{"role": role, "content": content} for role, content in BEFORE]
    rows = [{"prompt": f"{i}", "system": "Be brief.", "history": turns, "rewrite": f"more of {i}"} for i in range(9)]
    chats = [
        {"messages": [{"role": "developer", "content": "Be brief."}, *turns, {"role": "user", "content": f"{i}"}]}
        | {"rewrite": f"more of {i}", "gain": 0.5}
        for i in range(9)
    ]
    pairs = load(tmp_path / "a.jsonl", rows)
    assert {*pairs.train, *pairs.test} == {
        BetterPrompt(Prompt(f"{i}", "Be brief.", BEFORE), f"more of {i}") for i in range(9)
    }
    assert load(tmp_path / "b.jsonl.gz", chats) == pairs


def test_what_is_left_out_is_counted(tmp_path):
    rows = [{"prompt": f"{i}", "rewrite": f"more of {i}"} for i in range(5)]
    rows += [rows[0], rows[0] | {"system": "Be brief."}, rows[0] | {"rewrite": "other"}]
    rows += [{"prompt": "a", "rewrite": " a "}, {"prompt": "b", "rewrite": ""}, {"prompt": "c", "rewrite": 3}, "text"]
    rows += [{"prompt": " ", "rewrite": "x"}, {"prompt": "d", "rewrite": "no"}]
    pairs = load(tmp_path / "a.jsonl", rows, lambda pair: "short" if pair.rewrite == "no" else None)
    assert pairs.dropped == {
        "repeated": 1,
        "rewrite is the prompt": 1,
        "empty rewrite": 1,
        "empty prompt": 1,
        "a number where a rewrite is wanted": 1,
        "a text for a row": 1,
        "short": 1,
    }
    assert len(pairs.train) + len(pairs.test) == 7
    with pytest.raises(DataError, match=r"sft\.pairs .*: found prompt, better; wanted 'prompt' and 'rewrite'"):
        load(tmp_path / "b.jsonl", [{"prompt": "x", "better": "y"}])
    with pytest.raises(DataError, match=r"sft\.pairs .*: 2 different prompts cannot be split"):
        load(tmp_path / "c.jsonl", rows[:2])
    with pytest.raises(DataError, match=r"sft\.pairs .*: it holds no prompts, since it has no rows"):
        load(tmp_path / "d.jsonl", [])


def test_prompts_of_the_test_file_are_never_trained_on(tmp_path):
    rows = [{"prompt": f"{i}", "rewrite": f"more of {i}"} for i in range(30)]
    (tmp_path / "t.txt").write_text("\n".join(f"{i}" for i in range(10, 40)))
    apart, together = load(tmp_path / "a.jsonl", rows), load(tmp_path / "a.jsonl", rows, test=str(tmp_path / "t.txt"))
    asked = {pair.prompt.text for pair in together.train}
    assert asked == {pair.prompt.text for pair in apart.train} & {f"{i}" for i in range(10)}
    assert {*together.train, *together.test} == {*apart.train, *apart.test}
