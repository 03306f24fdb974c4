"""How a judge agrees with people, on a file of our own."""

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from in_texts import in_texts

from alignpro.data.judged_pairs import JudgedPair, load_judged_pairs
from alignpro.errors import DataError
from alignpro.judges.agreement import judge_all, majority, measured
from alignpro.maths import agreement as rater
from alignpro.types import Judgement, Prompt

SHARED = Path(__file__).parents[3] / "shared" / "data" / "pandalm_pairs.json"
ROWS = [
    {
        "idx": 0,
        "instruction": "Name a bird.",
        "input": "",
        "response1": "Owl.",
        "response2": "Oak.",
        "annotator1": 1,
        "annotator2": 1,
        "annotator3": 0,
    },
    {
        "idx": 1,
        "instruction": "Add these.",
        "input": "2 and 2",
        "response1": "5",
        "response2": "4",
        "annotator1": 2,
        "annotator2": 2,
        "annotator3": 2,
    },
]


class Says:
    """A judge that knows each pair's verdict by its answers."""

    name = "says"
    symmetric = False

    def __init__(self, verdicts):
        self.verdicts = verdicts

    @in_texts
    def compare(self, prompts, a, b):
        found = []
        for one, other in zip(a, b, strict=True):
            verdict = self.verdicts.get((one, other))
            found.append(
                Judgement(verdict) if (one, other) in self.verdicts else Judgement(self.verdicts[other, one]).mirrored()
            )
        return found


