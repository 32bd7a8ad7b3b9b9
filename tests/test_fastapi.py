"""What the guide to tests says of FastAPI: lifespans and test clients (A9, A10, E1)."""

import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from async_lru import AlruCacheLoopResetWarning, alru_cache

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # newer Starlette prefers a successor of httpx
    from fastapi import Depends, FastAPI
    from fastapi.testclient import TestClient

pytestmark = pytest.mark.more

Start = Callable[[Any], None]


def application(
    *, at_start: Start | None = None, **options: Any
) -> tuple[FastAPI, Any, list[int]]:
    """Return an application with a cached function, the function, and its runs."""
    runs: list[int] = []

    @alru_cache(**options)
    async def load(number: int) -> dict[str, int]:
        runs.append(number)
        return {"id": number}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if at_start is not None:
            at_start(load)
        yield
        await load.cache_close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/items/{number}")
    async def item(number: int) -> dict[str, int]:
        return await load(number)

    return app, load, runs


def use(client: TestClient) -> None:
    for _ in range(2):
        assert client.get("/items/7").json() == {"id": 7}


def cache_open(load: Any) -> None:
    load.cache_open()


@pytest.mark.parametrize("shared", [False, True])
def test_an_application_that_opens_its_cache_can_be_started_again_A9(
    shared: bool,
) -> None:
    app, load, runs = application(at_start=cache_open, shared=shared)
    for starts in (1, 2, 3):
        with TestClient(app) as client:
            use(client)
        assert runs == [7] * starts  # each start finds the cache empty
    assert load.cache_parameters()["closed"]


def test_an_application_that_only_closes_its_cache_fails_when_started_again_A9() -> (
    None
):
    app, _, _ = application()
    with TestClient(app) as client:
        use(client)
    with (
        TestClient(app) as client,
        pytest.raises(RuntimeError, match="alru_cache is closed"),
    ):
        client.get("/items/7")


def test_resetting_the_caches_opens_them_too(alru_cache_reset: None) -> None:
    from async_lru.testing import reset_caches

    app, _, runs = application()
    for _ in range(2):
        reset_caches()
        with TestClient(app) as client:
            use(client)
    assert runs == [7, 7]


def test_a_client_without_a_with_has_a_loop_for_each_request_A10() -> None:
    app, load, runs = application(at_start=cache_open)
    client = TestClient(app)
    client.get("/items/7")
    with pytest.warns(AlruCacheLoopResetWarning, match="detected event loop change"):
        client.get("/items/7")
    assert runs == [7, 7]
    assert not load.cache_parameters()["closed"]  # no lifespan was run


def test_a_shared_cache_serves_a_client_without_a_with_E1() -> None:
    app, _, runs = application(shared=True)
    use(TestClient(app))
    assert runs == [7]


def test_a_cached_function_can_be_a_dependency_and_be_overridden() -> None:
    runs: list[str] = []

    @alru_cache
    async def settings() -> dict[str, str]:
        runs.append("settings")
        return {"name": "real"}

    app = FastAPI()

    @app.get("/")
    async def page(found: dict[str, str] = Depends(settings)) -> dict[str, str]:
        return found

    with TestClient(app) as client:
        for _ in range(2):
            assert client.get("/").json() == {"name": "real"}
        app.dependency_overrides[settings] = lambda: {"name": "other"}
        assert client.get("/").json() == {"name": "other"}
    assert runs == ["settings"]
