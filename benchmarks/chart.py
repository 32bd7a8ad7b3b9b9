"""Draw the chart of a comparison."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from peers import FOLDER, install

#: The scenarios in the chart, and their titles.
PANELS = {
    "mix, CPU time per call": "Realistic mix, CPU time per call",
    "miss gathered with 19 others in a cached call": "Miss, gathered in a cached call",
    "hit, method, 2,000 instances with a cache each": "Hit, a cache for each instance",
    "hit, method": "Hit, bound method",
    "hit, one int": "Hit",
    "miss, suspends once": "Miss, function suspends once",
    "join of a run in flight, per caller": "Join of a run in flight",
    "memory of a value with ttl": "Memory of a value with ttl",
}
NOT_CACHES = ("minimal wrapper", "uncached", "functools (sync)")
#: Beside each unit of the scenarios, how many make one of the chart's unit, and its name.
UNITS = {"ns": (1000, "µs"), "bytes": (1, "bytes")}
#: Bars that are so many times as long as ours are truncated.
LONGEST = 8
OURS = "#d1495b"
THEIRS = "#8d99ae"


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the chart of *results* into the SVG file *path*."""
    pyplot = import_pyplot()
    pyplot.rcParams.update(
        {"svg.hashsalt": "async_lru", "svg.fonttype": "none", "font.size": 9}
    )
    figure, axes = pyplot.subplots(len(PANELS) // 2, 2, figsize=(10, 12))
    for axis, (name, title) in zip(axes.flat, PANELS.items(), strict=True):
        result = results["scenarios"][name]
        scale, unit = UNITS[result["unit"]]
        cells = {
            peer: cell["min"] / scale
            for peer, cell in result["cells"].items()
            if peer not in NOT_CACHES
        }
        draw_panel(axis, cells, digits=2 if scale > 1 else 0)
        label = f"{title} ({unit}, less is better)"
        axis.set_title(label, loc="left", fontsize=10)
    figure.suptitle(results["machine"], fontsize=9, color="#555555", y=0.995)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def draw_panel(axis: Any, cells: dict[str, float], *, digits: int) -> None:
    """Draw a bar for each peer, the longest first."""
    ours = next(iter(cells))
    longest = LONGEST * cells[ours]
    peers = sorted(cells, key=cells.__getitem__, reverse=True)
    bars = axis.barh(
        peers,
        [min(cells[peer], longest) for peer in peers],
        color=[OURS if peer == ours else THEIRS for peer in peers],
    )
    labels = [
        f" {cells[peer]:,.{digits}f}" + (" (truncated)" * (cells[peer] > longest))
        for peer in peers
    ]
    axis.bar_label(bars, labels)
    axis.spines[["top", "right", "bottom"]].set_visible(False)
    axis.tick_params(left=False, bottom=False, labelbottom=False)
    axis.margins(x=0.25)


def import_pyplot() -> Any:
    """Import matplotlib, which is installed with the peers if it is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        folder = FOLDER / "matplotlib"
        if not folder.exists():
            install("matplotlib", folder)
        sys.path.append(str(folder))
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    return importlib.import_module("matplotlib.pyplot")
