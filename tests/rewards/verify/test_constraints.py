import pytest

from alignpro.errors import DataError
from alignpro.rewards.verify import load_verifier
from alignpro.rewards.verify.instructions import INSTRUCTIONS
from alignpro.types import Prompt, Response

THREE_WORDS = {"id": "length_constraints:number_words", "num_words": 3, "relation": "exactly"}
NO_COMMA = {"id": "punctuation:no_comma"}
OWL = {"id": "keywords:existence", "keywords": ["owl"]}


def score(answer, row, **arguments):
    scored = load_verifier("verify:constraints", arguments=arguments).score([Prompt("x", row=row)], [Response(answer)])
    return scored.values[0], scored.reasons[0]


@pytest.mark.parametrize(
    ("answer", "every", "share"),
    [
        ("an owl hoots", 1, 1),
        ("an owl, hoots", 0, 2 / 3),
        ("owls, many", 0, 0),
        ("", 0, 0),
        ("one two three", 0, 2 / 3),
    ],
)
def test_all_must_be_followed_or_their_share_counts(answer, every, share):
    row = {"constraints": [THREE_WORDS, NO_COMMA, OWL]}
    assert score(answer, row) == (every, None)
    assert score(answer, row, share=True) == (pytest.approx(share), None)


def test_loose_forgives_a_line_before_and_after_and_asterisks():
    row = {"constraints": [THREE_WORDS, {"id": "startend:end_checker", "end_phrase": "owl"}]}
    for answer in ("Sure:\na big owl", "a big owl\nBye now", "Sure:\na big *owl*\nBye", "a big **owl**"):
        assert score(answer, row, loose=True) == (1, None)
        assert score(answer, row) == (0, None)
    assert score("Sure:\nwell:\na big owl", row, loose=True) == (0, None)


def test_the_columns_of_ifeval_are_read_as_they_are():
    row = {
        "instruction_id_list": ["length_constraints:number_words", "punctuation:no_comma", "keywords:existence"],
        "kwargs": [{"num_words": 3.0, "relation": "at least", "keywords": None}, {}, {"keywords": ["owl"]}],
    }
    arguments = {"column": "instruction_id_list", "kwargs": "kwargs"}
    assert score("an owl hoots", row, **arguments) == (1, None)
    assert score("an owl", row, **arguments) == (0, None)


def test_a_list_may_be_json_text():
    assert score("an owl hoots", {"constraints": '[{"id": "keywords:existence", "keywords": ["owl"]}]'}) == (1, None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"id": "keywords:exist"}, r"no instruction 'keywords:exist'; there are keywords:existence, "),
        ({**NO_COMMA, "marks": "!"}, "punctuation:no_comma takes no arguments, not marks"),
        ({**OWL, "keyword": "owl"}, "keywords:existence takes keywords, not keyword"),
        ({"id": "keywords:existence"}, "keywords: Missing required argument"),
        ({**OWL, "keywords": []}, "keywords: List should have at least 1 item"),
        ({**OWL, "keywords": [""]}, "keywords.0: String should have at least 1 character"),
        ({**THREE_WORDS, "relation": "about"}, "relation: Input should be 'less than', "),
        ({**THREE_WORDS, "num_words": -1}, "num_words: Input should be greater than or equal to 0"),
        ({"id": "language:response_language", "language": "tlh"}, "no known language; there are af, ar, "),
    ],
)
def test_an_instruction_that_cannot_be_checked_stops_a_run_before_it_begins(given, told):
    prompts = [Prompt("x", row={"constraints": [NO_COMMA]}), Prompt("y", row={"constraints": [NO_COMMA, given]})]
    with pytest.raises(DataError, match=told):
        load_verifier("verify:constraints").check(prompts)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({}, "no constraints"),
        ({"constraints": []}, "no constraints"),
        ({"constraints": "["}, "constraints is neither a list nor the JSON text of one"),
        ({"constraints": "{}"}, "constraints is neither a list nor the JSON text of one"),
        ({"constraints": ["punctuation:no_comma"]}, "constraints is no list of objects with an id"),
    ],
)
def test_a_row_without_instructions_has_no_reward_and_a_reason(row, reason):
    value, why = score("a", row)
    assert value != value and why == reason


def test_ids_and_arguments_that_do_not_match_are_told():
    arguments = {"column": "ids", "kwargs": "kwargs"}
    assert score("a", {"ids": ["punctuation:no_comma"], "kwargs": [{}, {}]}, **arguments)[1] == (
        "ids and kwargs are not of one length"
    )
    assert (
        score("a", {"ids": [{}], "kwargs": [{}]}, **arguments)[1]
        == "ids and kwargs are not lists of ids and of objects"
    )


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_every_instruction_stands_in_the_tables(name):
    from answers_constraints import RIGHT, WRONG

    assert name in {case[1] for case in RIGHT} and name in {case[1] for case in WRONG}
