"""The files of `config/` and `deploy/`, as this installation carries them: from a wheel, or from a checkout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import archiver

EXAMPLE = "config/archiver.example.toml"
_NO_TEXT = {".png", ".pyc"}

MAIN: Mapping[str, str] = MappingProxyType(
    {
        "systemd": "deploy/systemd/stem-archiver.service",
        "compose": "deploy/compose.yaml",
        "kubernetes": "deploy/kubernetes/kustomization.yaml",
        "alerts": "deploy/prometheus/alerts.yml",
        "policy": "deploy/aws/iam-policy.json",
    }
)
"""The file that stands for each way to run it; of Kubernetes the one that names the others."""


def shipped(name: str) -> str:
    """Return the text of such a file, named from the project's root; raise FileNotFoundError where there is none."""
    return (_root() / name).read_text(encoding="utf-8")


def deploy_files() -> Sequence[str]:
    """Return the names of all files below `deploy/`, in order; raise FileNotFoundError where none are carried."""
    folder = _root() / "deploy"
    texts = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in _NO_TEXT)
    return sorted(str(path.relative_to(folder)) for path in texts)


def kubernetes() -> str:
    """Return all resources that are applied together, as one YAML text of many documents; raise FileNotFoundError."""
    main = Path(MAIN["kubernetes"])
    listed = shipped(str(main)).partition("resources:\n")[2].splitlines()
    names = [line.strip().removeprefix("- ") for line in listed[: _length(listed)]]
    return "---\n".join(shipped(str(main.with_name(name))) for name in names)


def _length(lines: Sequence[str]) -> int:
    return next((number for number, line in enumerate(lines) if not line.startswith("  - ")), len(lines))


def _root() -> Path:
    package = Path(archiver.__file__).parent
    for root in (package / "shipped", package.parent):
        if (root / EXAMPLE).is_file():
            return root
    raise FileNotFoundError
