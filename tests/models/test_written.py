"""Thoughts are told apart from what a model answers, and rewrites read out of what remains."""

import time

import pytest

from alignpro.config.thoughts import MARKS
from alignpro.models.framing import Frame
from alignpro.models.written import opened_by, parted, rewrite_in

SPOKEN_OF = [
    "Show your work in <think> </think> tags, then give the number.",
    "A `<think>` opens it and `</think>` closes it.",
    'It ends with "</think>" and no other word.',
    "```\n<think>\nplan\n</think>\n```",
    "Great. <think> is a tag of its own.",
    "if a < b and c > d then [THINKING]",
]


@pytest.mark.parametrize(("begin", "end"), MARKS)
def test_thoughts_of_every_common_form_are_no_answer(begin, end):
    for text in (
        f"{begin}\nhm {end.upper() if end.startswith('</t') else end}\n\n Owls eat mice.\n",
        f"hm\n{end}\nOwls eat mice.",
    ):
        assert (told := parted(text, MARKS)).answer == "Owls eat mice." and told.closed
        assert told.thought == "hm"
    for cut in (False, True):
        unclosed = parted(f"{begin}hm, owls", MARKS, cut=cut)
        assert (unclosed.answer, unclosed.thought, unclosed.closed) == ("", "hm, owls", False)
    assert parted(f"{begin}hm{end}Owls.", ()).answer == f"{begin}hm{end}Owls."


@pytest.mark.parametrize("text", SPOKEN_OF)
def test_marks_that_are_spoken_of_are_text(text):
    assert parted(text, MARKS).answer == text and not parted(text, MARKS).thought


@pytest.mark.parametrize(
    ("text", "answer", "thought"),
    [
        ("<think>a</think><think>b</think>Owls.", "Owls.", "a\n\nb"),
        ("Let me see.\n<think>a</think>\nOwls.", "Let me see.\n\nOwls.", "a"),
        ("Sure! <think>a</think>Owls.", "Sure! Owls.", "a"),
        ("<think>it ends with `</think>`, so</think>Owls.", "Owls.", "it ends with `</think>`, so"),
        ("<think>a <think> b </think>\nc.\n</think>\nOwls.", "Owls.", "a <think> b\n\nc."),
        ("code:\n```\nx = 1\n\n</think>\nOwls.", "Owls.", "code:\n```\nx = 1"),
        ("<think></think>", "", ""),
    ],
)
def test_where_a_thought_begins_and_ends(text, answer, thought):
    told = parted(text, MARKS)
    assert (told.answer, told.thought, told.closed) == (answer, thought, True)


def test_a_thought_that_the_prompt_opened_goes_on_to_its_end():
    pair = MARKS[0]
    assert opened_by("<|assistant|><think>\n", MARKS) == pair
    assert (
        opened_by("<|assistant|><think>\n\n</think>\n\n", MARKS) is None and opened_by("<|assistant|>", MARKS) is None
    )
    told = parted("hm <think> again </think> Owls.", MARKS, opened=pair)
    assert (told.answer, told.thought) == ("Owls.", "hm <think> again")
    assert not parted("hm, owls eat mice", MARKS, opened=pair).closed


def test_a_thought_that_took_all_the_room_leaves_no_answer():
    assert not parted("<think>hm</think>\n", MARKS, cut=True).closed
    assert parted("<think>hm</think>\n", MARKS).closed and parted("", MARKS, cut=True).closed
    assert not parted("Sure. <think>hm", MARKS, cut=True).closed


@pytest.mark.parametrize(
    ("raw", "rewrite"),
    [
        ("<think>I write <rewrite> and </rewrite>.</think>\n<rewrite>Tell of owls.</rewrite>", "Tell of owls."),
        ("<think>I write <rewrite>x</rewrite></think>Tell of owls.", "Tell of owls."),
        ("<think>cut off in <rewrite>the mid", None),
        ("<think>hm</think>", None),
        ("I write <rewrite>x</rewrite>.\n</think>\nTell of owls.", "Tell of owls."),
        ("Sure! Here is the rewritten prompt:\n\nTell of owls.", "Tell of owls."),
        ('Certainly, here\'s a better version:\n\n"Tell of owls."\n\nLet me know if it helps!', "Tell of owls."),
        ("Sure! Here is\nTell of owls.", "Sure! Here is\nTell of owls."),
        ("Sure! Here is:\n```\nTell of owls.\n```\nIt is clearer now.", "Tell of owls."),
        ("```text\nTell of owls.\n```", "Tell of owls."),
        ("**Improved prompt:** Tell of owls.", "Tell of owls."),
        ("<rewrite>\n```\nTell of owls.\n```\n</rewrite>", "Tell of owls."),
        ("<rewrite>Sure! Here is the improved prompt: Tell of owls.</rewrite>", "Tell of owls."),
        ("```\n<rewrite>Tell of owls.</rewrite>\n```", "Tell of owls."),
        ("```python\nprint(1)\n```", "```python\nprint(1)\n```"),
        ("```\nx = 1\n```\nExplain this code.", "```\nx = 1\n```\nExplain this code."),
        ("Here is a list: 3, 1, 2. Sort it.", "Here is a list: 3, 1, 2. Sort it."),
        ("Rewrite this text: owls eat mice", "Rewrite this text: owls eat mice"),
        ("A better question: what do owls eat?", "what do owls eat?"),
    ],
)
def test_the_rewrite_is_what_is_left_when_all_around_it_is_taken_off(raw, rewrite):
    assert Frame().read(raw) == rewrite


def test_reading_takes_time_in_proportion_to_the_text():
    """20,000 marks took 14 s; a bound far above what reading them takes, and far below what trying every pair does."""
    texts = [
        "<rewrite>",
        "</rewrite>",
        "<think>",
        "</think>",
        "`<think>`",
        "a <think> ",
        "a </think> ",
        "```\n",
        "\n",
        " ",
    ]
    started = time.perf_counter()
    for text in texts:
        for begin in ("", "Sure! Here is: "):
            rewrite_in(parted(begin + text * 20_000, MARKS).answer)
    assert time.perf_counter() - started < 20
