"""A11 and B7: methods and metadata. B8: copies and pickles."""

import asyncio
import copy
import doctest
import functools
import gc
import inspect
import pickle
import pydoc
import sys
import types
import typing
import weakref
from typing import Any
from unittest import mock

import pytest
from conftest import counted, needs_refcount

from async_lru import (
    AlruCacheBoundMethod,
    AlruCacheWrapper,
    _LRUCacheWrapper,
    _LRUCacheWrapperInstanceMethod,
    alru_cache,
)


@alru_cache(maxsize=10)
async def documented(number: int, *, text: str = "") -> bytes:
    """Say something."""
    return text.encode() * number


documented_function = documented.__wrapped__


class Service:
    """A class with all kinds of methods."""

    calls: list[Any]

    def __init__(self) -> None:
        self.calls = []

    @alru_cache
    async def method(self, number: int, text: str = "") -> tuple[Any, ...]:
        """Do something."""
        self.calls.append(number)
        return (self, number, text)

    @alru_cache
    async def other(self, number: int) -> int:
        return number

    @staticmethod
    @alru_cache
    async def static(number: int) -> int:
        return number

    @classmethod
    @alru_cache
    async def of_class(cls, number: int) -> tuple[Any, ...]:
        return (cls, number)


class Special(Service):
    async def call_super(self, number: int) -> tuple[Any, ...]:
        return await super().method(number)


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value

    @alru_cache
    async def method(self, number: int) -> int:
        return self.value + number


@pytest.fixture(autouse=True)
async def _clear() -> None:
    for function in (documented, Service.method, Service.other, Service.static):
        function.cache_clear()


pytestmark = pytest.mark.filterwarnings("ignore::async_lru.AlruCacheLoopResetWarning")


async def test_a_method_puts_its_object_first_A11() -> None:
    one, other = Service(), Service()
    assert await one.method(1) == (one, 1, "")
    assert await one.method(1) == (one, 1, "")
    assert await other.method(1) == (other, 1, "")
    assert one.calls == other.calls == [1]
    assert one.method.cache_info() == (1, 2, 128, 2)
    assert one.method.cache_parameters() == Service.method.cache_parameters()


async def test_introspection_of_a_method_puts_its_object_first_A11() -> None:
    one, other = Service(), Service()
    await one.method(1)
    await other.method(1)
    assert one.method.cache_contains(1)
    assert not one.method.cache_contains(number=1)
    assert one.method.cache_invalidate(1)
    assert not one.method.cache_invalidate(1)
    assert not one.method.cache_contains(1)
    assert other.method.cache_contains(1)
    other.method.cache_clear()
    assert not other.method.cache_contains(1)


async def test_a_method_can_be_closed_A11() -> None:
    class Closing:
        @alru_cache
        async def method(self) -> None:
            pass

    service = Closing()
    await service.method.cache_close(wait=True)
    with pytest.raises(RuntimeError, match=r"Closing\.method"):
        await service.method()


async def test_keyword_arguments_named_like_our_own_A11() -> None:
    @alru_cache
    async def function(**kwargs: Any) -> Any:
        return kwargs

    names = {"self": 1, "args": 2, "key": 3, "function": 4, "instance": 5, "cls": 6}
    assert await function(**names) == names
    assert function.cache_contains(**names)
    assert function.cache_invalidate(**names)

    class Keywords:
        @alru_cache
        async def method(this, **kwargs: Any) -> Any:  # noqa: N805
            return kwargs

    service = Keywords()
    assert await service.method(**names) == names
    assert service.method.cache_contains(**names)
    assert service.method.cache_invalidate(**names)


async def test_staticmethods_A11() -> None:
    assert await Service.static(1) == 1
    assert await Service().static(1) == 1
    assert Service().static.cache_info() == (1, 1, 128, 1)
    assert Service.static.cache_contains(1)
    assert Service.static.cache_invalidate(1)


async def test_classmethods_A11() -> None:
    Service.of_class.cache_clear()  # type: ignore[attr-defined]
    assert await Service.of_class(1) == (Service, 1)
    assert await Service().of_class(1) == (Service, 1)
    assert await Special.of_class(1) == (Special, 1)
    assert Service.of_class.cache_info() == (1, 2, 128, 2)  # type: ignore[attr-defined]
    contains = Service.of_class.cache_contains  # type: ignore[attr-defined]
    if sys.version_info < (3, 13):
        assert contains(1)
    else:  # classmethod no longer asks what it wraps: a plain bound method
        assert contains(Service, 1)


