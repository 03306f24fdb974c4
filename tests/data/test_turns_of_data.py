"""Every form in which data holds a conversation, and every reason for which one is left out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignpro.config import DataSettings
from alignpro.data.conversations import prompt_of
from alignpro.data.sources import load_prompts
from alignpro.errors import DataError, UnusableRow
from alignpro.types import Prompt, Turn

BEFORE = (Turn("user", "owls?"), Turn("assistant", "They fly."))
TWO = Prompt("At night?", "Be brief.", BEFORE)


def said(*turns):
    return [{"role": role, "content": content} for role, content in turns]


OPENAI = said(("system", "Be brief."), *BEFORE, ("user", "At night?"))
SHAREGPT = [
    {"from": {"system": "system", "user": "human", "assistant": "gpt"}[turn["role"]], "value": turn["content"]}
    for turn in OPENAI
]
PARTS = [turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in OPENAI]


@pytest.mark.parametrize(
    "turns",
    [
        OPENAI,
        SHAREGPT,
        PARTS,
        [turn | {"role": turn["role"].replace("system", "developer"), "name": None} for turn in OPENAI],
        [turn | {"role": turn["role"].title(), "tool_calls": None} for turn in OPENAI],
        [*said(("system", "Be brief."), ("developer", "Be brief.")), *OPENAI[1:]],
        [*OPENAI[:-1], *said(("user", " At night?\n"))],
    ],
)
@pytest.mark.parametrize("answered", [False, True])
def test_every_form_gives_the_same_prompt_with_its_answer_or_without(turns, answered):
    last = {"from": "gpt", "value": ""} if "from" in turns[0] else {"role": "assistant", "content": "Yes."}
    assert prompt_of([*turns, last] if answered else turns, cut=True) == TWO


def test_what_stands_before_may_stand_beside_it():
    assert prompt_of("At night?", "Be brief.", said(*BEFORE)) == TWO
    assert prompt_of("At night?", "Be brief.", [["owls?", "They fly."]]) == TWO
    assert prompt_of("At night?", "Be brief.", [list(turn) for turn in BEFORE]) == TWO  # as samples.jsonl has them
    assert prompt_of("At night?", "", json.dumps(said(*BEFORE))) == Prompt("At night?", None, BEFORE)
    assert prompt_of(OPENAI[1:], "Be brief.") == TWO
    assert prompt_of(OPENAI, "Be kind.").system == "Be kind.\n\nBe brief."
    assert prompt_of("owls?", None, []) == Prompt("owls?")


def test_texts_are_unicode_normalised_and_parts_joined():
    apart, composed = "cafe\u0301", "caf\u00e9"
    turns = said(("system", apart), ("user", apart), ("assistant", apart), ("user", apart))
    assert prompt_of(turns) == Prompt(composed, composed, (Turn("user", composed), Turn("assistant", composed)))
    assert prompt_of([{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}]).text == "a\nb"


IMAGE = {"type": "image_url", "image_url": {"url": "data:"}}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([*said(("user", "a")), CALL], "a turn that calls tools or answers for one"),
        (said(("user", "a"), ("tool", "b"), ("user", "c")), "a turn that calls tools or answers for one"),
        ([{"from": "observation", "value": "b"}], "a turn that calls tools or answers for one"),
        ([{"role": "user", "content": [IMAGE]}], "a turn with more than text (images, files)"),
        (said(("user", "a"), ("narrator", "b")), "a turn of 'narrator', who is no one known"),
        (said(("user", "a"), ("assistant", "b"), ("assistant", "c")), "the last turn is not the user's"),
        (said(("assistant", "a")), "no turn of the user"),
        (said(("system", "a")), "no turn of the user"),
        ([], "no turn of the user"),
        (said(("user", "a"), ("user", "b")), "turns that do not alternate, the user's first"),
        (said(("assistant", "a"), ("user", "b")), "turns that do not alternate, the user's first"),
        (said(("user", "a"), ("assistant", " "), ("user", "b")), "an empty turn"),
        (said(("user", "\n")), "empty prompt"),
        (said(("user", "a"), ("system", "b"), ("user", "c")), "a system message after the first turn"),
        (said(("user", None)), "null where what a turn says is wanted"),
        ([{"content": "a"}], "a turn of nobody (no role, no from)"),
        ([["a"]], "a list with a list where a turn is wanted"),
        ({"role": "user"}, "an object where turns are wanted"),
        (said(("user", "\ud83d")), "half a character (an unpaired surrogate, or bytes that are no UTF-8)"),
    ],
)
def test_a_conversation_that_cannot_be_used_drops_its_row_and_not_the_file(tmp_path, turns, reason):
    with pytest.raises(UnusableRow) as caught:
        prompt_of(turns, cut=True)
    assert str(caught.value) == reason
    rows = [{"messages": turns}, *({"messages": said(("user", f"{i}"))} for i in range(9)), {"messages": turns}]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    loaded = load_prompts(DataSettings(prompts=str(tmp_path / "a.json"), columns=[]), 0)
    assert loaded.dropped == {reason: 2}
    assert len(loaded.train) + len(loaded.test) == 9


def test_an_assistants_end_is_cut_only_where_no_answer_is_asked_for():
    with pytest.raises(UnusableRow, match="the last turn is not the user's"):
        prompt_of(said(*BEFORE))


NAMES = ["role", "from", "content", "value", "type", "text", "user", "assistant", "system", "human", "tool_calls", ""]
WORDS = st.sampled_from(NAMES) | st.text(max_size=3)
JSON = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(WORDS, inside, max_size=4),
    max_leaves=12,
)


@given(JSON, JSON, JSON, st.booleans())
def test_whatever_json_holds_is_a_prompt_or_an_unusable_row(asked, system, history, cut):
    try:
        prompt = prompt_of(asked, system, history, cut)
    except UnusableRow:
        return
    assert prompt.text == prompt.text.strip() != ""
    assert [turn.role for turn in prompt.history] == ["user", "assistant"] * (len(prompt.history) // 2)
    again = [list(turn) for turn in prompt.history]
    assert prompt_of(prompt.text, prompt.system, again) == prompt


@pytest.mark.parametrize("column", ["prompt", "messages", "conversations", "dialogue"])
@pytest.mark.parametrize("turns", [OPENAI, SHAREGPT])
def test_the_column_is_told_or_named(tmp_path, column, turns):
    rows = [{column: [*turns[:-1], turns[-1] | {list(turns[-1])[1]: f"{i}"}], "id": i} for i in range(5)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    named = {"column": column} if column == "dialogue" else {}
    loaded = load_prompts(DataSettings(prompts=str(tmp_path / "a.json"), **named), 0)
    assert {*loaded.train, *loaded.test} == {Prompt(f"{i}", "Be brief.", BEFORE, {"id": i}) for i in range(5)}


def csv(path, header, rows):
    cells = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    path.write_text("\n".join([header, *cells]))
    return str(path)


def test_a_cell_of_csv_may_hold_a_conversation(tmp_path):
    path = csv(tmp_path / "a.csv", "messages", [[json.dumps(said(*BEFORE, ("user", f"{i}")))] for i in range(4)])
    loaded = load_prompts(DataSettings(prompts=path), 0)
    assert {*loaded.train, *loaded.test} == {Prompt(f"{i}", None, BEFORE) for i in range(4)}
    path = csv(tmp_path / "b.csv", "prompt,history", [[f"{i}", json.dumps(said(*BEFORE))] for i in range(4)])
    assert load_prompts(DataSettings(prompts=path), 0) == loaded


def test_columns_beside_the_prompt(tmp_path):
    rows = [{"prompt": f"{i}", "system": "Be brief.", "history": said(*BEFORE), "who": "me"} for i in range(4)]
    rows[3] |= {"system": None, "history": None}
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows))

    def load(**more):
        loaded = load_prompts(DataSettings(prompts=str(path), **more), 0)
        return {prompt.text: prompt for prompt in (*loaded.train, *loaded.test)}, loaded

    found, loaded = load()
    assert found["0"] == Prompt("0", "Be brief.", BEFORE, {"who": "me"})
    assert found["3"] == Prompt("3", row={"who": "me"})
    assert any("column system is read as the system message" in note for note in loaded.notes)
    found, loaded = load(system="who", history=None)
    assert found["0"] == Prompt("0", "me", row={"system": "Be brief.", "history": said(*BEFORE)})
    found, loaded = load(system=None, history=None)
    assert found["0"].alone and set(found["0"].row) == {"system", "history", "who"}
    assert not any("system message" in note for note in loaded.notes)
    with pytest.raises(DataError, match=r"no column 'whom', which data\.system names; found prompt, system"):
        load(system="whom")
    path.write_text("[]")
    with pytest.raises(DataError, match="it has no rows"):
        load(system="whom")


def test_columns_of_the_default_names_that_hold_something_else_are_ordinary(tmp_path):
    rows = [{"prompt": f"{i}", "system": {"os": "linux"}, "history": "a long one"} for i in range(4)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    loaded = load_prompts(DataSettings(prompts=str(tmp_path / "a.json")), 0)
    assert loaded.train[0].row == {"system": {"os": "linux"}, "history": "a long one"}
    assert loaded.train[0].alone
