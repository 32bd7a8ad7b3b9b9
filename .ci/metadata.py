"""A hook of hatchling: the project's links, all made from one address in pyproject.toml.

README.rst has relative links, for GitHub. PyPI shows it under another address, so the
packages get it with absolute ones, to the files of their version.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(?<=<)[^<>\s]+(?=>`_)|(?<=:target: )\S+")
IMAGE = re.compile(r"(?<=\.\. image:: )\S+")


class Links(MetadataHookInterface):
    """Sets ``project.readme`` and ``project.urls``."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Make the links of this version."""
        address = self.config["address"]
        tag = f"v{metadata['version']}"
        metadata["readme"] = {
            "content-type": "text/x-rst",
            "text": absolute(
                Path(self.root, "README.rst").read_text(encoding="utf-8"),
                files=f"{address}/blob/{tag}/",
                images=f"{address}/raw/{tag}/",
            ),
        }
        metadata["urls"] = {
            "Documentation": f"{address}/blob/{tag}/docs/index.rst",
            "Changes": f"{address}/blob/{tag}/CHANGES.rst",
            "Source": address,
            "Issues": f"{address}/issues",
        }


def absolute(text: str, *, files: str, images: str) -> str:
    """Return the reStructuredText *text* without relative links and images."""
    text = LINK.sub(lambda link: urljoin(files, link[0]), text)
    return IMAGE.sub(lambda image: urljoin(images, image[0]), text)
