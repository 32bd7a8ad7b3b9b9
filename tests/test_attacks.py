"""Each attack of attacks.py for a moment; ``python tests/attacks.py`` is for longer."""

import subprocess
import sys

import attacks
import pytest


@pytest.mark.parametrize("seed", [1, pytest.param(1000, marks=pytest.mark.more)])
@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_finds_nothing(name: str, seed: int) -> None:
    """An attack finds nothing, in a process of its own, which may crash or hang.

    The seeds are the same each time: one in thousands of rounds may find something, and
    that is for the long attacks to do.
    """
    command = [sys.executable, attacks.__file__, "0.5", name, "--seed", str(seed)]
    ended = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * attacks.LIMIT,
    )
    print(ended.stdout)
    assert ended.returncode == 0, f"{command} ended with {ended.returncode}"