def people(n=120, seed=0, prompts=30):
    """Pairs whose three people mostly agree."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(n):
        liked = rng.choice(["a", "b", "tie"], p=[0.45, 0.45, 0.1])
        said = [str(liked) if rng.random() < 0.85 else str(rng.choice(["a", "b", "tie"])) for _ in range(3)]
        pairs.append(JudgedPair(Prompt(f"x{i % prompts}"), f"a{i}", f"b{i}", tuple(said)))
    return pairs


def agreement_of(verdicts, pairs):
    judge = Says({(p.a, p.b): v for p, v in zip(pairs, verdicts, strict=True)})
    found = judge_all(judge, pairs, lambda done, note: None)
    return measured("says", pairs, found, 300, 0)


def test_a_judge_that_says_what_most_people_say_agrees_wholly():
    pairs = [p for p in people() if majority(p.verdicts)]
    found = agreement_of([majority(p.verdicts) for p in pairs], pairs)
    assert found["with_majority"]["agreement"] == found["with_majority"]["kappa"] == 1
    assert found["position_consistency"] == 1
    assert found["with_one_person"]["agreement"] > found["people"]["agreement"]


def test_a_judge_that_knows_nothing_agrees_by_chance_alone():
    pairs = people(3000, prompts=1000)
    found = agreement_of(list(np.random.default_rng(1).choice(["a", "b", "tie"], 3000)), pairs)
    assert found["with_majority"]["kappa"] == pytest.approx(0, abs=0.05)
    assert found["with_majority"]["kappa_ci95"][0] < 0 < found["with_majority"]["kappa_ci95"][1]
    assert found["with_majority"]["agreement"] == pytest.approx(1 / 3, abs=0.05)


def test_one_more_person_as_judge_agrees_as_people_do():
    pairs = people(4000, prompts=2000)
    found = agreement_of(
        [p.verdicts[2] for p in pairs], [JudgedPair(p.prompt, p.a, p.b, p.verdicts[:2]) for p in pairs]
    )
    assert found["with_one_person"]["agreement"] == pytest.approx(found["people"]["agreement"], abs=0.02)
    assert found["with_one_person"]["kappa"] == pytest.approx(found["people"]["kappa"], abs=0.02)
    assert found["people"]["compared"] == 4000


def test_unread_verdicts_and_missing_majorities_are_left_out_and_counted():
    pairs = [JudgedPair(Prompt("x"), "1", "2", ("a", "b", "tie")), JudgedPair(Prompt("y"), "3", "4", ("a", "a", "tie"))]
    found = agreement_of([None, None], pairs)
    assert (found["unparsed"], found["without_majority"]) == (2, 1)
    assert np.isnan(found["with_majority"]["agreement"])
    assert found["people"]["compared"] == 6


def test_kappa_against_its_definition_and_its_edges():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 30, (5, 3, 3)).astype(float)
    for one, kappa, agreed in zip(counts, rater.kappa(counts), rater.agreement(counts), strict=True):
        pairs = [
            pair
            for i, j in itertools.product(range(3), repeat=2)
            for pair in [(rater.VERDICTS[i], rater.VERDICTS[j])] * int(one[i, j])
        ]
        first, second = (Counter(pair[side] for pair in pairs) for side in (0, 1))
        chance = sum(first[v] * second[v] for v in rater.VERDICTS) / len(pairs) ** 2
        same = sum(x == y for x, y in pairs) / len(pairs)
        assert agreed == pytest.approx(same)
        assert 1 - kappa == pytest.approx((1 - same) / (1 - chance))
        assert (rater.table(pairs) == one).all()
    assert np.isnan(rater.kappa(rater.table([("a", "a")] * 5)))
    assert np.isnan(rater.agreement(np.zeros((3, 3))))
    assert rater.kappa(rater.table([("a", "b"), ("a", "a")])) == 0


def test_intervals_resample_prompts():
    pairs = people(120, prompts=30)
    several = agreement_of([p.verdicts[0] for p in pairs], pairs)["people"]["agreement_ci95"]
    own = [JudgedPair(Prompt(f"x{i}"), p.a, p.b, p.verdicts) for i, p in enumerate(pairs)]
    assert several != agreement_of([p.verdicts[0] for p in own], own)["people"]["agreement_ci95"]


@pytest.mark.parametrize("form", ["list", "lines"])
def test_the_file_is_read_and_rows_that_cannot_be_used_are_counted(tmp_path, form):
    bad = [
        {**ROWS[0], "response2": True},
        {**ROWS[0], "annotator2": 3},
        {**ROWS[0], "annotator2": None},
        {"instruction": "x", "response1": "a", "response2": "b", "annotator1": 1},
        {**ROWS[0], "instruction": 3},
        "no row",
    ]
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a bird."}]
    rows = [*ROWS, {**ROWS[0], "instruction": turns}, *bad]
    text = json.dumps(rows) if form == "list" else "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "pairs.json").write_text(text)
    pairs, dropped = load_judged_pairs(tmp_path / "pairs.json")
    assert [(p.prompt, p.a, p.b, p.verdicts) for p in pairs] == [
        (Prompt("Name a bird."), "Owl.", "Oak.", ("a", "a", "tie")),
        (Prompt("Add these.\n\n2 and 2"), "5", "4", ("b", "b", "b")),
        (Prompt("Name a bird.", "Be brief."), "Owl.", "Oak.", ("a", "a", "tie")),
    ]
    assert sum(dropped.values()) == 6
    assert dropped["a number under 'instruction'"] == 1
    assert dropped["a verdict that is not 0, 1 or 2"] == 2
    assert dropped["fewer than two people judged it"] == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[{"question": "x", "answer": "y"}]', "found answer, question"),
        ("[]", "found nothing of the kind"),
        ("{broken", "line 1: not JSON"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_says_what_it_holds(tmp_path, text, says):
    path = tmp_path / "pairs.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=says):
        load_judged_pairs(path)


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared pairs are not beside this checkout")
def test_pairs_that_people_really_judged():
    rows = json.loads(SHARED.read_text())
    pairs, dropped = load_judged_pairs(SHARED)
    assert (len(pairs), sum(dropped.values())) == (993, 6)
    assert sum(len(set(p.verdicts)) == 1 for p in pairs) == sum(
        row["annotator1"] == row["annotator2"] == row["annotator3"]
        and isinstance(row["response1"], str)
        and isinstance(row["response2"], str)
        for row in rows
    )
    assert all(majority(p.verdicts) for p in pairs)
