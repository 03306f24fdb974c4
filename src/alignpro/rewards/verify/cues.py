"""The words by which an answer asserts a value, denies it, tells it of others, or takes it back.

English, with the commonest of some other languages. Each is used by `meant.py`, which says where it looks for them.
"""

from __future__ import annotations

import re

BOX = "⟦"
"""What a reader of values puts before the content of a `\\boxed`, with ⟧ after it."""


def _cue(words: str, signs: str = "") -> re.Pattern[str]:
    """Alternatives that are whole words, or `signs` as they are."""
    joined = re.sub(r"\s*\n\s*", "", words)
    whole = rf"\b(?:{joined})\b"
    return re.compile(f"{whole}|{signs}" if signs else whole, re.IGNORECASE)


_WRONG = (
    r"\b(?:wrong|incorrect|false|mistaken|mistake|error|trap|invalid|untrue|erroneous|impossible|nonsense|ruled out"
    r"|eliminated|excluded|rejected|fails|falsch|faux|incorrecto|falso|неверно)\b"
    r"|ではない|ではありません|じゃない|不对|不對|错误|錯誤|是错|아니"
)
_NOT_RIGHT = (
    r"(?:\bnot\b|n't\b|\bcannot\b|\bnever\b)\s+(?:be\s+|been\s+|quite\s+|actually\s+|really\s+)*"
    r"(?:the\s+|an?\s+|my\s+)?(?:\w+\s+)?(?:right|correct|answer|true|it|possible|works?|solution|result|fits?"
    r"|valid|satisf\w+"
    r"|option|choice|case|acceptable|so|hold)\b"
)
_LINK = (
    r"(?:\b(?:is|are|was|would be|must be|should be|comes to|equals?|gives|makes|ist|est|es|é|будет)\b"
    r"|[:=：→]|は|是|为|為|-(?=\s))"
)

