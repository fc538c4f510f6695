"""What the packages' metadata take from elsewhere: addresses, and the README with links that an index can follow.

Hatchling calls it at each build. Links in README.md are relative, so that they work in a checkout; on an index they
would lead nowhere. With `repository` (pyproject.toml) they lead to the files of this version there; without it their
words alone stay, and pictures are left out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:)([^)\s]+)\)")


def for_index(text: str, repository: str, version: str) -> str:
    """Return the text with each relative link absolute, or only its words where there is no repository."""

    def absolute(match: re.Match[str]) -> str:
        picture, words, target = match.groups()
        if not repository:
            return "" if picture else words
        path = f"{'raw' if picture else 'blob'}/v{version}/{target}"
        return f"{picture}[{words}]({repository}/{path})"

    return LINK.sub(absolute, text)


class CustomMetadataHook(MetadataHookInterface):
    """Gives `readme` and `urls`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the long description and the project's addresses."""
        repository = self.config.get("repository", "")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": for_index(text, repository, metadata["version"]),
        }
        pages = {"Documentation": "#read-on", "Changelog": "/blob/main/CHANGELOG.md", "Issues": "/issues"}
        found = {name: f"{repository}{path}" for name, path in pages.items()}
        metadata["urls"] = {"Repository": repository, **found} if repository else {}
