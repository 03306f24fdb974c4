"""The official `openai` client against an endpoint: directly, and through `alignpro serve`.

    python benchmarks/clients.py http://127.0.0.1:8000/v1 MODEL                  before what `transformers serve` serves
    python benchmarks/clients.py http://127.0.0.1:8000/v1 MODEL --python PATH    with the client of another environment

It calls for chats, completions and responses, streamed and whole, and for two faults, four times each: directly,
through the server with `x-alignpro: off`, through it with a prompter that puts "In short: " before a prompt, and
directly with the prompt that this makes. The first two must be equal, and the last two, but for identifiers and times;
the upstream has to be greedy. What differs is printed; the last line is a JSON object with the calls that were equal.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from official_client import PROMPT
from served import endpoints, served

ANEW = {"id", "item_id", "created", "created_at", "completed_at", "request_id", "_request_id"}
"""What no two answers share."""


def settled(tree: Any) -> Any:
    """What a client was given, without what is new in every answer."""
    if isinstance(tree, dict):
        return {name: settled(value) for name, value in tree.items() if name not in ANEW}
    if isinstance(tree, str) and tree.startswith("data: "):  # a stream that nobody asked for
        return [settled(json.loads(line[6:])) for line in tree.splitlines() if line.startswith("data: {")]
    return [settled(one) for one in tree] if isinstance(tree, list) else tree


def asked(python: str, url: str, model: str, *words: str) -> Any:
    """What the client of an environment gives for each call."""
    script = str(Path(__file__).with_name("official_client.py"))
    made = json.loads(subprocess.check_output([python, script, url, model, *words], text=True))
    return made["openai"], settled(made["told"])


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("url", help="base URL of the upstream")
    ask.add_argument("model")
    ask.add_argument("--python", default=sys.executable, help="that has the package openai")
    given = ask.parse_args()
    with endpoints() as scripted, served(scripted, "short", given.url, "--timeout=60", "--fail-closed") as (ours, _):
        version, alone = asked(given.python, given.url, given.model)
        _, passed = asked(given.python, f"{ours}/v1", given.model, "--header=x-alignpro=off")
        _, rewritten = asked(given.python, f"{ours}/v1", given.model)
        _, meant = asked(given.python, given.url, given.model, f"--prompt=In short: {PROMPT}")
    for name, left, right in (("passed on", alone, passed), ("rewritten", meant, rewritten)):
        for call in left:
            if left[call] != right[call]:
                print(f"{name}, {call}:\n  directly {left[call]}\n  through  {right[call]}")
    told = {
        "openai": version,
        "calls": len(alone),
        "equal_passed_on": sum(alone[call] == passed[call] for call in alone),
        "equal_rewritten": sum(meant[call] == rewritten[call] for call in alone),
        "rewriting_shows_in": [call for call in alone if alone[call] != rewritten[call]],
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
