"""Every option with every other: what works together, and what is refused. B9, C.

The table in the documentation is checked against the one here.
"""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest
from conftest import Clock, collect_reports, outcome, steps

from async_lru import alru_cache, by_value

#: Each option with a value for it, and what else it requires.
OPTIONS: dict[str, dict[str, Any]] = {
    "maxsize=None": {"maxsize": None},
    "maxsize=0": {"maxsize": 0},
    "typed": {"typed": True},
    "ttl": {"ttl": 10},
    "ttl callable": {"ttl": lambda result: 10},
    "jitter": {"jitter": 1e-9},
    "key": {"key": by_value},
    "ignore": {"ignore": ("request",)},
    "per_instance": {"per_instance": True},
    "stale_while_revalidate": {"stale_while_revalidate": 20},
    "stale_if_error": {"stale_if_error": 20},
    "stale_if_slow": {"stale_if_slow": 5},
    "error_ttl": {"error_ttl": {LookupError: 10}},
    "cancel_abandoned": {"cancel_abandoned": False},
}
#: Options that make no sense without a ttl.
NEED_TTL = {"jitter", "stale_while_revalidate", "stale_if_error", "stale_if_slow"}
#: Options of which stale_if_slow needs one.
STALE = {"stale_while_revalidate", "stale_if_error"}

REFUSED = {
    frozenset({"typed", "key"}),
    frozenset({"maxsize=0", "stale_while_revalidate"}),
    frozenset({"maxsize=0", "stale_if_error"}),
    frozenset({"maxsize=0", "error_ttl"}),
}
#: Two values of one option, or an option that needs one that is refused.
NO_PAIRS = {
    frozenset({"maxsize=None", "maxsize=0"}),
    frozenset({"ttl", "ttl callable"}),
    frozenset({"maxsize=0", "stale_if_slow"}),
}

PAIRS = [
    pair
    for pair in itertools.combinations(OPTIONS, 2)
    if frozenset(pair) not in NO_PAIRS
]


def options_of(pair: tuple[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if NEED_TTL & set(pair) and not {"ttl", "ttl callable"} & set(pair):
        options["ttl"] = 10
    if "stale_if_slow" in pair and not STALE & set(pair):
        options["stale_if_error"] = 20
    for name in pair:
        options |= OPTIONS[name]
    return options


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
async def test_a_pair_works_or_is_refused(pair: tuple[str, str], clock: Clock) -> None:
    options = options_of(pair)
    if frozenset(pair) in REFUSED:
        with pytest.raises(ValueError, match="no effect with|typed is ignored"):
            alru_cache(**options)
        return
    collect_reports([])
    fails: list[type[Exception]] = []

    class Service:
        runs = 0

        @alru_cache(**options)
        async def method(self, key: Any, request: int = 0) -> Any:
            Service.runs += 1
            if key == "suspends":
                await asyncio.sleep(0)
            if fails:
                raise fails[0]
            return key

    service, other = Service(), Service()
    method = service.method

    async def runs_of(*calls: Any) -> int:
        before = Service.runs
        for call in calls:
            await outcome(call)
        return Service.runs - before

    stores = "maxsize=0" not in pair
    by_key = 1 if stores else 2
    # Joins and hits.
    assert (
        await runs_of(asyncio.gather(*[method("suspends") for _ in range(2)])) == by_key
    )
    assert await runs_of(method(1), method(1)) == by_key
    # Keys.
    # As with functools: a single int is told from a single float, and typed tells all.
    told_apart = not stores or bool({"typed", "per_instance"} & set(pair))
    assert await runs_of(method(2), method(2.0)) == (2 if told_apart else 1)
    assert await runs_of(method(3, 1), method(3, request=2)) == (
        1 if "ignore" in pair and stores else 2
    )
    assert await runs_of(method(4), other.method(4)) == 2
    if "key" in pair:
        assert await runs_of(method([1]), method([1])) == by_key
    else:
        with pytest.raises(TypeError, match="unhashable"):
            await method([1])
    # What users do to entries.
    method.cache_put("put", 5)
    assert await method(5) == ("put" if stores else 5)
    assert method.cache_contains(5) is stores
    fails[:] = []
    assert await method.cache_refresh(5) == 5
    assert await method.cache_warm([(5,), (6,)]) == [5, 6]
    assert method.cache_invalidate(5) is stores
    stats = method.cache_stats()
    assert stats.loads == stats.misses + 1
    assert stats.currsize == method.cache_info().currsize
    assert stats.evictions == stats.expirations == stats.in_flight == 0
    # Failures.
    fails[:] = [KeyError]
    kept = "error_ttl" in pair
    assert await runs_of(method(7), method(7)) == (1 if kept else 2)
    assert isinstance(await outcome(method(7)), KeyError)
    # Time.
    method.cache_put("old", 8)
    await clock.advance(11)
    has_ttl = "ttl" in options
    stale = bool(STALE & set(options))
    assert method.cache_contains(8) is (stores and (stale or not has_ttl))
    result = await outcome(method(8))
    if stores and (stale or not has_ttl):
        assert result == "old"
    else:
        assert isinstance(result, KeyError)
    await steps()
    await clock.advance(100)
    if has_ttl:
        assert method.cache_info().currsize == 0
    # The end.
    fails[:] = []
    await method.cache_close()
    with pytest.raises(RuntimeError, match="is closed"):
        await method(1)
    assert method.cache_parameters()["tasks"] == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_the_table_of_the_documentation_is_this_one() -> None:
    text = (Path(__file__).parent.parent / "docs" / "options.rst").read_text("utf-8")
    lines = text[text.index(".. pairs") :].splitlines()
    rows = [line for line in lines if line.startswith("   * - ``")]
    assert len(rows) == len(REFUSED)
    for pair in REFUSED:
        one, other = sorted(pair, key=list(OPTIONS).index)
        assert any(f"``{_shown(one)}``" in line and _shown(other) in lines[number + 1]
                   for number, line in enumerate(lines) if line in rows), pair  # fmt: skip


def _shown(option: str) -> str:
    return "typed=True" if option == "typed" else option
