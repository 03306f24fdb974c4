"""A frozen model that is a function of the user's, by itself and in whole runs by the command line."""

import importlib
import json
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from cli import ESTIMATE, SMALL, start

from alignpro.config import BudgetSettings, PriceSettings, Sampling
from alignpro.errors import BudgetSpent, EndpointDown, SettingsError
from alignpro.models.framing import Frame
from alignpro.remote.accounting import Account
from alignpro.remote.cache import AnswerCache
from alignpro.remote.function import load_function_model
from alignpro.runtime.files import read_json, read_jsonl
from alignpro.runtime.functions import source_digest
from alignpro.types import Prompt, RemoteModel, Turn

ECHO = """
def answer(messages, seed):
    return f"{messages[-1]['content']} {seed}"
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write a module of the user's in the working folder and load its function as a frozen model."""
    monkeypatch.chdir(tmp_path)
    opened, written = [], []

    def load(source, name="answer", sampling=None, **more):
        module = f"mine_{len(written)}"
        (tmp_path / f"{module}.py").write_text(source)
        written.append(module)
        importlib.invalidate_caches()
        opened.append(load_function_model(f"python:{module}:{name}", sampling or Sampling(max_new_tokens=16), **more))
        return opened[-1]

    yield load
    for model in opened:
        model.close()
    for module in written:
        sys.modules.pop(module, None)


def module_of(model):
    return sys.modules[model.name.partition(":")[0]]


def one(model, text="hello", seed=0):
    return model.respond([text], [1], seed)[0][0]


def test_it_gets_the_whole_conversation_and_what_it_names_and_nothing_else(mine):
    source = """
import json
def answer(messages, seed, temperature, max_tokens, max_new_tokens, top_p=None, style="plain", **more):
    assert not more
    return json.dumps([messages, seed, temperature, max_tokens, max_new_tokens, top_p, style])
def placed(conversation, /, *, top_k):
    conversation[-1]["content"] = "spoilt"
    return f"{len(conversation)} {top_k}"
"""
    frame = Frame("Answer: {prompt}", "Be brief.")
    model = mine(source, sampling=Sampling(max_new_tokens=9, temperature=0.5, top_p=0.9), frame=frame)
    assert isinstance(model, RemoteModel)
    messages, seed, *rest = json.loads(one(model).text)
    assert messages == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Answer: hello"}]
    assert rest == [0.5, 9, 9, 0.9, "plain"] and 0 <= seed < 2**31
    styled = mine(source, arguments={"style": "grand"})
    assert json.loads(one(styled).text)[-1] == "grand"
    assert one(mine(source, "placed", Sampling(top_k=3), frame=frame)).text == "2 3"


def test_it_gets_what_stands_before_x_and_never_the_row(mine):
    model = mine(
        "import json\ndef answer(messages):\n    return json.dumps(messages)", frame=Frame("Q: {prompt}", "Be brief.")
    )
    turns = (Turn("user", "I have 7 apples."), Turn("assistant", "Fine."))
    x = Prompt("And 5 more?", "You add.", turns, {"answer": "12"}).asking("What is 7 plus 5?")
    own, none = (json.loads(row[0].text) for row in model.respond([x, Prompt(x.text)], [1, 1], 0))
    assert own == [
        {"role": "system", "content": "You add."},
        {"role": "user", "content": "I have 7 apples."},
        {"role": "assistant", "content": "Fine."},
        {"role": "user", "content": "Q: What is 7 plus 5?"},
    ]
    assert none == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Q: What is 7 plus 5?"}]


