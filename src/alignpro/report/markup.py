"""Small pieces of HTML that the sections are made of. Whatever came from a run is escaped here or by the caller."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from alignpro.report.palette import Look
from alignpro.report.verdict import KeyFigure


def chip(look: Look) -> str:
    """An arm's marker and name."""
    mark = f'<i class="mark" style="--arm:var(--{look.token})">{look.glyph}</i>'
    return f'<span class="arm">{mark}{escape(look.label)}</span>'


def section(anchor: str, title: str, text: str, body: str) -> str:
    """A titled part of the page; `text` is plain, `body` is HTML."""
    told = f'<p class="note">{escape(text)}</p>' if text else ""
    return f'<section id="{anchor}"><h2>{escape(title)}</h2>{told}{body}</section>'


def card(title: str, text: str, svg: str) -> str:
    """A figure with its title and, in plain words, what it shows."""
    caption = f"<figcaption><b>{escape(title)}</b><span>{escape(text)}</span></figcaption>"
    return f'<figure class="card">{caption}{svg}</figure>'


def grid(cards: Sequence[str], kind: str = "halves") -> str:
    """Cards side by side, two or three abreast where there is room."""
    return f'<div class="grid {kind}">{"".join(cards)}</div>' if cards else ""


def tiles(figures: Iterable[KeyFigure]) -> str:
    """Numbers that stand out, side by side."""
    found = "".join(
        f'<div class="tile"><dt>{escape(tile.label)}</dt><dd><b>{escape(tile.value)}</b>'
        f" <span>{escape(tile.bounds)}</span><small>{escape(tile.note)}</small></dd></div>"
        for tile in figures
    )
    return f'<dl class="tiles">{found}</dl>' if found else ""


def legend(entries: Iterable[str]) -> str:
    """What the marks of a figure stand for; entries are HTML."""
    return f'<ul class="legend">{"".join(f"<li>{entry}</li>" for entry in entries)}</ul>'


def bullets(lines: Iterable[str]) -> str:
    """A list of plain lines."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="lines">{items}</ul>' if items else ""


def fold(title: str, body: str) -> str:
    """HTML behind a line that opens it."""
    return f"<details><summary>{escape(title)}</summary>{body}</details>" if body else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """A table; heads are plain, cells are HTML already."""
    head = "".join(f"<th scope=col>{escape(text)}</th>" for text in heads)
    body = "".join(
        f"<tr><th scope=row>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>" for first, *rest in rows
    )
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="scroll" tabindex="0"><table class="{kind}">{inner}</table></div>'
