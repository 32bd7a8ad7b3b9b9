"""What importing the package costs: next to nothing beside asyncio."""

import subprocess
import sys
from pathlib import Path

import async_lru

PLACE = Path(async_lru.__file__).parent.parent

PROGRAM = f"""
import asyncio, sys
sys.path.insert(0, {str(PLACE)!r})
before = set(sys.modules)
import async_lru
print(*{{name.partition(".")[0] for name in set(sys.modules) - before}})
"""


def test_nothing_heavy_is_imported() -> None:
    printed = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    small = {"copy", "_datetime", "datetime", "textwrap", "typing", "_typing"}
    assert set(printed.split()) - small == {"async_lru"}