def test_samples_have_seeds_of_their_own_and_the_order_of_ending_decides_nothing(mine):
    slow_first = ECHO.replace(
        "    return", "    import time; time.sleep(0.05 * ('a' in messages[-1]['content']))\n    return"
    )
    model = mine(slow_first)
    rows = model.respond(["a", "b", "a"], [2, 1, 1], 7)
    assert [len(row) for row in rows] == [2, 1, 1]
    assert all(g.text.startswith(p) for p, row in zip("aba", rows, strict=True) for g in row)
    assert len({g.text for row in rows for g in row}) == 4
    assert model.respond(["a", "b", "a"], [2, 1, 1], 7) == rows
    assert model.respond(["a"], [1], 8) != [rows[0][:1]]
    with model.asking() as asking:
        later = [asking.ask(["b"], [1], 7), asking.ask(["a"], [3], 7)]
    assert [f.result() for f in later] == [[rows[1]], [[*rows[0], *rows[2]]]]


TEMPERS = """
import asyncio, sys
async def answer(messages):
    return give(messages)
def sync(messages):
    return give(messages)
class Klass:
    def __init__(self, word="so"):
        self.word = word
    def __call__(self, messages):
        return give(messages)
class Async(Klass):
    async def __call__(self, messages):
        await asyncio.sleep(0)
        return give(messages)
def give(messages):
    text = messages[-1]["content"]
    if text == "raise":
        raise ValueError("no luck with sk-never-to-be-seen-0123456789\\nsecond line")
    if text == "long":
        raise RuntimeError("x" * 500)
    if text == "bare":
        raise RuntimeError
    if text == "exit":
        sys.exit("I leave")
    if text == "cancelled":
        raise asyncio.CancelledError
    return {
        "fine": "an answer",
        "mapping": {"text": "an answer", "finish": "length", "usage": {"input_tokens": 3, "output_tokens": 5}},
        "error": {"error": "no document found", "text": "I do not know"},
        "empty": "  ",
        "nothing": {},
        "none": None,
        "number": 7,
        "bytes": b"an answer",
        "field": {"text": "a", "answer": "b"},
        "finish": {"text": "a", "finish": "tool"},
        "usage": {"text": "a", "usage": {"input_tokens": -1, "output_tokens": 2}},
        "half": {"text": "a", "usage": {"input_tokens": 1}},
        "surrogate": "a\\ud800b",
    }[text]
"""
FAILURES = {
    "raise": "ValueError: no luck with [SOME_API_KEY]",
    "long": "RuntimeError: " + "x" * 66,
    "bare": "RuntimeError",
    "exit": "SystemExit: I leave",
    "cancelled": "CancelledError",
    "error": "no document found",
    "empty": "empty answer",
    "nothing": "empty answer",
    "none": "the function gave NoneType; wanted a text",
    "number": "the function gave int; wanted a text",
    "bytes": "the function gave bytes; wanted a text",
    "field": "the function gave a mapping with 'answer'; wanted a text",
    "finish": "the function gave text of type str and finish 'tool'; wanted",
    "usage": "the function gave usage {'input_tokens': -1, 'output_tokens': 2}; wanted",
    "half": "the function gave usage {'input_tokens': 1}; wanted",
}


@pytest.mark.parametrize("name", ["answer", "sync", "Klass", "Async"])
def test_everything_that_it_may_do_is_an_answer_or_a_failure_by_name(mine, monkeypatch, name):
    monkeypatch.setenv("SOME_API_KEY", "sk-never-to-be-seen-0123456789")
    model = mine(TEMPERS, name)
    texts = ["fine", "mapping", "surrogate", *FAILURES]
    got = dict(zip(texts, [row[0] for row in model.respond(texts, [1] * len(texts), 0)], strict=True))
    assert (got["fine"].text, got["fine"].finish, got["fine"].failure) == ("an answer", "stop", None)
    assert (got["mapping"].text, got["mapping"].finish) == ("an answer", "length")
    assert got["surrogate"].text == "a?b" and got["error"].text == "I do not know"
    for text, reason in FAILURES.items():
        assert got[text].failure.startswith(reason), text
    assert "second line" not in got["raise"].failure and len(got["long"].failure) == 80
    books = model.account.report()[model.name]
    assert books["requests"] == len(texts) and books["failed"] == len(FAILURES)
    assert (books["input_tokens"], books["output_tokens"], books["unmetered"]) == (3, 5, 0)


