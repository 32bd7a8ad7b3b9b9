"""Checks the links that packages show on PyPI, in their description and beside it.

    python .ci/links.py ROOT PACKAGE...

Each link and image must be absolute, and lead to a file under ROOT if it leads into the
repository. When a tag is released, the address of the repository must be a real one.
"""

import os
import sys
import tarfile
import zipfile
from email import message_from_bytes
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import readme_renderer.rst


def main() -> None:
    """Check the packages that the command line names."""
    root, *packages = map(Path, sys.argv[1:])
    problems = [
        f"{package.name}: {problem}"
        for package in packages
        for problem in check(package, root)
    ]
    if problems:
        sys.exit("\n".join(problems))


def check(package: Path, root: Path) -> list[str]:
    """Return what is wrong with the links of *package*."""
    metadata = message_from_bytes(read_metadata(package))
    urls = dict(url.split(", ") for url in metadata.get_all("Project-URL"))
    page = Page()
    page.feed(readme_renderer.rst.render(metadata.get_payload()) or "")
    if not page.links:
        return ["the description is not rendered, or has no links"]

    source = urls["Source"]
    if is_placeholder(source) and os.environ.get("GITHUB_REF_TYPE") == "tag":
        return [f"the address in pyproject.toml is a placeholder: {source}"]
    links = sorted({*page.links, *urls.values()})
    return [
        *(f"no absolute link: {link}" for link in links if not is_absolute(link)),
        *(f"no such file: {link}" for link in links if is_missing(link, source, root)),
    ]


def read_metadata(package: Path) -> bytes:
    """Return METADATA of a wheel, or PKG-INFO of an sdist."""
    name, version = package.name.removesuffix(".tar.gz").split("-")[:2]
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            return wheel.read(f"{name}-{version}.dist-info/METADATA")
    with tarfile.open(package) as sdist:
        file = sdist.extractfile(f"{name}-{version}/PKG-INFO")
        assert file is not None
        return file.read()


class Page(HTMLParser):
    """The links and images of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the address if *tag* has one."""
        if tag in ("a", "img"):
            self.links |= {
                value or "" for name, value in attrs if name in ("href", "src")
            }


def is_placeholder(address: str) -> bool:
    """Tell whether *address* is in a domain that RFC 2606 reserves for examples."""
    return urlsplit(address).netloc.endswith(".example")


def is_absolute(link: str) -> bool:
    """Tell whether *link* works from any page; an anchor on the page itself does."""
    parts = urlsplit(link)
    return link.startswith("#") or (parts.scheme == "https" and bool(parts.netloc))


def is_missing(link: str, source: str, root: Path) -> bool:
    """Tell whether *link* leads to a file of the repository that is not in it."""
    kind, _, rest = (
        urlsplit(link).path.removeprefix(f"{urlsplit(source).path}/").partition("/")
    )
    if not link.startswith(f"{source}/") or kind not in ("blob", "raw"):
        return False
    return not (root / rest.partition("/")[2]).exists()


if __name__ == "__main__":
    main()
