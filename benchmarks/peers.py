"""The caches that are compared, each under its own path, and how each is asked for.

A peer that lacks what a scenario needs raises Lacks, and gets an empty cell.
"""

import functools
import importlib
import importlib.metadata
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = (
    Path(__file__).parent / ".peers" / f"{sys.version_info[0]}.{sys.version_info[1]}"
)

Function = Callable[..., Any]


class Lacks(Exception):
    """What a scenario asks for is not there."""


class Options(NamedTuple):
    """What the cache of a scenario is to be like."""

    maxsize: int | None = None
    typed: bool = False
    ttl: float | None = None
    jitter: float | None = None


def require(available: bool, what: str) -> None:
    """Raise Lacks unless *what* is there."""
    if not available:
        raise Lacks(what)


@dataclass
class Peer:
    """A library, and how it is asked for a decorator."""

    name: str
    #: Returns the decorator of the library for these options, or raises Lacks.
    decorator: Callable[[Any, Options], Callable[[Function], Function]]
    #: What pip installs and what is imported then; None for what is here.
    requirement: str | None = None
    module: str | None = None
    #: Whether it decorates plain functions, which are called without await.
    sync: bool = False

    def load(self) -> None:
        """Import the library, installed into a folder of its own on first use."""
        self.library: Any = None
        self.version = ""
        if self.requirement is None:
            if self.module is not None:
                self.library = importlib.import_module(self.module)
            return
        folder = FOLDER / self.name
        if not folder.exists():
            install(self.requirement, folder)
        assert self.module is not None
        if self.module in sys.modules:  # the name is taken, by ours
            with aside(self.module, folder):
                self.library = importlib.import_module(self.module)
        else:
            sys.path.append(str(folder))
            self.library = importlib.import_module(self.module)
        distribution = self.requirement.partition("=")[0]
        found = importlib.metadata.distributions(name=distribution, path=[str(folder)])
        self.version = next(iter(found)).version

    def decorate(self, function: Function, options: Options) -> Function:
        """Return *function* with a cache."""
        return self.decorator(self.library, options)(function)


def install(requirement: str, folder: Path) -> None:
    """Install *requirement* into *folder*, or raise with what pip said."""
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


@contextmanager
def aside(module: str, folder: Path) -> Any:
    """Import *module* from *folder*, and put the one of that name back after it."""

    def forget() -> dict[str, Any]:
        names = [name for name in sys.modules if f"{name}.".startswith(f"{module}.")]
        return {name: sys.modules.pop(name) for name in names}

    others = forget()
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        forget()
        sys.modules.update(others)


# How each is asked


def async_lru(library: Any, options: Options) -> Any:
    """Ours, and async-lru 2.4."""
    return library.alru_cache(**options._asdict())


def faster_async_lru(library: Any, options: Options) -> Any:
    """A compiled fork of async-lru."""
    require(options.jitter is None, "jitter")
    return library.alru_cache(options.maxsize, options.typed, ttl=options.ttl)


def anyio(library: Any, options: Options) -> Any:
    """anyio.functools: for asyncio and trio."""
    require(options.jitter is None, "jitter")
    ttl = options.ttl
    require(ttl is None or ttl == int(ttl), "fractions of a second")
    return library.lru_cache(maxsize=options.maxsize, typed=options.typed, ttl=ttl)


def cachetools_async(library: Any, options: Options) -> Any:
    """Coroutine functions over the synchronous caches of cachetools."""
    require(options.jitter is None, "jitter")
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
    require(options.jitter is None, "jitter")
    require(not options.typed, "typed")
    if options.ttl is not None:
        return library.AsyncTTL(time_to_live=options.ttl, maxsize=options.maxsize)
    return library.AsyncLRU(maxsize=options.maxsize)


def async_lru_cache(library: Any, options: Options) -> Any:
    """async-lru-cache."""
    require(options.jitter is None, "jitter")
    require(not options.typed, "typed")
    require(options.maxsize is not None, "no bound")
    return library.alru_cache(maxsize=options.maxsize, ttl=options.ttl)


def cachebox(library: Any, options: Options) -> Any:
    """cachebox, whose caches are written in Rust."""
    require(options.jitter is None, "jitter")
    maxsize = options.maxsize or 0  # 0 is no bound
    key = library.make_typed_key if options.typed else library.make_key
    if options.ttl is not None:
        cache = library.TTLCache(maxsize, options.ttl)
    else:
        cache = library.LRUCache(maxsize)
    return library.cached(cache, key_maker=key)


def aiocache(library: Any, options: Options) -> Any:
    """aiocache, in memory; its keys are texts of the arguments."""
    require(options.jitter is None, "jitter")
    require(not options.typed, "typed")
    require(options.maxsize is None, "maxsize")
    return library.cached(ttl=options.ttl)


def cashews(library: Any, options: Options) -> Any:
    """cashews, in memory; its keys are texts of the arguments."""
    require(options.jitter is None, "jitter")
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
    require(options.ttl is None, "ttl")
    return functools.lru_cache(options.maxsize, options.typed)


def floor(_: Any, options: Options) -> Any:
    """The least that a generic wrapper in Python can do for a hit."""
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
    Peer("async_lru 3", async_lru, module="async_lru"),
    Peer("async-lru", async_lru, "async-lru==2.4.0", "async_lru"),
    Peer("faster-async-lru", faster_async_lru, "faster-async-lru", "faster_async_lru"),
    Peer("anyio", anyio, "anyio", "anyio.functools"),
    Peer("cachetools-async", cachetools_async, "cachetools-async", "cachetools_async"),
    Peer("async-cache", async_cache, "async-cache", "cache"),
    Peer("async-lru-cache", async_lru_cache, "async-lru-cache", "async_lru_cache"),
    Peer("cachebox", cachebox, "cachebox", "cachebox"),
    Peer("aiocache", aiocache, "aiocache", "aiocache"),
    Peer("cashews", cashews, "cashews", "cashews"),
    Peer("floor", floor),
    Peer("uncached", uncached),
    Peer("functools (sync)", lru_cache, sync=True),
]
