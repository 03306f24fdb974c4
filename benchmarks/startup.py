"""How long the commands take before they do anything, beside a bare Python and beside importing transformers' classes.

    python benchmarks/startup.py [--runs 9]

Each is a process of its own, all in turn, after a warm-up that fills the disk's cache. The last line is one JSON
object: seconds of every run, and the ratios to the bare Python's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

WORK = {
    "python": ["-c", "pass"],
    "import alignpro": ["-c", "import alignpro"],
    "alignpro --help": ["-m", "alignpro", "--help"],
    "import transformers' models": [
        "-c",
        "from transformers import AutoModelForCausalLM; AutoModelForCausalLM.register",
    ],
}


def seconds(words: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--runs", type=int, default=9)
    given = ask.parse_args()
    turns = [{name: seconds(words) for name, words in WORK.items()} for _ in range(given.runs + 1)][1:]
    took = {name: [turn[name] for turn in turns] for name in WORK}
    for name, times in took.items():
        print(f"{name:28} {statistics.median(times):.3f} s [{min(times):.3f}, {max(times):.3f}]")
    ratios = {name: [own / bare for own, bare in zip(took[name], took["python"], strict=True)] for name in WORK}
    told = {name: {"median": statistics.median(r), "min": min(r), "max": max(r)} for name, r in ratios.items()}
    print(json.dumps({"name": "startup", "ratios": told, "seconds": took, "settings": vars(given)}))


if __name__ == "__main__":
    main()
