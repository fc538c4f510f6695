"""What a documented road of a service installs is locked by hash, under a licence that is allowed, and listed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import supply
from tests import ROOT

LOCKS = sorted(ROOT.glob("requirements*.lock"))
SERVICE = [ROOT / f"requirements{kind}.lock" for kind in ("", "-cluster", "-page", "-demo")]
LICENCES = ROOT / "deploy" / "licences.md"

ALLOWED = {
    "Apache Software License",
    "Apache Software License AND BSD License",
    "Apache-2.0",
    "Apache-2.0 AND BSD-2-Clause",
    "Apache-2.0 OR BSD-2-Clause",
    "BSD License",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC License (ISCL)",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT License",
    "MIT OR Apache-2.0",
    "MIT-0",
    "Mozilla Public License 2.0 (MPL 2.0)",
    "PSF-2.0",
    "Zlib",
}
"""Licences that allow use and redistribution, unchanged, in a service that is under another licence."""

ELSEWHERE = {"colorama", "tzdata"}
"""Packages that no platform of the service installs: BSD-3-Clause and Apache-2.0, by their own pages."""


def document() -> str:
    head = (
        "# Licences of what is installed\n\n"
        "What the locks of a service and of the demo install, and under which licence, as each package declares it.\n"
        "Those under the LGPL are used unchanged, and anybody may exchange them; what is `unknown` is installed on\n"
        "Windows alone.\n\n"
        "Written by `sh tests/run.sh tests/unit/deploy/test_supply.py --update`.\n\n| package | licence |\n|---|---|\n"
    )
    return head + "\n".join(supply.licences(SERVICE)) + "\n"


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_of_a_lock_is_pinned_and_has_hashes(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    packages = list(supply.packages_of(text))
    assert [package.name for package in packages if not package.hashes] == []
    assert sum(len(package.hashes) for package in packages) == text.count("--hash=sha256:")
    assert (
        len(packages)
        == len(re.findall(r"^\S+==", text, re.MULTILINE))
        == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    )
    assert "--index-url" not in text
    assert "://" not in text


def test_every_package_of_a_service_is_under_a_licence_that_is_allowed() -> None:
    rows = re.findall(r"^\| ([\w-]+) \| (.+) \|$", "\n".join(supply.licences(SERVICE)), re.MULTILINE)
    assert len(rows) > 40
    assert [(name, licence) for name, licence in rows if licence not in ALLOWED and name not in ELSEWHERE] == []


def test_list_of_licences_is_the_one_that_is_generated(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("update"):
        LICENCES.write_text(document(), encoding="utf-8")
    assert LICENCES.read_text(encoding="utf-8") == document()


def test_bill_of_materials_names_every_package_with_its_version_hashes_and_licence() -> None:
    lock = ROOT / "requirements-cluster.lock"
    words = [sys.executable, str(ROOT / "deploy" / "supply.py"), "sbom", str(lock)]
    done = [subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout for _ in range(2)]
    assert done[0] == done[1]
    bill = json.loads(done[0])
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    found = {part["name"]: part for part in bill["components"]}
    assert set(found) == {package.name for package in supply.packages_of(lock.read_text(encoding="utf-8"))}
    boto3 = found["boto3"]
    version = re.findall(r"^boto3==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE)[0]
    assert boto3["purl"] == boto3["bom-ref"] == f"pkg:pypi/boto3@{version}"
    assert boto3["licenses"] == [{"license": {"name": "Apache-2.0"}}]
    assert [each["name"] for each in boto3["properties"]] == ["lock:sha256"] * 2
    assert found["colorama"]["scope"] == "optional"
    refs = [part["bom-ref"] for part in bill["components"]]
    assert len(refs) == len(set(refs))
    assert bill["dependencies"] == [{"ref": bill["metadata"]["component"]["bom-ref"], "dependsOn": refs}]


def test_provenance_names_files_by_their_hash_and_what_built_them(tmp_path: Path) -> None:
    file = tmp_path / "x.whl"
    file.write_bytes(b"abc")
    statement = supply.provenance([file])
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert statement["subject"] == [{"name": "x.whl", "digest": {"sha256": sha256}}]
    built_by = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert [each["uri"] for each in built_by][1:] == ["requirements-build.lock"]


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("", "unknown"),
        ("/srv/checkout", "unknown"),
        ("https://me:ghp_secret@git.example/us/it.git?token=x", "https://git.example/us/it.git"),
        ("ssh://git@git.example:22/us/it", "ssh://git.example:22/us/it"),
    ],
)
def test_provenance_shows_no_secret_of_the_repositorys_address(remote: str, shown: str) -> None:
    assert supply.public(remote) == shown


# --- the documented roads of a service


def installs() -> Iterator[tuple[str, str]]:
    """Yield each `pip install` of the documents, the Dockerfile and the scripts that a service is installed by."""
    files = [*(ROOT / "deploy").rglob("*.md"), *(ROOT / "deploy").rglob("*.sh"), ROOT / "Dockerfile"]
    for file in files:
        text = file.read_text(encoding="utf-8")
        text = re.sub(r"^## Convenient, and unchecked\n.*?^(?=## )", "", text, flags=re.MULTILINE | re.DOTALL)
        text = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
        for line in text.replace("\\\n", " ").splitlines():
            for command in re.findall(r"(?:\bpip|\$pip)\b[^&|;`]*?\b(?:install|wheel|download)\b[^&|;`]*", line):
                yield str(file.relative_to(ROOT)), command


@pytest.mark.parametrize(("file", "command"), sorted(set(installs())))
def test_whatever_a_road_of_a_service_installs_is_checked_by_hash_or_made_here(file: str, command: str) -> None:
    made_here = "--no-deps" in command and "stem_archiver-" in command
    assert made_here or ("--require-hashes" in command and "--no-deps" in command), file


def test_roads_of_a_service_are_found() -> None:
    files = [file for file, _ in installs()]
    assert {"deploy/README.md", "deploy/setup.sh", "deploy/systemd/image.sh", "Dockerfile"} <= set(files)
    assert len(files) >= 7
