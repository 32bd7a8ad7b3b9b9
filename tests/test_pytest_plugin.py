"""The plugin for pytest: what it does when asked, and that it does nothing otherwise."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from conftest import PLACE
from test_readme import examples

pytestmark = pytest.mark.once

TESTS = """
import asyncio
import pytest
from async_lru import alru_cache

runs = []

@alru_cache
async def function(key):
    runs.append(key)
    return key

async def call_twice():
    await function(1)
    await function(1)

@pytest.fixture
def stored():
    asyncio.run(function(1))

def test_one({fixtures}):
    asyncio.run(call_twice())
    assert len(runs) == {first}

def test_other():
    asyncio.run(call_twice())
    assert len(runs) == {both}
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run pytest on a text with this plugin, and no other but pytest-asyncio."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = ["pytest_asyncio.plugin", "pytest_async_lru", "no:cacheprovider"]
    arguments = [argument for plugin in plugins for argument in ("-p", plugin)]

    def run_pytest(text: str, *more: str, ini: str = "") -> pytest.RunResult:
        pytester.makepyfile(text)
        pytester.makeini(
            "[pytest]\nfilterwarnings = error\nasyncio_mode = auto\n"
            f"asyncio_default_fixture_loop_scope = function\n{ini}"
        )
        return pytester.runpytest_inprocess(*arguments, *more)

    return run_pytest


def python(program: str) -> str:
    """Return what a program prints that finds the plugin, and pytest imported."""
    program = f"import pytest, sys; sys.path.insert(0, {PLACE!r})\n{program}"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_it_costs_the_import_of_one_small_module_until_it_is_asked_for() -> None:
    printed = python(
        "before = set(sys.modules)\n"
        "import pytest_async_lru\n"
        "print(*set(sys.modules) - before)"
    )
    assert printed.split() == ["pytest_async_lru"]


def test_it_needs_nothing_that_early_versions_of_pytest_lack() -> None:
    """Version 6 knows no ``pytest.Parser``."""
    printed = python(
        "for name in set(vars(pytest)) - {'fixture', 'hookimpl'}:\n"
        "    if not name.startswith('_'): delattr(pytest, name)\n"
        "import pytest_async_lru\n"
        "print(*sorted(vars(pytest_async_lru)))"
    )
    assert "alru_cache_reset" in printed.split()


def test_pytest_finds_it() -> None:
    known = list(entry_points(group="pytest11", name="async_lru"))
    if not known:
        pytest.skip("async-lru is not installed")
    assert known[0].value == "pytest_async_lru"


def test_it_does_nothing_unless_asked(run: Any) -> None:
    result = run(TESTS.format(fixtures="", first=1, both=2))
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*AlruCacheLoopResetWarning*"])


def test_the_option_resets_before_each_test(run: Any) -> None:
    text = TESTS.format(fixtures="", first=1, both=2)
    run(text, ini="alru_cache_reset = true").assert_outcomes(passed=2)


def test_the_option_leaves_what_fixtures_store(run: Any) -> None:
    text = TESTS.replace("asyncio.run(call_twice())", "pass", 1)
    text = text.format(fixtures="stored", first=1, both=2)
    run(text, ini="alru_cache_reset = true").assert_outcomes(passed=2)


def test_a_fixture_resets_before_and_after_a_test(run: Any) -> None:
    text = TESTS.format(fixtures="alru_cache_reset", first=1, both=2)
    last = """
def test_last(alru_cache_reset):
    asyncio.run(call_twice())
    assert runs == [1, 1, 1]
"""
    run(text + last).assert_outcomes(passed=3)


def test_a_fixture_disables_caching_for_a_test(run: Any) -> None:
    text = TESTS.format(fixtures="alru_cache_disabled", first=2, both=3)
    run(text).assert_outcomes(passed=2)


def test_the_fixtures_say_what_they_do(run: Any) -> None:
    result = run("", "--fixtures")
    result.stdout.fnmatch_lines(
        [
            "alru_cache_reset*",
            "*before and after*",
            "alru_cache_disabled*",
            "*at each call*",
        ]
    )


def test_the_tests_of_the_guide_pass(run: Any) -> None:
    guide = Path(__file__).parent.parent / "docs" / "howto" / "testing.rst"
    blocks = [source for source, wanted in examples(guide) if wanted is None]
    run("\n\n".join(blocks[:3])).assert_outcomes(passed=3)
