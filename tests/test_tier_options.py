"""F1: what the second tier takes, and how it refuses the rest."""

import logging
import subprocess
import sys
import traceback
from datetime import timedelta
from typing import Any

import pytest
from tier_support import PATIENCE, Twins, eventually, namespace, server, twins

from async_lru import alru_cache
from async_lru.redis import RedisTier

__all__ = ("namespace", "server", "twins")

URL = "redis://127.0.0.1:1"


async def load(key: int) -> int:
    return key


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"namespace": 5}, TypeError, r"namespace must be a str, not 5: pass a name"),
        ({"namespace": ""}, ValueError, r"namespace .* not '': pass a name such as"),
        ({"namespace": "a b"}, ValueError, r"namespace .* not 'a b': pass a name"),
        ({"namespace": "a{b}"}, ValueError, r"namespace .* not 'a\{b\}': pass a name"),
        ({"namespace": "a\n"}, ValueError, r"namespace .* not 'a\\n': pass a name"),
        (
            {"lease": "5"},
            TypeError,
            r"lease must be a number of seconds, not '5': pass",
        ),
        (
            {"lease": True},
            TypeError,
            r"lease must be a number of seconds, not True: pass",
        ),
        (
            {"lease": 0},
            ValueError,
            r"lease must be a finite .* 0.001 or more, not 0: leave",
        ),
        (
            {"lease": -1},
            ValueError,
            r"lease must be a finite .* 0.001 or more, not -1: leave",
        ),
        ({"lease": float("inf")}, ValueError, r"lease must be .* not inf: leave"),
        ({"lease": float("nan")}, ValueError, r"lease must be .* not nan: "),
        ({"lease": 0.0001}, ValueError, r"lease must be .* not 0\.0001: leave"),
        ({"timeout": None}, TypeError, r"timeout must be a number .* not None: pass"),
        ({"timeout": 0}, ValueError, r"timeout must be a finite .* not 0: leave"),
        ({"max_bytes": "1"}, TypeError, r"max_bytes must be an int, not '1': pass"),
        ({"max_bytes": 1.5}, TypeError, r"max_bytes must be an int, not 1\.5: pass"),
        ({"max_bytes": True}, TypeError, r"max_bytes must be an int, not True: pass"),
        ({"max_bytes": 0}, ValueError, r"max_bytes must be 1 or more, not 0: pass"),
        ({"encode": 5}, TypeError, r"encode must be callable, not 5: pass a function"),
        (
            {"decode": "a"},
            TypeError,
            r"decode must be callable, not 'a': pass a function",
        ),
        (
            {"encode": repr},
            ValueError,
            r"encode=<.* and decode=<.*: pass both, or neither",
        ),
        (
            {"decode": eval},
            ValueError,
            r"encode=<.* and decode=<built-in.*: pass both, or neither",
        ),
        (
            {"check": "no"},
            TypeError,
            r"check must be a bool, not 'no': pass True or False",
        ),
    ],
)
def test_bad_options_name_option_value_and_remedy_F1(
    options: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        RedisTier(URL, **{"namespace": "v1", **options})


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        (5, TypeError),
        (None, TypeError),
        (b"redis://cache", TypeError),
        ("cache:6379", ValueError),
        ("http://cache", ValueError),
        ("redis://cache:port", ValueError),
        ("redis://cache/?db=a", ValueError),
        ("", ValueError),
    ],
)
def test_what_is_no_client_is_told_what_to_pass_F1(wrong: Any, error: Any) -> None:
    with pytest.raises(error, match=r"client .*pass "):
        RedisTier(wrong, namespace="v1")


def test_a_client_itself_is_told_that_it_belongs_to_one_loop_F1() -> None:
    from redis.asyncio import Redis

    with pytest.raises(
        TypeError, match=r"not a Redis: a client belongs to one event loop"
    ):
        RedisTier(Redis(), namespace="v1")  # type: ignore[arg-type]


def test_a_namespace_must_be_given_F1() -> None:
    with pytest.raises(TypeError, match="namespace"):
        RedisTier(URL)  # type: ignore[call-arg]


def test_numbers_are_taken_by_protocol_F1() -> None:
    class Index:
        def __index__(self) -> int:
            return 5

    number: Any = Index()
    RedisTier(URL, namespace="v1", lease=number, timeout=number, max_bytes=number)


def test_seconds_are_taken_as_timedelta_F1() -> None:
    lease: Any = timedelta(seconds=5)
    RedisTier(URL, namespace="v1", lease=lease, timeout=lease)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tier": "redis://cache"}, TypeError, r"tier must be .* not a str: pass"),
        ({"tier": RedisTier}, TypeError, r"tier must be .* not <class .*: pass"),
        ({"ttl": None}, ValueError, r"tier=<RedisTier.* ttl .* not None: .*pass a ttl"),
        (
            {"ttl": 0},
            ValueError,
            r"tier=<RedisTier.* ttl above 0, not 0.*: .*pass a ttl",
        ),
        ({"ttl": float("inf")}, ValueError, r"tier=<RedisTier.* not inf: .*pass a ttl"),
        (
            {"maxsize": 0},
            ValueError,
            r"tier=<RedisTier.* maxsize=0.*: leave one of them",
        ),
        (
            {"maxsize": -1},
            ValueError,
            r"tier=<RedisTier.* maxsize=0.*: leave one of them",
        ),
    ],
)
def test_what_a_tier_needs_is_told_F1(options: Any, error: Any, message: str) -> None:
    tier = RedisTier(URL, namespace="v1")
    with pytest.raises(error, match=message):
        alru_cache(**{"ttl": 60, "tier": tier, **options})(load)


