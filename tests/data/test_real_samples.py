"""Real samples of the three data sets, where they are: counts against counts made here from the raw JSON."""

import json
import os
import unicodedata
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from alignpro.config import DataSettings
from alignpro.data.sources import load_preferences, load_prompts
from alignpro.types import Prompt

SAMPLES = Path(os.environ.get("ALIGNPRO_SAMPLES") or Path(__file__).parents[3] / "shared" / "data")
UNREAD = "no sample of the data set: set ALIGNPRO_SAMPLES to a folder that holds it"


def sample(name):
    """The path, and its rows parsed with nothing of the package."""
    path = SAMPLES / name
    if not path.is_file():
        pytest.skip(f"{UNREAD} ({name})")
    return path, [json.loads(line) for line in path.read_bytes().decode().split("\n") if line]


def seen(text):
    """Whether there is anything to see in a text: one of these answers is a zero-width space and nothing else."""
    return any(unicodedata.category(c)[0] not in "CZ" for c in text)


def composed(text):
    return unicodedata.normalize("NFC", text)


def loaded(path):
    settings = DataSettings(prompts=str(path))
    prompts, pairs = load_prompts(settings, 0), load_preferences(settings, 0)
    assert not {p.prompt for p in pairs.train} & {p.prompt for p in pairs.test}
    return prompts, pairs


@pytest.mark.parametrize("name", ["ultrafeedback_train_sample.jsonl", "ultrafeedback_eval_sample.jsonl"])
def test_ultrafeedback(name):
    path, rows = sample(name)
    prompts, pairs = loaded(path)
    scores = [(row["metadata"]["score_chosen"], row["metadata"]["score_rejected"]) for row in rows]
    empty = {i for i, row in enumerate(rows) if not (seen(row["chosen"]) and seen(row["rejected"]))}
    same = {i for i, row in enumerate(rows) if row["chosen"].split() == row["rejected"].split()} - empty
    tied = {i for i, (high, low) in enumerate(scores) if high == low} - empty - same
    lower = {i for i, (high, low) in enumerate(scores) if high < low} - empty - same
    by_hand = {"empty answer": empty, "identical answers": same, "tied scores": tied, "chosen scores lower": lower}
    assert pairs.dropped == Counter({reason: len(which) for reason, which in by_hand.items() if which})
    used = [i for i in range(len(rows)) if i not in empty | same | tied | lower]
    assert {(p.chosen, p.rejected, p.margin) for p in (*pairs.train, *pairs.test)} == {
        (composed(rows[i]["chosen"]), composed(rows[i]["rejected"]), scores[i][0] - scores[i][1]) for i in used
    }
    assert len(pairs.train) + len(pairs.test) == len(used)
    assert len(prompts.train) + len(prompts.test) == len({" ".join(row["prompt"].split()) for row in rows})


def test_helpsteer():
    path, rows = sample("helpsteer_sample.jsonl")
    prompts, pairs = loaded(path)
    by_prompt = {}
    for row in rows:
        texts = by_prompt.setdefault(row["prompt"].strip(), {})
        texts.setdefault(" ".join(row["response"].split()), []).append(row["helpfulness"])
    margins, ties = [], 0
    for texts in by_prompt.values():
        means = [sum(given) / len(given) for given in texts.values()]
        margins += [abs(a - b) for a, b in combinations(means, 2) if a != b]
        ties += sum(a == b for a, b in combinations(means, 2))
    assert sorted(p.margin for p in (*pairs.train, *pairs.test)) == sorted(margins)
    assert pairs.dropped == {
        "tied scores": ties,
        "repeated answer, its scores averaged": len(rows) - sum(map(len, by_prompt.values())),
        "only answer to its prompt": sum(len(texts) == 1 for texts in by_prompt.values()),
    }
    assert {prompt.text for prompt in (*prompts.train, *prompts.test)} == set(by_prompt)
    assert len(prompts.train) + len(prompts.test) == len(by_prompt)
    assert prompts.dropped == {"repeated": len(rows) - len(by_prompt)}


def test_orca():
    path, rows = sample("orca_dpo_sample.jsonl")
    prompts, pairs = loaded(path)
    by_hand = [
        (row["input"]["messages"][0]["content"], row["input"]["messages"][1]["content"].strip(),
         row["preferred_output"][0]["content"], row["non_preferred_output"][0]["content"])
        for row in rows
    ]  # fmt: skip
    everything = (*pairs.train, *pairs.test)
    assert sorted((p.prompt.system, p.prompt.text, p.chosen, p.rejected) for p in everything) == sorted(by_hand)
    assert {p.margin for p in everything} == {None}
    assert pairs.dropped == {}
    assert prompts.dropped == {}
    assert {*prompts.train, *prompts.test} == {Prompt(question, system) for system, question, *_ in by_hand}
