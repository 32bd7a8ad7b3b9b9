"""The comparison with other libraries: its table in the docs, and its benchmarks."""

import asyncio
import sys
from pathlib import Path
from typing import Any

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


def rows() -> list[list[str]]:
    """Return the cells of the table."""
    found: list[list[str]] = []
    for line in (ROOT / "docs" / "comparison.rst").read_text().splitlines():
        if line.startswith("   * -"):
            found.append([line[6:].strip()])
        elif line.startswith("     -"):
            found[-1].append(line[6:].strip())
    return found


# The table


def test_the_table_has_a_row_for_each_check() -> None:
    assert [row[0] for row in rows()[1:]] == list(features.CHECKS)


def test_the_table_has_a_column_for_each_peer() -> None:
    compared = [peer.name for peer in PEERS if peer.module and not peer.sync]
    assert [cell.rpartition(" ")[0] for cell in rows()[0][2:]] == compared[1:]


def test_cells_say_yes_no_or_nothing() -> None:
    cells = {cell for row in rows()[1:] for cell in row[1:]}
    assert cells == {features.YES, features.NO, features.UNKNOWN}


def test_the_table_says_that_this_package_passes_each_check() -> None:
    assert {row[1] for row in rows()[1:]} == {features.YES}


@pytest.mark.parametrize("text", features.CHECKS)
def test_this_package_passes_each_check(text: str) -> None:
    OURS.load()
    assert asyncio.run(features.CHECKS[text](OURS))


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