DENIAL = _cue(
    r"""not(?! (?:only|just)\b)|never|nor|neither|none|nobody|no one|hardly|cannot|no es
    |without(?! (?:a |any )?doubt)|(?<!without a )(?<!without )(?<!no )doubt|doubt(?:ful|s|ed)
    |no(?= (?!doubt|it\b|it's|wait|the answer|problem|matter)\w)
    |except|excluding|besides|(?:apart|aside) from|(?:anything|everything|all) (?:but|save)
    |rather than|instead of|other than|far from
    |wrong|wrongly|incorrect|incorrectly|false|falsely|untrue|mistaken|mistakenly|mistake|misconception
    |rul(?:e|es|ed|ing) out|eliminat\w+|reject\w*|exclud\w+|refus\w+|fail\w* to|den(?:y|ies|ied)|disagree\w*
    |unlikely|avoid|nicht|kein\w*|falsch\w*|pas|faux|fausse|jamais|nunca|não|incorrecto|falso|не|нет|неверно""",
    r"n't\b|≠|!=|不是|并非|並非|不等|没有|错误|錯誤",
)
"""Before a value: what it is not."""
ASIDE = _cue(r"(?:not|never|isn't|wasn't)(?=\s*,)")
"""Before a value, however far: "not, as you might think, 12"."""
BREAK = _cue(
    r"""(?<!anything )(?<!everything )(?<!all )(?<!nothing )but|instead(?! of)|rather(?! than)
    |so|therefore|thus|hence|however|sondern""",
    r"[;—–]|\s-\s|\.\.\.|[,:]\s*(?:it|it's|the|that|that's|this|which|i|we|then|mais|sino)\b|而是|[,，、]\s*而",
)
"""Where a denial ends."""
DENIED_AFTER = re.compile(
    rf"{_WRONG}|{_NOT_RIGHT}|\btoo\s+(?:high|low|big|small|many|much|large|few)\b"
    r"|\bused to be\b|\bwhat i (?:first |once )?(?:got|said|thought|had)\b",
    re.IGNORECASE,
)
"""After a value, up to the next: what it is said to be."""
ALL_BUT = re.compile(r"\b(?:every|any|all)\w*(?: \w+)? (?:but|except|save) (?:the |option )?[(\[]*$", re.IGNORECASE)
OF_OTHERS = _cue(r"because|since|as|if|otherwise|any|anything|other|others|else|all|while|whereas|unless|rest")
"""After a value: from here on something else is spoken of."""
RETRACTION = re.compile(
    rf"{_WRONG}|{_NOT_RIGHT}|n't\s+(?:think|believe)\s+so\b|\bnot\W*$|\b(?:kidding|joking|scratch that|never ?mind"
    r"|ignore (?:that|this)|forget (?:that|it|this)|take (?:that|it) back|strike that|disregard|no,? wait|nope"
    r"|not really)\b",
    re.IGNORECASE,
)
"""A sentence without a value that takes back those before it."""
NO_RETRACTION = _cue(
    "if|other|others|else|rest|nothing|every|remaining|alternatives|options|distractors|unless|let me know"
)
TOLD = _cue(
    r"""(?:some|many|most|few|people|they|others|someone|one|you|he|she|students|who)
    \s(?:(?:people|students|of|them|would|might|may|could|can|often|even|first|will) )*
    (?:say|says|said|think|thinks|(?<!some )thought|believe\w*|claim\w*|guess\w*|suggest\w*|answer(?:ed|s)?|assume\w*
    |expect\w*)|at first(?: glance| sight)?|tempt(?:ing|ed)|initially|originally|first (?:guess|thought|attempt|try)
    |common (?:mistake|error|answer)|i (?:first )?(?:thought|guessed)|used to"""
)
"""Before a value: who says it, and it is not the answer."""
WERE = re.compile(r"\bif\b[^,;]*\b(?:were|was|had been)\b[^,;]*$", re.IGNORECASE)
SUPPOSED = _cue(r"if|unless|suppose|supposing|assum\w+|were|had")
"""Before a value: it counts only where nothing surer does."""
CONDITION = _cue("if|unless")
SUPERSEDES = _cue(
    r"""no,?\s+wait|wait|correction|scratch that|i meant?|sorry|oops|on second thoughts?|hmm+|make that|or rather
    |strike that|let me (?:re\w+|correct)""",
    r"\b(?:no|nope)\s*[,.:;!—–-]|\b(?:edit|update)\s*:",
)
"""The value that comes next takes the place of all before."""
TURNS = _cue(
    r"but|however|actually|in fact|rather(?! than)|instead(?! of)|should (?:be|have been)|sondern|mais|sino", "而是"
)
"""The same, where nothing but `FILLER` stands between it and the value."""
AFRESH = re.compile(
    r"[.!\n]\W*(?:or|maybe|perhaps|possibly)\b|[.!\n]\W*(?:actually|in fact|rather|instead|but)\W+"
    r"(?:no\b|it'?s\b|it is\b|the (?:\w+ )?(?:answer|one)\b|that)",
    re.IGNORECASE,
)
"""The same at the beginning of a sentence, where the value cannot be seen."""
FILLER = re.compile(
    r"(?:\W|\b(?:it|that|this|the|an?|my|our|answer|correct|right|real|actual|true|result|value|option|choice|letter"
    r"|really|actually|fact|in|is|was|'?s|should|must|would|be|been|have|has|rather|to|i|we|you|mean|meant|think|say"
    r"|make|made|now|final|get|got|so|then|again|go|with|pick|choose|exactly|just|of|sum|total|them|all|one|as|here"
    r"|thus|hence|therefore|equals|gives|not)\b)*",
    re.IGNORECASE,
)
MARKS = (
    re.compile(rf"####|{BOX}|\bfinal\s+(?:answer|result)\b[^.;!?\n]{{0,30}}?{_LINK}", re.IGNORECASE),
    re.compile(
        r"(?:\b(?:answer|solution|result|antwort|ergebnis|réponse|resposta|respuesta|risposta|ответ|correct (?:option"
        r"|choice)|right (?:option|choice))\b|答案|答え|答|उत्तर|जवाब|الجواب|الإجابة|정답|답)"
        rf"[^.;!?\n]{{0,40}}?(?:{_LINK}|은|는|हे|है|هو)",
        re.IGNORECASE,
    ),
)
"""What introduces the answer, the surest first."""
IS_THE_ANSWER = re.compile(
    r"\W*(?:\w+\s+)?(?:is|was|must be|would be)\s+(?:the|my)\s+(?:\w+\s+){0,2}"
    r"(?:answer|result|solution|one|option|choice)\b",
    re.IGNORECASE,
)
OR = _cue("or|either|oder|ou|или|respectively|versus|vs", "または|或")
AND = _cue(r"(?:and|und|et|y)(?! (?:so|then|therefore|thus|hence|that)\b)", "&")
BECAUSE = _cue("because|since|which|denn|weil|parce|car|porque")
WHY = _cue(
    "because|since|given|where|when|which|for|after|with|from|about|approximately|roughly|denn|weil|parce|car|porque",
    r",\s*as\b|\bi\.e\.|,\s*that is\b",
)
EQUALS = _cue(
    r"""is|are|has|have|equals?|gives|makes?|making|yields?|gets?|obtains?|totals?|total of|left with|leaves|becomes
    |(?:sums?|adds?|adds? up|amounts?|comes?) to|ist|est|es|sind|donne""",
    "=|→|⇒|≈|は|是|得|等于|等於",
)
ANOTHER = re.compile(
    r"\W*(?:or|alternatively|another|also|and|(?:it )?(?:could|might|may)|maybe|perhaps|possibly|otherwise|option"
    r"|answer \d)\b",
    re.IGNORECASE,
)
"""A sentence that begins so says one more value beside those before it."""
HEDGE = _cue("might|may|could|maybe|perhaps|possibly|possible|probably|likely|plausible|candidates?|guess|guesses")
"""Of two sentences with other values, the last, if it says so, does not decide."""
CHECK = re.compile(r"\W*(?:check|verif\w+|proof|because|since|explanation|indeed|to see|note)\b", re.IGNORECASE)
YES = re.compile(r"\W*(?:yes|yep|indeed|correct|right|exactly|ja|oui|sí|да)\b", re.IGNORECASE)
VARIABLE = re.compile(r"(?<![\w.])([a-zA-Z])\s*=")