async def test_inheritance_A11() -> None:
    service = Special()
    assert await service.method(1) == (service, 1, "")
    assert await service.call_super(1) == (service, 1, "")
    assert service.method.cache_info() == (1, 1, 128, 1)
    assert Special.method is Service.method


async def test_slotted_classes_A11() -> None:
    service = Slotted(10)
    assert await service.method(1) == 11
    assert await service.method(1) == 11
    assert service.method.cache_info().hits == 1


async def test_a_function_set_on_a_class_later_is_a_method_A11() -> None:
    class Late:
        pass

    Late.method = alru_cache(_second)  # type: ignore[attr-defined]
    assert await Late().method(5) == 5  # type: ignore[attr-defined]


async def _second(_: Any, number: int) -> int:
    return number


def test_the_wrapper_carries_the_functions_metadata_A11() -> None:
    assert documented.__name__ == "documented"
    assert documented.__qualname__ == "documented"
    assert documented.__module__ == __name__
    assert documented.__doc__ == "Say something."
    assert documented.__wrapped__ is documented_function
    assert inspect.signature(documented) == inspect.signature(documented_function)
    assert typing.get_type_hints(documented) == {
        "number": int,
        "text": str,
        "return": bytes,
    }
    assert documented.__annotations__ == documented_function.__annotations__  # type: ignore[attr-defined]


def test_the_wrapper_carries_the_functions_dict_A11() -> None:
    async def function() -> None:
        pass

    function.mark = object()  # type: ignore[attr-defined]
    cached = alru_cache(function)
    assert cached.mark is function.mark  # type: ignore[attr-defined]
    cached.other = 1  # type: ignore[attr-defined]
    assert not hasattr(function, "other")
    with pytest.raises(AttributeError, match="missing"):
        cached.missing  # type: ignore[attr-defined]  # noqa: B018


def test_a_partial_is_called_what_its_function_is_A11() -> None:
    cached = alru_cache(functools.partial(documented_function, 1))
    assert cached.__name__ == "documented"
    assert cached.__doc__ == "Say something."
    assert str(inspect.signature(cached)) == "(*, text: str = '') -> bytes"


@pytest.mark.filterwarnings("ignore:.*iscoroutinefunction:DeprecationWarning")
def test_both_are_coroutine_functions_A11() -> None:
    bound = Service().method
    for function in (documented, Service.method, bound, Service().static):
        assert inspect.iscoroutinefunction(function)
        assert asyncio.iscoroutinefunction(function)
        assert inspect.iscoroutinefunction(functools.partial(function, 1))
        assert not inspect.isgeneratorfunction(function)
        assert not inspect.isasyncgenfunction(function)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="marks are new in 3.12")
def test_a_plain_function_that_wraps_one_is_a_coroutine_function_A11() -> None:
    @functools.wraps(documented)
    def wrapping(*args: Any, **kwargs: Any) -> Any:
        return documented(*args, **kwargs)

    assert inspect.iscoroutinefunction(wrapping)


def test_both_are_routines_A11() -> None:
    for function in (documented, Service.method, Service().method):
        assert inspect.isroutine(function)


def test_help_shows_the_signature_and_the_docstring_A11() -> None:
    text = pydoc.render_doc(documented, renderer=pydoc.plaintext)
    assert "documented(number: int, *, text: str = '') -> bytes" in text
    assert "Say something." in text
    text = pydoc.render_doc(Service, renderer=pydoc.plaintext)
    assert "method(self, number: int, text: str = '')" in text
    assert "Do something." in text


def test_doctest_finds_the_docstring_A11() -> None:
    module = types.ModuleType("documented_module")
    exec(
        "from async_lru import alru_cache\n"
        "@alru_cache\n"
        "async def function():\n"
        '    """Add.\n\n    >>> 1 + 1\n    2\n    """\n'
        "class Service:\n"
        "    @alru_cache\n"
        "    async def method(self):\n"
        '        """Subtract.\n\n        >>> 3 - 1\n        2\n        """\n',
        module.__dict__,
    )
    found = doctest.DocTestFinder().find(module)
    assert [test.name for test in found if test.examples] == [
        "documented_module.Service.method",
        "documented_module.function",
    ]


