"""F2 to F6 and F10 among real processes, each with a first tier of its own."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from servers import Server
from tier_support import PATIENCE, server, namespace
from tier_worker import Worker

redis = pytest.importorskip("redis")

__all__ = ("server", "namespace")

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="needs signals of POSIX"
)


#: Seconds for which no test waits to the end.
LONG = 60.0


class Workers:
    """Processes that are used again by the next test, unless it has killed them."""

    def __init__(self) -> None:
        self._all: list[Worker] = []

    def get(
        self, number: int, server: Server, namespace: str, **options: Any
    ) -> list[Worker]:
        """Return so many workers, each with a new first tier."""
        self._all = [worker for worker in self._all if worker.process.poll() is None]
        while len(self._all) < number:
            self._all.append(Worker())
        chosen = self._all[:number]
        opened = [
            worker.start("open", server.url, namespace, dict(options))
            for worker in chosen
        ]
        for worker, answer in zip(chosen, opened, strict=True):
            answer.result(PATIENCE)
            worker.runs.clear()
        return chosen

    def rest(self) -> None:
        """Close what they have, of which nothing is left running (F13)."""
        living = [worker for worker in self._all if worker.process.poll() is None]
        results(*(worker.start("close") for worker in living))
        left = results(*(worker.start("tasks") for worker in living))
        assert not any(left), left

    def close(self) -> None:
        said = [worker.close() for worker in self._all]
        assert not any(said), said


@pytest.fixture(scope="module")
def all_workers() -> Iterator[Workers]:
    made = Workers()
    yield made
    made.close()


@pytest.fixture
def workers(all_workers: Workers) -> Iterator[Workers]:
    yield all_workers
    all_workers.rest()


def until(condition: Any) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.005)


def waits(worker: Worker) -> int:
    number: int = worker.do("stats")["tier_waits"]
    return number


def results(*calls: "Future[Any]") -> list[Any]:
    return [call.result(PATIENCE) for call in calls]


# One run everywhere


def test_400_calls_in_4_processes_are_5_runs_F2(
    workers: Workers, server: Server, namespace: str
) -> None:
    some = workers.get(4, server, namespace, lease=LONG, takes=0.05)
    keys = [0, 1, 2, 3, 4] * 20
    told = results(*(worker.start("call_many", keys) for worker in some))
    runs = [key for worker in some for key in worker.runs]
    assert sorted(runs) == [0, 1, 2, 3, 4]
    assert told[0] == told[1] == told[2] == told[3]
    stats = [worker.do("stats") for worker in some]
    assert [each["hits"] + each["misses"] for each in stats] == [100] * 4
    assert sum(each["loads"] for each in stats) == 5
    assert sum(each["tier_hits"] + each["tier_misses"] for each in stats) == 20
    assert sum(each["tier_errors"] + each["tier_refused"] for each in stats) == 0


def test_the_others_wait_and_get_what_the_run_returns_F2(
    workers: Workers, server: Server, namespace: str
) -> None:
    some = workers.get(4, server, namespace, lease=LONG)
    first, *others = some
    calls = [first.start("call", "a")]
    first.wait_for_runs()
    calls += [worker.start("call", "a") for worker in others]
    until(lambda: all(waits(worker) == 1 for worker in others))
    first.do("succeed", "a", {"made": "once"})
    assert results(*calls) == [{"made": "once"}] * 4
    assert [worker.runs for worker in some] == [["a"], [], [], []]


def test_those_who_wait_do_not_poll_F2(
    workers: Workers, server: Server, namespace: str
) -> None:
    client = redis.Redis(port=server.port, decode_responses=True)
    first, *others = workers.get(4, server, namespace, lease=LONG)
    calls = [first.start("call", 1)]
    first.wait_for_runs()
    calls += [worker.start("call", 1) for worker in others]
    until(lambda: all(waits(worker) == 1 for worker in others))
    before = client.info("commandstats")
    time.sleep(0.3)
    after = client.info("commandstats")
    asked = {
        name: after[name]["calls"] - before.get(name, {"calls": 0})["calls"]
        for name in after
        if name not in ("cmdstat_info", "cmdstat_ping")
    }
    assert not any(asked.values()), asked
    client.close()
    first.do("succeed", 1, 1)
    results(*calls)


def test_a_run_may_take_longer_than_its_lease_F3(
    workers: Workers, server: Server, namespace: str
) -> None:
    one, other = workers.get(2, server, namespace, lease=0.4)
    calls = [one.start("call", 1)]
    one.wait_for_runs()
    calls.append(other.start("call", 1))
    time.sleep(1.0)
    assert other.runs == []
    one.do("succeed", 1, "late")
    assert results(*calls) == ["late", "late"]
    assert one.do("stats")["tier_refused"] == 0


# Holders that die, freeze, or are cancelled


def test_a_killed_holder_delays_the_others_by_no_more_than_the_lease_F4(
    workers: Workers, server: Server, namespace: str
) -> None:
    some = workers.get(4, server, namespace, lease=0.3)
    holder, *others = some
    dead = holder.start("call", 1)
    holder.wait_for_runs()
    calls = [worker.start("call", 1) for worker in others]
    until(lambda: all(waits(worker) == 1 for worker in others))
    holder.kill()
    until(lambda: any(worker.runs for worker in others))
    time.sleep(0.1)
    (heir,) = [worker for worker in others if worker.runs]
    heir.do("succeed", 1, "new")
    assert results(*calls) == ["new"] * 3
    assert not dead.done()
    assert sum(len(worker.runs) for worker in others) == 1


def test_a_frozen_holder_is_taken_over_and_cannot_store_F3(
    workers: Workers, server: Server, namespace: str
) -> None:
    holder, other, third = workers.get(3, server, namespace, lease=0.3)
    old = holder.start("call", 1)
    holder.wait_for_runs()
    holder.signal(signal.SIGSTOP)
    try:
        new = other.start("call", 1)
        other.wait_for_runs()  # the lease has ended
        other.do("succeed", 1, "new")
        assert results(new) == ["new"]
        ended = holder.start("succeed", 1, "old")
    finally:
        holder.signal(signal.SIGCONT)
    results(ended)
    assert results(old) == ["old"]  # its own waiters still get it
    assert third.do("call", 1) == "new"
    assert holder.do("call", 1) == "new"  # not kept in its first tier
    assert third.runs == []


def test_a_loop_that_was_blocked_past_its_lease_cannot_store_F3(
    workers: Workers, server: Server, namespace: str
) -> None:
    holder, other, third = workers.get(3, server, namespace, lease=0.3)
    old = holder.start("call", 1)
    holder.wait_for_runs()
    blocked = holder.start("block_and_succeed", 0.8, 1, "old")
    new = other.start("call", 1)
    other.wait_for_runs()
    other.do("succeed", 1, "new")
    assert results(blocked, old, new) == [None, "old", "new"]
    assert holder.do("stats")["tier_refused"] == 1
    assert third.do("call", 1) == holder.do("call", 1) == "new"
    assert third.runs == []


@pytest.mark.parametrize("change", ["invalidate", "put", "clear"])
def test_a_run_that_has_not_heard_of_a_change_cannot_undo_it_F3(
    workers: Workers, server: Server, namespace: str, change: str
) -> None:
    holder, other, third = workers.get(3, server, namespace, lease=LONG)
    old = holder.start("call", 1)
    holder.wait_for_runs()
    blocked = holder.start("block_and_succeed", 0.3, 1, "old")
    make_change(other, change)
    assert results(blocked, old) == [None, "old"]
    new = third.start("call", 1)
    if change != "put":
        third.wait_for_runs()
        third.do("succeed", 1, "new")
    assert results(new) == ["new"]


def test_a_store_past_the_lease_is_refused_though_nobody_has_taken_over_F3(
    workers: Workers, server: Server, namespace: str
) -> None:
    holder, other = workers.get(2, server, namespace, lease=0.2)
    old = holder.start("call", 1)
    holder.wait_for_runs()
    holder.do("block_and_succeed", 0.4, 1, "old")
    assert results(old) == ["old"]
    assert holder.do("stats")["tier_refused"] == 1
    assert holder.do("contains", 1) is False
    new = other.start("call", 1)
    other.wait_for_runs()
    other.do("succeed", 1, "new")
    assert results(new) == ["new"]


def test_closing_the_holder_lets_the_next_run_at_once_F13(
    workers: Workers, server: Server, namespace: str
) -> None:
    one, other = workers.get(2, server, namespace, lease=LONG)
    lost = one.start("call", 1)
    one.wait_for_runs()
    call = other.start("call", 1)
    until(lambda: waits(other) == 1)
    one.do("close")
    other.wait_for_runs()  # long before the lease would have ended
    other.do("succeed", 1, "new")
    assert results(call) == ["new"]
    with pytest.raises(RuntimeError, match="CancelledError"):
        lost.result(PATIENCE)
    assert one.do("tasks") == []


# Failures


def test_a_failure_is_told_here_alone_and_the_next_runs_one_at_a_time_F10(
    workers: Workers, server: Server, namespace: str
) -> None:
    some = workers.get(4, server, namespace, lease=LONG)
    first, *others = some
    failed = first.start("call", 1)
    first.wait_for_runs()
    calls = {worker: worker.start("call", 1) for worker in others}
    until(lambda: all(waits(worker) == 1 for worker in others))
    first.do("fail", 1, "none")
    with pytest.raises(RuntimeError, match="NotFoundError: none"):
        failed.result(PATIENCE)
    until(lambda: any(worker.runs for worker in others))
    time.sleep(0.1)
    (second,) = [worker for worker in others if worker.runs]
    second.do("fail", 1, "none again")
    with pytest.raises(RuntimeError, match="NotFoundError: none again"):
        calls.pop(second).result(PATIENCE)
    rest = [worker for worker in others if worker is not second]
    until(lambda: any(worker.runs for worker in rest))
    time.sleep(0.1)
    (third,) = [worker for worker in rest if worker.runs]
    third.do("succeed", 1, "found")
    assert results(*calls.values()) == ["found", "found"]


def test_a_kept_failure_is_raised_in_all_processes_F10(
    workers: Workers, server: Server, namespace: str
) -> None:
    one, other, third = workers.get(
        3, server, namespace, lease=LONG, keeps_failures=True
    )
    calls = [one.start("call", 1)]
    one.wait_for_runs()
    calls.append(other.start("call", 1))
    until(lambda: waits(other) == 1)
    one.do("fail", 1, "none")
    calls.append(third.start("call", 1))
    for call in calls:
        with pytest.raises(RuntimeError, match="NotFoundError: none"):
            call.result(PATIENCE)
    assert other.runs == third.runs == []


# Changes


def make_change(worker: Worker, change: str) -> None:
    """Change the value of 1 to "new", or have it made anew."""
    if change == "refresh":
        worker.runs.clear()
        refreshed = worker.start("refresh", 1)
        worker.wait_for_runs()
        worker.do("succeed", 1, "new")
        results(refreshed)
    elif change == "put":
        worker.do("put", "new", 1)
    elif change == "invalidate":
        worker.do("invalidate", 1)
    else:
        worker.do("clear")
    worker.do("settle")


@pytest.mark.parametrize("change", ["invalidate", "put", "clear", "refresh"])
def test_a_change_reaches_all_processes_F5(
    workers: Workers, server: Server, namespace: str, change: str
) -> None:
    some = workers.get(4, server, namespace, lease=LONG)
    first, *others = some
    calls = [first.start("call", 1)]
    first.wait_for_runs()
    first.do("succeed", 1, "old")
    calls += [worker.start("call", 1) for worker in others]
    assert results(*calls) == ["old"] * 4
    make_change(others[0], change)
    unchanged = [first, *others[1:]]
    until(lambda: not any(worker.do("contains", 1) for worker in unchanged))
    new = [worker.start("call", 1) for worker in some]
    if change in ("invalidate", "clear"):
        until(lambda: sum(len(worker.runs) for worker in some) == 2)
        (maker,) = [w for w in some if w.runs == ([1, 1] if w is first else [1])]
        maker.do("succeed", 1, "new")
    assert results(*new) == ["new"] * 4
    assert sum(len(worker.runs) for worker in some) == (1 if change == "put" else 2)


@pytest.mark.parametrize("change", ["invalidate", "put", "clear"])
def test_a_change_during_a_run_elsewhere_is_not_undone_by_it_F3(
    workers: Workers, server: Server, namespace: str, change: str
) -> None:
    holder, other, third = workers.get(3, server, namespace, lease=LONG)
    old = holder.start("call", 1)
    holder.wait_for_runs()
    make_change(other, change)
    # Nobody can join the run any more, here or elsewhere.
    until(lambda: holder.do("contains", 1) is False)
    holder.do("succeed", 1, "old")
    assert results(old) == ["old"]
    new = third.start("call", 1)
    if change != "put":
        third.wait_for_runs()
        third.do("succeed", 1, "new")
    assert results(new) == ["new"]
    assert holder.do("call", 1) == other.do("call", 1) == "new"


def test_after_settled_no_process_gets_the_old_value_F5(
    workers: Workers, server: Server, namespace: str
) -> None:
    writer, reader = workers.get(2, server, namespace, lease=LONG, takes=0)
    for number in range(30):
        before = reader.do("call", 1)
        writer.do("put", number, 1)
        writer.do("settle")
        # What was sent to the reader is read before what it asks next.
        found = reader.do("stats")["currsize"], reader.do("call", 1)
        assert found[1] in (before, number)
        until(lambda number=number: reader.do("call", 1) == number)


def test_a_change_right_after_another_wins_everywhere_F5(
    workers: Workers, server: Server, namespace: str
) -> None:
    one, other = workers.get(2, server, namespace, lease=LONG)
    for number in range(20):
        one.start("put", number, 1)
    one.do("settle")
    assert one.do("call", 1) == other.do("call", 1) == 19
    for number in range(20):
        one.start("clear")
        one.start("put", number, 1)
    one.do("settle")
    assert one.do("call", 1) == 19
    until(lambda: other.do("call", 1) == 19)
    assert one.runs == other.runs == []


def test_a_refresh_joins_the_run_of_another_process_F5(
    workers: Workers, server: Server, namespace: str
) -> None:
    one, other = workers.get(2, server, namespace, lease=LONG)
    call = one.start("call", 1)
    one.wait_for_runs()
    refresh = other.start("refresh", 1)
    until(lambda: waits(other) == 1)
    one.do("succeed", 1, "a")
    assert results(call, refresh) == ["a", "a"]
    assert other.runs == []


# Time


def test_other_processes_keep_a_value_for_what_is_left_of_it_F6(
    workers: Workers, server: Server, namespace: str
) -> None:
    one, other = workers.get(2, server, namespace, lease=LONG, ttl=0.8, takes=0)
    made = time.monotonic()
    value = one.do("call", 1)
    time.sleep(max(0.0, made + 0.5 - time.monotonic()))
    if other.do("call", 1) == value:  # the machine was fast enough
        until(lambda: not other.do("contains", 1))
        assert time.monotonic() < made + 1.2  # by itself it would be 1.3
    until(lambda: not one.do("contains", 1))
    assert one.do("call", 1) != value


def test_two_deploys_of_two_namespaces_do_not_meet_F9(
    workers: Workers, server: Server, namespace: str
) -> None:
    one, other = workers.get(2, server, namespace, takes=0)
    other.open(server.url, f"{namespace}-2", takes=0)
    assert one.do("call", 1) != other.do("call", 1)
    one.do("clear")
    one.do("settle")
    assert other.do("contains", 1) is True


def test_sets_have_one_key_in_all_processes_F9(
    workers: Workers, server: Server, namespace: str
) -> None:
    some = workers.get(4, server, namespace, takes=0)
    members = [f"member {number}" for number in range(20)]
    told = {worker.do("call_with_set", members) for worker in some}
    assert len(told) == 1
    assert sum(len(worker.runs) for worker in some) == 1
