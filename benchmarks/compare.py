"""Compare async_lru with its peers: ``make benchmark``.

All are imported into one process. In each round each scenario is measured for each peer
in turn, another first each time, with the garbage collector off: what slows the machine
down for a while spoils a round of them all and not all the rounds of one. The minimum of
the rounds counts, and the median is shown beside it. What memory holds is the same each
time and asked for once, and caches too large for many rounds have two, with some time in
between. A peer that lacks what a scenario needs, or does not do what was to be measured,
has an empty cell; why is told at the end.
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
from typing import Any

import chart
from peers import PEERS, Lacks, Peer
from scenarios import SCENARIOS, Failed, Scenario

RESULTS = Path(__file__).parent / "results"
OURS = PEERS[0].name
BASE = PEERS[1].name


def main() -> None:
    """Measure, and write down what came out."""
    options = parse()
    peers = [peer for peer in PEERS if matches(peer.name, options.peers)]
    peers = [peer for peer in peers if is_loaded(peer)]
    scenarios = [found for found in SCENARIOS if matches(found.name, options.only)]
    if not options.large:
        scenarios = [found for found in scenarios if not found.large]
    results: dict[str, Any] = {
        "machine": machine(),
        "rounds": options.rounds,
        "versions": {peer.name: peer.version for peer in peers},
        "scenarios": {},
        "empty": {},
    }
    measurements = [Measurement(found, peers) for found in scenarios]
    large = [each for each in measurements if each.scenario.large]
    memory = [each for each in measurements if each.scenario.unit == "bytes"]
    repeated = [each for each in measurements if each not in (*large, *memory)]
    turns = [
        *(
            (f"round {number + 1}/{options.rounds}", repeated)
            for number in range(options.rounds)
        ),
        ("large, 1/2", large),
        ("memory", memory),
        ("large, 2/2", large),
    ]
    for turn, members in turns:
        for each in members:
            progress(f"[{turn}] {each.scenario.name}")
            each.go_round()
    for each in measurements:
        name = each.scenario.name
        results["scenarios"][name] = {"unit": each.scenario.unit, "cells": each.cells()}
        for peer, reason in each.reasons.items():
            results["empty"].setdefault(peer, {})[name] = reason
    progress("")
    print(table(results))
    if options.only or options.peers or not options.large:
        return  # not the whole picture
    name = f"{platform.python_implementation().lower()}-{sys.version_info[0]}.{sys.version_info[1]}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    chart.draw(results, RESULTS / f"{name}.svg")
    print(f"Written: {RESULTS / name}.json and .svg")


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description="Compare async_lru with its peers.")
    parser.add_argument("--only", help="scenarios with one of these, comma-separated")
    parser.add_argument("--peers", help="peers with one of these, comma-separated")
    parser.add_argument("--rounds", type=int, default=30, help="default: %(default)s")
    parser.add_argument(
        "--no-large",
        dest="large",
        action="store_false",
        help="leave out what takes a minute: caches of up to 1,000,000 entries",
    )
    return parser.parse_args()


def matches(name: str, wanted: str | None) -> bool:
    """Tell whether *name* has one of the parts that are asked for."""
    return wanted is None or any(part in name for part in wanted.split(","))


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
    """What a scenario has given so far."""

    def __init__(self, scenario: Scenario, peers: list[Peer]) -> None:
        self.scenario = scenario
        if scenario.large:
            peers = [peer for peer in peers if peer.name in (OURS, BASE)]
        self.peers = list(peers)
        self.measured: dict[str, list[float]] = {peer.name: [] for peer in peers}
        #: Why peers have no figures.
        self.reasons: dict[str, str] = {}

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


async def undisturbed(found: Scenario, peer: Peer) -> float:
    """Measure once, with no garbage to collect."""
    gc.collect()
    gc.disable()
    try:
        return await found.measure(peer)
    finally:
        gc.enable()


def machine() -> str:
    """Describe the machine in a line."""
    return (
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    )


def progress(text: str) -> None:
    """Say what is going on, in one line of the terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)


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


if __name__ == "__main__":
    main()
