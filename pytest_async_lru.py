"""Fresh caches for each test, under pytest: two fixtures and an option.

pytest finds this by itself where async-lru is installed, and it does nothing until a
test asks for a fixture or the configuration sets the option. It is no part of the
package, which takes a while to import, for async-lru to cost nothing until then.

.. versionadded:: 3.0
"""

from collections.abc import Iterator

import pytest

# Some of the names of pytest in annotations are missing from its older versions.


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
    """Reset all caches, ahead of the fixtures, where the option says so."""
    if item.config.getini("alru_cache_reset"):
        from async_lru.testing import reset_caches  # noqa: PLC0415  # see above

        reset_caches()


@pytest.fixture
def alru_cache_reset() -> Iterator[None]:
    """Reset the caches of all functions decorated with alru_cache, before and after."""
    from async_lru.testing import reset_caches  # noqa: PLC0415

    reset_caches()
    yield
    reset_caches()


@pytest.fixture
def alru_cache_disabled() -> Iterator[None]:
    """Let all functions decorated with alru_cache run at each call of the test."""
    from async_lru.testing import caching_disabled  # noqa: PLC0415

    with caching_disabled():
        yield