LIMIT = 1.5
"""Seconds that no stall of the machine comes near."""
SLOW = """
import asyncio, threading, time
lock, now, most, ended, cancelled, hold = threading.Lock(), 0, 0, 0, 0, threading.Event()
meeting = threading.Barrier(4)

def enter(step):
    global now, most
    with lock:
        now += step
        most = max(most, now)

def together(messages):  # four calls that wait for one another
    meeting.wait(30)
    return "met"

def one_by_one(messages):
    enter(1)
    time.sleep(0.01)
    enter(-1)
    return "done"

def hangs(messages):
    global ended
    if messages[-1]["content"] == "hang":
        enter(1)
        hold.wait(30)
        enter(-1)
        ended += 1
    else:
        enter(1)
        enter(-1)
    return "done"

async def waits(messages):
    global cancelled
    try:
        await asyncio.sleep(30 if messages[-1]["content"] == "hang" else 0)
    except asyncio.CancelledError:
        cancelled += 1
        raise
    return "done"
"""


def test_so_many_calls_are_under_way_and_no_more(mine):
    assert {row[0].text for row in mine(SLOW, "together", concurrency=4).respond(list("abcdefgh"), [1] * 8, 0)} == {
        "met"
    }
    model = mine(SLOW, "one_by_one", concurrency=1)
    model.respond(list("abcdefgh"), [2] * 8, 0)
    assert module_of(model).most == 1
    with mine(SLOW, "one_by_one", concurrency=3) as model, model.asking() as asking:
        for future in [asking.ask(list("abcdefgh"), [2] * 8, n) for n in range(3)]:
            future.result()
        assert module_of(model).most == 3


def test_a_call_past_its_time_is_a_failed_sample_and_the_rest_go_on(mine):
    model = mine(SLOW, "hangs", concurrency=2, timeout=LIMIT)
    texts = ["hang", "a", "b", "c"]
    rows = [row[0] for row in model.respond(texts, [1] * 4, 0)]
    assert [g.failure for g in rows] == [f"timed out after {LIMIT} s", None, None, None]
    assert model.account.report()[model.name]["lost"] == 1 and module_of(model).ended == 0
    module_of(model).hold.set()

    waits = mine(SLOW, "waits", concurrency=1, timeout=LIMIT)
    rows = [row[0] for row in waits.respond(texts, [1] * 4, 0)]
    assert [g.failure for g in rows] == [f"timed out after {LIMIT} s", None, None, None]
    assert module_of(waits).cancelled == 1


def test_what_is_not_safe_in_threads_is_never_called_beside_a_call_past_its_time(mine):
    model = mine(SLOW, "hangs", concurrency=1, timeout=LIMIT)
    with pytest.raises(EndpointDown, match=rf"1 calls have gone on for more than {LIMIT} s"):
        model.respond(["hang", "a"], [1, 1], 0)
    assert module_of(model).most == 1
    threading.Timer(0.1, module_of(model).hold.set).start()
    assert one(model, "a").text == "done" and module_of(model).most == 1 and module_of(model).ended == 1


COUNTED = """
import threading
asked, lock, broken = [], threading.Lock(), True
def answer(messages, seed):
    text = messages[-1]["content"]
    with lock:
        asked.append((text, seed))
    if text == "raises" and broken:
        raise RuntimeError("just now")
    if text == "refuses":
        return {"error": "I will not"}
    return f"{text} {seed}"
"""


