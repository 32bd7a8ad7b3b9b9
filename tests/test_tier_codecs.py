"""F8: which results are stored, and what comes back."""

import asyncio
import dataclasses
import datetime
import enum
import math
import pickle
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
from servers import Server
from tier_support import (
    Twins,
    client,
    entry_keys,
    eventually,
    server,
    namespace,
    twins,
)

from conftest import outcome

__all__ = ("client", "server", "namespace", "twins")


@dataclasses.dataclass
class Point:
    x: float
    note: object = dataclasses.field(default=None, compare=False)


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


Pair = namedtuple("Pair", "one two")


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -(2**200),
        1.5,
        -0.0,
        1e300,
        "",
        "a\u00e9\U0001f600\x00",
        "\ud800",
        [],
        {},
        {"a": [1, 2.0, None, {"b": {"c": []}}], "": False},
        [[[[[[1]]]]]],
    ],
)
async def test_json_comes_back_as_it_was_F8(twins: Twins, value: Any) -> None:
    maker, other = twins.returning(value), twins.returning("not run")
    await maker()
    found = await other()
    assert repr(found) == repr(value)
    assert other.cache_stats().tier_hits == 1


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ((1, 2), "builtins.tuple"),
        ([1, (2,)], "builtins.list"),
        ({"a": {"b": (1,)}}, "builtins.dict"),
        ({1: "a"}, "builtins.dict"),
        ({None: "a"}, "builtins.dict"),
        ({1, 2}, "builtins.set"),
        (b"a", "builtins.bytes"),
        (1j, "builtins.complex"),
        (math.nan, "builtins.float"),
        ([math.nan], "builtins.list"),
        (math.inf, "builtins.float"),
        (datetime.date(2020, 1, 1), "datetime.date"),
        (Colour.RED, "Colour"),
        (Level.LOW, "Level"),
        ([Level.LOW], "builtins.list"),
        (Text("a"), "Text"),
        ({Text("a"): 1}, "builtins.dict"),
        (Pair(1, 2), "Pair"),
        (OrderedDict(a=1), "collections.OrderedDict"),
        (Point(1.0), "Point"),
        (object(), "builtins.object"),
    ],
)
async def test_what_does_not_survive_is_an_error_where_it_is_made_F8(
    twins: Twins, client: Any, value: Any, kind: str
) -> None:
    function = twins.returning(value)
    told = await asyncio.gather(outcome(function()), outcome(function()))
    for error in told:
        assert type(error) is TypeError
        assert "app.load" in str(error)
        assert kind in str(error)
        assert "encode=" in str(error)
    assert not function.cache_contains()
    assert entry_keys(client, twins.namespace) == []


async def test_a_container_that_holds_itself_is_refused_F8(twins: Twins) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(TypeError, match=r"app\.load returned .*builtins\.list"):
        await twins.returning(cycle)()


async def test_what_does_not_survive_cannot_be_put_F8(
    twins: Twins, client: Any
) -> None:
    function, _ = twins.counted()
    with pytest.raises(TypeError, match=r"app\.load.* builtins\.tuple"):
        function.cache_put((1, 2), 1)
    assert not function.cache_contains(1)
    await function.cache_settled()
    assert entry_keys(client, twins.namespace) == []


async def test_unchecked_values_are_what_the_codec_makes_of_them_F8(
    twins: Twins,
) -> None:
    maker = twins.returning((1, 2), tier=twins.tier(check=False))
    other = twins.returning("not run", tier=twins.tier(check=False))
    assert await maker() == (1, 2)
    assert await other() == [1, 2]


def pickled(**options: Any) -> dict[str, Any]:
    """Return options of a tier whose values come back as what they were."""
    return {"encode": pickle.dumps, "decode": pickle.loads, **options}


async def test_pickle_is_two_functions_that_are_asked_for_by_name_F8(
    twins: Twins,
) -> None:
    value = {(1, 2): Point(1.0), Colour.RED: {1, 2}, "a": frozenset({b"b"})}
    maker = twins.returning(value, tier=twins.tier(**pickled()))
    other = twins.returning("not run", tier=twins.tier(**pickled()))
    await maker()
    assert await other() == value
    assert other.cache_stats().loads == 0


async def test_pickle_is_not_read_unless_asked_for_F8(
    twins: Twins, client: Any
) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return pytest.fail, ("executed",)

    maker = twins.returning("a")
    await maker()
    (key,) = entry_keys(client, twins.namespace)
    value = client.get(key)
    client.set(key, value[: value.index('"')].encode() + pickle.dumps(Trap()), px=9999)
    other = twins.returning("b")
    assert await other() == "b"


