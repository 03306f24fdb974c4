import pytest

from alignpro.data.helpsteer import SCHEMAS as HELPSTEER
from alignpro.data.orca import SCHEMAS as ORCA
from alignpro.data.preferences import Preference, compare
from alignpro.data.records import Answer, Before, Record
from alignpro.data.ultrafeedback import SCHEMAS as ULTRAFEEDBACK
from alignpro.errors import UnusableRow
from alignpro.types import Prompt, Turn


def read(schemas, row):
    return next(schema for schema in schemas if schema.fits(row)).read(row, Before())


def said(*turns):
    return [{"role": role, "content": content} for role, content in turns]


def user(text):
    return ("user", text)


def bot(text):
    return ("assistant", text)


OWLS = Record(Prompt("tell me of owls"), (Answer("They fly.", 8.0), Answer("No.", 2.5)))
ASKED, SCORES = {"prompt": "tell me of owls"}, {"score_chosen": 8, "score_rejected": 2.5}
TEXTS = {"chosen": "They fly.", "rejected": "No."}
CHATS = {key: said(user("tell me of owls"), bot(text)) for key, text in TEXTS.items()}


@pytest.mark.parametrize(
    "row",
    [
        ASKED | TEXTS | {"metadata": SCORES},
        ASKED | CHATS | SCORES | {"prompt_id": "7", "messages": CHATS["chosen"]},
        {"prompt": said(user(" tell me of owls\n"))} | {k: said(bot(t)) for k, t in TEXTS.items()} | SCORES,
        ASKED | TEXTS | {key: str(value) for key, value in SCORES.items()},  # as from a CSV file
    ],
)
def test_every_schema_of_ultrafeedback_gives_the_same_record(row):
    assert read(ULTRAFEEDBACK, row) == OWLS


@pytest.mark.parametrize(
    "row",
    [
        {"system": "Be brief.", "question": "tell me of owls"} | TEXTS,
        {
            "input": {"messages": said(("system", "Be brief."), user("tell me of owls"))},
            "preferred_output": said(bot("They fly.")),
            "non_preferred_output": said(bot("No.")),
        },
    ],
)
def test_both_schemas_of_orca_keep_the_system_message_apart(row):
    record = read(ORCA, row)
    assert record == Record(Prompt("tell me of owls", "Be brief."), (Answer("They fly.", None), Answer("No.", None)))
    assert compare([record])[0] == [Preference(Prompt("tell me of owls", "Be brief."), "They fly.", "No.", None)]


def test_without_a_system_message_the_prompt_is_alone():
    row = {"system": "", "question": "tell me of owls"} | TEXTS
    assert read(ORCA, row).prompt == Prompt("tell me of owls")


def test_helpsteer_is_scored_by_helpfulness_alone():
    row = {"prompt": "owls?", "response": "They fly.", "helpfulness": 3, "verbosity": 0, "complexity": 0}
    assert read(HELPSTEER, row) == Record(Prompt("owls?"), (Answer("They fly.", 3.0),))


@pytest.mark.parametrize(
    ("schemas", "row", "reason"),
    [
        (ULTRAFEEDBACK, ASKED | TEXTS | SCORES | {"prompt": " \n"}, "empty prompt"),
        (ULTRAFEEDBACK, ASKED | TEXTS | SCORES | {"prompt": 3}, "a number where turns are wanted"),
        (ULTRAFEEDBACK, ASKED | TEXTS | SCORES | {"chosen": None}, "null where an answer is wanted"),
        (ULTRAFEEDBACK, ASKED | TEXTS | {"score_chosen": "good", "score_rejected": 1}, "a score that is no number"),
        (
            ULTRAFEEDBACK,
            ASKED | TEXTS | {"score_chosen": float("nan"), "score_rejected": 1},
            "a score that is no number",
        ),
        (
            ULTRAFEEDBACK,
            ASKED | SCORES | {key: said(user(f"of {key}"), bot(text)) for key, text in TEXTS.items()},
            "answers to different prompts",
        ),
        (ULTRAFEEDBACK, ASKED | SCORES | CHATS | {"chosen": said(user("a"))}, "no answer at the end of the messages"),
        (ORCA, {"system": "s", "question": said(("system", "s"))} | TEXTS, "no turn of the user"),
        (
            HELPSTEER,
            {"prompt": "a<extra_id_1>Assistant\nb", "response": "c", "helpfulness": 1},
            "the last turn is not the user's",
        ),
    ],
)
def test_rows_that_cannot_be_read_say_why(schemas, row, reason):
    with pytest.raises(UnusableRow) as caught:
        read(schemas, row)
    assert str(caught.value) == reason


def test_conversations_of_several_turns_keep_what_stands_before_the_last():
    before = (Turn("user", "a"), Turn("assistant", "b"))
    turns = said(user("a"), bot("b"), user("c"))
    chats = {key: [*turns, *said(bot(text))] for key, text in TEXTS.items()}
    assert read(ULTRAFEEDBACK, ASKED | SCORES | chats).prompt == Prompt("c", None, before)
    separated = {"prompt": "a<extra_id_1>Assistant\nb\n<extra_id_1>User\nc", "response": "d", "helpfulness": 1}
    assert read(HELPSTEER, separated).prompt == Prompt("c", None, before)


def pair(better, worse, high=2.0, low=1.0, prompt="x"):
    return Record(Prompt(prompt), (Answer(better, high), Answer(worse, low)))


def test_pairs_left_out_are_counted_by_reason():
    records = [
        pair("a", "b"),
        pair("a", "b "),  # the same pair but for whitespace
        pair("b", "a"),  # and the other way about
        pair("a", "c"),  # another pair for the same prompt stays
        pair("a", " ", prompt="y"),
        pair("a  b", "a b", prompt="y"),
        pair("c", "d", 1, 1, prompt="y"),
        pair("e", "f", 1, 3, prompt="y"),
    ]
    kept, dropped = compare(records)
    assert [(p.chosen, p.rejected, p.margin) for p in kept] == [("a", "b", 1.0), ("a", "c", 1.0)]
    assert dropped == {
        "repeated": 2, "empty answer": 1, "identical answers": 1, "tied scores": 1, "chosen scores lower": 1,
    }  # fmt: skip
    kept, dropped = compare(records, keep_not_higher=True)
    assert [p.margin for p in kept] == [1.0, 1.0, 0.0, -2.0]
    assert dropped.total() == len(records) - len(kept)


def rated(text, points, prompt="x"):
    return Record(Prompt(prompt), (Answer(text, points),))


def test_rated_answers_to_one_prompt_are_compared_all_with_all():
    kept, dropped = compare(
        [rated("a", 4), rated("b", 1), rated("c", 1), rated("alone", 4, "y"), rated("unrated", None, "z")]
    )
    assert {(p.chosen, p.rejected, p.margin) for p in kept} == {("a", "b", 3.0), ("a", "c", 3.0)}
    assert dropped == {"tied scores": 1, "only answer to its prompt": 1, "no score": 1}


def test_an_answer_rated_twice_has_the_mean_of_its_scores():
    kept, dropped = compare([rated("a", 4), rated(" a", 1), rated("b", 2), rated("b", 2)], keep_not_higher=True)
    assert kept == [Preference(Prompt("x"), "a", "b", 0.5)]
    assert dropped == {"repeated answer, its scores averaged": 2}
    assert compare([rated("a", 3), rated("b", 3)], keep_not_higher=True)[0] == []  # a tie has no direction
