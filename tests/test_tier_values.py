"""F6, F8, F10: deadlines, garbage, and failures on the server."""

import asyncio
import datetime
import json
import math
import random
import time
from typing import Any

import pytest
from tier_support import (
    Twins,
    client,
    entry_keys,
    eventually,
    function_keys,
    namespace,
    server,
    twins,
)

from conftest import outcome, start, steps

__all__ = ("client", "namespace", "server", "twins")


# Time


async def test_the_server_has_the_deadline_of_the_value_F6(
    twins: Twins, client: Any
) -> None:
    function, _ = twins.counted(ttl=datetime.timedelta(seconds=50))
    await function(1)
    (key,) = entry_keys(client, twins.namespace)
    assert 40_000 < client.pttl(key) <= 50_000


async def test_others_keep_a_value_for_what_is_left_of_it_on_the_server_F6(
    twins: Twins, client: Any
) -> None:
    maker, _ = twins.counted(ttl=60)
    other, runs = twins.counted(ttl=60)
    await maker(1)
    (key,) = entry_keys(client, twins.namespace)
    await other("connected")
    runs.clear()
    client.pexpire(key, 500)
    assert await other(1) == 1
    await eventually(lambda: not other.cache_contains(1))
    assert runs == []
    assert maker.cache_contains(1)


