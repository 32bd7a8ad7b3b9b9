"""Compare async_lru with its peers: ``make benchmark``.

All are imported into one process. In each round each scenario is measured for each peer
in turn, another first each time, with the garbage collector off: what slows the machine
down for a while spoils one round of them all, not all rounds of one. The minimum of
the rounds counts, and the median is shown beside it. Figures that hardly differ between
rounds, and those of large caches, are measured twice, with some time in between. A peer
that lacks what a scenario needs, or does not do what is to be measured, has no figure;
the reasons are listed at the end.

While working on the package::

    python benchmarks/compare.py --quick --peers async-lru
    python benchmarks/compare.py --quick --only hit --peers async-lru --ours ../before

The first prints beside each case how many times as long async-lru takes, and the floor
that this package promises, without what takes minutes (for that, add --large). The
second measures the package of another checkout as well.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import chart
import peers as known
from peers import PEERS, Lacks, Peer
from scenarios import SCENARIOS, AtMost, Failed, Faster, Scenario

RESULTS = Path(__file__).parent / "results"
OURS = PEERS[0].name
BASE = PEERS[1].name

#: A quick comparison gives each scenario so many rounds at least, and further ones as
#: long as its rounds have taken less than so many seconds for each peer.
QUICK_ROUNDS = 5
QUICK_SECONDS = 0.5


def main() -> None:
    """Measure and print; write the results down if they are complete."""
    options = parse()
    peers = [peer for peer in chosen_peers(options) if is_loaded(peer)]
    scenarios = chosen_scenarios(options)
    measurements = [Measurement(scenario, peers) for scenario in scenarios]
    if options.quick:
        compare_quickly(measurements, [peer.name for peer in peers])
        return
    for turn, members in turns(measurements, options.rounds):
        for each in members:
            progress(f"[{turn}] {each.scenario.name}")
            each.go_round()
    progress("")
    results = summary(measurements, peers, options.rounds)
    print(table(results))
    if are_incomplete(options):
        return
    name = f"{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    chart.draw(results, RESULTS / f"{name}.svg")
    print(f"Written: {RESULTS / name}.json and .svg")


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Compare async_lru with its peers.")
    add = parser.add_argument
    add("--only", nargs="+", metavar="TEXT", help="scenarios whose names contain these")
    names = [peer.name for peer in PEERS[1:]]
    add("--peers", nargs="+", choices=names, help="these peers alone, beside ours")
    add("--rounds", type=int, default=30, help="default: %(default)s")
    add("--large", action=argparse.BooleanOptionalAction, help="what takes minutes")
    add("--quick", action="store_true", help="few rounds, and the floors in the table")
    add("--checkout", type=Path, metavar="DIR", help="measure the package in DIR")
    add("--ours", type=Path, metavar="DIR", help="the package in DIR as one more peer")
    options = parser.parse_args()
    if options.large is None:
        options.large = not options.quick
    return options


def are_incomplete(options: argparse.Namespace) -> bool:
    """Tell whether the results with these options are incomplete."""
    return not options.large or any(
        (options.only, options.peers, options.checkout, options.ours)
    )


def chosen_peers(options: argparse.Namespace) -> list[Peer]:
    """Return ours and the peers that the options ask for."""
    first, *others = PEERS
    if options.checkout is not None:
        first.checkout = options.checkout.resolve()
    if options.peers is not None:
        others = [peer for peer in others if peer.name in options.peers]
    if options.ours is not None:
        checkout = options.ours.resolve()
        others.insert(
            0, Peer(checkout.name, known.ours, module="async_lru", checkout=checkout)
        )
    return [first, *others]


def chosen_scenarios(options: argparse.Namespace) -> list[Scenario]:
    """Return the scenarios that the options ask for, and those they are related to."""
    chosen = [
        scenario
        for scenario in SCENARIOS
        if options.only is None or any(text in scenario.name for text in options.only)
    ]
    needed = {
        scenario.floor.of for scenario in chosen if isinstance(scenario.floor, AtMost)
    }
    return [
        scenario
        for scenario in SCENARIOS
        if (scenario in chosen or scenario.name in needed)
        and (options.large or not scenario.large)
    ]


def is_loaded(peer: Peer) -> bool:
    """Load *peer*, or tell why it is left out."""
    progress(f"loading {peer.name}")
    try:
        peer.load()
    except (ImportError, OSError, subprocess.CalledProcessError) as error:
        progress("")
        print(f"{peer.name} is left out: {error}")
        return False
    return True


class Measurement:
    """The figures of a scenario so far."""

    def __init__(self, scenario: Scenario, peers: list[Peer]) -> None:
        self.scenario = scenario
        if scenario.large:
            peers = [
                peer
                for peer in peers
                if peer.module == "async_lru"  # ours, perhaps twice, and async-lru
            ]
        self.peers = list(peers)
        self.measured: dict[str, list[float]] = {peer.name: [] for peer in peers}
        #: Why peers have no figures.
        self.reasons: dict[str, str] = {}

    def go_quickly(self) -> None:
        """Measure as many rounds as fit into a short time."""
        if is_measured_twice(self.scenario):
            self.go_round()
            self.go_round()
            return
        limit = perf_counter() + QUICK_SECONDS * len(self.peers)
        rounds = 0
        while rounds < QUICK_ROUNDS or perf_counter() < limit:
            self.go_round()
            rounds += 1

    def go_round(self) -> None:
        """Measure each peer once; another is first each time."""
        self.peers.append(self.peers.pop(0))
        for peer in self.peers:
            if peer.name in self.reasons:
                continue
            try:
                figure = asyncio.run(undisturbed(self.scenario, peer))
            except (Lacks, Failed) as error:
                self.reasons[peer.name] = f"{type(error).__name__.lower()}: {error}"
            except Exception as error:  # a peer that breaks stops nobody else
                if peer.name == OURS:
                    raise
                self.reasons[peer.name] = f"raised {error!r}"
            else:
                self.measured[peer.name].append(figure)

    def cells(self) -> dict[str, Any]:
        """Return minimum and median for each peer that has figures."""
        return {
            name: {"min": min(figures), "median": median(figures)}
            for name, figures in self.measured.items()
            if name not in self.reasons
        }


def is_measured_twice(scenario: Scenario) -> bool:
    """Tell whether two rounds of *scenario* will do."""
    return scenario.steady or scenario.large


def turns(
    measurements: list[Measurement], rounds: int
) -> list[tuple[str, list[Measurement]]]:
    """Return what is measured, in which order."""
    twice = [each for each in measurements if is_measured_twice(each.scenario)]
    repeated = [each for each in measurements if not is_measured_twice(each.scenario)]
    return [
        ("large caches and memory, 1/2", twice),
        *((f"round {number + 1}/{rounds}", repeated) for number in range(rounds)),
        ("large caches and memory, 2/2", twice),
    ]


async def undisturbed(scenario: Scenario, peer: Peer) -> float:
    """Measure once, with no garbage to collect."""
    gc.collect()
    gc.disable()
    try:
        return await scenario.measure(peer)
    finally:
        gc.enable()


def summary(
    measurements: list[Measurement], peers: list[Peer], rounds: int
) -> dict[str, Any]:
    """Return the results as they are written down."""
    results: dict[str, Any] = {
        "machine": machine(),
        "rounds": rounds,
        "versions": {peer.name: peer.version for peer in peers},
        "scenarios": {},
        "empty": {},
    }
    for each in measurements:
        name = each.scenario.name
        results["scenarios"][name] = {"unit": each.scenario.unit, "cells": each.cells()}
        for peer, reason in each.reasons.items():
            results["empty"].setdefault(peer, {})[name] = reason
    return results


def machine() -> str:
    """Describe the machine in a line."""
    return (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )


def progress(text: str) -> None:
    """Tell what is being done, in one line of the terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def table(results: dict[str, Any]) -> str:
    """Return the results as text: minimum, median, and how many times ours that is."""
    lines = [results["machine"]]
    for name, result in results["scenarios"].items():
        cells = result["cells"]
        lines += ["", f"{name} ({result['unit']})"]
        ours = cells.get(OURS, {"min": None})["min"]
        for peer, cell in sorted(cells.items(), key=lambda item: item[1]["min"]):
            ratio = f"{cell['min'] / ours:9.2f}x" if ours else ""
            lines.append(
                f"    {peer:18}{cell['min']:12,.1f}{cell['median']:12,.1f}{ratio}"
            )
    for peer, reasons in results["empty"].items():
        lines += ["", f"{peer} has no figures for"]
        lines += [f"    {name}: {reason}" for name, reason in reasons.items()]
    return "\n".join(lines)


