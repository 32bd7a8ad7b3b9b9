"""The table of docs/comparison.rst says of this package what is so."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import features  # noqa: E402
from peers import PEERS  # noqa: E402

OURS = PEERS[0]

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


def test_the_table_has_a_row_for_each_check_and_a_column_for_each_peer() -> None:
    head, *body = rows()
    assert [row[0] for row in body] == list(features.CHECKS)
    asked = [peer.name for peer in PEERS if peer.module and not peer.sync]
    assert [cell.rpartition(" ")[0] for cell in head[2:]] == asked[1:]
    assert {cell for row in body for cell in row[1:]} == {"✓", "✗", ""}


@pytest.mark.parametrize("text", features.CHECKS)
def test_this_package_passes_each_check(text: str) -> None:
    OURS.load()
    assert asyncio.run(features.CHECKS[text](OURS))
    assert [row[1] for row in rows() if row[0] == text] == ["✓"]


async def test_a_check_can_fail(monkeypatch: Any) -> None:
    monkeypatch.setattr(
        OURS, "decorator", lambda library, options: lambda function: function
    )
    OURS.load()
    assert not await features.CHECKS["Concurrent calls share one run"](OURS)
