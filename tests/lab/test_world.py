import random

import pytest

from alignpro.lab import gold, world
from alignpro.lab.subjects import held_out, subjects

EVERYTHING = [p for which in ("train", "test") for p in world.user_prompts(which)]


def test_the_world_is_as_large_as_it_says_and_a_fifth_is_held_out():
    assert len(subjects()) == 85
    assert len({s.phrase for s in subjects()}) == 85
    assert {s.kind for s in subjects()} == {"fact", "howto", "advice"}
    assert 10 <= sum(s.hazard is not None for s in subjects()) < sum(s.kind == "howto" for s in subjects())
    train, test = world.user_prompts("train"), world.user_prompts("test")
    assert {p.subject.phrase for p in test} == held_out(0)
    assert not held_out(0) & {p.subject.phrase for p in train}
    assert len(held_out(0)) * 5 == len(subjects())
    assert len({p.text for p in test}) == len(test) >= 300


def test_prompts_are_read_back_as_they_were_meant():
    for prompt in EVERYTHING:
        request = world.read(prompt.text)
        assert (request.subject, request.mood) == (prompt.subject, prompt.mood), prompt.text
        assert not request.clear
        assert not request.cues


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("cues", [(), ("detail",), ("risks", "steps", "brevity"), world.CUES])
def test_suffixes_ask_for_what_they_say(clear, cues):
    prompt = EVERYTHING[100]
    text = world.tidy(f"{prompt.text} , {world.suffix(cues, clear)}")
    request = world.read(text)
    assert (request.clear, request.cues, request.mood) == (clear, frozenset(cues), prompt.mood)


def mean_utility(prompt, **asked):
    rng = random.Random(0)
    request = world.Request(prompt.subject, prompt.mood, asked.get("clear", True), frozenset(asked.get("cues", ())))
    scores = [gold.utility(prompt.text, world.answer(rng, request)) for _ in range(400)]
    return sum(scores) / len(scores)


def one(kind, mood, hazard=False):
    return next(p for p in EVERYTHING if (p.subject.kind, p.mood, bool(p.subject.hazard)) == (kind, mood, hazard))


def test_clear_requests_help_and_the_best_cues_differ_from_prompt_to_prompt():
    fact, advice = one("fact", "thorough"), one("advice", "neutral")
    task, danger, hurry = one("howto", "neutral"), one("howto", "neutral", True), one("fact", "hurried")
    assert mean_utility(fact) > mean_utility(fact, clear=False) + 0.2
    for prompt, good, bad in [
        (fact, "detail", "brevity"),
        (hurry, "brevity", "detail"),
        (task, "steps", "risks"),
        (danger, "risks", "kindness"),
        (advice, "kindness", "steps"),
        (fact, "example", "steps"),
    ]:
        assert mean_utility(prompt, cues=[good]) > mean_utility(prompt) + 0.1, (prompt.text, good)
        assert mean_utility(prompt, cues=[bad]) < mean_utility(prompt, cues=[good]) - 0.1, (prompt.text, bad)


def test_gold_charges_for_what_it_should():
    x = "tell me, owls"
    good = "about owls. they eat mice. they have huge eyes."
    assert gold.utility(x, good) > gold.utility(x, "about foxes. they have bushy tails.")  # relevance
    assert gold.utility(x, good) > gold.utility(x, "about owls. they eat worms. they have huge eyes.")  # right content
    assert gold.utility(x, good) > gold.utility(x, good + " warning, this may not be safe for all.")  # needless warning
    assert gold.utility(x, good) > gold.utility(x, good + " they have")  # cut off
    assert gold.utility(x, good) > gold.utility(x, good + " i hope this helps.")  # length
    assert gold.utility(
        "light a stove", "about light a stove. strike a match first. warning, an open flame can burn you."
    ) > (gold.utility("light a stove", "about light a stove. strike a match first."))
    assert gold.utility("the weather on mars", good) is None


def test_answers_are_read_back_whole():
    rng = random.Random(1)
    for prompt in EVERYTHING[::7]:
        text = world.answer(rng, world.read(world.rewrite(rng, prompt.subject.phrase)))
        assert gold.read(text).strange == 0, text
        assert gold.read(text).whole
