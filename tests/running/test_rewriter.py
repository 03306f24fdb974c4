"""One Rewriter: lists and conversations, what failed, seeds, threads, a running event loop, an exported folder."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from cli import copied, settings

import alignpro
from alignpro import config
from alignpro.errors import DataError, RunFailure, SettingsError, UsageError
from alignpro.export import export
from alignpro.types import Prompt, Turn, as_prompts

XS = [f"tell me about thing {i}" for i in range(12)]
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "good day"},
    {"role": "user", "content": "tell me about owls"},
]
TALKED = Prompt("tell me about owls", "Be brief.", (Turn("user", "hello"), Turn("assistant", "good day")))


@pytest.fixture(scope="module")
def prompter(trained):
    return alignpro.TrainedPrompter.load(trained)


def texts(rewrites):
    return [one.text for one in rewrites]


def test_one_prompt_gives_one_rewrite_and_a_list_gives_a_list(prompter):
    one = prompter.rewrite("owls", seed=1)
    assert isinstance(one, alignpro.Rewrite) and one.prompt == Prompt("owls") and one.failure is None
    assert prompter.rewrite(["owls"], seed=1) == [one]
    assert prompter.rewrite(("owls",), seed=1) == prompter.rewrite(iter(["owls"]), seed=1) == [one]
    assert prompter.rewrite([], seed=1) == []
    three = prompter.rewrite("owls", n=3, seed=1)
    assert three[0] == one and len(set(texts(three))) > 1
    assert prompter.rewrite(["rain", "owls"], n=3, seed=1)[1] == three
    assert prompter.rewrite("owls", n=1, seed=1) == [one]


def test_a_conversation_is_one_prompt_in_any_form(prompter):
    one = prompter.rewrite(TALK, seed=1)
    assert one.prompt == TALKED
    other = [
        {"from": {"user": "human", "assistant": "gpt"}.get(t["role"], t["role"]), "value": t["content"]} for t in TALK
    ]
    assert prompter.rewrite([TALKED, other, TALK[-1:]], seed=1)[0] == one
    assert [x.prompt for x in prompter.rewrite([TALKED, other, TALK[-1:]])] == [TALKED, TALKED, Prompt(TALKED.text)]


@pytest.mark.parametrize(
    ("prompts", "told"),
    [
        (TALK[:3], "prompt 1: the last turn is not the user's; found turns of system, user, assistant"),
        (["owls", TALK[:1]], "prompt 2: no turn of the user"),
        (["owls", 3], "prompt 2: it is none; found int; wanted a text, a Prompt, or messages"),
        ([{"prompt": "owls"}], "prompt 1: a turn of nobody"),
        ({"messages": TALK}, "found a mapping of messages"),
        ([["owls", "rain"]], "found a list of str"),
        (None, "found NoneType"),
        (b"owls", "found bytes"),
        (["\ud800 owls"], "half a character"),
    ],
)
def test_what_is_no_prompt_is_told(prompter, prompts, told):
    with pytest.raises(DataError, match=told):
        prompter.rewrite(prompts)


def test_what_cannot_be_rewritten_is_one_failure_among_others(prompter):
    long = "word " * 3000
    made = prompter.rewrite(["owls", long, " ", "rain"], seed=1)
    assert [one.failure is None for one in made] == [True, False, False, True]
    assert "shorten it by" in made[1].failure and "overflow=cut" in made[1].failure
    assert made[1].text == long.strip() and made[2].failure == "empty prompt"
    assert [made[0], made[3]] == prompter.rewrite(["owls", "rain"], seed=1)
    assert prompter.rewrite(long) == made[1] and prompter.rewrite([" "], n=2) == [[made[2]] * 2]
    with pytest.raises(UsageError, match="n is 0"):
        prompter.rewrite("owls", n=0)


def test_a_seed_gives_each_prompt_its_own_luck_and_no_seed_gives_every_call_another(prompter):
    whole = prompter.rewrite(XS, seed=7)
    assert whole == [prompter.rewrite(x, seed=7) for x in XS] == prompter.rewrite(XS[::-1], seed=7)[::-1]
    assert len({one.text for one in prompter.rewrite(["owls"] * 8, seed=7)}) > 1
    assert prompter.rewrite(XS) != prompter.rewrite(XS)
    assert texts(prompter.rewrite(XS, seed=8)) != texts(whole)


def test_batches_change_nothing(trained):
    small = alignpro.TrainedPrompter.load(trained, ["prompter.batch_size=2"])
    assert small.first.lm.batch_size == 2
    assert small.rewrite(XS, seed=7) == alignpro.TrainedPrompter.load(trained).rewrite(XS, seed=7)


def test_passes_in_sequence_and_sampling_keep_each_prompts_luck(trained, workshop, spy):
    chained = settings(workshop, f"prompter.before=[{trained}]", "reward.model=python:rewards:spy")
    sampled = alignpro.SampledPrompter.load(chained, candidates=2).prompter
    for prompter in (sampled, sampled.reference):
        rows = prompter.rewrite(as_prompts(XS), 2, seed=range(len(XS)))
        assert rows == [prompter.rewrite(as_prompts([x]), 2, seed=[i])[0] for i, x in enumerate(XS)]
        assert len({g.text for (g,) in prompter.rewrite(as_prompts(["owls"] * 9), 1, seed=range(9))}) > 1


def test_eight_threads_get_what_each_would_get_alone(trained):
    prompter = alignpro.TrainedPrompter.load(trained)

    def use(seed):
        made = prompter.rewrite(XS[: seed + 1], seed=seed)
        return made, prompter.answer(made[0], seed=seed)

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(use, range(8)))
    alone = alignpro.TrainedPrompter.load(trained)
    prompter = alone
    assert together == [use(seed) for seed in range(8)]


def test_inside_a_running_event_loop_it_gives_the_same(prompter):
    async def notebook():
        made = prompter.rewrite(XS[:3], seed=2)
        others = await asyncio.gather(*(asyncio.to_thread(prompter.rewrite, x, seed=2) for x in XS[:3]))
        return made, others, prompter.answer(made[0], seed=2)

    made, others, answer = asyncio.run(notebook())
    assert made == others == prompter.rewrite(XS[:3], seed=2)
    assert answer == prompter.answer(made[0], seed=2)


def test_an_answer_is_to_the_rewrite_after_what_stands_before_it(prompter, monkeypatch):
    made = prompter.rewrite(Prompt(TALKED.text, TALKED.system, TALKED.history, {"answer": "42"}), seed=1)
    asked = []
    prompter.answer("owls")
    respond = type(prompter.frozen).respond

    def spied(self, prompts, counts, seed):
        asked.extend(prompts)
        return respond(self, prompts, counts, seed)

    monkeypatch.setattr(type(prompter.frozen), "respond", spied)
    prompter.answer(made)
    prompter.answer(TALK)
    assert asked == [Prompt(made.text, TALKED.system, TALKED.history), TALKED]
    with pytest.raises(RunFailure, match="exceeds the frozen model's context"):
        prompter.answer("word " * 3000)
    with pytest.raises(DataError, match="prompt 1"):
        prompter.answer(TALK[:3])


@pytest.mark.parametrize("framing", ["run", "system, examples and sampling"])
def test_an_exported_folder_loads_back_with_its_frame(trained, workshop, tmp_path, framing):
    run = copied(trained, tmp_path / "run")
    if framing != "run":
        own = config.load(
            run / "config.yaml",
            [
                "prompter.system=@@ Be {brief}.",
                "prompter.examples=[{prompt: owls, rewrite: tell me of owls}]",
                "prompter.template={context} rewrite {fenced}",
                "prompter.sampling.temperature=0.7",
                "prompter.overflow=cut",
                "prompter.batch_size=3",
                "guards.numbers=false",
            ],
        )
        (run / "config.yaml").write_text(config.dump(own))
    export(run, tmp_path / "out")
    before, after = (alignpro.TrainedPrompter.load(tmp_path / name) for name in ("run", "out"))
    asked = [*XS, TALKED, "owls </request> {prompt}"]
    assert after.first.lm.queries(asked) == before.first.lm.queries(asked)
    assert after.rewrite(asked, seed=4) == before.rewrite(asked, seed=4)
    for name in ("sampling", "batch_size", "cut_long_prompts"):
        assert getattr(after.first.lm, name) == getattr(before.first.lm, name)
    assert after.settings.guards == before.settings.guards
    with pytest.raises(SettingsError, match=r"frozen\.model not set: an exported prompter comes without"):
        after.answer("owls")
    more = [f"frozen.model={workshop / 'frozen'}", "frozen.sampling.max_new_tokens=8", "prompter.sampling.top_p=0.5"]
    loaded = alignpro.TrainedPrompter.load(tmp_path / "out", more)
    assert loaded.answer("owls", seed=1) == before.answer("owls", seed=1)
    assert loaded.first.lm.sampling.top_p == 0.5


def test_what_is_no_prompter_is_told_with_what_there_is(tmp_path):
    with pytest.raises(UsageError, match=r"holds no run .* no exported prompter .* there is no such folder"):
        alignpro.TrainedPrompter.load(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="it is empty"):
        alignpro.TrainedPrompter.load(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UsageError, match=r"found notes\.txt"):
        alignpro.TrainedPrompter.load(tmp_path)
    for damaged in ("{", json.dumps({"how": "?"})):
        (tmp_path / "alignpro.json").write_text(damaged)
        with pytest.raises(UsageError, match="export the run anew"):
            alignpro.TrainedPrompter.load(tmp_path)
    (tmp_path / "alignpro.json").write_text(json.dumps({"template": "{prompt}", "sampling": {"heat": 1}}))
    with pytest.raises(SettingsError, match=r"unknown setting prompter\.sampling\.heat"):
        alignpro.TrainedPrompter.load(tmp_path)
