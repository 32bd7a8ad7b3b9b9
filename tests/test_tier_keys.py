"""F9: what keys on the server are made of."""

import asyncio
import dataclasses
import datetime
import enum
import uuid
from collections import namedtuple
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from servers import Server
from tier_support import (
    Twins,
    client,
    entry_keys,
    eventually,
    server,
    function_keys,
    namespace,
    twins,
)
from redis.crc import key_slot

from async_lru import by_value
from conftest import start

__all__ = ("client", "server", "namespace", "twins")


class Level(enum.IntEnum):
    LOW = 1


class Colour(enum.Enum):
    RED = 1
    ALSO_RED = 1
    BLUE = 2


class Shade(enum.Enum):
    RED = 1


class Word(str, enum.Enum):
    A = "a"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Folding(datetime.tzinfo):
    """A zone in which times are told apart by their fold."""

    def utcoffset(self, when: Any) -> datetime.timedelta:
        return datetime.timedelta(hours=1 + when.fold if when is not None else 1)


class Leaping(datetime.tzinfo):
    """A zone whose clocks were put forward, from 2 to 3 o'clock."""

    def utcoffset(self, when: Any) -> datetime.timedelta:
        is_later = when.hour >= 3 or (when.hour == 2 and when.fold)
        return datetime.timedelta(hours=1 + is_later)


Pair = namedtuple("Pair", "one two")

DAY = datetime.datetime(2020, 1, 2, 12)
EAST = datetime.timezone(datetime.timedelta(hours=2))
NOON = datetime.time(12)
FOLDING = Folding()
LEAPING = Leaping()
UUID = uuid.UUID(int=5)