def test_what_was_answered_is_asked_for_once_and_what_raised_again(mine, tmp_path):
    texts = ["a", "raises", "refuses"]
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        model = mine(COUNTED, cache=cache)
        asked = module_of(model).asked
        first = model.respond(texts, [3, 1, 1], 0)
        assert len(asked) == 5
        module_of(model).broken = False
        again = model.respond(texts, [3, 1, 1], 0)
        assert len(asked) == 6 and asked[5][0] == "raises"
        assert again[0] == first[0] and again[2] == first[2] and again[2][0].failure == "I will not"
        assert again[1][0].failure is None
        model.respond(["a"], [4], 0)  # one more of them than before
        assert len(asked) == 7
        model.respond(["a"], [1], 1)  # another seed
        assert len(asked) == 8


def test_a_changed_source_or_argument_is_another_model(mine, tmp_path):
    source = "import helper\ndef answer(messages, word='so'):\n    return helper.text(word)\n"
    helper = "def text(word):\n    import inner.most\n    return word\n"
    (tmp_path / "helper.py").write_text(helper)
    (tmp_path / "inner").mkdir()  # a package without __init__.py
    (tmp_path / "inner" / "most.py").write_text("from . import beside\n")
    (tmp_path / "inner" / "beside.py").write_text("x = 1\n")
    (tmp_path / "unrelated.py").write_text("x = 1\n")
    (tmp_path / "inner" / "broken.py").write_text("this is no Python\n")
    models = [mine(source), mine(source), mine(source, arguments={"word": "thus"})]
    assert len({m.identity for m in models[1:]}) == 2
    name = models[0].name.partition(":")[0]
    before = source_digest(name)
    (tmp_path / "unrelated.py").write_text("x = 2\n")
    assert source_digest(name) == before
    seen = {before}
    for file, text in (
        ("helper.py", helper + "# other\n"),
        ("inner/beside.py", "x = 2\n"),
        ("inner/most.py", "from . import beside, broken\n"),
        ("inner/broken.py", "nor is this\n"),
        (f"{name}.py", source + "\n"),
    ):
        (tmp_path / file).write_text(text)
        assert source_digest(name) not in seen, file
        seen.add(source_digest(name))
    assert source_digest("math") == source_digest("math") != source_digest("numpy.linalg")


TELLS = """
def answer(messages):
    return {"text": "yes", "usage": {"input_tokens": 1000, "output_tokens": 100}}
def silent(messages):
    return "yes"
"""


def test_a_budget_is_not_passed_and_prices_are_booked_by_what_it_tells(mine):
    names = iter(("mine_0:answer", "mine_1:answer", "mine_2:silent", "mine_3:silent"))
    account = Account({next(names): PriceSettings(input=1, output=10)}, BudgetSettings(money=0.01))
    model = mine(TELLS, account=account, concurrency=1)
    with pytest.raises(BudgetSpent, match="--resume"):
        model.respond(list("abcdefgh"), [1] * 8, 0)
    books = account.report()[model.name]
    assert books["requests"] == 5 and books["money"] == pytest.approx(0.01) and books["input_tokens"] == 5000

    account = Account(budget=BudgetSettings(calls=5))
    model = mine(TELLS, account=account)
    with pytest.raises(BudgetSpent, match="5 of 5 calls"):
        model.respond(list("abcdefgh"), [1] * 8, 0)
    assert account.report()[model.name]["requests"] == 5

    model = mine(TELLS, "silent", account=Account(budget=BudgetSettings(tokens=10_000)))
    one(model)
    books = model.account.report()[model.name]
    assert books["unmetered"] == 1 and books["output_tokens"] == 16 and books["input_tokens"] > 256
    with pytest.raises(SettingsError, match="has no price"):
        mine(TELLS, "silent", account=Account(budget=BudgetSettings(money=1)))


