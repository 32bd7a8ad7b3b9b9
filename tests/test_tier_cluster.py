"""The second tier on what is more than one plain server: F1, F9, and the security of F."""

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.sentinel import Sentinel

from async_lru import AlruCacheWrapper
from async_lru.redis import RedisTier

from outages import NAMES, PATIENCE, is_up, loader, proxied, until
from servers import MISSING, PROGRAMS, Server, free_port, served

pytestmark = pytest.mark.skipif(not NAMES, reason=MISSING)

#: Tests run on one of the programs, and in check-more on all.
FIRST = [
    pytest.param(name, marks=pytest.mark.more if number else ())
    for number, name in enumerate(NAMES)
]

Made = tuple[AlruCacheWrapper[..., Any], list[Any]]


@pytest.fixture
async def process() -> AsyncIterator[Callable[..., Made]]:
    """Make what stands for a process: a tier of its own with one function."""
    made: list[AlruCacheWrapper[..., Any]] = []
    before = asyncio.all_tasks()

    def make(
        client: Any,
        *,
        timeout: float = 2.0,
        namespace: str = "v1",
        lease: float = 5.0,
        work: Any = None,
    ) -> Made:
        tier = RedisTier(client, namespace=namespace, timeout=timeout, lease=lease)
        runs: list[Any] = []
        made.append(loader(tier, runs, work))
        return made[-1], runs

    yield make
    for function in made:
        await function.cache_close()
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left


# A cluster

SLOTS = 16384


