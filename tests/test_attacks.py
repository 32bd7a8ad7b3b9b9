"""Each attack of attacks.py for a moment; ``python tests/attacks.py`` is for longer."""

import random
import subprocess
import sys

import attacks
import pytest


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_finds_nothing(name: str) -> None:
    """An attack finds nothing, in a process of its own, which may crash or hang.

    The first seed is the same each time; the other is printed and repeats a finding.
    """
    for seed in (1, random.SystemRandom().randrange(10**6)):
        command = [sys.executable, attacks.__file__, "0.7", name, "--seed", str(seed)]
        ended = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * attacks.LIMIT,
        )
        print(ended.stdout)
        assert ended.returncode == 0, f"{command} ended with {ended.returncode}"
