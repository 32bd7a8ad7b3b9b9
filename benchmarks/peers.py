"""The libraries that are compared, each imported from a folder of its own.

A peer that lacks what a scenario needs raises Lacks and has no figure there.
"""

import functools
import importlib
import importlib.metadata
import os
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
#: Where pip installs the peers. COMPARE_PEERS puts it somewhere else.
FOLDER = (
    Path(os.environ.get("COMPARE_PEERS", Path(__file__).parent / ".peers"))
    / f"{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}"
)

Function = Callable[..., Any]


class Lacks(Exception):
    """The library does not have what a scenario needs."""


class Options(NamedTuple):
    """The options of the cache that a scenario needs."""

    maxsize: int | None = None
    typed: bool = False
    ttl: float | None = None
    jitter: float | None = None
    per_instance: bool = False
    #: Between event loops and threads. Other libraries do as they always do.
    shared: bool = False


def require(available: bool, what: str) -> None:
    """Raise Lacks unless *what* is available."""
    if not available:
        raise Lacks(what)


@dataclass
class Peer:
    """A library, and how to get a decorator from it."""

    name: str
    #: Returns the library's decorator for these options, or raises Lacks.
    decorator: Callable[[Any, Options], Callable[[Function], Function]]
    #: What pip installs, and what is imported then; None for what is defined here.
    requirement: str | None = None
    module: str | None = None
    #: A checkout to import the module from; nothing is installed then.
    checkout: Path | None = None
    #: Whether it decorates plain functions, which are called without await.
    sync: bool = False

    def load(self) -> None:
        """Import the library; it is installed on first use."""
        self.library: Any = None
        self.version = ""
        if self.module is None:
            return
        if self.checkout is not None:
            self.library = import_from(self.checkout, self.module)
        elif self.requirement is not None:
            folder = FOLDER / self.name
            if not folder.exists():
                install(self.requirement, folder)
            self.library = import_from(folder, self.module)
            distribution = self.requirement.partition("=")[0]
            found = importlib.metadata.distributions(
                name=distribution, path=[str(folder)]
            )
            self.version = next(iter(found)).version
        elif self.module in sys.modules:
            self.library = sys.modules[self.module]
        else:
            self.library = import_from(ROOT, self.module)

    def decorate(self, function: Function, options: Options) -> Function:
        """Return *function* with a cache."""
        return self.decorator(self.library, options)(function)


def install(requirement: str, folder: Path) -> None:
    """Install *requirement* into *folder*, or raise CalledProcessError."""
    unfinished = folder.with_name(folder.name + ".unfinished")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--upgrade"),
            *("--disable-pip-version-check", "--target", str(unfinished), requirement),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    unfinished.rename(folder)


def import_from(folder: Path, module: str) -> ModuleType:
    """Import *module* from *folder*, even if another module has that name already."""
    if module not in sys.modules:
        sys.path.insert(0, str(folder))
        return importlib.import_module(module)
    with unloaded(module):
        sys.path.insert(0, str(folder))
        try:
            return importlib.import_module(module)
        finally:
            sys.path.remove(str(folder))


@contextmanager
def unloaded(module: str) -> Generator[None, None, None]:
    """Take *module* and its submodules out of sys.modules, and put them back."""

    def take() -> dict[str, Any]:
        names = [name for name in sys.modules if f"{name}.".startswith(f"{module}.")]
        return {name: sys.modules.pop(name) for name in names}

    others = take()
    try:
        yield
    finally:
        take()
        sys.modules.update(others)


# How to get a decorator from each


def ours(library: Any, options: Options) -> Any:
    """Return the decorator of this package."""
    return library.alru_cache(**options._asdict())


def async_lru(library: Any, options: Options) -> Any:
    """async-lru 2.4."""
    require(not options.per_instance, "per_instance")
    return library.alru_cache(
        options.maxsize, options.typed, ttl=options.ttl, jitter=options.jitter
    )


def plain(options: Options) -> None:
    """Raise Lacks for options that only async-lru and this package have."""
    require(options.jitter is None, "jitter")
    require(not options.per_instance, "per_instance")


def faster_async_lru(library: Any, options: Options) -> Any:
    """A compiled fork of async-lru."""
    plain(options)
    return library.alru_cache(options.maxsize, options.typed, ttl=options.ttl)


