"""The directive ``scopes``: how far a cache reaches, one picture for each scope.

A line is ``scope: caption | code``, where the scope is ``loop``, ``process`` or ``hosts``.
"""

import re
from collections.abc import Callable
from html import escape
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive

WIDTH, HEIGHT = 230, 230
LINE = re.compile(r"(?P<scope>\w+): (?P<caption>[^|]+) \| (?P<code>.+)")


class Scopes(Directive):
    """Draws scopes side by side, or one below the other where there is no room."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the drawings."""
        figures = ['<div class="scopes">']
        for line in self.content:
            match = LINE.fullmatch(line.strip())
            if match is None or match["scope"] not in DRAWINGS:
                raise self.error(f"not 'scope: caption | code': {line!r}")
            caption, code = escape(match["caption"]), escape(match["code"])
            figures.append(
                f'<figure><svg class="sequence" viewBox="0 0 {WIDTH} {HEIGHT}" '
                f'width="{WIDTH}" role="img" aria-label="{caption}">'
            )
            figures += DRAWINGS[match["scope"]]()
            figures.append(
                f"</svg><figcaption>{caption}<br><code>{code}</code></figcaption></figure>"
            )
        html = "\n".join([*figures, "</div>"])
        return [nodes.raw("", html, format="html")]


def loop() -> list[str]:
    """Return a process in which one loop has the cache and another takes it."""
    return [
        *frame(2, 226, "process"),
        *box(18, 40, 80, "loop 1"),
        *box(110, 40, 80, "loop 2"),
        *arrow(58, 70, 100, 163),
        *arrow(150, 70, 130, 163, "later"),
        *box(65, 165, 100, "cache", "head"),
        text(187, 122, "clears it"),
    ]


def process() -> list[str]:
    """Return a process whose loops share the cache."""
    parts = frame(2, 226, "process")
    for x in (14, 83, 152):
        parts += box(x, 40, 64, "loop")
        parts += arrow(x + 32, 70, 115 + (x - 83) // 3, 163)
    return [*parts, *box(65, 165, 100, "cache", "head")]


def hosts() -> list[str]:
    """Return two processes whose caches share a server."""
    parts: list[str] = []
    for x, label in ((2, "host A"), (118, "host B")):
        parts += frame(x, 110, label, 142)
        parts += box(x + 15, 36, 80, "loops")
        parts += arrow(x + 55, 66, x + 55, 98)
        parts += box(x + 15, 100, 80, "cache", "head")
        parts += arrow(x + 55, 130, 115 + (x - 60) // 2, 188)
    return [*parts, *box(35, 190, 160, "Redis or Valkey", "head")]


DRAWINGS: dict[str, Callable[[], list[str]]] = {
    "loop": loop,
    "process": process,
    "hosts": hosts,
}


def frame(x: int, width: int, label: str, height: int = HEIGHT - 4) -> list[str]:
    """Return what encloses the parts of a process."""
    return [
        f'<rect class="frame" x="{x}" y="2" width="{width}" height="{height}"/>',
        text(x + width // 2, 22, label),
    ]


def box(x: int, y: int, width: int, label: str, kind: str = "note") -> list[str]:
    """Return a box with text."""
    return [
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="30"/>',
        text(x + width // 2, y + 20, label),
    ]


def arrow(x1: int, y1: int, x2: int, y2: int, kind: str = "now") -> list[str]:
    """Return an arrow that points down."""
    return [
        f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2 - 6}"/>',
        f'<polygon points="{x2},{y2} {x2 - 4},{y2 - 8} {x2 + 4},{y2 - 8}"/>',
    ]


def text(x: int, y: int, label: str) -> str:
    """Return text whose middle is at *x*."""
    return f'<text x="{x}" y="{y}">{escape(label)}</text>'


def setup(app: Any) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("scopes", Scopes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
