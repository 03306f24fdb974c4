"""Lengths in words and in characters, of scripts with and without spaces between words."""

import pytest

from alignpro.maths.lengths import characters, words

CHINESE, JAPANESE, THAI = "请简短地讲一讲猫头鹰。", "フクロウについて短く話してください。", "เล่าเรื่องนกฮูกสั้นๆ"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (" \n\t", 0),
        ("Don't stop, please: it's 3.5 km.", 6),
        ("a well-known one - or not?", 6),
        ("* one\n* two\n---", 2),
        ("안녕하세요 세계", 2),
        ("हिन्दी में लिखिए", 3),
        ("جملة قصيرة", 2),
        (CHINESE, 10),
        (JAPANESE, 14),  # フクロウ is one
        (THAI, 14),
        ("GPT 讲猫", 3),
        ("🦉🦉", 0),
    ],
)
def test_words_are_those_of_unicode(text, count):
    assert words(text) == count
    assert words(f"{text}\n\n{text}") == 2 * count


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("a\r\nb", 3), ("cafe\u0301", 4), ("👩‍👩‍👧🇩🇪", 2), (CHINESE, 11), ("น้ำ", 1), ("हिन्दी", 2)],
)
def test_characters_are_those_that_a_reader_sees(text, count):
    assert characters(text) == count
