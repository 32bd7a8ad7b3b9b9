"""How Sphinx builds the documentation: ``make docs``."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import async_lru  # noqa: E402  # where it was just put

project = "async-lru"
author = "The async-lru authors"
project_copyright = f"2026, {author}"
release = version = async_lru.__version__

extensions = [
    "scopes",
    "sequence",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
# changes.rst includes the changes to come.
exclude_patterns = ["_build", "_next.rst"]
nitpicky = True
nitpick_ignore_regex = [
    # Type variables, and what only checkers see.
    ("py:.*", r"(async_lru\.\w+\.)?_\w+(\.\w+)?"),
    (
        "py:.*",
        r"(AlruCache\w+|Cache\w+|Any|Callable|Coroutine|Call|Hashable|(.*\.)?HasStats|Metric)",
    ),
    ("py:.*", r"(collections\.abc|typing|prometheus_client|_pytest|pytest)\..*"),
    ("py:.*", r"async_lru\._.*"),
    # The parameters and the result of a decorated function.
    ("py:.*", r"P|R|P\.args|P\.kwargs|Concatenate|Iterable|Mapping"),
]

autodoc_member_order = "bysource"
# api.rst writes the signatures out: those of overloads and generic wrappers say little.
autodoc_typehints = "none"
python_maximum_signature_line_length = 88
# The column of contents is too narrow for AlruCacheWrapper.cache_invalidate_where().
toc_object_entries_show_parents = "hide"
autodoc_default_options = {"members": True}

# Python's own inventory is kept here, for builds without a network.
intersphinx_mapping = {"python": ("https://docs.python.org/3", "python.inv")}

copybutton_prompt_text = ">>> "
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"async-lru {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