class Unequal:
    """Compares in a way of its own."""

    def __init__(self, how: str) -> None:
        self.how = how

    def __eq__(self, other: object) -> Any:
        if self.how == "raises":
            raise LookupError
        return {
            "no bool": "yes",
            "one": 1,
            "never": False,
            "undecided": NotImplemented,
        }[self.how]

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("how", ["raises", "no bool", "one", "never", "undecided"])
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"a": (v,)}])
async def test_what_does_not_compare_equal_with_true_is_refused_F8(
    twins: Twins, how: str, wrap: Any
) -> None:
    function = twins.returning(wrap(Unequal(how)), tier=twins.tier(**pickled()))
    with pytest.raises(TypeError, match=r"app\.load returned"):
        await function()


@pytest.mark.parametrize(
    ("value", "decoded"),
    [
        (Point(1.0), Point(1)),
        (Point(1.0, note=[1]), Point(1.0, note=(1,))),
        ([1], [True]),
        ([1], [1.0]),
        ({1: 2}, {True: 2}),
        ({1}, {1.0}),
        (frozenset({(1, 2)}), frozenset({(1, 2.0)})),
        ("a", "b"),
        ([1, 2], [1]),
        ({"a": 1}, {"a": 1, "b": 2}),
        (None, 0),
    ],
)
async def test_what_comes_back_with_another_type_at_any_depth_is_refused_F8(
    twins: Twins, value: Any, decoded: Any
) -> None:
    tier = twins.tier(encode=lambda _: b"", decode=lambda _: decoded)
    with pytest.raises(TypeError, match=r"app\.load returned"):
        await twins.returning(value, tier=tier)()


async def test_an_attribute_in_a_slot_counts_too_F8(twins: Twins) -> None:
    class Slotted:
        __slots__ = ("held",)

        def __init__(self, held: Any) -> None:
            self.held = held

        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    tier = twins.tier(encode=lambda _: b"", decode=lambda _: Slotted(1.0))
    assert await twins.returning(Slotted(1.0), tier=tier)()
    with pytest.raises(TypeError, match="Slotted"):
        await twins.returning(Slotted(1), tier=tier, name="other")()


@pytest.mark.parametrize("encode", [lambda v: "text", lambda v: None, lambda v: 1 / 0])
@pytest.mark.parametrize("check", [True, False])
async def test_an_encode_that_makes_no_bytes_is_told_F8(
    twins: Twins, encode: Any, check: bool
) -> None:
    tier = twins.tier(encode=encode, decode=lambda b: b, check=check)
    with pytest.raises(TypeError, match=r"app\.load returned .* since "):
        await twins.returning(1, tier=tier)()


async def test_msgspec_keeps_structs_F8(twins: Twins, client: Any) -> None:
    msgspec = pytest.importorskip("msgspec")
    User = msgspec.defstruct(
        "User", [("name", str), ("tags", tuple[str, ...]), ("born", datetime.date)]
    )
    options = {
        "encode": msgspec.msgpack.Encoder().encode,
        "decode": msgspec.msgpack.Decoder(User).decode,
    }
    user = User("\u00e9", ("a", "b"), datetime.date(2000, 1, 2))
    maker = twins.returning(user, tier=twins.tier(**options))
    other = twins.returning("not run", tier=twins.tier(**options))
    assert await maker() is user
    assert await other() == user
    assert type(await other()) is User
    with pytest.raises(TypeError, match="app.third returned"):
        await twins.returning({"name": 1}, tier=twins.tier(**options), name="third")()


async def test_a_struct_that_holds_another_type_than_it_says_is_refused_F8(
    twins: Twins,
) -> None:
    msgspec = pytest.importorskip("msgspec")
    Point = msgspec.defstruct("Point", [("x", float)])
    tier = twins.tier(
        encode=msgspec.msgpack.Encoder().encode,
        decode=msgspec.msgpack.Decoder(Point).decode,
    )
    assert await twins.returning(Point(1.0), tier=tier)()
    with pytest.raises(TypeError, match="Point"):
        await twins.returning(Point(1), tier=tier, name="other")()


async def test_values_above_the_limit_stay_local_F8(twins: Twins, client: Any) -> None:
    tier = twins.tier(max_bytes=10)
    maker, _ = twins.counted(tier=tier)
    other, runs = twins.counted()
    for text, is_stored in (("12345678", True), ("123456789", False)):
        assert await maker(text) == text
        assert maker.cache_contains(text)
        assert await other(text) == text
        assert (runs == []) is is_stored
    assert maker.cache_stats().tier_errors == 0


async def test_a_put_above_the_limit_drops_what_others_have_F5(twins: Twins) -> None:
    one, _ = twins.counted(tier=twins.tier(max_bytes=10))
    other, runs = twins.counted()
    await other(1)
    one.cache_put("1234567890", 1)
    await one.cache_settled()
    await eventually(lambda: not other.cache_contains(1))
    assert await other(1) == 1
    assert runs == [(1,), (1,)]
