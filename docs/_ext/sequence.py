"""The directive ``sequence``: who says what to whom, drawn from text.

Lanes are in the order in which they are first named. A line is ``a -> b: text``, an
arrow; ``a --> b: text``, a dashed one, for what comes later by itself; or
``a: text``, a note.
"""

import re
from html import escape
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive, directives

LANE, ROW, TOP, LETTER = 200, 40, 52, 7.9
SMALLEST = 72  # per cent of the full size
LINE = re.compile(
    r"(?P<a>[^:>]+?)\s*(?:(?P<arrow>--?>)\s*(?P<b>[^:]+?))?\s*:\s*(?P<text>.+)"
)


class Sequence(Directive):
    """Draws a sequence as an SVG in the colours of the page."""

    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the drawing."""
        steps = []
        for line in self.content:
            match = LINE.fullmatch(line.strip())
            if match is None:
                raise self.error(f"not 'a -> b: text' or 'a: text': {line!r}")
            steps.append(match.groupdict())
        return [nodes.raw("", draw(steps, self.options["alt"]), format="html")]


def draw(steps: list[dict[str, Any]], alt: str) -> str:
    """Return the SVG of *steps*."""
    lanes = list(dict.fromkeys(n for s in steps for n in (s["a"], s["b"]) if n))
    at = {lane: LANE // 2 + index * LANE for index, lane in enumerate(lanes)}
    width, height = LANE * len(lanes), TOP + ROW * len(steps) + 10
    # Shrinks to a legible size at most; past that the page scrolls it.
    size = (
        f'viewBox="0 0 {width} {height}" width="{width}" '
        f'style="min-width: {width * SMALLEST // 100}px"'
    )
    parts = [
        '<div class="drawing">',
        f'<svg class="sequence" {size} role="img" aria-label="{escape(alt)}">',
    ]
    for lane, x in at.items():
        parts.append(f'<line class="lane" x1="{x}" y1="34" x2="{x}" y2="{height}"/>')
        parts.append(f'<rect class="head" x="{x - 70}" y="4" width="140" height="30"/>')
        parts.append(f'<text x="{x}" y="24">{escape(lane)}</text>')
    for index, step in enumerate(steps):
        y = TOP + ROW * index + 20
        if step["arrow"]:
            parts += arrow(at[step["a"]], at[step["b"]], y, step)
        else:
            parts += note(at[step["a"]], y, step["text"], width)
    return "\n".join([*parts, "</svg></div>"])


def arrow(start: int, end: int, y: int, step: dict[str, Any]) -> list[str]:
    """Return an arrow with its text above it."""
    kind = "later" if step["arrow"] == "-->" else "now"
    back = 8 if end > start else -8
    middle, text = (start + end) // 2, escape(step["text"])
    return [
        f'<line class="{kind}" x1="{start}" y1="{y}" x2="{end - back}" y2="{y}"/>',
        f'<polygon points="{end},{y} {end - back},{y - 4} {end - back},{y + 4}"/>',
        f'<text class="label" x="{middle}" y="{y - 7}">{text}</text>',
    ]


def note(x: int, y: int, text: str, width: int) -> list[str]:
    """Return a box with text, within the width of the picture."""
    wide = LETTER * len(text) + 14
    left = min(max(x - wide / 2, 1), width - wide - 1)
    return [
        f'<rect class="note" x="{left}" y="{y - 18}" width="{wide}" height="26"/>',
        f'<text x="{left + wide / 2}" y="{y}">{escape(text)}</text>',
    ]


def setup(app: Any) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("sequence", Sequence)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