def call(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


Pairs = list[tuple[Any, Any]]


async def shared(twins: Twins, pairs: Pairs, **options: Any) -> Pairs:
    """Return the pairs of calls that have one entry on the server."""
    maker = twins.returning("not run", **options)
    reader = twins.returning("another", **options)
    found: Pairs = []
    for number, (one, other) in enumerate(pairs):
        maker.cache_clear()
        maker.cache_put(f"made {number}", *one[0], **one[1])
        await maker.cache_settled()
        await eventually(lambda: reader.cache_info().currsize == 0)
        if await reader(*other[0], **other[1]) == f"made {number}":
            found.append((one, other))
    return found


CANONICAL: list[Any] = [
    (),
    ("a", 2, 1.5, True, None, b"b"),
    ((1, ("a", ())), frozenset({1, "a", (2,)})),
    (Level.LOW, Colour.BLUE, Word.A, Permission.READ | Permission.WRITE),
    (Bits.A | Bits.B,),
    (UUID,),
    (DAY, DAY.date(), NOON, datetime.timedelta(microseconds=-1)),
    (DAY.replace(tzinfo=EAST), NOON.replace(tzinfo=EAST)),
    (Decimal("1.5"), Decimal("-0"), Decimal("Infinity"), Decimal("1e-30")),
    (float("inf"), float("-inf"), -(2**70), 1e300, 5e-324),
    ("\ud800", "\U0001f600", "\x00"),
    (Pair(1, "a"),),
]


@pytest.mark.parametrize("typed", [False, True])
async def test_canonical_arguments_are_shared_F9(twins: Twins, typed: bool) -> None:
    pairs = [(call(*args, key=args), call(*args, key=args)) for args in CANONICAL]
    assert await shared(twins, pairs, typed=typed) == pairs


EQUAL: Pairs = [
    (call(1, 2), call(True, 2)),
    (call(1, 2), call(1.0, 2)),
    (call(0.0, 2), call(-0.0, 2)),
    (call(1, 2), call(1, Decimal("2.00"))),
    (call(Decimal("1.0")), call(Decimal("1.00"))),
    (call(Decimal("0.5")), call(0.5)),
    (call(Decimal(10**30), 1), call(10**30, 1)),
    (call(1, 2), call(Level.LOW, 2)),
    (call(3, 2), call(Bits.A | Bits.B, 2)),
    (call("a", 2), call(Word.A, 2)),
    (call(Colour.RED), call(Colour.ALSO_RED)),
    (call((1, "a")), call(Pair(1, "a"))),
    (call(((1,), 2)), call(((True,), 2.0))),
    (call(frozenset({1, 2})), call(frozenset({2.0, True}))),
    (call(x=1), call(x=True)),
    (
        call(DAY.replace(tzinfo=datetime.timezone.utc)),
        call(DAY.replace(hour=14, tzinfo=EAST)),
    ),
    (
        call(NOON.replace(tzinfo=datetime.timezone.utc)),
        call(NOON.replace(hour=14, tzinfo=EAST)),
    ),
    (call(DAY), call(DAY.replace(fold=1))),
    (
        call(DAY.replace(tzinfo=FOLDING)),  # of which Python says that they are equal
        call(DAY.replace(tzinfo=FOLDING, fold=1)),
    ),
    (call(datetime.timedelta(days=1)), call(datetime.timedelta(hours=24))),
]


async def test_equal_arguments_have_one_key_F9(twins: Twins) -> None:
    assert all(one == other for one, other in EQUAL)
    assert await shared(twins, EQUAL) == EQUAL


OTHER: Pairs = [
    (call(1), call("1")),
    (call("a"), call(b"a")),
    (call(None), call("None")),
    (call(1), call(1.0)),  # as functools keeps them apart
    (call(1), call(x=1)),
    (call(a=1, b=2), call(b=2, a=1)),
    (call("a", "b"), call("ab")),
    (call("a", "b"), call("a", "b", None)),
    (call(("a", "b")), call("a", "b")),
    (call(("a", "b"), "c"), call("a", ("b", "c"))),
    (call((1, 2)), call(frozenset({1, 2}))),
    (call(()), call(frozenset())),
    (call(1.5), call("1.5")),
    (call(-1), call(1)),
    (call(0.1), call(Decimal("0.1"))),
    (call(DAY), call(DAY.date())),
    (call(DAY), call(DAY.replace(tzinfo=datetime.timezone.utc))),
    (call(NOON), call(NOON.replace(tzinfo=datetime.timezone.utc))),
    (
        call(DAY.replace(hour=2, tzinfo=LEAPING)),
        call(DAY.replace(hour=3, tzinfo=LEAPING)),
    ),
    (  # Python takes a time that occurred twice for equal to none of another zone
        call(DAY.replace(tzinfo=FOLDING)),
        call(DAY.replace(hour=11, tzinfo=datetime.timezone.utc)),
    ),
    (call(DAY.replace(microsecond=1)), call(DAY)),
    (call(Colour.RED), call(Shade.RED)),
    (call(Colour.RED), call(Colour.BLUE)),
    (call(Colour.RED), call(1)),
    (call(Permission.READ), call(Permission.READ | Permission.WRITE)),
    (call(UUID), call(str(UUID))),
    (call(UUID), call(UUID.bytes)),
    (call(float("inf")), call(float("-inf"))),
]


async def test_other_arguments_have_other_keys_F9(twins: Twins) -> None:
    assert await shared(twins, OTHER) == []


OF_OTHER_TYPES: Pairs = [
    (call(1), call(True)),
    (call(1, 2), call(1.0, 2)),
    (call(x=1), call(x=True)),
    (call(Level.LOW), call(1)),
    (call(Decimal(1)), call(1)),
]


async def test_typed_keeps_equal_arguments_apart_F9(twins: Twins) -> None:
    assert await shared(twins, OF_OTHER_TYPES, typed=True) == []


class Custom:
    """Hashes and compares by identity, which no other process knows."""


class CustomInt(int):
    """Compares in a way of its own."""

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = int.__hash__


class OwnEqual(enum.Enum):
    A = 1

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = enum.Enum.__hash__


NOT_CANONICAL = [
    object(),
    Custom(),
    len,
    lambda: None,
    1j,
    Fraction(1, 3),
    range(3),
    CustomInt(5),
    OwnEqual.A,
    Decimal("1e999999"),
    (1, (Custom(),)),
    frozenset({Custom()}),
]


@pytest.mark.parametrize("argument", NOT_CANONICAL, ids=repr)
async def test_what_is_not_canonical_is_named_with_the_remedy_F9(
    twins: Twins, client: Any, argument: Any
) -> None:
    async def load(first: Any, second: Any = 1, *rest: Any, **more: Any) -> int:
        return 1

    function = twins.cached(load)
    for args, kwargs, name in (
        ((1, argument), {}, "second"),
        ((argument,), {}, "first"),
        ((1,), {"second": argument}, "second"),
        ((1,), {"other": argument}, "other"),
    ):
        message = rf"app\.load.* {name}=.*key="
        with pytest.raises(TypeError, match=message):
            await function(*args, **kwargs)
        with pytest.raises(TypeError, match=message):
            function.cache_invalidate(*args, **kwargs)
        with pytest.raises(TypeError, match=message):
            function.cache_put(1, *args, **kwargs)
        with pytest.raises(TypeError, match=message):
            await function.cache_refresh(*args, **kwargs)
    assert function.cache_info().currsize == 0
    assert entry_keys(client, twins.namespace) == []


async def test_an_unhashable_argument_is_told_as_ever_B9(twins: Twins) -> None:
    function, _ = twins.counted()
    with pytest.raises(TypeError, match="by_value"):
        await function([1])


@dataclasses.dataclass(frozen=True)
class Place:
    name: str
    at: tuple[int, int]


async def test_by_value_makes_keys_of_containers_F9(twins: Twins) -> None:
    values: list[Any] = [
        [1, [2, {"a": {1, 2}}]],
        (1, [2, {"a": {1, 2}}]),
        {"a": [1], "b": None},
        {"a": [1]},
        {1, 2},
        frozenset({1, 2}),
        bytearray(b"a"),
        b"a",
        Place("a", (1, 2)),
        Place("a", (1, 3)),
    ]
    maker, _ = twins.counted(key=by_value)
    reader, runs = twins.counted(key=by_value)
    for number, value in enumerate(values):
        maker.cache_put(number, value)
    await maker.cache_settled()
    assert [await reader(value) for value in values] == list(range(len(values)))
    assert await reader({"b": None, "a": [1]}) == 2
    assert runs == []


async def test_by_value_refuses_what_others_would_not_know_F9(twins: Twins) -> None:
    @dataclasses.dataclass(frozen=True)
    class Local:
        name: str

    function, _ = twins.counted(key=by_value)
    for value in ([Custom()], {"a": object()}, Local("a")):
        with pytest.raises(TypeError, match=r"app\.load.* key"):
            await function(value)


async def test_a_key_of_ones_own_must_be_canonical_too_F9(twins: Twins) -> None:
    function, _ = twins.counted(key=lambda argument: argument)
    with pytest.raises(TypeError, match=r"app\.load: .* cannot use the key <object"):
        await function(object())
    assert await function("a") == "a"


async def test_a_key_says_what_stands_for_an_argument_F9(twins: Twins) -> None:
    def key(argument: Custom) -> str:
        return type(argument).__name__

    pair = call(Custom()), call(Custom())
    assert await shared(twins, [pair], key=key) == [pair]


async def test_what_is_ignored_need_not_be_canonical_F9(twins: Twins) -> None:
    async def load(connection: Any, number: int) -> int:
        return number

    maker = twins.cached(load, ignore=("connection",))
    reader = twins.cached(load, ignore=("connection",))
    await maker(object(), 1)
    assert await reader(object(), 1) == 1
    assert reader.cache_stats().loads == 0


async def test_nothing_of_the_arguments_is_readable_on_the_server_F9(
    twins: Twins, client: Any
) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def load(*args: Any, **kwargs: Any) -> int:
        await gate
        return 1

    function = twins.cached(load)
    seen: list[str] = []
    with client.pubsub() as pubsub:
        pubsub.psubscribe("*")
        pubsub.get_message(timeout=5)
        calling = start(function("readable-one", token="readable-two"))
        await eventually(lambda: entry_keys(client, twins.namespace))
        seen += client.keys("*")
        gate.set_result(None)
        await calling
        function.cache_put(2, "readable-three")
        function.cache_invalidate("readable-four")
        await function.cache_settled()
        seen += client.keys("*")
        seen += [repr(client.get(key)) for key in client.keys(f"*{twins.namespace}*")]
        while message := pubsub.get_message(timeout=0.1):
            seen.append(repr(message))
    assert len(seen) > 5
    assert "readable" not in " ".join(seen)


async def test_the_keys_of_an_entry_are_in_one_slot_and_entries_in_many_F9(
    twins: Twins, client: Any
) -> None:
    gate = asyncio.get_running_loop().create_future()

    async def load(key: int) -> int:
        await gate
        return key

    function = twins.cached(load)
    calls = [start(function(key)) for key in range(8)]
    await eventually(lambda: len(entry_keys(client, twins.namespace)) == 8)
    leases = entry_keys(client, twins.namespace)
    gate.set_result(None)
    for calling in calls:
        await calling
    values = entry_keys(client, twins.namespace)
    assert not set(leases) & set(values)
    slots_of_leases = {key_slot(key.encode()) for key in leases}
    slots_of_values = {key_slot(key.encode()) for key in values}
    assert slots_of_leases == slots_of_values
    assert len(slots_of_values) > 1


async def test_keys_name_the_namespace_and_the_function_F9(
    twins: Twins, client: Any
) -> None:
    function, _ = twins.counted()
    await function(1)
    keys = entry_keys(client, twins.namespace) + function_keys(client, twins.namespace)
    assert len(keys) == 2
    for key in keys:
        assert f":{twins.namespace}:app.load:" in key


async def test_functions_of_other_names_share_nothing_F9(twins: Twins) -> None:
    one, _ = twins.counted(name="one")
    other, runs = twins.counted(name="other")
    await one(1)
    await other(1)
    assert runs == [(1,)]
    one.cache_clear()
    await one.cache_settled()
    assert other.cache_contains(1)


async def test_two_namespaces_share_nothing_F9(twins: Twins) -> None:
    one, _ = twins.counted()
    other, runs = twins.counted(tier=twins.tier(namespace=f"{twins.namespace}-2"))
    await one(1)
    await other(1)
    assert runs == [(1,)]
    one.cache_clear()
    one.cache_invalidate(1)
    await one.cache_settled()
    assert other.cache_contains(1)


async def test_a_cleared_function_has_a_new_generation_F9(
    twins: Twins, client: Any
) -> None:
    function, runs = twins.counted()
    await function(1)
    (before,) = entry_keys(client, twins.namespace)
    function.cache_clear()
    await function.cache_settled()
    await function(1)
    after = set(entry_keys(client, twins.namespace))
    assert len(after - {before}) == 1
    assert runs == [(1,), (1,)]


async def test_a_type_of_an_argument_that_no_other_process_knows_is_refused_F9(
    twins: Twins,
) -> None:
    class Local(int):
        pass

    load, runs = twins.counted(typed=True)
    with pytest.raises(
        TypeError, match=r"app\.load was called with args=.*Local.*key="
    ):
        await load(Local(3))
    assert (runs, load.cache_info().misses) == ([], 0)
    assert await twins.returning(1)(Local(3)) == 1
