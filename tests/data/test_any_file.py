"""Every reader on files made at random: the rows that were meant, or one line that names the file and the line.

A share of what `ALIGNPRO_FILES=2000 python -m pytest tests/data/test_any_file.py` runs, so many files for each reader.
"""

import csv
import gzip
import io
import json
import os
import re
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from alignpro.config import DataSettings, SftSettings
from alignpro.data.judged_pairs import load_judged_pairs
from alignpro.data.rewrites import load_rewrites
from alignpro.data.sources import load_preferences, load_prompts
from alignpro.data.texts import blank
from alignpro.errors import DataError
from alignpro.running.prompt_file import PromptFile

FILES = int(os.environ.get("ALIGNPRO_FILES", "40"))

SIGNS = st.one_of(
    st.sampled_from(" ,;\t|\"'\\\n\r\u2028\u200b\ufeff\u0301eé猫ก🦉{}[]:#\0\ud83d-0aB"),
    st.characters(codec="utf-8", exclude_characters="\0"),
)
TEXTS = st.text(SIGNS, min_size=0, max_size=12) | st.text(st.sampled_from("ab ,\n"), min_size=200, max_size=300)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
COLUMNS = {
    "prompts": ("prompt",),
    "rewrites": ("prompt", "rewrite"),
    "preferences": ("prompt", "chosen", "rejected"),
    "judged": ("instruction", "response1", "response2"),
}
WHOSE = "①②③④"
MARKS = {"a.csv": ",;|\t", "a.tsv": "\t"}


def tidy(text, blank_is_none=True):
    """A text as it should arrive, None where it cannot be used."""
    if not isinstance(text, str) or "\0" in text or re.search("[\ud800-\udfff]", text):
        return None
    text = unicodedata.normalize("NFC", text.replace("\ufeff", ""))
    return None if blank_is_none and blank(text) else " ".join(text.split())


@st.composite
def files(draw, reader):
    """A file's name and bytes, and the texts that its rows should give; None where that cannot be told."""
    columns = COLUMNS[reader]
    name = draw(st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv", *(["a.txt"] if reader == "prompts" else [])]))
    damage = draw(st.sampled_from([None, None, "comma", "quote", "cut", "latin"]))
    cells = TEXTS if damage or name not in ("a.jsonl", "a.json") else TEXTS | VALUES
    rows = draw(st.lists(st.fixed_dictionaries(dict.fromkeys((*columns, "n"), cells)), min_size=4, max_size=12))
    if damage:  # each text says whose it is, so that one in the place of another shows
        rows = [{name: WHOSE[(*columns, "n").index(name)] + row[name] for name in row} for row in rows]
    if reader == "judged":
        rows = [row | {"annotator1": draw(st.sampled_from([0, 1, 2])), "annotator2": 1} for row in rows]
    mark = draw(st.sampled_from(MARKS.get(name, ",")))
    text = written(name, rows, mark, draw(st.sampled_from(["\n", "\r\n"])))
    at = draw(st.integers(len(text) // 3, len(text)))
    if damage == "cut":
        text = text[:at]
    elif damage in ("comma", "quote"):
        text = text[:at] + (mark if damage == "comma" else '"') + text[at:]
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"])) if damage != "latin" else "latin-1"
    held = text.encode(encoding, "surrogatepass" if encoding != "latin-1" else "replace")
    packed = draw(st.sampled_from(["", ".gz", "hidden"]))
    if packed:
        held = gzip.compress(held, 1)
    return f"{name}{'.gz' if packed == '.gz' else ''}", held, None if damage else meant(reader, rows, columns, name)


def written(name, rows, mark, end):
    if name == "a.txt":
        return end.join(str(row["prompt"]) for row in rows)
    if name == "a.jsonl":
        return end.join(json.dumps(row, ensure_ascii=len(rows) % 2 == 0) for row in rows)
    if name == "a.json":
        return json.dumps(rows, indent=len(rows) % 3 or None, ensure_ascii=len(rows) % 2 == 0)
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, rows[0], delimiter=mark, lineterminator=end, quoting=len(rows) % 2)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def meant(reader, rows, columns, name):
    """Texts of the rows that can be used, with white space as it does not count."""
    if name == "a.txt":
        texts = [[line] for row in rows for line in re.split("\r\n|\r|\n", row["prompt"])]
    else:
        ends = "\r\n|\r" if name in MARKS else "(?!)"
        cells = [[row[column] for column in columns] for row in rows]
        texts = [[re.sub(ends, "\n", cell) if isinstance(cell, str) else cell for cell in row] for row in cells]
    held = [tuple(tidy(text, blank_is_none=reader != "judged" or not i) for i, text in enumerate(row)) for row in texts]
    twice = reader in ("rewrites", "preferences")  # a rewrite that is the prompt, answers that are equal
    return {row for row in held if None not in row and not (twice and row[-1] == row[-2])}


def read(reader, path):
    """Texts of every row that is used, in any order."""
    data = DataSettings(prompts=str(path), columns=[])
    if reader == "prompts":
        found = load_prompts(data, 0)
        lines = PromptFile.open(data, path.with_name("out.jsonl")).lines
        used = [[line.prompt for line in lines if line.prompt], [*found.train, *found.test]]
        assert len({frozenset(" ".join(x.text.split()) for x in side) for side in used}) == 1
        return {(p.text,) for p in (*found.train, *found.test)}
    if reader == "rewrites":
        found = load_rewrites(SftSettings(pairs=str(path)), DataSettings(), 0, lambda pair: None)
        return {(p.prompt.text, p.rewrite) for p in (*found.train, *found.test)}
    if reader == "preferences":
        found = load_preferences(data, 0)
        return {(p.prompt.text, p.chosen, p.rejected) for p in (*found.train, *found.test)}
    return {(p.prompt.text, p.a, p.b) for p in load_judged_pairs(path)[0]}


@pytest.mark.parametrize("reader", COLUMNS)
def test_any_file_gives_the_rows_that_were_meant_or_a_line(reader):
    with TemporaryDirectory() as folder:

        @settings(
            max_examples=FILES,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(files(reader))
        def one(file):
            name, held, rows = file
            path = Path(folder) / name
            path.write_bytes(held)
            try:
                found = read(reader, path)
            except DataError as error:
                told = str(error)
                assert name in told and "\n" not in told, told
                whole = re.search("cannot be split|no pair|no row of it|no prompts, since|no rows", told)
                assert whole or re.search(r", line \d+: |\(lines? \d+", told), told
                return
            for row in found:
                assert all(set(text) & set(WHOSE) <= {own} for text, own in zip(row, WHOSE, strict=False)), row
            found = {tuple(" ".join(text.split()) for text in row) for row in found}
            if rows is not None and reader == "preferences":
                assert found <= rows and {(x, *sorted(ys)) for x, *ys in found} == {(x, *sorted(ys)) for x, *ys in rows}
            elif rows is not None:
                assert found == rows

        one()
