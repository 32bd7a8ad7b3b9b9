"""The examples of README.rst and docs/ do what these say."""

import ast
import asyncio
import contextlib
import doctest
import importlib.util
import inspect
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import async_lru

pytest.importorskip("docutils")

import docutils.core  # noqa: E402
import docutils.nodes  # noqa: E402
from docutils.parsers.rst import Directive, directives, roles  # noqa: E402

pytestmark = pytest.mark.once

ROOT = Path(__file__).parent.parent
README = ROOT / "README.rst"
PAGES = sorted((ROOT / "docs").rglob("*.rst"))
TEXTS = [
    README,
    *(page for page in PAGES if page.stem not in ("changes", "contributing")),
]

#: What the examples of a page need beside this package.
NEEDED = {"web": ["aiohttp", "django", "fastapi"], "metrics": ["opentelemetry.sdk"]}

#: Examples of the class redis need the extra of this name, but no server.
HAS_REDIS = importlib.util.find_spec("redis") is not None


class Ignored(Directive):
    """A directive of Sphinx, which shows no examples."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = None

    def run(self) -> list[docutils.nodes.Node]:
        return []


for name in (
    "autoclass",
    "autodata",
    "autoexception",
    "autofunction",
    "automethod",
    "automodule",
    "currentmodule",
    "module",
):
    directives.register_directive(name, Ignored)
for name in ("index", "scopes", "sequence", "toctree"):
    directives.register_directive(name, Ignored)
for name in ("class", "doc", "func", "meth", "ref"):
    roles.register_generic_role(name, docutils.nodes.literal)


def examples(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the Python of *path*, and what it prints where that is shown."""
    program = None
    for block in read(path).findall(docutils.nodes.Element):
        if program is not None and isinstance(block, docutils.nodes.literal_block):
            assert "text" in block["classes"], "what a program prints comes after it"
            yield program, f"{block.astext()}\n"
            program = None
        elif isinstance(block, docutils.nodes.doctest_block):
            for example in doctest.DocTestParser().get_examples(block.astext()):
                yield example.source, example.want
        elif "redis" in block["classes"] and not HAS_REDIS:
            continue
        elif "python" in block["classes"] and is_program(block.astext()):
            program = block.astext()
        elif "python" in block["classes"]:
            yield block.astext(), None


def read(path: Path) -> docutils.nodes.document:
    return docutils.core.publish_doctree(
        path.read_text(), settings_overrides={"halt_level": 2, "report_level": 2}
    )


def is_program(source: str) -> bool:
    """Tell whether *source* is a script of its own, and not part of the page's."""
    return "\nasyncio.run(" in source


async def run(source: str, names: dict[str, Any]) -> str:
    """Run *source*, with await at the top level, and return what a shell prints."""
    if is_program(source):
        command = [sys.executable, "-W", "error", "-c", source]
        return subprocess.run(
            command, stdout=subprocess.PIPE, check=True
        ).stdout.decode()
    mode = "eval" if source.count("\n") < 2 and is_expression(source) else "exec"
    code = compile(source, str(README), mode, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            result = eval(code, names)
            if inspect.iscoroutine(result):
                result = await result
        except Exception as error:
            told = f"{type(error).__name__}: {error}".removesuffix(": ")
            return f"Traceback (most recent call last):\n    ...\n{told}\n"
    return printed.getvalue() + ("" if result is None else f"{result!r}\n")


def is_expression(source: str) -> bool:
    try:
        compile(source, str(README), "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        return False
    return True


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_the_examples_do_what_the_text_says(path: Path) -> None:
    for module in NEEDED.get(path.stem, []):
        pytest.importorskip(module)

    async def main() -> None:
        names: dict[str, Any] = {"__name__": "__main__"}
        for source, wanted in examples(path):
            printed = await run(source, names)
            same = doctest.OutputChecker().check_output
            assert same(wanted or "", printed, doctest.ELLIPSIS), (source, printed)

    asyncio.run(main())


@pytest.mark.parametrize(
    "name",
    ["docs/usage.rst", "docs/options.rst", "docs/tutorial.rst", "docs/howto/web.rst"],
)
def test_there_are_examples(name: str) -> None:
    shown = list(examples(ROOT / name))
    assert sum(wanted is None for _, wanted in shown) > 3
    assert sum(wanted is not None for _, wanted in shown) > 4


def test_the_first_example_of_the_readme_is_a_program() -> None:
    source, printed = next(examples(README))
    assert is_program(source)
    assert printed


def test_the_lines_of_code_in_the_readme_run() -> None:
    """Each line of code in its tables is a decorator, or a statement about ``f``."""
    pytest.importorskip("prometheus_client")

    async def main() -> None:
        names: dict[str, Any] = {}
        exec(BEFORE_LINES, names)
        for line in lines():
            names["f"] = async_lru.alru_cache(names["load"])
            decorates = line.startswith("@")
            source = f"{line}\nasync def g(request_id): ..." if decorates else line
            assert "Traceback" not in (printed := await run(source, names)), printed

    asyncio.run(main())


BEFORE_LINES = """
import async_lru
import async_lru.testing
from async_lru import alru_cache, batched, by_value
from async_lru.prometheus import CacheCollector
from prometheus_client import CollectorRegistry

REGISTRY = CollectorRegistry()

class NotFoundError(Exception):
    pass

async def load(user_id):
    return "Ada"
"""


def lines() -> Iterator[str]:
    """Yield the code in the first columns of the tables of README.rst."""
    for row in read(README).findall(docutils.nodes.row):
        first = row.children[0]
        for code in first.findall(docutils.nodes.literal):
            if "..." not in code.astext():
                yield code.astext()


@pytest.mark.parametrize("name", async_lru.__all__)
def test_public_names_have_docstrings(name: str) -> None:
    assert inspect.getdoc(getattr(async_lru, name))


@pytest.mark.parametrize("kind", [async_lru.AlruCacheWrapper, async_lru.CacheStats])
def test_the_reference_has_every_method_and_field(kind: Any) -> None:
    written = (ROOT / "docs" / "api.rst").read_text().split()
    for name in dir(kind):
        if name.startswith("cache_") or name in getattr(kind, "_fields", ()):
            assert any(word.partition("(")[0] == name for word in written), name
