"""A pytest plugin with two fixtures and an option: fresh caches for each test.

pytest loads this plugin if async-lru is installed. It does nothing until a test uses a
fixture or the configuration sets the option. It is a module of its own, so that pytest does
not import the async_lru package before it is used.

.. versionadded:: 3.0
"""

from collections.abc import Iterator

import pytest

# Older versions of pytest lack some of the names in the annotations.


def pytest_addoption(parser: "pytest.Parser") -> None:
    """Add the option."""
    parser.addini(
        "alru_cache_reset",
        "reset the cache of every function decorated with alru_cache before each test",
        type="bool",
        default=False,
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: "pytest.Item") -> None:
    """Reset all caches before the fixtures run, if the option is set."""
    if item.config.getini("alru_cache_reset"):
        from async_lru.testing import reset_caches  # noqa: PLC0415  # see above

        reset_caches()


@pytest.fixture
def alru_cache_reset() -> Iterator[None]:
    """Reset the caches of all functions decorated with alru_cache, before and after a test."""
    from async_lru.testing import reset_caches  # noqa: PLC0415

    reset_caches()
    yield
    reset_caches()


@pytest.fixture
def alru_cache_disabled() -> Iterator[None]:
    """Disable caching in a test: functions decorated with alru_cache run at each call."""
    from async_lru.testing import caching_disabled  # noqa: PLC0415

    with caching_disabled():
        yield
