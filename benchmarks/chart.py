"""The chart of a comparison: what takes how long with which library."""

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from peers import FOLDER, install

#: Scenarios in the chart, with titles.
PANELS = {
    "hit": "Hit",
    "hit, method": "Hit, bound method",
    "miss with eviction, never suspends": "Miss, function never suspends",
    "miss with eviction, suspends once": "Miss, function suspends once",
    "join of a run in flight": "Join of a run in flight",
    "an entry with a ttl": "Memory of an entry with a ttl",
}
NOT_CACHES = ("floor", "uncached", "functools (sync)")
#: Bars that are so many times as long as ours are cut short.
LONGEST = 12
OURS = "#d1495b"
THEIRS = "#8d99ae"


def draw(results: dict[str, Any], path: Path) -> None:
    """Draw the chart of *results* into the SVG file *path*."""
    pyplot = import_pyplot()
    pyplot.rcParams.update(
        {"svg.hashsalt": "async_lru", "svg.fonttype": "none", "font.size": 9}
    )
    figure, axes = pyplot.subplots(3, 2, figsize=(10, 9))
    for axis, (name, title) in zip(axes.flat, PANELS.items(), strict=True):
        result = results["scenarios"][name]
        cells = {
            peer: cell["min"]
            for peer, cell in result["cells"].items()
            if peer not in NOT_CACHES
        }
        ours = next(iter(cells))
        peers = sorted(cells, key=cells.__getitem__, reverse=True)
        scale, unit = (1, "bytes") if result["unit"] == "bytes" else (1000, "µs")
        longest = LONGEST * cells[ours]
        bars = axis.barh(
            peers,
            [min(cells[peer], longest) / scale for peer in peers],
            color=[OURS if peer == ours else THEIRS for peer in peers],
        )
        axis.bar_label(
            bars,
            [
                f" {cells[peer] / scale:,.{0 if scale == 1 else 2}f}"
                + (" (cut short)" if cells[peer] > longest else "")
                for peer in peers
            ],
        )
        axis.set_title(f"{title} ({unit}, less is better)", loc="left", fontsize=10)
        axis.spines[["top", "right", "bottom"]].set_visible(False)
        axis.tick_params(left=False, bottom=False, labelbottom=False)
        axis.margins(x=0.25)
    figure.suptitle(results["machine"], fontsize=9, color="#555555")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def import_pyplot() -> Any:
    """Import matplotlib, installed into a folder of its own if it is not here."""
    if importlib.util.find_spec("matplotlib") is None:
        folder = FOLDER / "matplotlib"
        if not folder.exists():
            install("matplotlib", folder)
        sys.path.append(str(folder))
    matplotlib = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    return importlib.import_module("matplotlib.pyplot")