@pytest.mark.parametrize("name", ["args", "func", "keywords", "__self__", "cache"])
def test_attributes_of_the_function_are_the_users_A11(name: str) -> None:
    class Class:
        async def method(self) -> None: ...

    setattr(Class.method, name, "mine")
    Class.cached = alru_cache(Class.method)  # type: ignore[attr-defined]
    cached = Class.__dict__["cached"]
    assert getattr(cached, name) == "mine"
    assert name in dir(cached)
    setattr(cached, name, "changed")
    assert getattr(cached, name) == "changed"
    if name != "__self__":
        assert getattr(Class().cached, name) == "changed"  # type: ignore[attr-defined]


def test_attributes_of_the_machinery_do_not_show_A11() -> None:
    for each in (documented, Service().method):
        assert not {"args", "keywords"} & {*dir(each)}
        assert {"cache_info", "__wrapped__"} < {*dir(each)}


async def test_what_asks_partials_for_their_arguments_gets_none_A11() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    task.add_done_callback(documented)
    assert "documented()" in repr(task)
    task.remove_done_callback(documented)
    await task


async def test_the_parameters_of_the_machinery_do_not_show_A11() -> None:
    """To those who do not follow ``__wrapped__``, as with any decorator."""
    for function in (documented, Service.static, Service.other, Service().other):
        assert inspect.signature(function, follow_wrapped=False).parameters.keys() == {
            "args",
            "kwargs",
        }
        for asked in (function, function.__call__):
            assert inspect.getfullargspec(asked)[:3] == ([], "args", "kwargs")


async def test_the_call_that_a_function_has_is_its_own_A11() -> None:
    """Beartype, for one, calls that, and awaits it if it is a coroutine function."""
    service = Service()
    again = alru_cache(documented)
    for function, call in (
        (documented, documented.__call__),
        (Service.method, functools.partial(Service.method.__call__, service)),
        (service.method, service.method.__call__),
        (again, again.__call__),
    ):
        assert inspect.iscoroutinefunction(call)
        function.cache_clear()
        await call(7)
        assert function.cache_info().misses == 1


def test_a_partial_of_a_bound_method_has_it_A11() -> None:
    bound = Service().method
    assert functools.partial(bound, 1).func is bound
    assert functools.partial(documented, 1).func is documented


def test_a_bound_method_carries_what_its_function_does_A11() -> None:
    class Marked:
        @alru_cache
        async def method(self, number: "int") -> str:
            """Do."""
            return str(number)

        method.__wrapped__.mark = "mine"

    function = alru_cache(Marked.method.__wrapped__)
    Marked.method = function
    bound = Marked().method
    assert bound.mark == "mine"  # type: ignore[attr-defined]
    assert typing.get_type_hints(bound) == {"number": int, "return": str}
    assert bound.__doc__ == "Do."


def test_methods_of_all_kinds_have_the_annotations_A11() -> None:
    class Class:
        @alru_cache(per_instance=True)
        async def own(self, number: "int") -> str:
            return str(number)

        @classmethod
        @alru_cache
        async def of_class(cls, number: "int") -> str:
            return str(number)

    assert AlruCacheBoundMethod.__annotations__ == {}
    assert AlruCacheWrapper.__annotations__ == {}
    for method in (Class().own, Class.of_class, Class().of_class):
        assert typing.get_type_hints(method) == {"number": int, "return": str}
        assert set(method.__annotations__) == {"number", "return"}
        assert method.__module__ == __name__


def test_a_bound_method_as_a_class_attribute_is_not_bound_again_A11() -> None:
    class Holder:
        method = Service().method

    assert Holder().method.__self__ is not Holder
    assert Holder().method == Holder.method


def test_bound_methods_can_be_held_by_WeakMethod_A11() -> None:
    service = Service()
    reference = weakref.WeakMethod(service.method)
    assert reference() == service.method
    del service
    gc.collect()
    assert reference() is None


