"""How a folder was made: its command, resolved settings and environment."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from alignpro import config


@dataclass(frozen=True, slots=True)
class Making:
    """`command` made the folder `name`, where it is known; `again` would make another, `report` its page.

    `meta_prompt` and `system` are what the prompter was shown each prompt in, empty where the settings hold none.
    """

    name: str
    command: str
    again: str
    report: str
    settings: str
    meta_prompt: str
    system: str
    environment: tuple[tuple[str, str], ...]


def making(name: str, job: str, settings: Mapping[str, object], environment: Mapping[str, object]) -> Making:
    """How the folder `name` was made by `alignpro job`."""
    command = environment.get("command") or ""
    made = shlex.join(map(str, command)) if isinstance(command, list) else str(command)
    own = settings.get("prompter")
    prompter = own if isinstance(own, Mapping) else {}
    return Making(
        name=name,
        command=made if made.startswith("alignpro") or not made else f"alignpro {made}",
        again=f"alignpro {job} {shlex.quote(f'{name}/config.yaml')} --out NEW_DIR",
        report=f"alignpro report {shlex.quote(name)}",
        settings=config.as_yaml(settings) if settings else "",
        meta_prompt=str(prompter.get("template") or ""),
        system=str(prompter.get("system") or ""),
        environment=tuple(
            (str(key), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
            for key, value in environment.items()
        ),
    )
