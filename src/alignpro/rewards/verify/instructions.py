"""Instructions that a text can be checked for: IFEval's, by its names and arguments, and a few beside them.

Each is a function of the text and of arguments: whether the text follows it. Where IFEval's own check takes for
followed what is not (a keyword within another word, `-5` as a bullet), these are the stricter. Source: Zhou et al.,
"Instruction-Following Evaluation for Large Language Models", arXiv 2311.07911.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from alignpro.maths.lengths import characters
from alignpro.rewards.verify.languages import LANGUAGES, written_in
from alignpro.rewards.verify.normal import plain
from alignpro.rewards.verify.schemas import strict_json
from alignpro.rewards.verify.words import joined, sentences, word_edges, words

Relation = Literal["less than", "at least", "at most", "more than", "exactly"]
Count = Annotated[int, Field(ge=0)]
Word = Annotated[str, Field(min_length=1)]
Words = Annotated[list[Word], Field(min_length=1)]
_YES_NO = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_BULLET = re.compile(r"^[ \t]*[-*•+][ \t]+(?![-*_\s]*$)\S", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*\*(?=\S)[^\n*]+(?<=\S)\*\*|(?<!\*)\*(?=[^\s*])[^\n*]+(?<=\S)\*(?!\*)")
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*)\n```", re.DOTALL | re.IGNORECASE)
_COMMAS = ",，、،﹐؛"


def _language(code: str) -> str:
    code = code.lower().split("-")[0]
    if code not in LANGUAGES:
        raise ValueError(f"no known language; there are {', '.join(LANGUAGES)}")
    return code


def holds(count: int, relation: Relation, wanted: int) -> bool:
    """Whether a count is as it was wanted."""
    return {
        "less than": count < wanted,
        "at least": count >= wanted,
        "at most": count <= wanted,
        "more than": count > wanted,
        "exactly": count == wanted,
    }[relation]


def times(text: str, word: str) -> int:
    """How often a word or phrase stands in a text as whole words; case does not matter."""
    text, word = plain(text).casefold(), " ".join(plain(word).casefold().split())
    found = re.finditer(r"\s+".join(map(re.escape, word.split())), text)
    if joined(word):
        edges = word_edges(text)
        return sum(match.start() in edges and match.end() in edges for match in found)
    before, after = (r"(?<!\w)" if word[0].isalnum() else ""), (r"(?![\w\u0300-\u036f])" if word[-1].isalnum() else "")
    return len(re.findall(before + r"\s+".join(map(re.escape, word.split())) + after, text))


def existence(text: str, keywords: Words) -> bool:
    return all(times(text, word) for word in keywords)


def frequency(text: str, keyword: Word, frequency: Count, relation: Relation = "at least") -> bool:
    return holds(times(text, keyword), relation, frequency)


def forbidden_words(text: str, forbidden_words: Words) -> bool:
    return not any(times(text, word) for word in forbidden_words)


def letter_frequency(
    text: str,
    letter: Annotated[str, Field(min_length=1, max_length=1)],
    let_frequency: Count,
    let_relation: Relation = "at least",
) -> bool:
    return holds(text.casefold().count(letter.casefold()), let_relation, let_frequency)


def response_language(text: str, language: Annotated[str, AfterValidator(_language)]) -> bool:
    return written_in(text, language)


def number_words(text: str, num_words: Count, relation: Relation = "at least") -> bool:
    return holds(len(words(text)), relation, num_words)


def number_sentences(text: str, num_sentences: Count, relation: Relation = "at least") -> bool:
    return holds(len(sentences(text)), relation, num_sentences)


def number_characters(text: str, num_characters: Count, relation: Relation = "at most") -> bool:
    return holds(characters(text.strip()), relation, num_characters)


def number_paragraphs(
    text: str, num_paragraphs: Count, relation: Relation = "exactly", divider: Literal["***", "blank line"] = "***"
) -> bool:
    if divider == "***":
        parts = re.split(r"^[ \t]*\*\*\*[ \t]*$", text.strip(), flags=re.MULTILINE)
        parts = parts[not parts[0].strip() :]
        parts = parts[: len(parts) - (bool(parts) and not parts[-1].strip())]
        return all(part.strip() for part in parts) and holds(len(parts), relation, num_paragraphs)
    return holds(len(_blocks(text)), relation, num_paragraphs)


def nth_paragraph_first_word(text: str, num_paragraphs: Count, nth_paragraph: int, first_word: Word) -> bool:
    blocks = _blocks(text)
    if len(blocks) != num_paragraphs or not 1 <= nth_paragraph <= len(blocks):
        return False
    return begins(blocks[nth_paragraph - 1], first_word)


def number_placeholders(text: str, num_placeholders: Count) -> bool:
    return len(re.findall(r"\[[^\[\]\n]*\w[^\[\]\n]*\]", text)) >= num_placeholders


def postscript(text: str, postscript_marker: Word = "P.S.") -> bool:
    mark = r"\s?".join(re.escape(sign) for sign in postscript_marker.strip() if not sign.isspace())
    return bool(re.search(rf"^[\s*_]*{mark}(?!\w).*\w", text, re.MULTILINE | re.IGNORECASE))


def number_bullet_lists(text: str, num_bullets: Count, relation: Relation = "exactly") -> bool:
    return holds(len(_BULLET.findall(text)), relation, num_bullets)


def constrained_response(text: str, options: Words | None = None) -> bool:
    return sum(option in text for option in options or _YES_NO) == 1


def number_highlighted_sections(text: str, num_highlights: Count) -> bool:
    return len(_HIGHLIGHT.findall(text)) >= num_highlights


def multiple_sections(text: str, section_spliter: Word, num_sections: Count) -> bool:
    return len(re.findall(rf"^[\s#*_]*{re.escape(section_spliter.strip())}\s+\w+", text, re.MULTILINE)) >= num_sections


def json_format(text: str) -> bool:
    fenced = _FENCED.fullmatch(text.strip())
    try:
        strict_json(fenced[1] if fenced else text.strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    return re.search(r"<<[^<>\n]*\w[^<>\n]*>>", text) is not None


def two_responses(text: str) -> bool:
    parts = [part.strip() for part in re.split(r"\*{6}(?!\*)", text)]
    return len(parts) == 2 and all(parts) and parts[0] != parts[1]


def repeat_prompt(text: str, prompt_to_repeat: Word) -> bool:
    return _even(text).startswith(_even(prompt_to_repeat))


def end_checker(text: str, end_phrase: Word) -> bool:
    return _even(text).strip("\"' ").endswith(_even(end_phrase))


def quotation(text: str) -> bool:
    text = text.strip()
    return len(text) > 2 and (text[0], text[-1]) in {('"', '"'), ("“", "”"), ("«", "»"), ("„", "“"), ("「", "」")}


def begins(text: str, first_word: Word) -> bool:
    wanted = words(first_word.casefold())
    return words(text.casefold())[: len(wanted)] == wanted


def ends(text: str, last_word: Word) -> bool:
    wanted = words(last_word.casefold())
    return words(text.casefold())[-len(wanted) :] == wanted


def capital_word_frequency(text: str, capital_frequency: Count, capital_relation: Relation = "at least") -> bool:
    return holds(sum(word.isupper() for word in words(text)), capital_relation, capital_frequency)


def english_capital(text: str) -> bool:
    return _is_latin(text) and text.isupper()


def english_lowercase(text: str) -> bool:
    return _is_latin(text) and text.islower()


def no_comma(text: str) -> bool:
    return not any(sign in text for sign in _COMMAS)


def forbidden_marks(text: str, marks: Word) -> bool:
    return not any(mark in unicodedata.normalize("NFKC", text) or mark in text for mark in marks)


INSTRUCTIONS: dict[str, Callable[..., bool]] = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_words": number_words,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_characters": number_characters,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "startend:first_word": begins,
    "startend:last_word": ends,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
    "punctuation:forbidden_marks": forbidden_marks,
}


def _blocks(text: str) -> list[str]:
    return [block for block in re.split(r"\n[ \t]*\n", text) if block.strip()]


def _even(text: str) -> str:
    return " ".join(plain(text).casefold().split())


def _is_latin(text: str) -> bool:
    return all(
        unicodedata.name(sign, "").startswith(("LATIN", "FEMININE", "MASCULINE")) for sign in text if sign.isalpha()
    )
