"""Language models that judge by a script."""

from __future__ import annotations

import re

from in_texts import in_texts

from alignpro.config import CRITERIA
from alignpro.judges.by_language_model import LlmJudge
from alignpro.types import Generation


class Scripted:
    """A frozen model that replies by a function of what it is asked."""

    name = "scripted"

    def __init__(self, reply):
        self.reply, self.asked = reply, []

    @in_texts
    def respond(self, prompts, counts, seed):
        self.asked += prompts
        return [[Generation(self.reply(prompt))] * count for prompt, count in zip(prompts, counts, strict=True)]


def marked(asked):
    """The mark, from the instructions that come before anything a stranger wrote."""
    return re.search(r"bear the mark (\w+)", asked)[1]


def framed(asked, name):
    """What stands in a frame, read by nothing but the lines that bound it."""
    lines, mark = asked.split("\n"), marked(asked)
    assert lines.count(f"BEGIN {name} {mark}") == lines.count(f"END {name} {mark}") == 1
    inside = lines[lines.index(f"BEGIN {name} {mark}") + 1 : lines.index(f"END {name} {mark}")]
    assert all(line.startswith("| ") for line in inside)
    return "\n".join(line[2:] for line in inside)


def judge_of(reply, **more):
    return LlmJudge("scripted", Scripted(reply), [*CRITERIA], **more)


def worth(text):
    """A score that no escaping changes."""
    return min(10, 1 + text.count("e"))


def is_judging(asked):
    """Whether it is a question to the judge, and not the one that sees whether its URL answers."""
    return "bear the mark" in asked


def obedient(asked):
    if not is_judging(asked):
        return "ready"
    a, b = (worth(framed(asked, f"ANSWER {name}")) for name in "AB")
    return f"Because.\nVERDICT {marked(asked)} A={a} B={b}"
