"""The one way from values to a page: templates/*.html, in which every text is escaped and every name must be known."""

from __future__ import annotations

import base64
import hashlib
import math
from functools import cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from alignpro.report.palette import TOKENS
from alignpro.results import UNKNOWN, Estimate
from alignpro.results.words import count, form_of, number, percent, spoken
from alignpro.runtime import files
from alignpro.runtime.templating import environment


def write_page(path: Path, template: str, *, interactive: bool = True, **values: object) -> Path:
    """Write the page of templates/`template` to `path`, which is returned, whole or not at all; the same
    values give the same bytes.

    The page is one file that loads nothing from anywhere; `interactive` puts page.js into it. Texts among `values` are
    escaped where they stand, whatever they hold.
    """
    html = _templates().get_template(template).render(interactive=interactive, **values)
    files.write_bytes(path, html.encode("utf-8", errors="replace"))
    return path


@cache
def _templates() -> Environment:
    templates = environment("alignpro.report")
    script = _asset("page.js")
    templates.globals.update(
        palette=TOKENS,
        style=_asset("page.css"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    templates.filters.update(
        count=count, cut=cut, number=number, percent=_percent, spoken=spoken, either_side=_either_side
    )
    templates.tests["known"] = lambda value: value is not None and not math.isnan(value)
    return templates


def cut(text: str, longest: int) -> str:
    """`text`, or its first `longest` characters with a sign that there was more."""
    return text if len(text) <= longest else f"{text[:longest]} […]"


def _percent(share: Estimate | float | None) -> str:
    return percent(share if isinstance(share, Estimate) else UNKNOWN if share is None else Estimate(share))


def _either_side(half: float) -> str:
    return f"± {number(half, form_of(Estimate(half, 0.0, half)))}"


def _asset(name: str) -> Markup:
    return Markup((resources.files("alignpro.report") / "templates" / name).read_text(encoding="utf-8"))