@pytest.mark.parametrize(
    ("source", "arguments", "said"),
    [
        ("def answer(messages, row):\n    return 'a'", {}, "it wants 'row', and a frozen model is given messages"),
        ("def answer():\n    return 'a'", {}, "cannot be called with messages"),
        ("def answer(seed):\n    return 'a'", {}, "cannot be called with messages"),
        ("def answer(*, text):\n    return 'a'", {}, "it wants 'text'"),
        ("def answer(messages):\n    return 'a'", {"style": 1}, "unexpected keyword argument 'style'"),
        ("def answer(messages, seed):\n    return 'a'", {"seed": 1}, "frozen.arguments.seed: .* with every call"),
        ("class answer:\n    def __init__(self):\n        raise OSError('no index')", {}, "OSError: no index"),
        ("class answer:\n    pass", {}, "no __call__ that takes messages"),
        ("import nowhere", {}, "importing mine_0 failed .*nowhere"),
        ("answer = 3\ndef other(): pass", {}, "no function 'answer'; it has other"),
    ],
)
def test_what_cannot_be_called_is_refused_as_it_is_loaded(mine, source, arguments, said):
    with pytest.raises(SettingsError, match=said):
        mine(source, arguments=arguments)


def test_the_example_answers_fails_and_is_cut_off(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "examples")
    with load_function_model("python:own_frozen:answer", Sampling(), arguments={"most_words": 20}) as model:
        whole, none = (row[0] for row in model.respond(["how do bicycles stay up?", "tell me"], [1, 1], 0))
        assert whole.text.startswith("Bicycles stay up because") and whole.finish == "stop"
        assert none.failure == "no note is about that"
    with load_function_model("python:own_frozen:answer", Sampling()) as model:
        assert one(model, "why do owls see in the dim?").finish == "length"


def test_a_closed_model_says_so_and_a_thread_left_behind_keeps_nothing_open(mine):
    model = mine(SLOW, "hangs", timeout=0.1)
    one(model, "hang")
    model.close()
    module_of(model).hold.set()
    with pytest.raises(RuntimeError, match="was closed"):
        one(model)


RUN = """
import json, os, threading, time
from pathlib import Path

lock, turn = threading.Lock(), threading.Lock()

def note(text):
    with lock, open(os.environ["CALLS"], "a+") as file:
        file.write(text + "\\n")
        file.seek(0)
        return len(file.readlines())

def answer(messages, seed):
    time.sleep(seed % 5 / 1000)
    text = messages[-1]["content"]
    # after so many calls none is answered any more
    if note(json.dumps([text, seed])) > int(os.environ.get("HELD", "1000000")):
        time.sleep(600)
    return {"text": f"{text[:30]} {seed}", "usage": {"input_tokens": 10, "output_tokens": 5}}

async def waits(messages, seed):
    return f"{messages[-1]['content'][:30]} {seed}"

def interrupted(messages, seed):
    with turn:
        made = Path(os.environ["CALLS"]).read_text().splitlines()
        if len(made) >= 5 and "interrupted" not in made:
            note("interrupted")
            raise KeyboardInterrupt
    return answer(messages, seed)

def sometimes(messages, seed):
    if "thing 27" in messages[-1]["content"]:
        raise RuntimeError("the chain tripped")
    return answer(messages, seed)

def always(messages):
    raise RuntimeError("no index")
"""
FEW = ("--train.steps=2", "--evaluate.every=0", "--evaluate.arms=[no_prompter,align_pro]")


@pytest.fixture
def chain(workshop, tmp_path, monkeypatch):
    """Words of a run with a function of chain.py as frozen model, whose calls are noted in a file."""
    (workshop / "chain.py").write_text(RUN)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    (tmp_path / "calls").touch()
    monkeypatch.syspath_prepend(workshop)
    sys.modules.pop("chain", None)
    importlib.invalidate_caches()

    def words(name, out, *more):
        named = [
            f"--prompter={workshop / 'prompter'}",
            f"--frozen=python:chain:{name}",
            "--reward=python:rewards:length",
        ]
        return [*named, f"--prompts={workshop / 'prompts.txt'}", *SMALL, *more, f"--out={out}"]

    return words


def calls(tmp_path):
    return Counter((tmp_path / "calls").read_text().splitlines())


