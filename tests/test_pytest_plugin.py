"""The plugin for pytest: what it does when asked, and that it does nothing otherwise."""

from typing import Any

import pytest

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
def under_plugin(pytester: pytest.Pytester, pytestconfig: pytest.Config) -> Any:
    """Run pytest with the plugin, however that is found here, and with few others."""
    others = ("randomly", "asyncio", "cacheprovider")
    arguments = [argument for name in others for argument in ("-p", f"no:{name}")]
    if not pytestconfig.pluginmanager.hasplugin("async_lru"):
        arguments += ["-p", "async_lru.pytest_plugin"]

    def run_pytest(*more: str) -> pytest.RunResult:
        return pytester.runpytest_inprocess(*arguments, *more)

    return run_pytest


@pytest.fixture
def run(pytester: pytest.Pytester, under_plugin: Any) -> Any:
    """Run the tests of a text."""

    def run_tests(text: str, ini: str = "", **names: Any) -> pytest.RunResult:
        pytester.makepyfile(text.format(**names))
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
        result: pytest.RunResult = under_plugin()
        return result

    return run_tests


def test_it_does_nothing_unless_asked(run: Any) -> None:
    result = run(TESTS, fixtures="", first=1, both=2)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*AlruCacheLoopResetWarning*"])


def test_the_option_resets_before_each_test(run: Any) -> None:
    run(TESTS, "alru_cache_reset = true", fixtures="", first=1, both=2).assert_outcomes(
        passed=2
    )


def test_the_option_leaves_what_fixtures_store(run: Any) -> None:
    text = TESTS.replace("asyncio.run(call_twice())", "pass", 1)
    result = run(text, "alru_cache_reset = true", fixtures="stored", first=1, both=2)
    result.assert_outcomes(passed=2)


def test_a_fixture_resets_before_and_after_a_test(run: Any) -> None:
    text = (
        TESTS
        + """
def test_last(alru_cache_reset):
    asyncio.run(call_twice())
    assert runs == [1, 1, 1]
"""
    )
    result = run(text, fixtures="alru_cache_reset", first=1, both=2)
    result.assert_outcomes(passed=3)


def test_a_fixture_disables_caching_for_a_test(run: Any) -> None:
    run(TESTS, fixtures="alru_cache_disabled", first=2, both=3).assert_outcomes(
        passed=2
    )


def test_the_fixtures_say_what_they_do(under_plugin: Any) -> None:
    result = under_plugin("--fixtures")
    result.stdout.fnmatch_lines(
        [
            "alru_cache_reset*",
            "*before and after*",
            "alru_cache_disabled*",
            "*at each call*",
        ]
    )
