"""B10: what type checkers make of decorated functions.

``make typecheck`` runs mypy and pyright on what is good; here they are run on what is bad,
and the others on both.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import async_lru

TOP = Path(__file__).parent.parent
GOOD = Path("tests/typing/good.py")
BAD = Path("tests/typing/bad.py")

once, more = pytest.mark.once, pytest.mark.more


def run(checker: str, *arguments: object) -> str:
    """Return what a checker prints."""
    found = shutil.which(checker, path=sysconfig.get_path("scripts"))
    if found is None:
        pytest.skip(f"{checker} is not installed for this Python")
    checked = subprocess.run(
        [found, *map(str, arguments)],
        cwd=TOP,
        env={
            **os.environ,
            "PATH": os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"],
            "PYTHONPATH": str(Path(async_lru.__file__).parent.parent),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode in (0, 1), checked.stdout + checked.stderr
    return checked.stdout


def mypy(path: Path) -> Iterator[tuple[str, int]]:
    printed = run("mypy", "--no-error-summary", path)
    for file, line in re.findall(r"^(.+):(\d+): error: ", printed, re.MULTILINE):
        yield file, int(line)


def pyright(path: Path, checker: str = "pyright") -> Iterator[tuple[str, int]]:
    printed = run(checker, "--outputjson", "--pythonpath", sys.executable, path)
    for found in json.loads(printed)["generalDiagnostics"]:
        if found["severity"] == "error":
            yield found["file"], found["range"]["start"]["line"] + 1


def basedpyright(path: Path) -> Iterator[tuple[str, int]]:
    return pyright(path, "basedpyright")


def pyrefly(path: Path) -> Iterator[tuple[str, int]]:
    interpreter = ("--python-interpreter-path", sys.executable)
    printed = run("pyrefly", "check", "--output-format", "json", *interpreter, path)
    for found in json.loads(printed)["errors"]:
        if found["severity"] == "error":
            yield found["path"], found["line"]


def ty(path: Path) -> Iterator[tuple[str, int]]:
    interpreter = ("--python", sys.executable)
    printed = run("ty", "check", "--output-format", "concise", *interpreter, path)
    for file, line in re.findall(r"^(.+?):(\d+):\d+: error", printed, re.MULTILINE):
        yield file, int(line)


CHECKERS = [mypy, pyright, basedpyright, pyrefly, ty]


def errors(checker: Callable[[Path], Any], path: Path) -> set[int]:
    """Return the lines of *path* in which a checker finds errors."""
    found = list(checker(path))
    assert {(TOP / file).resolve() for file, _ in found} <= {(TOP / path).resolve()}
    return {line for _, line in found}


def lines(path: Path) -> list[str]:
    return (TOP / path).read_text().splitlines()


@more
@pytest.mark.parametrize("checker", CHECKERS)
def test_good_calls_are_accepted_with_exact_types_B10(checker: Any) -> None:
    beyond = re.compile(rf"# beyond .*\b{checker.__name__}\b")  # a limit of the checker
    expected = {at for at, line in enumerate(lines(GOOD), 1) if beyond.search(line)}
    assert errors(checker, GOOD) == expected


@pytest.mark.parametrize(
    "checker",
    [
        pytest.param(checker, marks=once if checker in (mypy, pyright) else more)
        for checker in CHECKERS
    ],
)
def test_every_bad_call_is_an_error_B10(checker: Any) -> None:
    bad = lines(BAD)
    first = bad.index("async def bad() -> None:") + 2
    assert errors(checker, BAD) == set(range(first, len(bad) + 1))


@once
def test_all_that_is_public_has_known_types_B10() -> None:
    """Of the whole package, as those see it who use it."""
    options = ("--verifytypes", "async_lru", "--ignoreexternal", "--outputjson")
    printed = run("pyright", *options)
    told = json.loads(printed)["typeCompleteness"]
    unknown = [
        symbol["name"] for symbol in told["symbols"] if not symbol["isTypeKnown"]
    ]
    assert (unknown, told["completenessScore"]) == ([], 1)
