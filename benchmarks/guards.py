"""What guards reject: of prompts as they are and under the templates that ship, of rewrites that people checked,
and of answers in the place of rewrites. Prints the table of docs/guards.md: python benchmarks/guards.py FOLDER

FOLDER holds samples in their publishers' forms: ultrafeedback_*.jsonl, helpsteer_sample.jsonl, orca_dpo_sample.jsonl
and bpo_test.json; what is not there is left out.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alignpro.config import META_PROMPT
from alignpro.data.templates import read_templates
from alignpro.rewards.guards import Guards
from alignpro.types import Prompt

Pair = tuple[str, str]
"""x, and what stands for x'."""


def rows(path: Path) -> list[dict[str, Any]]:
    """Those of a file of JSON lines, or of one list; none where there is no file."""
    if not path.is_file():
        return []
    text = path.read_bytes().decode()
    return list(json.loads(text)) if path.suffix == ".json" else [json.loads(line) for line in text.split("\n") if line]


def answered(folder: Path) -> Iterable[Pair]:
    """Prompts with an answer each."""
    for path in sorted(folder.glob("ultrafeedback_*.jsonl")):
        yield from ((row["prompt"], row["chosen"]) for row in rows(path))
    yield from ((row["prompt"], row["response"]) for row in rows(folder / "helpsteer_sample.jsonl"))
    for row in rows(folder / "orca_dpo_sample.jsonl"):
        yield row["input"]["messages"][-1]["content"], row["preferred_output"][0]["content"]
    yield from ((row["prompt"], row["good_res"]) for row in rows(folder / "bpo_test.json"))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    guards, templates, pairs = Guards(template=META_PROMPT), read_templates("default"), list(answered(folder))
    prompts = sorted({x for x, _ in pairs})
    checked = [(row["prompt"], row["optimized_prompt"]) for row in rows(folder / "bpo_test.json")]
    of: dict[str, list[Pair]] = {
        "prompts as they are": [(x, x) for x in prompts],
        "under a shipped template": [(x, t.frame(Prompt(x))) for t in templates[1:] for x in prompts],
        "rewrites that people checked (BPO)": [(x, y) for x, y in checked if x != y],
        "answers in their place": pairs,
        "prompts with the answer behind them": [(x, f"{x}\n\n{y}") for x, y in pairs],
    }
    print("| texts | rejected | by guard | ms each |\n| --- | --- | --- | --- |")
    for name, texts in of.items():
        begun = time.process_time()
        verdicts = [tuple(guards.rejecting(x, y)) for x, y in texts]
        spent = (time.process_time() - begun) / max(1, len(texts)) * 1e3
        by = ", ".join(f"{guard} {n}" for guard, n in Counter(g for v in verdicts for g in v).most_common())
        rejected = sum(map(bool, verdicts))
        print(f"| {name} | {rejected:,} of {len(texts):,} ({rejected / max(1, len(texts)):.1%}) | {by} | {spent:.2f} |")


if __name__ == "__main__":
    main()