def anyio(library: Any, options: Options) -> Any:
    """anyio.functools: for asyncio and trio."""
    plain(options)
    ttl = options.ttl
    require(ttl is None or ttl == int(ttl), "fractions of a second")
    return library.lru_cache(maxsize=options.maxsize, typed=options.typed, ttl=ttl)


def cachetools_async(library: Any, options: Options) -> Any:
    """Coroutine functions over the synchronous caches of cachetools."""
    plain(options)
    cachetools = importlib.import_module("cachetools")
    maxsize = float("inf") if options.maxsize is None else options.maxsize
    if options.ttl is not None:
        cache = cachetools.TTLCache(maxsize, options.ttl)
    else:
        cache = cachetools.LRUCache(maxsize)
    key = cachetools.keys.typedkey if options.typed else cachetools.keys.hashkey
    return library.cached(cache, key=key)


def async_cache(library: Any, options: Options) -> Any:
    """async-cache."""
    plain(options)
    require(not options.typed, "typed")
    if options.ttl is not None:
        return library.AsyncTTL(time_to_live=options.ttl, maxsize=options.maxsize)
    return library.AsyncLRU(maxsize=options.maxsize)


def async_lru_cache(library: Any, options: Options) -> Any:
    """async-lru-cache."""
    plain(options)
    require(not options.typed, "typed")
    require(options.maxsize is not None, "no bound")
    return library.alru_cache(maxsize=options.maxsize, ttl=options.ttl)


def cachebox(library: Any, options: Options) -> Any:
    """cachebox, whose caches are written in Rust."""
    plain(options)
    maxsize = options.maxsize or 0  # 0 is no bound
    key = library.make_typed_key if options.typed else library.make_key
    if options.ttl is not None:
        cache = library.TTLCache(maxsize, options.ttl)
    else:
        cache = library.LRUCache(maxsize)
    return library.cached(cache, key_maker=key)


def aiocache(library: Any, options: Options) -> Any:
    """aiocache, in memory; it makes strings of the arguments."""
    plain(options)
    require(not options.typed, "typed")
    require(options.maxsize is None, "maxsize")
    return library.cached(ttl=options.ttl)


def cashews(library: Any, options: Options) -> Any:
    """cashews, in memory; it makes strings of the arguments."""
    plain(options)
    require(not options.typed, "typed")
    cache = library.Cache()
    cache.setup("mem://", size=options.maxsize or 10_000_000, check_interval=0)
    return cache(ttl=options.ttl)


def uncached(_: Any, options: Options) -> Any:
    """The function itself."""

    def decorate(function: Function) -> Function:
        return function

    return decorate


def lru_cache(_: Any, options: Options) -> Any:
    """functools, of a function that is not async: for scale."""
    plain(options)
    require(options.ttl is None, "ttl")
    return functools.lru_cache(options.maxsize, options.typed)


def minimal(_: Any, options: Options) -> Any:
    """The least that a generic wrapper in pure Python does for a hit."""
    plain(options)
    require(options.ttl is None and not options.typed, "options")
    keywords = object()

    def decorate(function: Function) -> Function:
        entries: OrderedDict[Any, Any] = OrderedDict()
        get = entries.get
        touch = entries.move_to_end

        async def call(*args: Any, **kwargs: Any) -> Any:
            if kwargs:
                key: Any = (*args, keywords, *kwargs.items())
            elif len(args) == 1 and (type(args[0]) is int or type(args[0]) is str):
                key = args[0]
            else:
                key = args
            value = get(key)
            if value is not None:
                touch(key)
                return value
            value = entries[key] = await function(*args, **kwargs)
            return value

        return call

    return decorate


PEERS = [
    Peer("async_lru 3", ours, module="async_lru"),
    Peer("async-lru", async_lru, "async-lru==2.4.0", "async_lru"),
    Peer("faster-async-lru", faster_async_lru, "faster-async-lru", "faster_async_lru"),
    Peer("anyio", anyio, "anyio", "anyio.functools"),
    Peer("cachetools-async", cachetools_async, "cachetools-async", "cachetools_async"),
    Peer("async-cache", async_cache, "async-cache", "cache"),
    Peer("async-lru-cache", async_lru_cache, "async-lru-cache", "async_lru_cache"),
    Peer("cachebox", cachebox, "cachebox", "cachebox"),
    Peer("aiocache", aiocache, "aiocache", "aiocache"),
    Peer("cashews", cashews, "cashews", "cashews"),
    Peer("minimal wrapper", minimal),
    Peer("uncached", uncached),
    Peer("functools (sync)", lru_cache, sync=True),
]
