"""The pages say what is there: links, files, names that Python lines import; and the site turns links to its own."""

import ast
import importlib
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import alignpro

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
NAMED = [pytest.param(page, id=page.relative_to(ROOT).as_posix()) for page in PAGES]
LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)")
FILE = re.compile(r"`([\w./-]+/[\w.-]+\.(?:py|md|yaml|css|js|html|json))`")
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef
OF_A_RUN = ("rlhf/", "runs/", "DIR/", "prompter/", "build/")
"""Where files of a run or of a build begin, which a page may name too."""


def exists(path: str, *more: Path) -> bool:
    return any((root / path).exists() for root in (ROOT, ROOT / "src" / "alignpro", *more))


@pytest.mark.parametrize("page", NAMED)
def test_links_and_files_that_a_page_names_exist(page):
    text = page.read_text()
    broken = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    broken += [name for name in FILE.findall(text) if not name.startswith(OF_A_RUN) and not exists(name, page.parent)]
    assert not broken


@pytest.mark.parametrize("page", NAMED)
def test_names_that_a_page_imports_exist(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "alignpro":
                module = importlib.import_module(str(node.module))
                assert [name.name for name in node.names if not hasattr(module, name.name)] == []
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "alignpro":
                assert node.attr in alignpro.__all__


@pytest.mark.parametrize("page", [page for page in NAMED if "docs/api/" in page.id])
def test_a_page_of_docstrings_names_what_is_there(page):
    for name in re.findall(r"^::: ([\w.]+)", page.read_text(), re.MULTILINE):
        text = Path(importlib.import_module(name).__file__).read_text()
        said = [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, DOCUMENTED)]
        assert not [doc for doc in said if re.search(r"\]\[", re.sub(r"`[^`]*`", "", doc))], (
            f"{name}: put [A][B] in backticks"
        )


def test_the_map_names_what_is_there():
    text = (ROOT / "docs" / "map.md").read_text()
    wrong = []
    for path, names in re.findall(
        r"`([\w./-]+/|[\w./-]+\.(?:py|md|yaml|html))`(?: \(((?:`\w+`(?:, | or )?)+)\))?", text
    ):
        found = next((root / path for root in (ROOT / "src" / "alignpro", ROOT) if (root / path).exists()), None)
        if found is None and path not in OF_A_RUN:
            wrong.append(path)
        elif names:
            source = found.read_text()
            wrong += [
                f"{path}: {name}"
                for name in re.findall(r"\w+", names.replace(" or ", " "))
                if not re.search(rf"\b{name}\b", source)
            ]
    assert not wrong


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().split()) < 600


def site():
    pytest.importorskip("mkdocs", reason="the site is built with Python 3.11 and later")
    spec = importlib.util.spec_from_file_location("links", ROOT / "docs" / "site" / "links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def turned(page: str, text: str) -> str:
    return site().on_page_markdown(text, SimpleNamespace(file=SimpleNamespace(src_uri=page)), None, None)


def test_links_out_of_the_pages_are_turned_to_pages_of_the_site():
    assert turned("rewards.md", "[a](../src/alignpro/types.py)") == "[a](files/src/alignpro/types.py.md)"
    assert turned("api/flow.md", "[a](../../README.md#results)") == "[a](../files/README.md#results)"
    assert turned("files/README.md", "![a](docs/figure.svg) [b](docs/lab.md)") == "![a](../figure.svg) [b](../lab.md)"
    same = "[a](#here) [b](https://example.org/x) [c](data.md#schemas)"
    assert turned("rewards.md", same) == same
    assert turned("files/src/alignpro/types.py.md", "[a](nowhere.py)") == "[a](nowhere.py)"  # code, not a page's text


def test_a_link_to_no_file_fails_the_site():
    with pytest.raises(Exception, match=r"docs/rewards.md links to \.\./src/nowhere\.py"):
        turned("rewards.md", "[a](../src/nowhere.py)")
