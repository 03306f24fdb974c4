"""Settings of guards: what of a prompt its rewrite must hold to, each by itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from alignpro.config.section import Section, Share

GUARDS = (
    *("numbers", "urls", "code", "quotes", "placeholders", "negations", "language"),
    *("words", "repeats", "answer", "frame", "length"),
)


class GuardSettings(Section):
    """Which rewrites are rejected: counted in an evaluation, and not sent where a prompter is served."""

    numbers: bool = Field(True, description="reject x' that lacks a number of x")
    urls: bool = Field(True, description="reject x' that lacks a web or mail address of x")
    code: bool = Field(True, description="reject x' that lacks a fenced block of code of x")
    quotes: bool = Field(True, description="reject x' that lacks a quoted text of x")
    placeholders: bool = Field(True, description="reject x' that lacks a placeholder of x: {name}, <NAME>, [NAME], %s")
    negations: bool = Field(True, description="reject x' that denies and forbids nothing where x does")
    language: bool = Field(True, description="reject x' in another script or language than x")
    words: Share | None = Field(
        0.1, description="reject x' that keeps less than this share of x's longer words, where x has eight; null: never"
    )
    repeats: bool = Field(
        True,
        description="reject x' that says eight words in a row of x more often than x does, but not all of x again",
    )
    answer: bool = Field(True, description="reject x' that gives an answer, as far as signs tell, or the row's own")
    answer_column: str = Field("answer", description="column of the data whose text x' may not hold unless x does")
    frame: bool = Field(
        True, description="reject x' that spells marks of a frame or a turn that x does not, or repeats the meta-prompt"
    )
    longest: Annotated[float, Field(gt=0)] | None = Field(
        3.0, description="reject x' of more than so many times x's words, and spare_words; null: never"
    )
    spare_words: Annotated[int, Field(ge=0)] = Field(60, description="words that x' may have above longest times x's")
    shortest: Share | None = Field(
        0.2, description="reject x' of less than this share of x's words, where x has more than 20; null: never"
    )
    stop: Share | None = Field(
        None,
        description="stop the prompter's training where more than this share of the last five steps' rewrites are"
        " rejected; null: never. For methods that sample at every step",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """The guards that are on."""
        off = {"words": self.words is None, "length": self.longest is None and self.shortest is None}
        return tuple(name for name in GUARDS if not off.get(name, False) and getattr(self, name, True))