def compare_quickly(measurements: list[Measurement], names: list[str]) -> None:
    """Measure, and print a row for each scenario: figures, ratios and the floor."""
    print(machine())
    ours, *others = names
    head = "".join(f"{name:>20}" for name in others)
    print(f"\n{'':60}{ours:>12}{head}  floor, {BASE}/ours", flush=True)
    figures: dict[str, dict[str, float]] = {}
    for each in measurements:
        scenario = each.scenario
        progress(scenario.name)
        each.go_quickly()
        progress("")
        mine = figures[scenario.name] = minima(each)
        cells = [
            f"{mine[name]:,.1f} {mine[name] / mine[ours]:6.2f}x" if name in mine else ""
            for name in others
        ]
        row = "".join(f"{cell:>20}" for cell in cells)
        print(
            f"{scenario.name:52}{scenario.unit:8}{mine[ours]:12,.1f}{row}"
            f"  {verdict(scenario, figures)}",
            flush=True,
        )
    for each in measurements:
        for peer, reason in each.reasons.items():
            print(f"{peer}, {each.scenario.name}: {reason}")


def minima(measurement: Measurement) -> dict[str, float]:
    """Return the minimum of each peer that has figures."""
    return {name: cell["min"] for name, cell in measurement.cells().items()}


def verdict(scenario: Scenario, figures: dict[str, dict[str, float]]) -> str:
    """Return the floor of *scenario*, and whether the figures of ours reach it."""
    ours = figures[scenario.name][OURS]
    floor = scenario.floor
    if isinstance(floor, Faster):
        promised = {(3, 13): floor.on_313, (3, 11): floor.on_311}
        least = promised.get(sys.version_info[:2])
        theirs = figures[scenario.name].get(BASE)
        if least is None or sys.implementation.name != "cpython" or theirs is None:
            return ""
        return f">= {least}x{missed(theirs / ours < least)}"
    if isinstance(floor, AtMost):
        if floor.of is None:
            return f"<= {floor.limit:,} {scenario.unit}{missed(ours > floor.limit)}"
        reached = ours / figures[floor.of][OURS]
        return (
            f"<= {floor.limit}x {floor.of}: {reached:.2f}x"
            f"{missed(reached > floor.limit)}"
        )
    return ""


def missed(is_missed: bool) -> str:
    """Return a mark for a floor that is not reached."""
    return "  MISSED" if is_missed else ""


if __name__ == "__main__":
    main()