def test_both_can_be_weakly_referenced_A11() -> None:
    function, _ = counted()
    reference = weakref.ref(function)
    assert reference() is function
    bound = Service().method
    assert weakref.ref(bound)() is bound


@needs_refcount
def test_a_decorated_function_dies_by_reference_count_A11() -> None:
    function, runs = counted()
    reference = weakref.ref(function)
    del function
    assert reference() is None


async def test_calls_through_the_class_B7() -> None:
    service = Service()
    assert Service.method is Service.__dict__["method"]
    assert await Service.method(service, 1) == (service, 1, "")
    assert await service.method(1) == (service, 1, "")
    assert Service.method.cache_info() == (1, 1, 128, 1)
    assert Service.method.cache_contains(service, 1)
    assert Service.method.cache_invalidate(service, 1)
    assert not service.method.cache_contains(1)


def test_the_signature_of_a_bound_method_has_no_self_B7() -> None:
    signature = inspect.signature(Service().method)
    assert str(signature) == "(number: int, text: str = '') -> tuple[typing.Any, ...]"
    assert list(inspect.signature(Service.method).parameters)[0] == "self"


async def test_a_bound_method_is_taken_for_a_method_B7() -> None:
    class Quoted:
        @alru_cache
        async def method(self, number: "int") -> "str":
            """Do something."""
            return str(number)

    bound = Quoted().method
    assert isinstance(bound, types.MethodType)
    assert inspect.ismethod(bound)
    signature = inspect.signature(bound, eval_str=True)
    assert signature.parameters["number"].annotation is int
    assert signature.return_annotation is str
    text = pydoc.render_doc(bound, renderer=pydoc.plaintext)
    assert "method method" in text
    assert "Do something." in text
    with pytest.raises(TypeError, match="too many positional arguments"):
        await mock.create_autospec(bound)(1, 2)


def test_the_signature_of_a_bound_partialmethod_B7() -> None:
    class Partial:
        async def pair(self, a: int, b: int) -> None:
            pass

        method = alru_cache(functools.partialmethod(pair, 1))

    assert str(inspect.signature(Partial().method)) == "(b: int) -> None"


def test_a_bound_method_has_self_and_func_B7() -> None:
    service = Service()
    assert isinstance(service.method, AlruCacheBoundMethod)
    assert service.method.__self__ is service
    assert service.method.__func__ is Service.method


def test_a_bound_method_has_the_functions_attributes_B7() -> None:
    method = Service().method
    assert method.__name__ == "method"
    assert method.__qualname__ == "Service.method"
    assert method.__doc__ == "Do something."
    assert method.__module__ == __name__
    assert method.__wrapped__ is Service.method.__wrapped__
    with pytest.raises(AttributeError, match="missing"):
        method.missing  # noqa: B018


def test_bound_methods_compare_as_pythons_do_B7() -> None:
    class Equal(Service):
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 1

    one, other = Equal(), Equal()
    assert one.method == one.method
    assert hash(one.method) == hash(one.method)
    assert one.method != other.method
    assert one.method != one.other
    assert one.method != 1
    assert len({one.method, one.method, other.method, one.other}) == 3


def test_bound_methods_of_unhashable_objects_hash_B7() -> None:
    class Unhashable(Service):
        __hash__ = None  # type: ignore[assignment]

    service = Unhashable()
    assert hash(service.method) == hash(service.method)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickled_function_is_that_very_function_B8(protocol: int) -> None:
    assert pickle.loads(pickle.dumps(documented, protocol)) is documented
    pickled = pickle.loads(pickle.dumps(Service.method, max(protocol, 4)))
    assert pickled is Service.method


def test_a_copied_function_is_that_very_function_B8() -> None:
    assert copy.copy(documented) is documented
    assert copy.deepcopy(documented) is documented
    assert copy.deepcopy([documented]) == [documented]
    function, _ = counted()
    assert copy.deepcopy(function) is function


def test_copies_of_bound_methods_are_those_of_copied_objects_B8() -> None:
    service = Service()
    assert copy.copy(service.method) == service.method
    copied = copy.deepcopy(service.method)
    assert copied.__self__ is not service
    assert isinstance(copied.__self__, Service)
    unpickled = pickle.loads(pickle.dumps(service.method))
    assert unpickled.__func__ is Service.method


