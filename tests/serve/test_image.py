"""What the Dockerfile names is there, and its words are the server's own; the image itself is not built here."""

import ast
import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from standing import running, standing

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()


def words(instruction):
    """What stands behind each instruction of a name."""
    return [
        line.strip().removeprefix(instruction).strip() for line in LINES if line.strip().startswith(f"{instruction} ")
    ]


def test_all_that_is_copied_is_there_and_not_ignored():
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line.startswith("!")]
    copied = [name for line in words("COPY") if not line.startswith("--from") for name in line.split()[:-1]]
    assert sorted(copied) == sorted(kept)
    assert all((ROOT / name).exists() for name in copied)
    project = pytest.importorskip("tomllib").loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {project["readme"], *project["license-files"]} <= set(copied)
    (extras,) = re.findall(r"'\.\[(.*?)\]'", " ".join(words("RUN")))
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_it_serves_as_no_root_and_its_words_are_options(inside):
    assert words("USER")[-1] != "root"
    (entry,) = words("ENTRYPOINT")
    command, *rest = ast.literal_eval(entry)
    assert command == "alignpro"
    code, output = inside(*rest, "--upstream=http://h:7", "--as-prompter")
    assert (code, "give --run" in output) == (2, True)


def test_it_is_healthy_while_the_server_lives():
    (checks,) = words("HEALTHCHECK")
    command = ast.literal_eval(checks.partition(" CMD ")[2].strip())
    (port,) = words("EXPOSE")

    async def test():
        async with standing() as s:
            asking = [sys.executable, *(word.replace(f":{port}/", f":{s.service.port}/") for word in command[1:])]
            codes = [await asyncio.to_thread(code_of, asking)]
        assert [*codes, await asyncio.to_thread(code_of, asking)] == [0, 1]

    running(test)


def code_of(command):
    return subprocess.run(command, capture_output=True, check=False).returncode
