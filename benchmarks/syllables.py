"""How well syllables are counted by spelling: of the words of real answers that a pronouncing dictionary has, the
share counted alike, and what that makes of Flesch's formula: python benchmarks/syllables.py DICT FILE...

DICT is cmudict.dict of the CMU pronouncing dictionary; a FILE has a JSON object a line with the text in `chosen` or
`response`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from alignpro.maths import lengths
from alignpro.rewards.measures.formulas import syllables_of

FEWEST = 20
"""Words that a text must have to be a text here."""
FLESCH = 84.6
"""Points of Flesch's formula for a syllable more a word."""


def dictionary(path: Path) -> dict[str, int]:
    """Word -> syllables of its first pronunciation: every vowel carries its stress, a figure, and nothing else does."""
    lines = (line.partition("#")[0].partition(" ") for line in path.read_text(encoding="utf-8").splitlines())
    return {word: sum(map(sounds.count, "012")) for word, _, sounds in lines if not word.endswith(")")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dictionary", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    asked = parser.parse_args()
    spoken = dictionary(asked.dictionary)
    for path in asked.files:
        rows = [json.loads(line) for line in path.read_bytes().decode().split("\n") if line]
        texts = [row.get("chosen") or row.get("response") or "" for row in rows]
        known = [[w for w in map(str.casefold, lengths.words_of(text)) if w in spoken] for text in texts]
        pairs = [np.array([(spoken[w], syllables_of(w)) for w in words]) for words in known if len(words) >= FEWEST]
        alike = np.concatenate([pair[:, 0] == pair[:, 1] for pair in pairs])
        higher = np.array([FLESCH * (pair[:, 0] - pair[:, 1]).mean() for pair in pairs])
        print(
            f"{path.name}: {alike.mean():.1%} of {len(alike):,} words alike; Flesch's figure of {len(pairs)} texts is"
            f" higher by {higher.mean():.2f} points, deviation {higher.std():.2f}"
        )


if __name__ == "__main__":
    main()