def test_repr_names_the_function_B8() -> None:
    assert repr(documented) == f"<AlruCacheWrapper of {__name__}.documented>"
    service = Service()
    assert repr(service.method) == (
        f"<bound <AlruCacheWrapper of {__name__}.Service.method> to {service!r}>"
    )


def test_the_wrapper_type_is_generic_at_run_time() -> None:
    assert AlruCacheWrapper[[int], str]
    assert AlruCacheBoundMethod[[int], str]


async def test_mocks_are_made_like_it_A11() -> None:
    function = mock.create_autospec(documented, return_value=b"1")
    assert isinstance(function, AlruCacheWrapper)
    assert isinstance(function, mock.AsyncMock)
    assert inspect.iscoroutinefunction(function)
    assert await function(1) == b"1"
    service = mock.create_autospec(Service, instance=True)
    assert isinstance(service.method, mock.AsyncMock)
    service.method.return_value = 2
    assert await service.method(1) == 2
    service.method.assert_awaited_once_with(1)
    with mock.patch.object(Service, "method", autospec=True) as method:
        method.return_value = 3
        assert await Service().method(1) == 3
    with mock.patch.object(Service, "method") as method:
        method.return_value = 4
        assert await Service().method(1) == 4


async def test_the_names_that_programs_import_A13() -> None:
    assert isinstance(documented, _LRUCacheWrapper)
    assert isinstance(Service().method, _LRUCacheWrapperInstanceMethod)
    assert not isinstance(Service().method, _LRUCacheWrapper)
    assert issubclass(AlruCacheWrapper, _LRUCacheWrapper)
    assert issubclass(AlruCacheBoundMethod, _LRUCacheWrapperInstanceMethod)


def test_the_names_that_programs_import_are_generic_A13() -> None:
    assert _LRUCacheWrapper[bytes]
    assert _LRUCacheWrapperInstanceMethod[bytes]
    assert _LRUCacheWrapperInstanceMethod[bytes, Service]  # type: ignore[misc]  # as in 2.4

    def annotated(function: _LRUCacheWrapper[bytes]) -> None: ...

    hints = typing.get_type_hints(annotated)
    assert typing.get_args(hints["function"]) == (bytes,)


PATCHED = ["cache_contains", "cache_invalidate", "cache_info", "cache_parameters"]


@pytest.mark.parametrize("name", [*PATCHED, "cache_clear"])
def test_methods_can_be_patched_by_their_former_names_A13(name: str) -> None:
    for kind, function in (
        ("_LRUCacheWrapper", documented),
        ("_LRUCacheWrapperInstanceMethod", Service().method),
    ):
        with mock.patch(f"async_lru.{kind}.{name}", return_value="patched") as patched:
            assert getattr(function, name)() == "patched"
        patched.assert_called_once_with()
        with mock.patch(f"async_lru.{kind}.{name}", autospec=True) as patched:
            getattr(function, name)()
        patched.assert_called_once_with(function)


class Own:
    @alru_cache(per_instance=True)
    async def method(self) -> None: ...


@pytest.mark.parametrize("name", [*PATCHED, "cache_clear"])
def test_methods_call_those_of_the_function_if_patched_A13(name: str) -> None:
    for method in (Service().method, Own().method):
        with mock.patch(f"async_lru._LRUCacheWrapper.{name}") as patched:
            getattr(method, name)()
        # With per_instance functions have these of their own.
        is_own = isinstance(method.__self__, Own) and name in PATCHED[:2]
        assert patched.called is not is_own


async def test_closing_a_method_calls_that_of_the_function_if_patched_A13() -> None:
    for method in (Service().method, Own().method):
        with mock.patch("async_lru._LRUCacheWrapper.cache_close") as close:
            await method.cache_close()
        close.assert_awaited_once_with(wait=False)
        assert not method.cache_parameters()["closed"]


async def test_closing_can_be_patched_by_its_former_name_A13() -> None:
    with mock.patch("async_lru._LRUCacheWrapper.cache_close") as close:
        await documented.cache_close(wait=True)
    close.assert_awaited_once_with(wait=True)
    assert not documented.cache_parameters()["closed"]
