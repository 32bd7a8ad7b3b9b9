"""The comparison with other libraries: its table in the docs, and its benchmarks."""

import asyncio
import datetime
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("tracemalloc")  # which PyPy has not

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import chart  # noqa: E402
import compare  # noqa: E402
import features  # noqa: E402
from peers import PEERS, Peer, ours  # noqa: E402
from scenarios import SCENARIOS, AtMost, Faster, Scenario  # noqa: E402

OURS, BASE = PEERS[:2]

pytestmark = pytest.mark.once


PAGE = (ROOT / "docs" / "comparison.rst").read_text()

#: What this package does not have.
LACKS = {
    "Plain functions, without ``async``",
    "trio",
    "Drop all entries whose keys match a pattern",
    "Drop all entries with a tag",
    "Limit the total size of the values",
    "Eviction by frequency (LFU)",
    "Rate limits and circuit breakers for functions",
    "Store each result of a call with many keys",
    "Store values on disk",
    "Store values in memcached",
}
HAS = [text for text in features.CHECKS if text not in LACKS]


def rows() -> list[list[str]]:
    """Return the cells of all tables; each has the heads in its first row."""
    found: list[list[str]] = []
    for line in PAGE.splitlines():
        if line.startswith("   * -"):
            found.append([line[6:].strip()])
        elif line.startswith("     -"):
            found[-1].append(line[6:].strip())
    return found


def heads() -> list[list[str]]:
    """Return the first row of each table."""
    return [row for row in rows() if not row[0]]


def results() -> dict[str, list[str]]:
    """Return the cells of each row."""
    return {row[0]: row[1:] for row in rows() if row[0]}


# The tables


def test_the_tables_have_a_row_for_each_check() -> None:
    assert list(results()) == list(features.CHECKS)


def test_each_table_has_a_column_for_each_peer() -> None:
    compared = [peer.name for peer in PEERS if peer.module and not peer.sync]
    for head in heads():
        assert [cell.rpartition(" ")[0] for cell in head[2:]] == compared[1:]


def test_cells_say_yes_no_or_not_checked() -> None:
    cells = {cell for row in results().values() for cell in row}
    assert cells <= {features.YES, features.NO, features.UNKNOWN}


def test_the_page_tells_when_it_was_checked_with_which_python() -> None:
    found = re.search(r"Checked on ([\d-]+) with Python \d\.\d+", PAGE)
    assert found is not None
    assert datetime.date.fromisoformat(found[1])


def test_the_tables_say_what_this_package_has_and_lacks() -> None:
    assert {
        text for text, cells in results().items() if cells[0] == features.NO
    } == LACKS


@pytest.mark.parametrize("text", HAS)
def test_this_package_passes_each_check(text: str) -> None:
    OURS.load()
    try:
        assert asyncio.run(features.CHECKS[text](OURS))
    except features.NotChecked as error:
        pytest.skip(f"needs {error}")


async def test_a_check_can_fail(monkeypatch: Any) -> None:
    monkeypatch.setattr(
        OURS, "decorator", lambda library, options: lambda function: function
    )
    OURS.load()
    assert not await features.CHECKS["Concurrent calls share one run"](OURS)


# The benchmarks


@pytest.mark.parametrize(
    "scenario",
    [found for found in SCENARIOS if not (found.large or found.unit == "bytes")],
    ids=lambda scenario: scenario.name,
)
def test_each_scenario_does_what_it_measures(scenario: Scenario) -> None:
    OURS.load()
    assert asyncio.run(scenario.measure(OURS)) > 0


def test_the_chart_shows_scenarios() -> None:
    names = {scenario.name for scenario in SCENARIOS}
    assert names.issuperset(chart.PANELS)
    assert {peer.name for peer in PEERS}.issuperset(chart.SHOWN)


def test_the_chart_cuts_off_bars_that_are_too_long(tmp_path: Path) -> None:
    cells = {
        OURS.name: {"min": 1000},
        BASE.name: {"min": 2000},
        "cashews": {"min": 90_000},
    }
    units = {found.name: found.unit for found in SCENARIOS}
    results = {
        "machine": "a machine",
        "versions": {BASE.name: "2.4.0"},
        "scenarios": {
            name: {"unit": units[name], "cells": cells} for name in chart.PANELS
        },
    }
    chart.draw(results, tmp_path / "chart.svg")
    root = ElementTree.parse(tmp_path / "chart.svg").getroot()
    texts = [text.text for text in root.findall("{*}text")]
    assert {"2.00", "90.00", "90,000", "async-lru 2.4.0", "a machine"} <= set(texts)
    assert len(root.findall("{*}path")) == len(chart.PANELS)


def test_another_checkout_is_imported_beside_this_package(tmp_path: Path) -> None:
    package = tmp_path / "async_lru"
    package.mkdir()
    (package / "__init__.py").write_text("from .name import NAME\n")
    (package / "name.py").write_text("NAME = 'other'\n")
    here = sys.modules["async_lru"]
    other = Peer("other", ours, module="async_lru", checkout=tmp_path)
    other.load()
    assert (other.library.NAME, sys.modules["async_lru"]) == ("other", here)


@pytest.mark.parametrize(("ratio", "is_missed"), [(1.9, True), (2.1, False)])
def test_a_quick_comparison_marks_missed_floors(
    ratio: float, is_missed: bool, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    found = Scenario("hit", SCENARIOS[0].measure, "ns", Faster(2, 1), False, False)
    figures = {"hit": {OURS.name: 1.0, BASE.name: ratio}}
    assert ("MISSED" in compare.verdict(found, figures)) is is_missed


@pytest.mark.parametrize(("figure", "is_missed"), [(3.1, True), (2.9, False)])
def test_a_quick_comparison_marks_missed_limits(figure: float, is_missed: bool) -> None:
    limit = AtMost(1.5, of="few values")
    found = Scenario("many values", SCENARIOS[0].measure, "ns", limit, False, False)
    figures = {"few values": {OURS.name: 2.0}, "many values": {OURS.name: figure}}
    assert ("MISSED" in compare.verdict(found, figures)) is is_missed
