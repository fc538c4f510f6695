"""What the service is made of: a bill of materials (CycloneDX 1.6), its licences, and where a build came from.

    python deploy/supply.py sbom requirements.lock >sbom.json
    python deploy/supply.py licences requirements*.lock
    python deploy/supply.py provenance dist/* >provenance.json

Needs nothing but Python. Versions and hashes are those of the lock; licences are read from the packages that are
installed beside this Python, so run it by the Python of an environment that has them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

ROOT = Path(__file__).resolve().parents[1]
UNKNOWN = "unknown"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Package:
    """A package of a lock, with the SHA-256 of every file of it that may be installed."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its name in a bill of materials."""
        return f"pkg:pypi/{self.name}@{self.version}"


def packages_of(lock: str) -> Iterator[Package]:
    """Yield the packages of a lock's text, in its order."""
    for entry in re.split(r"(?m)^(?=[a-z0-9])", lock.replace("\\\n", " ")):
        requirement, _, hashes = entry.partition("--hash=")
        pinned, _, marker = requirement.partition(";")
        name, _, version = pinned.strip().partition("==")
        if version:
            yield Package(name, version, marker.strip(), tuple(re.findall(r"sha256:(\w{64})", hashes)))


def licence_of(name: str) -> str:
    """Return the licence that an installed package declares; `unknown` where it is not installed or declares none."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return UNKNOWN
    if "License-Expression" in about:
        return about["License-Expression"]
    classified = [
        line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License ::")
    ]
    if classified:
        return " AND ".join(sorted(set(classified)))
    declared = about["License"].strip() if "License" in about else ""
    return declared if declared and "\n" not in declared else UNKNOWN


def _component(package: Package) -> Json:
    component: Json = {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "scope": "optional" if package.marker else "required",
        "properties": [{"name": "lock:sha256", "value": digest} for digest in package.hashes],
    }
    if package.marker:
        component["properties"].append({"name": "lock:marker", "value": package.marker})
    if (licence := licence_of(package.name)) != UNKNOWN:
        component["licenses"] = [{"license": {"name": licence}}]
    return component


def _project() -> Json:
    """Return the project's table of pyproject.toml, and where it is published."""
    settings: Json = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    repository = settings["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]
    return {**settings["project"], "repository": repository or UNKNOWN}


def sbom(lock: Path) -> Json:
    """Return the bill of materials of what a lock installs. The same lock and environment give the same."""
    project = _project()
    purl = f"pkg:pypi/{project['name']}@{project['version']}"
    packages = list(packages_of(lock.read_text(encoding="utf-8")))
    main = {
        "type": "application",
        "bom-ref": purl,
        "name": project["name"],
        "version": project["version"],
        "purl": purl,
    }
    main["licenses"] = [{"license": {"id": project["license"]}}]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": main, "properties": [{"name": "lock:file", "value": lock.name}]},
        "components": [_component(package) for package in packages],
        "dependencies": [{"ref": purl, "dependsOn": [package.purl for package in packages]}],
    }


def licences(locks: Sequence[Path]) -> Iterator[str]:
    """Yield a line of Markdown for each package of the locks: name, licence."""
    names = {package.name for lock in locks for package in packages_of(lock.read_text(encoding="utf-8"))}
    for name in sorted(names):
        yield f"| {name} | {licence_of(name)} |"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603, S607 - fixed words
    return done.stdout.strip() if done.returncode == 0 else ""


def public(remote: str) -> str:
    """Return the address of a repository without what only its user knows; `unknown` of a folder or none."""
    parts = urlsplit(remote)
    if parts.scheme not in ("http", "https", "ssh", "git"):
        return "unknown"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def provenance(files: Sequence[Path]) -> Json:
    """Return whence files came, as a statement of in-toto with the SLSA predicate; unsigned."""
    commit = _git("rev-parse", "HEAD")
    changed = bool(_git("status", "--porcelain"))
    built_by = {lock.name: _digest(lock) for lock in sorted(ROOT.glob("requirements-build.lock"))}
    source = {
        "uri": f"git+{public(_git('config', '--get', 'remote.origin.url'))}",
        "digest": {"gitCommit": commit},
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": file.name, "digest": {"sha256": _digest(file)}} for file in files],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "deploy/build.sh",
                "externalParameters": {"SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", "")},
                "internalParameters": {"python": platform.python_version(), "uncommitted changes": changed},
                "resolvedDependencies": [
                    source,
                    *({"uri": name, "digest": {"sha256": digest}} for name, digest in built_by.items()),
                ],
            },
            "runDetails": {"builder": {"id": "by hand"}},
        },
    }


def main(words: Sequence[str]) -> int:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(prog="supply.py", description=(__doc__ or "").partition("\n")[0])
    asked = parser.add_subparsers(dest="asked", required=True)
    asked.add_parser("sbom", help="a CycloneDX bill of materials of a lock").add_argument("lock", type=Path)
    asked.add_parser("licences", help="name and licence of each package").add_argument("locks", type=Path, nargs="+")
    asked.add_parser("provenance", help="whence built files came").add_argument("files", type=Path, nargs="+")
    given = parser.parse_args(words)
    if given.asked == "licences":
        print("\n".join(licences(given.locks)))
    else:
        print(json.dumps(sbom(given.lock) if given.asked == "sbom" else provenance(given.files), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