def test_a_run_with_a_function_counts_keeps_and_shows_what_an_endpoint_would(chain, tmp_path, inside):
    out = tmp_path / "run"
    price = "--frozen.endpoint.price={input: 1, output: 10}"
    code, planned = inside("run", *chain("answer", out, price), "--dry-run")
    assert code == 0 and "frozen model, python:chain:answer" in planned and not calls(tmp_path)
    code, output = inside("run", *chain("answer", out, price))
    assert code == 0, output
    made = calls(tmp_path)
    assert max(made.values()) == 1
    evaluation = read_json(out / "evaluation.json")
    books = evaluation["cost"]["endpoints"]["chain:answer"]
    assert books == read_json(out / "spending.json")["chain:answer"]
    assert books["requests"] == made.total() and books["input_tokens"] == 10 * books["requests"]
    assert books["money"] == pytest.approx(60e-6 * books["requests"])
    assert f"chain:answer: {made.total():,} requests" in output
    assert list(evaluation["arms"]) == ["no_prompter", "reference_prompter", "align_pro", "gibbs_2"]
    assert all(arm["mean_reward"] is not None for arm in evaluation["arms"].values())
    assert evaluation["arms"]["align_pro"].get("kl_to_frozen") is None
    assert len(read_json(out / "environment.json")["frozen_weights"]) == 32
    code, output = inside("rewrite", "tell me about owls", "--run", str(out), "--answer")
    assert code == 0 and "answered:" in output
    code, output = inside("export", str(out), "--out", str(tmp_path / "export"))
    assert code == 0, output
    assert "A prompter for python:chain:answer" in (tmp_path / "export" / "README.md").read_text()


def test_a_run_killed_by_kill_9_and_resumed_asks_for_nothing_twice(chain, workshop, tmp_path, inside):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    code, output = inside("run", *chain("answer", whole, *FEW))
    assert code == 0, output
    total = calls(tmp_path)
    (tmp_path / "calls").write_text("")
    stop_at = total.total() * 2 // 3
    process = start(workshop, "run", *chain("answer", killed, *FEW), CALLS=str(tmp_path / "calls"), HELD=str(stop_at))
    try:
        while calls(tmp_path).total() <= stop_at or _requests(killed) < stop_at:
            time.sleep(0.05)
            assert process.poll() is None, process.communicate()[0]
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    under_way = calls(tmp_path).total() - stop_at
    assert read_json(killed / "evaluation.json") is None and 1 <= under_way <= 8
    code, output = inside("run", "--resume", f"--out={killed}")
    assert code == 0, output
    again = calls(tmp_path)
    assert set(again) == set(total) and again.total() == total.total() + under_way
    a, b = read_json(whole / "evaluation.json"), read_json(killed / "evaluation.json")
    assert a.pop("cost")["frozen_calls"] == b.pop("cost")["frozen_calls"]
    assert a == b and read_jsonl(whole / "samples.jsonl") == read_jsonl(killed / "samples.jsonl")


def _requests(folder):
    return (read_json(folder / "spending.json") or {}).get("chain:answer", {}).get("requests", 0)


def test_a_budget_and_an_interrupt_of_the_functions_own_stop_the_run_and_it_goes_on(chain, tmp_path, inside):
    out = tmp_path / "run"
    code, output = inside("run", *chain("interrupted", out, *FEW, "--budget=25calls"))
    assert code == 1 and "Traceback" not in output and f"run --resume --out {out}" in output, output
    assert "once more to stop at once" in output
    code, output = inside("run", "--resume", f"--out={out}")
    assert code == 1 and "25 of 25 calls spent" in output, output
    code, output = inside("run", "--resume", f"--out={out}", "--budget=1000calls", "--frozen.concurrency=2")
    assert code == 0, output
    made = calls(tmp_path)
    assert made.pop("interrupted") == 1 and max(made.values()) == 1


