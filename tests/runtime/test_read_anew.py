"""A module of the user's that is named is the one that lies in the working folder now."""

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from alignpro.errors import SettingsError
from alignpro.runtime.functions import named, source_digest

NAME = "read_anew"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working folder, and modules and places of imports as they were afterwards."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith((NAME, "beside", "pack_")):
            del sys.modules[name]


def value(module=NAME):
    return named(f"python:{module}:f", "reward.model")[1]()


def write(folder, text, name=NAME):
    path = folder.joinpath(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)


def test_what_was_edited_is_read_again_even_within_a_second_and_of_one_length(here):
    for number in range(5):
        write(here, f"def f(): return {number}\n")
        assert value() == number
        assert len(source_digest(NAME)) == 32


def test_what_was_not_edited_stays_the_same_module(here):
    write(here, "def f(): return seen\nseen = []\n")
    value().append(1)
    assert value() == [1]
    assert importlib.import_module(NAME).seen == [1]


def test_an_edited_module_that_it_imports_counts_too(here):
    write(here, "import beside_it\nfrom pack_.inner import two\ndef f(): return beside_it.one, two\n")
    write(here, "one = 1\n", "beside_it")
    write(here, "two = 2\n", "pack_.inner")
    assert value() == (1, 2)
    write(here, "one = 3\n", "beside_it")
    assert value() == (3, 2)
    write(here, "two = 4\n", "pack_.inner")
    assert value() == (3, 4)


def test_in_another_folder_it_is_the_one_there_and_back_again(here, monkeypatch):
    for number, folder in enumerate(("a", "b")):
        write(here / folder, "import beside_it\ndef f(): return beside_it.here\n")
        write(here / folder, f"here = {number}\n", "beside_it")
        write(here / folder, f"def f(): return {number}\n", "pack_.deep")
    for number, folder in ((0, "a"), (1, "b"), (0, "a"), (1, "b")):
        monkeypatch.chdir(here / folder)
        assert value() == number
        assert value("pack_.deep") == number


def test_what_was_imported_and_edited_before_it_was_named_is_read_again(here, monkeypatch):
    monkeypatch.syspath_prepend(here)
    write(here, "class A:\n    def g(self): return 1\ndef f(): return A().g()\n")
    importlib.import_module(NAME)
    assert value() == 1
    del sys.modules[NAME]
    write(here, "class A:\n    def g(self): return 1\ndef f(): return A().g()\n", "beside_first")
    module = importlib.import_module("beside_first")
    write(here, "class A:\n    def g(self): return 2\ndef f(): return A().g()\n", "beside_first")
    assert value("beside_first") == 2
    assert sys.modules["beside_first"] is not module


def test_a_file_of_the_name_of_one_of_pythons_own_leaves_that_alone(here):
    import json

    write(here, "def f(): return 1\n", "json")
    write(here, "import json\ndef f(): return json.dumps([1])\n")
    assert value() == "[1]"
    assert sys.modules["json"] is json


def test_one_that_no_longer_can_be_read_is_refused_and_can_be_mended(here):
    write(here, "def f(): return 1\n")
    assert value() == 1
    write(here, "def f(: return 1\n")
    for _ in range(2):
        with pytest.raises(SettingsError, match="SyntaxError"):
            value()
    write(here, "def f(): return 3\n")
    assert value() == 3


@pytest.mark.parametrize(
    "end", ["import sys; sys.exit(0)", "raise SystemExit", "import asyncio; raise asyncio.CancelledError"]
)
def test_one_that_ends_the_process_as_it_is_imported_is_refused(here, end):
    write(here, end)
    with pytest.raises(SettingsError, match=f"importing {NAME} failed"):
        value()


def test_it_may_be_named_in_several_threads(here):
    write(here, "def f(): return 5\n")
    with ThreadPoolExecutor(8) as pool:
        assert {one.result() for one in [pool.submit(value) for _ in range(16)]} == {5}


def test_functions_of_a_notebook_have_a_digest_of_what_they_do(here, monkeypatch):
    def digest(cell):
        module = type(sys)(NAME)
        exec(cell, vars(module))
        monkeypatch.setitem(sys.modules, NAME, module)
        assert value() is not None
        return source_digest(NAME)

    first = digest("def f(): return 'b' in {'a', 'b'}")
    assert digest("\n\ndef f(): return 'b' in {'a', 'b'}") == first
    assert digest("def f(): return 'c' in {'a', 'b'}") != first
    assert digest("def f(): return 'b' in {'a', 'b'}\nclass A:\n    def g(self): return 1") != first
