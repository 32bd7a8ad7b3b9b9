"""Check what each of the compared libraries can do: ``make features``.

Writes the tables in docs/comparison.rst. Each cell is the outcome of a short check that
is run against the library, or says that it was not checked.
"""

import asyncio
import datetime as dt
import logging
import platform
import sys
import warnings
from pathlib import Path

from checks import CHECKS, TABLES, Check, NotChecked, add_extra
from peers import PEERS, Lacks, Peer
from recipes import EXTRAS

PAGE = Path(__file__).parent.parent / "docs" / "comparison.rst"
BEGIN, END = ".. features\n", ".. end of features\n"
#: A check that takes longer has failed.
SECONDS = 5

YES, NO, UNKNOWN = "✓", "✗", "*not checked*"


def ignore(_: object, __: object) -> None:
    """Ignore what the event loop reports."""


def result(peer: Peer, checked: Check) -> str:
    """Return the text of a cell."""

    async def run() -> bool:
        asyncio.get_running_loop().set_exception_handler(ignore)
        return await asyncio.wait_for(checked(peer), SECONDS)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return YES if asyncio.run(run()) else NO
        except NotChecked:
            return UNKNOWN
        except Lacks:
            return NO
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # any failure is a no
            print(f"  {peer.name}: {error!r}", file=sys.stderr)
            return NO


def tables(peers: list[Peer]) -> str:
    """Return the tables as reStructuredText."""
    head = ["", *(f"{peer.name} {peer.version}".strip() for peer in peers)]
    today = dt.datetime.now(tz=dt.timezone.utc).date()
    lines = [f"Checked on {today} with Python {platform.python_version()}.", ""]
    for title, texts in TABLES.items():
        lines += [title, "-" * len(title), ""]
        lines += [".. list-table::", "   :header-rows: 1", "   :stub-columns: 1"]
        lines += ["   :class: comparison", ""]
        rows = [head]
        for text in texts:
            print(text, file=sys.stderr)
            rows.append([text, *(result(peer, CHECKS[text]) for peer in peers)])
        for row in rows:
            for first, cell in zip([True] + [False] * len(row), row, strict=False):
                lines.append(f"   {'*' if first else ' '} - {cell}".rstrip())
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Check all peers and write the table."""
    logging.disable()  # of outages
    for module, requirement in EXTRAS.items():
        add_extra(module, requirement)
    peers: list[Peer] = []
    for peer in PEERS:
        if peer.module is None or peer.sync:
            continue
        peer.load()
        peers.append(peer)
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{tables(peers)}\n{END}{after}")


if __name__ == "__main__":
    main()
