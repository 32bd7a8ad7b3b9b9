"""The examples of README.rst and docs/ do what these say."""

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
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


class Ignored(Directive):
    """A directive of Sphinx, which shows no examples."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = None

    def run(self) -> list[docutils.nodes.Node]:
        return []


for name in ("autoclass", "autoexception", "autofunction", "automodule", "module"):
    directives.register_directive(name, Ignored)
for name in ("sequence", "toctree"):
    directives.register_directive(name, Ignored)
for name in ("class", "doc", "func"):
    roles.register_generic_role(name, docutils.nodes.literal)


def examples(path: Path) -> Iterator[tuple[str, str | None]]:
    """Yield the Python of *path*, and what it prints where that is shown."""
    document = docutils.core.publish_doctree(
        path.read_text(), settings_overrides={"halt_level": 2, "report_level": 2}
    )
    for block in document.findall(docutils.nodes.Element):
        if isinstance(block, docutils.nodes.doctest_block):
            for example in doctest.DocTestParser().get_examples(block.astext()):
                yield example.source, example.want
        elif "python" in block["classes"]:
            yield block.astext(), None


async def run(source: str, names: dict[str, Any]) -> str:
    """Run *source*, with await at the top level, and return what a shell prints."""
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


@pytest.mark.parametrize("name", async_lru.__all__)
def test_public_names_have_docstrings(name: str) -> None:
    assert inspect.getdoc(getattr(async_lru, name))
