"""Random processes behind one server for a moment; ``make soak`` is for longer."""

import random
import sys

import pytest
from servers import MISSING, PROGRAMS

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not PROGRAMS, reason=MISSING),
    pytest.mark.skipif(
        sys.platform == "win32", reason="needs Unix sockets and signals"
    ),
]


def test_no_process_serves_what_has_ended_F3_F5_F6_F7() -> None:
    tier_model = pytest.importorskip("tier_model")
    program = next(iter(PROGRAMS.values()))
    seed = random.randrange(10**6)
    law = tier_model.run_model(program, 5, seed, lambda _: None)
    assert not law.found, f"seed {seed}\n{law.found[0]}"
    assert law.done["calls after a probe"]
    assert law.done["cache_invalidate"]