def test_failed_samples_are_counted_by_reason_and_too_many_stop_the_run(chain, tmp_path, inside):
    code, output = inside("run", *chain("sometimes", tmp_path / "a", *FEW, "--reward.max_failed=0.9"))
    assert code == 0, output
    arms = read_json(tmp_path / "a" / "evaluation.json")["arms"].values()
    reasons = sum((Counter(arm.get("failures", {})) for arm in arms), Counter())
    assert reasons == {"RuntimeError: the chain tripped": 2}  # of the prompt held out, asked as it is
    assert read_json(tmp_path / "a" / "spending.json")["chain:sometimes"]["failed"] == 2
    code, output = inside("run", *chain("always", tmp_path / "b", *FEW))
    assert code == 1 and "RuntimeError: no index" in output and "Traceback" not in output


def test_a_changed_source_is_refused_or_said_when_the_run_goes_on_and_asked_anew(chain, workshop, tmp_path, inside):
    out = tmp_path / "run"
    code, output = inside("run", *chain("answer", out, *FEW, "--budget=20calls"))
    assert code == 1 and "20 of 20 calls" in output
    (workshop / "chain.py").write_text(RUN.replace("[:30]", "[:20]"))
    sys.modules.pop("chain")
    importlib.invalidate_caches()
    code, output = inside("run", "--resume", f"--out={out}", "--budget=1000calls")
    assert code == 2 and "frozen.model python:chain:answer" in output and "--allow-changed" in output, output
    code, output = inside("run", "--resume", f"--out={out}", "--budget=1000calls", "--allow-changed")
    assert code == 0 and "the source of chain:answer, or its arguments, changed since this run began" in output, output
    made = calls(tmp_path)
    assert max(made.values()) == 2 and sum(n == 2 for n in made.values()) == 4  # 16 were training's, which was done


def test_headroom_and_sampled_rewrites_take_an_async_function(chain, workshop, tmp_path, inside):
    out = tmp_path / "run"
    more = [f"--{setting}" for setting in ESTIMATE]
    noise = f"--headroom.noise=[drop=0.2,model={workshop / 'frozen'}]"
    code, output = inside("headroom", *chain("waits", out), *more, noise)
    assert code == 0, output
    found = read_json(out / "headroom.json")
    assert [row["noise"] for row in found["noise"]] == ["none", "drop=0.2", f"model={workshop / 'frozen'}"]
    assert found["cost"]["endpoints"]["chain:waits"]["requests"] > 0 and "0 tokens" not in output
    named = [w for w in chain("waits", out) if w.startswith(("--prompter=", "--frozen=", "--reward="))]
    code, output = inside("rewrite", "tell me about owls", "--method=gibbs", "--n=2", *named, "--answer")
    assert code == 0 and "answered:" in output, output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--rlhf.enabled=true"], "rlhf.enabled=false"),
        (["--headroom.noise=[weights=0.1]"], "its weights cannot be changed"),
        (["--prompter=python:chain:answer"], "must be here"),
        (["--budget=5"], "has no price"),
        (["--frozen.concurrency=0"], "frozen.concurrency"),
        (["--frozen.timeout=0"], "frozen.timeout"),
        (["--frozen.arguments={style: 1}"], "unexpected keyword argument 'style'"),
        (["--frozen=python:chain"], "not of the form python:module:function"),
        (["--frozen=python:nowhere:answer"], "importing nowhere failed"),
        (["--frozen=python:chain:anwser"], "has no function 'anwser'"),
        (["--frozen=frozen", "--frozen.arguments={style: 1}"], "arguments are those of a python:module:name"),
        (["--evaluate.sampling={temperature: 0.5}"], "evaluate.sampling is for models that are here"),
    ],
)
def test_bad_input_is_refused_before_any_call(chain, tmp_path, inside, more, said):
    out = tmp_path / "run"
    code, output = inside("run", *chain("answer", out), *more)
    assert code == 2 and said in output and "Traceback" not in output, output
    assert not out.exists() and not calls(tmp_path)
