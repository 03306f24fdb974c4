"""Several prompters in sequence, scripted."""

from in_texts import in_texts

from alignpro.flow.prompters import Chain, IdentityPrompter
from alignpro.types import Generation, as_prompts


class Adds:
    """Writes its mark behind what it is given; fails where told, and notes what reached it."""

    def __init__(self, mark, fail=()):
        self.name, self.mark, self.fail = mark, mark, fail
        self.given, self.seeds = [], []

    @in_texts
    def rewrite(self, prompts, n, seed):
        self.given += prompts
        self.seeds.append(seed)
        return [
            [
                Generation("", failure=f"{self.mark} failed") if p in self.fail else Generation(f"{p}{self.mark}{k}")
                for k in range(n)
            ]
            for p in prompts
        ]


def test_each_pass_rewrites_what_the_one_before_wrote_once_for_each_draw():
    first, second, third = Adds("A"), Adds("B"), Adds("C")
    chain = Chain((first, second, third))
    rows = chain.rewrite(as_prompts(["x", "y"]), 2, seed=0)
    assert [[g.text for g in row] for row in rows] == [["xA0B0C0", "xA1B0C0"], ["yA0B0C0", "yA1B0C0"]]
    assert first.given == ["x", "y"]
    assert second.given == ["xA0", "xA1", "yA0", "yA1"]
    assert chain.name == "A then B then C"
    assert len({first.seeds[0], second.seeds[0], third.seeds[0]}) == 3  # streams of their own


def test_a_pass_that_fails_stays_failed_and_costs_the_others_nothing():
    second = Adds("B", fail=("zA0",))
    chain = Chain((Adds("A", fail=("x",)), second))
    rows = chain.rewrite(as_prompts(["x", "y", "z"]), 1, seed=0)
    assert [row[0].failure for row in rows] == ["A failed", None, "B failed"]
    assert rows[1][0].text == "yA0B0"
    assert second.given == ["yA0", "zA0"]
    assert Chain((Adds("A", fail=("x",)), second)).rewrite(as_prompts(["x"]), 3, seed=0)[0][2].failure == "A failed"


def test_an_identity_before_changes_nothing_but_the_draws():
    plain = Adds("A").rewrite(as_prompts(["x", "y"]), 1, seed=0)
    chained = Chain((IdentityPrompter(), Adds("A"))).rewrite(as_prompts(["x", "y"]), 1, seed=0)
    assert chained == plain
