"""What a prompt costs, in processor time, as there are more of them: the lab's prompter and frozen model.

    python benchmarks/scaling.py [--prompts 100 1000 10000] [--runs 3]

A prompt is rewritten, its rewrite answered, and the answer scored. The peer is the smallest number of prompts itself:
the last line is one JSON object with the ratios of seconds a prompt to its, and the peak of memory so far.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time

from alignpro import config
from alignpro.flow.rollout import rollout
from alignpro.running.load import load
from alignpro.runtime import threads


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--prompts", type=int, nargs="+", default=[100, 1000, 10_000])
    ask.add_argument("--runs", type=int, default=3)
    given = ask.parse_args()
    settings = config.load("lab")
    count = threads.use(settings.threads)
    pieces = load(settings, {"prompts", "prompter", "frozen", "reward"})
    known = [*pieces.prompts.train, *pieces.prompts.test]

    def seconds(total: int, seed: int) -> float:
        prompts = [known[i % len(known)] for i in range(total)]
        begun = time.process_time()
        rollout(prompts, pieces.prompter, pieces.frozen, pieces.reward, seed=seed)
        return (time.process_time() - begun) / total

    seconds(min(given.prompts), 0)
    turns = [{total: seconds(total, seed) for total in given.prompts} for seed in range(1, given.runs + 1)]
    ratios, first = {}, min(given.prompts)
    for total in given.prompts:
        each = [turn[total] / turn[first] for turn in turns]
        ratios[str(total)] = {"median": statistics.median(each), "min": min(each), "max": max(each)}
        print(
            f"{total:7,} prompts: {1000 * statistics.median(turn[total] for turn in turns):.2f} ms each,"
            f" {statistics.median(each):.2f} [{min(each):.2f}, {max(each):.2f}] times that of {first:,}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        json.dumps(
            {"name": "scaling", "ratios": ratios, "peak_gib": peak, "settings": vars(given) | {"threads": count}}
        )
    )


if __name__ == "__main__":
    main()
