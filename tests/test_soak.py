"""Load for a moment; ``make soak`` is for longer."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from soak import soak


def uvloop_loop() -> Any:
    return pytest.importorskip("uvloop").new_event_loop()


@pytest.mark.parametrize(
    ("new_loop", "debug"),
    [
        (asyncio.new_event_loop, False),
        (asyncio.new_event_loop, True),
        (uvloop_loop, False),
    ],
)
def test_it_stands_the_load(new_loop: Callable[[], Any], debug: bool) -> None:
    tally = soak(new_loop, 1.5, debug=debug)
    assert tally.answers > 100
    assert tally.failures
    assert tally.timeouts
    assert tally.cancelled
