"""Each attack of attacks.py for a moment; ``python tests/attacks.py`` is for longer."""

import subprocess
import sys

import attacks
import pytest


@pytest.mark.parametrize("seed", [1, pytest.param(1000, marks=pytest.mark.more)])
def test_attacks_find_nothing(seed: int) -> None:
    """No attack finds anything, in a process of their own, which may crash or hang.

    The seeds are the same each time: one in thousands of rounds may find something, and
    that is for the long attacks to do.
    """
    command = [sys.executable, attacks.__file__, "0.5", "--seed", str(seed)]
    ended = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * attacks.LIMIT,
    )
    print(ended.stdout)
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}"
