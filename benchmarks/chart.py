"""Draw the chart of a comparison: part of ``make benchmark``.

Few bars, as large as the screen of a phone allows; README.rst has more cases. The
picture has a background of its own, which follows the reader's light or dark mode.

    python benchmarks/chart.py benchmarks/results/cpython-3.13.json

draws the chart of earlier results anew, with those of the second tier if there are any.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

#: The scenarios in the chart, and their titles.
PANELS = {
    "mix, CPU time per call": "Realistic mix, CPU time per call",
    "hit, method": "Hit, method",
    "miss, suspends once": "Miss, function that suspends",
    "memory of a value with ttl": "Memory of a value with ttl",
}
HERD = "Second tier, commands for 400 calls"
#: The libraries in the chart, ours first.
SHOWN = ("async_lru 3", "async-lru", "anyio", "cachebox", "cashews")
#: Beside each unit of the scenarios, how many make one of the chart's unit, and its name.
UNITS = {"ns": (1000, "µs"), "bytes": (1, "bytes")}
#: Bars that are so many times as long as ours are cut off.
LONGEST = 5

# In units of the picture; a phone shows two thirds of them as pixels.
WIDTH = 480
MARGIN = 16
NAMES = 128
FIGURES = 90
BAR, ROW, TITLE, PANEL_GAP = 22, 30, 34, 14

STYLE = """
text { font: 16px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
.title { font-weight: 600; font-size: 17px; }
.note { font-size: 13px; fill: #59636e; }
.ground { fill: #ffffff; stroke: #d1d9e0; }
.ours { fill: #c8324a; }
.theirs { fill: #8d99ae; }
.cut { stroke: #ffffff; stroke-width: 4; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note { fill: #9da7b3; }
  .ground { fill: #161b22; stroke: #3d444d; }
  .ours { fill: #e8596e; }
  .theirs { fill: #6e7a90; }
  .cut { stroke: #161b22; }
}
"""


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the chart of *results* into the SVG file *path*."""
    parts: list[str] = []
    y = MARGIN
    for title, cells, digits in panels(results, path):
        parts.append(text(MARGIN, y + 19, title, "title"))
        y += TITLE
        parts += bars(cells, y, versions=results["versions"], digits=digits)
        y += ROW * len(cells) + PANEL_GAP
    parts += [
        text(MARGIN, y + 10, "Less is better. Cut bars are longer than shown.", "note"),
        text(MARGIN, y + 30, results["machine"], "note"),
    ]
    height = y + 30 + MARGIN
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">\n'
        f"<title>async_lru compared with other libraries</title>\n"
        f"<style>{STYLE}</style>\n"
        f'<rect class="ground" x="0.5" y="0.5" width="{WIDTH - 1}" '
        f'height="{height - 1}" rx="8"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def panels(
    results: dict[str, Any], path: Path
) -> Iterator[tuple[str, dict[str, float], int]]:
    """Yield the title, the figures and their number of decimals for each panel."""
    for name, title in PANELS.items():
        result = results["scenarios"][name]
        scale, unit = UNITS[result["unit"]]
        cells = {
            peer: result["cells"][peer]["min"] / scale
            for peer in SHOWN
            if peer in result["cells"]
        }
        yield f"{title} ({unit})", cells, 2 if scale > 1 else 0
    tier = path.with_name(f"{path.stem}-tier.json")
    if tier.exists():
        herd = json.loads(tier.read_text())["herd"]
        yield HERD, {peer: herd[peer]["commands"] for peer in herd}, 0


def bars(
    cells: dict[str, float], y: int, *, versions: dict[str, str], digits: int
) -> list[str]:
    """Return a bar for each library, the shortest first."""
    ours = SHOWN[0]
    left = MARGIN + NAMES
    room = WIDTH - left - FIGURES
    longest = min(max(cells.values()), LONGEST * cells[ours])
    parts: list[str] = []
    for peer in sorted(cells, key=cells.__getitem__):
        figure = cells[peer]
        width = round(room * min(figure, longest) / longest, 1)
        kind = "ours" if peer == ours else "theirs"
        name = f"{peer} {versions.get(peer, '')}".strip() if peer == SHOWN[1] else peer
        parts += [
            text(MARGIN, y + 17, name),
            f'<rect class="{kind}" x="{left}" y="{y}" width="{width}" height="{BAR}" rx="3"/>',
        ]
        if figure > longest:
            end = left + width - 16
            parts.append(
                f'<path class="cut" d="M{end - 4} {y + BAR + 2} L{end + 4} {y - 2}"/>'
            )
        parts.append(text(left + width + 8, y + 17, f"{figure:,.{digits}f}"))
        y += ROW
    return parts


def text(x: float, y: float, content: str, kind: str = "") -> str:
    """Return a line of text."""
    attribute = f' class="{kind}"' if kind else ""
    return f'<text{attribute} x="{x}" y="{y}">{escape(content)}</text>'


def main() -> None:
    """Draw the charts of the files given."""
    for name in sys.argv[1:]:
        path = Path(name)
        draw(json.loads(path.read_text()), path.with_suffix(".svg"))


if __name__ == "__main__":
    main()
