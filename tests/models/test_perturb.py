import pytest
import torch
from in_texts import in_texts
from tiny import save_model

from alignpro.config import FrozenSettings, Sampling
from alignpro.errors import ModelNotUsable, SettingsError
from alignpro.models.fingerprint import fingerprint
from alignpro.models.local import load_frozen
from alignpro.models.perturb import LADDER, NoisyInput, check, parse, perturbed
from alignpro.types import Generation

TEXT = "owls  in\n\nthe quiet old town "


class Echo:
    """A frozen model that answers with what it was asked."""

    name = "echo"

    @in_texts
    def respond(self, prompts, counts, seed):
        return [[Generation(prompt)] * count for prompt, count in zip(prompts, counts, strict=True)]


def heard(kind, odds, count=40, seed=0, text=TEXT):
    """What reaches the model inside, of `count` responses to one prompt."""
    rows = NoisyInput(Echo(), kind, odds).respond(["another prompt", text], [3, count], seed)
    assert [len(row) for row in rows] == [3, count]
    return [g.text for g in rows[1]]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    folder = save_model(tmp_path_factory.mktemp("frozen") / "model", "qwen2", seed=2)
    return load_frozen(FrozenSettings(model=str(folder), sampling=Sampling(max_new_tokens=6)))


def never(name):
    raise AssertionError(f"asked for {name}")


@pytest.mark.parametrize("kind", ["drop", "swap"])
def test_no_odds_change_nothing_and_every_response_is_damaged_anew(kind):
    assert set(heard(kind, 0.0)) == {TEXT}
    damaged = heard(kind, 0.4)
    assert len(set(damaged)) > 5
    assert damaged == heard(kind, 0.4)
    assert damaged != heard(kind, 0.4, seed=1)
    assert heard(kind, 0.4, text="") == [""] * 40


def test_drop_takes_its_share_of_words_keeps_their_order_and_never_all():
    words = TEXT.split()
    assert {tuple(text.split()) for text in heard("drop", 1.0)} == {(words[0],)}
    kept = [text.split() for text in heard("drop", 0.3, count=400)]
    assert all(row == [word for word in words if word in row] for row in kept)
    assert sum(map(len, kept)) / (400 * len(words)) == pytest.approx(0.7, abs=0.04)


def test_swap_loses_no_word_and_leaves_the_spaces_where_they_were():
    for text in heard("swap", 0.5):
        assert sorted(text.split()) == sorted(TEXT.split())
        assert text.startswith(text.split()[0] + "  " + text.split()[1] + "\n\n")
    assert heard("swap", 1.0, text="one") == ["one"] * 40


def test_temperature_changes_the_sampling_alone_and_of_a_copy(frozen):
    hot = perturbed(frozen, "temperature=3", never, seed=0)
    assert hot.lm.sampling == frozen.lm.sampling.model_copy(update={"temperature": 3.0})
    assert frozen.lm.sampling.temperature == 1.0
    assert fingerprint(hot.lm.model) == fingerprint(frozen.lm.model)
    same = perturbed(frozen, "temperature=1", never, seed=0)
    assert same.respond(["owls"], [4], 7) == frozen.respond(["owls"], [4], 7) != hot.respond(["owls"], [4], 7)


def test_weights_are_shaken_in_a_copy_by_the_amount_told(frozen):
    before = fingerprint(frozen.lm.model)
    assert fingerprint(perturbed(frozen, "weights=0", never, seed=0).lm.model) == before
    first, again, other = (perturbed(frozen, "weights=0.1", never, seed=s).lm.model for s in (3, 3, 4))
    assert fingerprint(frozen.lm.model) == before
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)
    moved = [
        float((a - b).std() / b.std())
        for a, b in zip(first.parameters(), frozen.lm.model.parameters(), strict=True)
        if b.numel() > 1000
    ]
    assert moved == pytest.approx([0.1] * len(moved), rel=0.2)
    assert not any(p.requires_grad for p in first.parameters())
    assert torch.isfinite(torch.cat([p.flatten() for p in first.parameters()])).all()


def test_another_model_takes_the_place_and_what_is_not_local_keeps_its_weights():
    asked = []
    assert perturbed(Echo(), "model=a=b", lambda name: asked.append(name) or "loaded", seed=0) == "loaded"
    assert asked == ["a=b"]
    assert perturbed(Echo(), "drop=0.1", never, seed=0).name == "echo with drop=0.1"
    for spec in ("temperature=2", "weights=0.1"):
        with pytest.raises(SettingsError, match=r"echo is not a local model"):
            perturbed(Echo(), spec, never, seed=0)


@pytest.mark.parametrize(
    "spec",
    [
        "drop",
        "swap=",
        "drop=x",
        "drop=-0.1",
        "drop=1.1",
        "swap=nan",
        "temperature=0",
        "temperature=inf",
        "weights=-1",
        "weights=inf",
        "model=",
        "x=1",
    ],
)
def test_a_noise_that_there_is_not_is_refused(spec):
    with pytest.raises(SettingsError, match=r"is not one of temperature=T"):
        parse(spec)


def test_the_packaged_ladder_is_accepted_and_a_missing_model_is_not(tmp_path):
    for spec in LADDER:
        check(spec)
    with pytest.raises(ModelNotUsable, match="no such folder"):
        check(f"model={tmp_path / 'gone'}")