def test_a_url_passed_as_the_tier_shows_no_password_F1() -> None:
    with pytest.raises(TypeError) as caught:
        alru_cache(ttl=60, tier="redis://:hidden@cache")  # type: ignore[call-overload]
    assert "hidden" not in str(caught.value)


def test_per_instance_needs_ignore_of_the_instance_F1() -> None:
    tier = RedisTier(URL, namespace="v1")
    with pytest.raises(
        ValueError, match=r"tier=.* per_instance=True: pass ignore=\('self',\)"
    ):

        class Service:
            @alru_cache(ttl=60, per_instance=True, tier=tier)
            async def load(self, key: int) -> int:
                return key


def test_maxsize_none_and_a_callable_ttl_are_fine_F1() -> None:
    tier = RedisTier(URL, namespace="v1")
    alru_cache(maxsize=None, ttl=timedelta(seconds=5), tier=tier)(load)
    alru_cache(ttl=lambda result: None, tier=tier)(load)


# Secrets

SECRET = "hidden-from-you"


@pytest.mark.parametrize(
    "url",
    [
        f"redis://user:{SECRET}@127.0.0.1:port",
        f"http://user:{SECRET}@127.0.0.1",
        f"redis://127.0.0.1/?password={SECRET}&db=x",
        f"redis://user:{SECRET}@[::1",
    ],
)
def test_no_error_about_a_url_shows_it_F1(url: str) -> None:
    with pytest.raises(ValueError, match="client") as caught:
        RedisTier(url, namespace="v1")
    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_no_password_in_repr_log_or_exception_F1(
    twins: Twins, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    address = twins.url.removeprefix("redis://")
    tiers = [
        RedisTier(f"redis://user:{SECRET}@{address}", namespace="v1"),  # refused
        RedisTier(f"redis://user:{SECRET}@127.0.0.1:1", namespace="v1"),  # nobody there
    ]
    for tier in tiers:
        function, runs = twins.counted(tier=tier)
        assert await function(1) == 1
        assert runs == [(1,)]
        await eventually(lambda: function.cache_stats().tier_up is False)
        for told in (repr(tier), repr(function), str(function.cache_stats())):
            assert SECRET not in told
    assert caplog.records
    assert SECRET not in caplog.text


# Clients


async def test_a_callable_makes_the_client_F1(twins: Twins) -> None:
    from redis.asyncio import Redis

    made: list[Any] = []

    def make() -> Any:
        made.append(Redis.from_url(twins.url))
        return made[-1]

    tier = RedisTier(make, namespace=twins.namespace, timeout=PATIENCE)
    assert made == []
    function, _ = twins.counted(tier=tier)
    await function(1)
    assert len(made) == 1
    other, runs = twins.counted()
    assert (await other(1), runs) == (1, [])


async def test_a_client_that_decodes_responses_will_do_F1(
    twins: Twins, caplog: pytest.LogCaptureFixture
) -> None:
    from redis.asyncio import Redis

    def make() -> Any:
        return Redis.from_url(twins.url, decode_responses=True)

    first, _ = twins.counted(tier=RedisTier(make, namespace=twins.namespace, timeout=2))
    second, runs = twins.counted(
        tier=RedisTier(make, namespace=twins.namespace, timeout=2)
    )
    assert await first("\u00e9") == "\u00e9"
    assert (await second("\u00e9"), runs) == ("\u00e9", [])
    first.cache_invalidate("\u00e9")
    await first.cache_settled()
    await eventually(lambda: not second.cache_contains("\u00e9"))
    assert not caplog.records  # contact was never lost


async def test_a_client_of_protocol_3_will_do_F1(twins: Twins) -> None:
    function, _ = twins.counted(
        tier=RedisTier(f"{twins.url}?protocol=3", namespace=twins.namespace, timeout=2)
    )
    other, runs = twins.counted()
    await function(1)
    assert (await other(1), runs) == (1, [])
    other.cache_invalidate(1)
    await eventually(lambda: not function.cache_contains(1))


async def test_one_tier_serves_many_functions_F1(twins: Twins) -> None:
    tier = twins.tier()
    one, runs_of_one = twins.counted(tier=tier, name="one")
    two, runs_of_two = twins.counted(tier=tier, name="two")
    assert await one(1) == await two(1) == 1
    assert runs_of_one == runs_of_two == [(1,)]
    one.cache_clear()
    await one.cache_settled()
    assert two.cache_contains(1)


async def test_a_callable_that_fails_leaves_each_process_to_itself_F1(
    twins: Twins, caplog: pytest.LogCaptureFixture
) -> None:
    def make() -> Any:
        raise LookupError("no configuration")

    function, runs = twins.counted(tier=RedisTier(make, namespace="v1"))
    assert await function(1) == 1
    assert function.cache_stats().tier_up is False
    assert "no configuration" in caplog.text


# The extra


def test_nothing_of_it_is_imported_without_the_option_F1() -> None:
    program = (
        "import sys, async_lru; async_lru.alru_cache(ttl=5)\n"
        "assert not {'redis', 'async_lru.redis', 'json'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-S", "-c", program], check=True, timeout=PATIENCE)


def test_without_redis_py_it_is_told_what_to_install_F1() -> None:
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "try: import async_lru.redis\n"
        "except ImportError as error: print(error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        timeout=PATIENCE,
        capture_output=True,
        text=True,
    ).stdout
    assert "pip install async-lru[redis]" in told
