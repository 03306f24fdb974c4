"""A hook of mkdocs: files outside docs/ to which a page links become pages of the site, so that one link serves both.

A link such as ../src/alignpro/types.py is right where the repository is shown. Here that file becomes a page of the
site, and the link is turned to it. A link to a file that does not exist fails the build.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
OUTSIDE = "files/"
"""Where pages of files outside docs/ stand in the site."""
LINK = re.compile(r"(\]\()(?!\w+:|#|/)([^)\s#]+)((?:#[^)\s]*)?\))")
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}


def on_files(files: Any, config: Any) -> Any:
    """Add a page for every file outside docs/ that is linked to. Raises PluginError for one that does not exist."""
    waiting = [DOCS / page.src_uri for page in files.documentation_pages()]
    for page in waiting:  # grows by the Markdown files found
        for link in LINK.finditer(page.read_text(encoding="utf-8")):
            target = _target(page, link[2])
            uri = _uri(target)
            if uri.startswith(OUTSIDE) and files.get_file_from_path(uri) is None:
                files.append(File.generated(config, uri, content=_text(target)))
                waiting += [target] if target.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """The page's text, its links turned to where the files stand in the site."""
    uri = page.file.src_uri
    origin = ROOT / uri.removeprefix(OUTSIDE) if uri.startswith(OUTSIDE) else DOCS / uri

    def turned(link: re.Match[str]) -> str:
        there = _uri(_target(origin, link[2]))
        return f"{link[1]}{os.path.relpath(there, Path(uri).parent)}{link[3]}"

    return LINK.sub(turned, markdown) if origin.suffix == ".md" and origin.is_file() else markdown


def _target(page: Path, link: str) -> Path:
    target = (page.parent / link).resolve()
    if not target.exists():
        raise PluginError(f"{page.relative_to(ROOT)} links to {link}, and there is no such file")
    return target


def _uri(target: Path) -> str:
    if target.is_relative_to(DOCS):
        return target.relative_to(DOCS).as_posix()
    path = target.relative_to(ROOT).as_posix()
    return f"{OUTSIDE}{path}{'' if path.endswith('.md') else '.md'}"


def _text(target: Path) -> str:
    title = f"# {target.relative_to(ROOT).as_posix()}\n\n"
    if target.is_dir():
        return title + "\n".join(f"- {path.name}" for path in sorted(target.iterdir()) if path.name[0] not in "._")
    text = target.read_text(encoding="utf-8")
    if target.suffix == ".md":
        return text
    return f"{title}~~~~~~ {LANGUAGES.get(target.suffix, 'text')}\n{text}\n~~~~~~\n"