@pytest.fixture(scope="module", params=FIRST)
def cluster(request: pytest.FixtureRequest) -> Iterator[list[Server]]:
    """Three nodes that have a third of the slots each."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
    buses = [str(free_port()) for _ in range(3)]
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(served(request.param, *options, "--cluster-port", bus))
            for bus in buses
        ]
        join(nodes, buses)
        yield nodes


def join(nodes: list[Server], buses: list[str]) -> None:
    clients = [redis.Redis(port=node.port) for node in nodes]
    try:
        for number, client in enumerate(clients):
            start, end = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", start, end)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node, bus in zip(nodes[1:], buses[1:]):
            clients[0].execute_command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        deadline = time.monotonic() + PATIENCE
        for client in clients:
            while not is_joined(client):
                assert time.monotonic() < deadline, "the cluster does not form"
                time.sleep(0.02)
    finally:
        for client in clients:
            client.close()


def is_joined(client: Any) -> bool:
    found = client.execute_command("CLUSTER INFO")
    if not isinstance(found, dict):
        lines = found.decode().splitlines()
        found = dict(line.split(":", 1) for line in lines)
    return (found["cluster_state"], found["cluster_known_nodes"]) == ("ok", "3")


def client_of(nodes: list[Server]) -> Callable[[], Any]:
    return lambda: redis.asyncio.RedisCluster(host="127.0.0.1", port=nodes[0].port)


async def keys_of(node: Server) -> list[bytes]:
    async with redis.asyncio.Redis(port=node.port) as client:
        found: list[bytes] = await client.keys("*")
        return found


async def test_cluster_shares_results_and_spreads_them_over_its_nodes_F9(
    process: Any, cluster: list[Server]
) -> None:
    load, runs = process(client_of(cluster))
    other, others = process(client_of(cluster[1:]))
    found = await asyncio.gather(*(load(key) for key in range(60)))
    assert await asyncio.gather(*(other(key) for key in range(60))) == found
    assert (len(runs), others) == (60, [])
    stats = load.cache_stats()
    assert (stats.tier_errors, stats.tier_misses) == (0, 60)
    held = [await keys_of(node) for node in cluster]
    values = [
        sum(
            key.startswith(b"async-lru:v1:") and key.endswith(b":value") for key in keys
        )
        for keys in held
    ]
    assert sum(values) == 60
    assert all(values)


async def test_invalidations_in_a_cluster_reach_processes_at_all_nodes_F5(
    process: Any, cluster: list[Server]
) -> None:
    functions = [
        process(client_of(cluster[number:]), namespace="v2")[0] for number in range(3)
    ]
    for key in range(20):
        assert len({await function(key) for function in functions}) == 1
    for number, function in enumerate(functions):
        function.cache_invalidate(number)
        await function.cache_settled()
        for other in functions:
            await until(lambda other=other, key=number: not other.cache_contains(key))
        assert len({await other(number) for other in functions}) == 1
    functions[0].cache_put("put", 15)
    await functions[0].cache_settled()
    await until(lambda: not functions[1].cache_contains(15))
    assert await functions[1](15) == await functions[2](15) == "put"
    functions[1].cache_clear()
    await functions[1].cache_settled()
    for other in functions:
        await until(lambda other=other: not other.cache_contains(17))


async def test_waiters_in_a_cluster_are_woken_F2(
    process: Any, cluster: list[Server]
) -> None:
    load, runs = process(client_of(cluster), namespace="v3")
    other, others = process(client_of(cluster[2:]), namespace="v3")
    calls = [function(key) for key in range(10) for function in (load, other)]
    found = await asyncio.gather(*calls)
    assert found[::2] == found[1::2]
    assert len(runs) + len(others) == 10


async def test_node_that_does_not_answer_raises_into_no_call_F7(
    process: Any, cluster: list[Server]
) -> None:
    load, _ = process(client_of(cluster), timeout=0.3, namespace="v4")
    await load("before")
    cluster[2].freeze()
    try:
        found = await asyncio.gather(*(load(key) for key in range(30)))
        assert [text.split("#")[0] for text in found] == [str(n) for n in range(30)]
    finally:
        cluster[2].thaw()
    await until(lambda: is_up(load))


# Sentinel


@pytest.fixture(params=FIRST)
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server that a sentinel knows as "cache"; the sentinel's port is ``sentinel``."""
    with served(request.param) as server:
        port = free_port()
        config = tmp_path / "sentinel.conf"
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
            f"sentinel monitor cache 127.0.0.1 {server.port} 1\n"
        )
        process = subprocess.Popen(
            [PROGRAMS[request.param], str(config), "--sentinel"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(port)
            server.sentinel = port  # type: ignore[attr-defined]
            yield server
        finally:
            process.kill()
            process.wait()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            return


async def test_master_of_a_sentinel_works_F1(process: Any, watched: Any) -> None:
    def client() -> Any:
        sentinel = Sentinel([("127.0.0.1", watched.sentinel)])
        return sentinel.master_for("cache")

    load, _ = process(client)
    other, others = process(watched.url)
    assert await load(1) == await other(1)
    other.cache_invalidate(1)
    await other.cache_settled()
    await until(lambda: not load.cache_contains(1))
    assert await load(1) == await other(1)
    assert load.cache_stats().tier_errors == 0


# TLS


@pytest.fixture(params=NAMES)
def private(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A server that speaks TLS only, and the certificate that it shows."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    process = subprocess.Popen(
        [
            PROGRAMS[request.param],
            *("--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1"),
            *("--tls-cert-file", str(certificate), "--tls-key-file", str(key)),
            *("--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"),
            *("--save", "", "--dir", str(tmp_path)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.01)
            else:
                break
        if process.poll() is not None:
            pytest.skip(f"{request.param} was built without TLS")
        yield port, certificate
    finally:
        process.kill()
        process.communicate()


async def test_tier_speaks_tls_F1(process: Any, private: Any) -> None:
    port, certificate = private
    url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}"
    load, _ = process(url)
    other, others = process(url)
    assert await load(1) == await other(1)
    assert others == []
    load.cache_invalidate(1)
    await load.cache_settled()
    await until(lambda: not other.cache_contains(1))


@pytest.mark.more
async def test_certificate_that_nobody_has_signed_is_refused_F7(
    process: Any, private: Any
) -> None:
    port, _ = private
    load, _ = process(f"rediss://127.0.0.1:{port}", timeout=0.5)
    assert await load(1) == "1#1"
    assert is_up(load) is False


# Users

#: What a user of the server needs to be allowed, as the documentation tells.
COMMANDS = "evalsha eval get set del exists setrange pttl pexpire publish subscribe ping".split()


class Users:
    """A server with a user whose rights the test sets."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = f"user-{token_hex(4)}"
        self.url = f"redis://{self.name}:secret@127.0.0.1:{server.port}"

    async def allow(self, *rules: str) -> None:
        async with redis.asyncio.Redis(port=self.server.port) as client:
            await client.execute_command(
                "ACL SETUSER", self.name, "reset", "on", ">secret", *rules
            )


@pytest.fixture(scope="module", params=FIRST)
def guarded(request: pytest.FixtureRequest) -> Iterator[Server]:
    with served(request.param) as server:
        yield server


@pytest.fixture
def users(guarded: Server) -> Users:
    return Users(guarded)


def rules(
    *, keys: str = "async-lru:v1:*", channel: str = "async-lru:v1", without: str = ""
) -> list[str]:
    commands = [f"+{command}" for command in COMMANDS if command != without]
    return [f"~{keys}", f"&{channel}", *commands]


async def works(process: Any, users: Users) -> bool:
    """Tell whether all that the tier does can be done."""
    async with redis.asyncio.Redis(port=users.server.port) as client:
        await client.flushall()
        await client.script_flush()
    loads = 0

    async def work(key: str) -> Any:
        nonlocal loads
        number = loads = loads + 1
        await asyncio.sleep(1.0 if key == "slow" else 0)
        return [key, number]

    load, _ = process(users.url, work=work, lease=0.5)
    other, _ = process(users.url, work=work, lease=0.5)
    found = [await load("key"), await other("key")]
    found += await asyncio.gather(load("slow"), other("slow"))
    if found[::2] != found[1::2]:
        return False
    try:
        load.cache_put("put", "key")
        await asyncio.wait_for(load.cache_settled(), 1)
        await until(lambda: not other.cache_contains("key"))
        assert await other("key") == "put"
        load.cache_invalidate("key")
        await asyncio.wait_for(load.cache_settled(), 1)
        await asyncio.gather(load("key"), other.cache_refresh("key"))
        load.cache_clear()
        await asyncio.wait_for(load.cache_settled(), 1)
    except (TimeoutError, asyncio.TimeoutError):
        return False
    errors = load.cache_stats().tier_errors + other.cache_stats().tier_errors
    return not errors and bool(is_up(load) and is_up(other))


async def test_user_with_the_rights_that_are_documented_can_do_everything_F1(
    process: Any, users: Users
) -> None:
    await users.allow(*rules())
    assert await works(process, users)


#: Without these, silence is noticed late, and waiters learn late that a run has ended.
NOT_NOTICED = {"ping", "setrange"}


@pytest.mark.more
@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in NOT_NOTICED])
async def test_user_needs_each_command_and_without_one_no_call_fails_F7(
    process: Any, users: Users, command: str
) -> None:
    await users.allow(*rules(without=command))
    assert not await works(process, users)


@pytest.mark.more
async def test_user_without_the_keys_is_an_outage_F7(
    process: Any, users: Users
) -> None:
    await users.allow(*rules(keys="async-lru:v2:*"))
    assert not await works(process, users)


@pytest.mark.more
async def test_user_without_the_channel_is_an_outage_F7(
    process: Any, users: Users
) -> None:
    await users.allow(*rules(channel="async-lru:v2"))
    assert not await works(process, users)


@pytest.mark.parametrize("wrong", ["password", "user"])
async def test_wrong_password_is_an_outage_that_tells_no_password_F7(
    process: Any, users: Users, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    await users.allow(*rules())
    url = users.url.replace("secret" if wrong == "password" else users.name, "hunter2")
    load, _ = process(url)
    assert await load(1) == "1#1"
    await until(lambda: is_up(load) is False)
    assert await load(2) == "2#2"
    await asyncio.sleep(0.6)
    await load(3)
    assert len(caplog.records) == 1
    for told in (caplog.text, repr(load), str(load.cache_stats())):
        assert "hunter2" not in told
        assert "secret" not in told


async def test_password_that_is_changed_is_an_outage_until_it_is_right_F7(
    process: Any, users: Users
) -> None:
    await users.allow(*rules())
    load, _ = process(users.url)
    await load(1)
    await users.allow(*rules(), "resetpass", ">another")
    async with redis.asyncio.Redis(port=users.server.port) as client:
        await client.execute_command("CLIENT KILL", "USER", users.name)
    await until(lambda: is_up(load) is False)
    assert await load(2) == "2#2"
    await users.allow(*rules())
    await until(lambda: is_up(load))


# What is read on the server by others


async def test_arguments_are_not_readable_on_the_server_F9(
    process: Any, guarded: Server
) -> None:
    with proxied(guarded.port) as proxy:
        load, _ = process(proxy.url, namespace="private")
        await load("alice@example.org")
        load.cache_invalidate("alice@example.org")
        await load.cache_settled()
        sent = b"".join(connection.sent for connection in proxy.connections)
    async with redis.asyncio.Redis(port=guarded.port) as client:
        keys = await client.keys("async-lru:private:*")
    assert keys
    assert not [key for key in keys if b"alice" in key]
    # What the function returned is there, and names them in this test.
    assert sent.replace(b'"alice@example.org#1"', b"").count(b"alice") == 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"x",
        b"cos\nsystem\n(S'exit 1'\ntR.",  # a pickle that ends the process
        b"0123456789abcdefv",
        b"0123456789abcdefv{",
        b"0123456789abcdefe",
        b"0123456789abcdefe[]",
        b'0123456789abcdefe{"type":"builtins.SystemExit","args":[1],"attributes":{}}',
        b'0123456789abcdefe{"type":"builtins.eval","args":["1"],"attributes":{}}',
        b"0123456789abcdefv" + b"[" * 100_000,
        b"\xff" * 40,
    ],
    ids=lambda garbage: repr(garbage[:24]),
)
async def test_garbage_in_the_place_of_a_value_is_made_anew_F7(
    process: Any, guarded: Server, garbage: bytes
) -> None:
    namespace = f"test-{token_hex(4)}"
    load, runs = process(guarded.url, namespace=namespace)
    other, others = process(guarded.url, namespace=namespace)
    assert await load(1) == "1#1"
    async with redis.asyncio.Redis(port=guarded.port) as client:
        (key,) = await client.keys(f"async-lru:{namespace}:*:value")
        await client.set(key, garbage, px=60_000)
    assert await other(1) == "1#1"
    assert others == [1]
    assert is_up(other)


@pytest.mark.parametrize("suffix", ["value", "lease", "generation"])
@pytest.mark.parametrize("kind", ["list", "hash", "forever"])
async def test_keys_of_other_types_are_replaced_F7(
    process: Any, guarded: Server, suffix: str, kind: str
) -> None:
    namespace = f"test-{token_hex(4)}"
    load, _ = process(guarded.url, namespace=namespace)
    await load(1)
    async with redis.asyncio.Redis(port=guarded.port) as client:
        (value,) = await client.keys(f"async-lru:{namespace}:*:value")
        (generation,) = await client.keys(f"async-lru:{namespace}:*:generation")
        key = {
            "value": value,
            "lease": value.replace(b":value", b":lease"),
            "generation": generation,
        }[suffix]
        await client.delete(value, key)
        if kind == "list":
            await client.rpush(key, "x")
        elif kind == "hash":
            await client.hset(key, "x", "y")
        else:
            await client.set(key, "x" * 16)
    other, others = process(guarded.url, namespace=namespace)
    assert await asyncio.wait_for(other(1), 15) == "1#1"
    assert others == [1]
    third, thirds = process(guarded.url, namespace=namespace)
    assert await third(1) == "1#1"
    assert thirds == []


async def test_messages_of_strangers_are_ignored_F7(
    process: Any, guarded: Server
) -> None:
    namespace = f"test-{token_hex(4)}"
    load, _ = process(guarded.url, namespace=namespace)
    await load(1)
    channel = f"async-lru:{namespace}"
    async with redis.asyncio.Redis(port=guarded.port) as client:
        for message in (
            b"",
            b"x",
            b"\xff\xfe",
            b"s",
            b"s a b c d",
            b"g " * 10,
            b"c origin version generation hash function",
            b"q origin version generation hash function",
            b" " * 5,
            b"s" * 1_000_000,
        ):
            await client.publish(channel, message)
    await load(2)
    await asyncio.sleep(0.05)
    assert is_up(load)
    assert load.cache_contains(1)
    assert load.cache_stats().tier_errors == 0
