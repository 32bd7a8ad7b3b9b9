"""B10: what mypy and pyright make of decorated functions."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
GOOD = Path("tests/typing/good.py")
BAD = Path("tests/typing/bad.py")


def errors_of_mypy(path: Path) -> set[int]:
    """Return the lines of *path* in which mypy finds errors."""
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", path],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode in (0, 1), checked.stdout + checked.stderr
    found = re.findall(r"^(.+):(\d+): error: ", checked.stdout, re.MULTILINE)
    assert {file for file, _ in found} <= {str(path)}, checked.stdout
    return {int(line) for _, line in found}


def errors_of_pyright(path: Path) -> set[int]:
    """Return the lines of *path* in which pyright finds errors."""
    checked = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson"]
        + ["--pythonpath", sys.executable, path],
        cwd=TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode in (0, 1), checked.stdout + checked.stderr
    return {
        found["range"]["start"]["line"] + 1
        for found in json.loads(checked.stdout)["generalDiagnostics"]
        if found["severity"] == "error"
    }


def bad_lines() -> set[int]:
    """Return the lines of BAD that must have an error: all but the definitions."""
    lines = (TOP / BAD).read_text().splitlines()
    return set(range(lines.index("async def bad() -> None:") + 2, len(lines) + 1))


pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="the checkers need CPython"
)

CHECKERS = pytest.mark.parametrize("errors_in", [errors_of_mypy, errors_of_pyright])


@CHECKERS
def test_good_calls_are_accepted_with_exact_types_B10(errors_in) -> None:
    assert errors_in(GOOD) == set()


@CHECKERS
def test_every_bad_call_is_an_error_B10(errors_in) -> None:
    assert errors_in(BAD) == bad_lines()