async def test_wrong_clocks_have_no_effect_F6(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    maker, _ = twins.counted(ttl=60)
    other, runs = twins.counted(ttl=60)
    await maker(1)
    for skew in (-1e6, 1e6):
        now = time.time() + skew
        monkeypatch.setattr(time, "time", lambda now=now: now)
        other, runs = twins.counted(ttl=60)
        assert (await other(1), runs) == (1, [])
        assert other.cache_contains(1)


async def test_jitter_is_drawn_once_F6(
    twins: Twins, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []

    def uniform(least: float, most: float) -> float:
        drawn.append((least, most))
        return 1000.0

    monkeypatch.setattr(random, "uniform", uniform)
    maker, _ = twins.counted(ttl=60, jitter=2000)
    others = [twins.counted(ttl=60, jitter=2000) for _ in range(3)]
    await maker(1)
    for other, runs in others:
        assert (await other(1), runs) == (1, [])
    assert drawn == [(0, 2000)]
    (key,) = entry_keys(client, twins.namespace)
    assert 1_000_000 < client.pttl(key) <= 1_060_000


async def test_a_result_for_which_ttl_says_none_stays_local_F1(
    twins: Twins, client: Any
) -> None:
    maker, _ = twins.counted(ttl=lambda value: None)
    other, runs = twins.counted(ttl=lambda value: None)
    assert await maker(1) == 1
    assert maker.cache_contains(1)
    assert entry_keys(client, twins.namespace) == []  # no lease, either
    assert (await other(1), runs) == (1, [(1,)])


async def test_a_callable_ttl_decides_for_everybody_F6(
    twins: Twins, client: Any
) -> None:
    maker, _ = twins.counted(ttl=lambda value: value)
    other, runs = twins.counted(ttl=lambda value: 1 / 0)  # not asked again
    await maker(500)
    (key,) = entry_keys(client, twins.namespace)
    assert 400_000 < client.pttl(key) <= 500_000
    assert (await other(500), runs) == (500, [])


async def test_a_result_that_is_not_to_be_stored_leaves_no_lease_F13(
    twins: Twins, client: Any
) -> None:
    maker, runs = twins.counted(ttl=lambda value: 0)
    await maker(1)
    assert entry_keys(client, twins.namespace) == []
    assert not maker.cache_contains(1)


async def test_a_ttl_that_raises_is_the_callers_error_and_leaves_no_lease_F13(
    twins: Twins, client: Any
) -> None:
    function, _ = twins.counted(ttl=lambda value: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await function(1)
    assert entry_keys(client, twins.namespace) == []


async def test_puts_have_their_own_deadline_everywhere_F6(
    twins: Twins, client: Any
) -> None:
    one, _ = twins.counted(ttl=60)
    other, runs = twins.counted(ttl=60)
    one.cache_put("put", 1)
    await one.cache_settled()
    (key,) = entry_keys(client, twins.namespace)
    assert 40_000 < client.pttl(key) <= 60_000
    assert (await other(1), runs) == ("put", [])


# Garbage


def garble(client: Any, key: str, how: str) -> None:
    """Put something under a key that is not ours."""
    left = client.pttl(key)
    if how == "without deadline":
        client.persist(key)
        return
    client.delete(key)
    if how == "list":
        client.rpush(key, "a", "b")
    elif how == "hash":
        client.hset(key, "a", "b")
    else:
        client.set(key, how)
    if left > 0:
        client.pexpire(key, left)


GARBAGE = [
    "",
    "a",
    "0123456789abcdef",
    "0123456789abcdefv",
    "0123456789abcdefv{",
    "0123456789abcdefe[]",
    '0123456789abcdefe{"type": "builtins.SystemExit", "args": [], "attributes": {}}',
    b"\xff" * 40,
    "list",
    "hash",
    "without deadline",
]


@pytest.mark.parametrize("how", GARBAGE)
async def test_garbage_under_a_value_key_is_a_miss_and_replaced_F8(
    twins: Twins, client: Any, how: Any, caplog: pytest.LogCaptureFixture
) -> None:
    maker, _ = twins.counted()
    await maker("a")
    (key,) = entry_keys(client, twins.namespace)
    garble(client, key, how)
    second, runs = twins.counted()
    assert (await second("a"), runs) == ("a", [("a",)])
    third, runs = twins.counted()
    assert (await third("a"), runs) == ("a", [])
    assert not caplog.records


@pytest.mark.parametrize(
    "how", ["list", "hash", "without deadline", "", "garbage", b"\xff" * 40]
)
async def test_garbage_under_a_lease_key_keeps_nobody_waiting_F8(
    twins: Twins, client: Any, how: Any
) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def run(key: int) -> str:
        return await gate

    holder = twins.cached(run, tier=twins.tier(lease=600))
    call = start(holder(1))
    (key,) = await eventually(lambda: entry_keys(client, twins.namespace))
    garble(client, key, how)
    other, runs = twins.counted()
    assert (await other(1), runs) == (1, [(1,)])
    gate.set_result("late")
    assert await call == "late"
    assert await holder(1) == 1
    assert holder.cache_stats().tier_refused == 1


@pytest.mark.parametrize("how", ["", "a", "list", b"\xff" * 16, b"\xff" * 9])
async def test_garbage_under_a_functions_key_is_replaced_F8(
    twins: Twins, client: Any, how: Any
) -> None:
    maker, _ = twins.counted()
    await maker(1)
    for key in function_keys(client, twins.namespace):
        garble(client, key, how)
    one, runs = twins.counted()
    assert (await one(1), runs) == (1, [(1,)])
    other, runs = twins.counted()
    assert (await other(1), runs) == (1, [])
    one.cache_clear()
    await one.cache_settled()
    await eventually(lambda: not other.cache_contains(1))


async def test_garbage_in_messages_is_passed_over_F8(
    twins: Twins, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = twins.counted()
    other, _ = twins.counted()
    await one(1)
    await other(1)
    (channel,) = client.pubsub_channels(f"*{twins.namespace}*")
    garbage = ("", "a", "c", "c a b c d", "s " * 20, b"\xff\xfe", "x" * 10_000)
    for message in garbage:
        client.publish(channel, message)
    one.cache_invalidate(1)
    await eventually(lambda: not other.cache_contains(1))
    assert not caplog.records
    assert one.cache_stats().tier_up is True


# Failures


class NotFoundError(Exception):
    """Builds its message, and has an attribute."""

    def __init__(self, what: str, *, code: int) -> None:
        super().__init__(f"{what} not found")
        self.code = code


class VeryNotFoundError(NotFoundError):
    pass


async def test_failures_are_not_stored_F10(twins: Twins, client: Any) -> None:
    function = twins.returning(LookupError("a"))
    with pytest.raises(LookupError, match="a"):
        await function(1)
    assert entry_keys(client, twins.namespace) == []
    other, runs = twins.counted()
    assert (await other(1), runs) == (1, [(1,)])


async def test_a_kept_failure_is_raised_elsewhere_as_it_was_F10(
    twins: Twins, client: Any
) -> None:
    kept = {NotFoundError: 50}
    error = NotFoundError("it", code=404)
    if hasattr(error, "add_note"):
        error.add_note("a note")
    maker = twins.returning(error, error_ttl=kept)
    other, runs = twins.counted(error_ttl=kept)
    await outcome(maker(1))
    (key,) = entry_keys(client, twins.namespace)
    assert 40_000 < client.pttl(key) <= 50_000
    for _ in range(2):
        with pytest.raises(NotFoundError) as caught:
            await other(1)
        assert str(caught.value) == "it not found"
        assert caught.value.args == ("it not found",)
        assert caught.value.code == 404
        assert getattr(caught.value, "__notes__", None) == getattr(
            error, "__notes__", None
        )
        assert caught.value is not error
    assert runs == []
    stats = other.cache_stats()
    assert (stats.tier_hits, stats.failures, stats.loads) == (1, 0, 0)


async def test_kept_failures_are_data_on_the_server_F10(
    twins: Twins, client: Any
) -> None:
    maker = twins.returning(
        NotFoundError("it", code=404), error_ttl={NotFoundError: 50}
    )
    await outcome(maker(1))
    (key,) = entry_keys(client, twins.namespace)
    packed = client.get(key)
    told = json.loads(packed[packed.index("{") :])
    assert told["args"] == ["it not found"]
    assert told["attributes"] == {"code": 404}


@pytest.mark.parametrize("kept", [{}, {LookupError: 50}, {VeryNotFoundError: 50}])
async def test_failures_of_types_that_are_not_listed_are_not_rebuilt_F10(
    twins: Twins, kept: Any
) -> None:
    maker = twins.returning(
        NotFoundError("it", code=404), error_ttl={NotFoundError: 50}
    )
    await outcome(maker(1))
    other, runs = twins.counted(error_ttl=kept or None)
    assert (await other(1), runs) == (1, [(1,)])


async def test_a_subclass_of_a_listed_type_is_kept_here_alone_F10(
    twins: Twins, client: Any
) -> None:
    kept = {NotFoundError: 50}
    maker = twins.returning(VeryNotFoundError("it", code=1), error_ttl=kept)
    await outcome(maker(1))
    assert maker.cache_contains(1)
    assert entry_keys(client, twins.namespace) == []
    other, runs = twins.counted(error_ttl=kept)
    assert (await other(1), runs) == (1, [(1,)])


@pytest.mark.parametrize("args", [(object(),), ((1, 2),), (b"a",), (math.nan,)])
async def test_a_failure_that_data_cannot_tell_is_kept_here_alone_F10(
    twins: Twins, client: Any, args: Any
) -> None:
    maker = twins.returning(LookupError(*args), error_ttl={LookupError: 50})
    with pytest.raises(LookupError):
        await maker(1)
    assert maker.cache_contains(1)
    assert entry_keys(client, twins.namespace) == []


async def test_a_forged_failure_runs_nothing_F10(twins: Twins, client: Any) -> None:
    made: list[Any] = []

    class TrapError(Exception):
        def __init__(self, *args: Any) -> None:
            made.append(args)

    maker = twins.returning(NotFoundError("it", code=1), error_ttl={NotFoundError: 50})
    await outcome(maker(1))
    (key,) = entry_keys(client, twins.namespace)
    packed = client.get(key)
    told = json.loads(packed[packed.index("{") :])
    for kind in (f"{__name__}.TrapError", "builtins.SystemExit", "os.system", 5, None):
        told["type"] = kind
        forged = packed[: packed.index("{")] + json.dumps(told)
        client.set(key, forged, px=50_000)
        other, runs = twins.counted(error_ttl={NotFoundError: 50})
        assert (await other(1), runs) == (1, [(1,)])
    assert made == []


async def test_a_kept_failure_ends_everywhere_at_once_F6(
    twins: Twins, client: Any
) -> None:
    kept = {LookupError: 50}
    maker = twins.returning(LookupError(1), error_ttl=kept)
    other, runs = twins.counted(error_ttl=kept)
    await outcome(maker(1))
    (key,) = entry_keys(client, twins.namespace)
    await other("connected")
    runs.clear()
    client.pexpire(key, 500)
    assert type(await outcome(other(1))) is LookupError
    await eventually(lambda: not other.cache_contains(1))
    assert (await other(1), runs) == (1, [(1,)])


async def test_a_cancelled_run_gives_its_lease_back_F3(
    twins: Twins, client: Any
) -> None:
    async def run(key: int) -> None:
        await asyncio.get_running_loop().create_future()

    function = twins.cached(run, tier=twins.tier(lease=600))
    call = start(function(1))
    await eventually(lambda: entry_keys(client, twins.namespace))
    call.cancel()
    assert type(await outcome(call)) is asyncio.CancelledError
    await eventually(lambda: not entry_keys(client, twins.namespace))
    other, runs = twins.counted()
    assert (await other(1), runs) == (1, [(1,)])


async def test_a_call_that_is_cancelled_while_it_waits_leaves_the_run_alone_F2(
    twins: Twins,
) -> None:
    gate = asyncio.get_running_loop().create_future()
    begun: list[int] = []

    async def run(key: int) -> str:
        begun.append(key)
        return await gate

    holder = twins.cached(run)
    call = start(holder(1))
    other, runs = twins.counted()
    await eventually(lambda: begun)
    waiting = start(other(1))
    await eventually(lambda: other.cache_stats().tier_waits)
    waiting.cancel()
    assert type(await outcome(waiting)) is asyncio.CancelledError
    gate.set_result("made")
    assert await call == "made"
    assert (await other(1), runs) == ("made", [])


async def test_a_value_that_is_put_for_ever_stays_where_it_was_put_F1(
    twins: Twins,
) -> None:
    here, _ = twins.counted(ttl=lambda value: None)
    there, runs = twins.counted(ttl=lambda value: None)
    here.cache_put("put", 1)
    await here.cache_settled()
    assert (await here(1), await there(1)) == ("put", 1)
    assert runs == [(1,)]
