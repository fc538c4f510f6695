"""Sdist and wheel: the same bytes wherever they are built, and whole enough to be built and tested elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests import ROOT
from tests.fixtures.tars import unpack

HATCHLING = [sys.executable, "-P", "-m", "hatchling", "build"]


def sources(folder: Path) -> Path:
    """Copy what the packages are made of, as an unpacked archive of the project would be."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in ("archiver", "config", "deploy", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, copy_function=shutil.copyfile)
    for file in (*ROOT.glob("*.md"), *ROOT.glob("requirements*.lock"), *ROOT.glob(".[deg]*")):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    for name in ("pyproject.toml", "LICENSE", "Dockerfile"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def build(folder: Path, out: Path, *words: str, umask: int = 0o022) -> dict[str, bytes]:
    environ = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run([*HATCHLING, *words, "-d", str(out)], cwd=folder, env=environ, umask=umask, check=True, timeout=100)
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("built")
    return build(sources(folder / "here"), folder / "out", "-t", "sdist", "-t", "wheel")


@pytest.mark.parametrize("repository", ["", "https://example.com/a/b"])
def test_build_says_what_is_to_be_filled_in_before_packages_are_published(tmp_path: Path, repository: str) -> None:
    folder = sources(tmp_path / "here")
    project, python = folder / "pyproject.toml", folder / ".venv-build/bin/python"
    project.write_text(project.read_text().replace('repository = ""', f'repository = "{repository}"'))
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    stamp = '. deploy/setup.sh; stamp_of "$root/.venv-build" "$root/requirements-build.lock" >.venv-build/made-of'
    subprocess.run(["sh", "-euc", f"root=$PWD; {stamp}"], cwd=folder, check=True, timeout=60)
    words = ["sh", "deploy/build.sh", str(tmp_path / "out")]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True, timeout=100)
    assert len(list((tmp_path / "out").iterdir())) == 2
    said = [line for line in done.stderr.splitlines() if line.startswith("build.sh: ")]
    assert [line.split()[1] for line in said] == ([] if repository else ["repository", "Before"])


def unpacked(built: dict[str, bytes], folder: Path) -> Path:
    [name] = [name for name in built if name.endswith(".tar.gz")]
    (folder / name).write_bytes(built[name])
    with tarfile.open(folder / name) as archive:
        unpack(archive, folder)
    return folder / name.removesuffix(".tar.gz")


def test_packages_of_another_day_folder_and_umask_are_the_same_bytes(built: dict[str, bytes], tmp_path: Path) -> None:
    there = sources(tmp_path / "another place")
    for path in there.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert build(there, tmp_path / "out", "-t", "sdist", "-t", "wheel", umask=0o077) == built


def test_wheel_that_is_built_from_the_sdist_is_the_same_bytes(built: dict[str, bytes], tmp_path: Path) -> None:
    made = build(unpacked(built, tmp_path), tmp_path / "out", "-t", "wheel")
    assert made == {name: content for name, content in built.items() if name.endswith(".whl")}


def test_sdist_has_all_that_tests_and_packagers_need(built: dict[str, bytes], tmp_path: Path) -> None:
    folder = unpacked(built, tmp_path)
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    here = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    if here.returncode != 0:
        pytest.skip("this is no clone of the repository")
    assert {name for name in here.stdout.split("\0") if name} - there - {".ci/run"} == set()
    assert there - set(here.stdout.split("\0")) == {"PKG-INFO"}


def test_wheel_has_the_package_and_nothing_else_that_python_imports(built: dict[str, bytes], tmp_path: Path) -> None:
    [name] = [name for name in built if name.endswith(".whl")]
    (tmp_path / name).write_bytes(built[name])
    names = zipfile.ZipFile(tmp_path / name).namelist()
    assert {file.partition("/")[0] for file in names if file.endswith(".py")} == {"archiver"}
    assert "archiver/py.typed" in names
    page = ROOT / "archiver/web/page"
    shown = {str(file.relative_to(ROOT)) for room in ("static", "templates") for file in (page / room).iterdir()}
    assert len(shown) > 30
    assert shown - set(names) == set()


@pytest.fixture(scope="module")
def installed(built: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel alone in a folder of its own, beside the libraries of here."""
    folder = tmp_path_factory.mktemp("installed")
    [name] = [name for name in built if name.endswith(".whl")]
    (folder / name).write_bytes(built[name])
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    words = [*pip, "--no-index", "--no-deps", "--no-compile", "--target", str(folder / "site"), str(folder / name)]
    subprocess.run(words, check=True, timeout=100)
    return folder / "site"


SHOWN = {
    ("deploy", "show", "systemd"): "deploy/systemd/stem-archiver.service",
    ("deploy", "show", "compose"): "deploy/compose.yaml",
    ("deploy", "show", "alerts"): "deploy/prometheus/alerts.yml",
    ("deploy", "show", "policy"): "deploy/aws/iam-policy.json",
    ("config", "example"): "config/archiver.example.toml",
}


@pytest.mark.parametrize("words", [*SHOWN, ("deploy", "show", "kubernetes")], ids=lambda words: words[-1])
def test_installed_wheel_prints_what_it_carries(installed: Path, words: tuple[str, ...]) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(installed), "PYTHONPATH": str(installed)}
    command = [sys.executable, str(installed / "bin" / "stem-archiver"), *words]
    done = subprocess.run(command, cwd=installed, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    if words in SHOWN:
        assert done.stdout == (ROOT / SHOWN[words]).read_text("utf-8")
        assert (installed / "archiver" / "shipped" / SHOWN[words]).is_file()
    else:
        assert re.findall(r"^kind: (\w+)$", done.stdout, re.MULTILINE)[:2] == ["Namespace", "ServiceAccount"]


def test_description_in_the_wheel_has_no_link_that_an_index_cannot_follow(
    built: dict[str, bytes], tmp_path: Path
) -> None:
    [name] = [name for name in built if name.endswith(".whl")]
    (tmp_path / name).write_bytes(built[name])
    wheel = zipfile.ZipFile(tmp_path / name)
    [metadata] = [wheel.read(each).decode() for each in wheel.namelist() if each.endswith("/METADATA")]
    assert "# stem-archiver" in metadata
    assert re.findall(r"\]\((?!https?://)[^)]*\)", metadata) == []


def test_links_of_a_published_project_lead_to_the_files_of_its_version(tmp_path: Path) -> None:
    folder = sources(tmp_path / "here")
    project = folder / "pyproject.toml"
    text = project.read_text()
    assert 'repository = ""' in text
    project.write_text(text.replace('repository = ""', 'repository = "https://example.com/a/b"'))
    (folder / "README.md").write_text(
        "![shot](deploy/page.png) [how](deploy/README.md#x) [else](https://example.org/)\n"
    )
    built = build(folder, tmp_path / "out", "-t", "wheel")
    [(name, content)] = built.items()
    (tmp_path / name).write_bytes(content)
    wheel = zipfile.ZipFile(tmp_path / name)
    [metadata] = [wheel.read(each).decode() for each in wheel.namelist() if each.endswith("/METADATA")]
    assert "Project-URL: Repository, https://example.com/a/b\n" in metadata
    version = re.findall(r"^Version: (\S+)$", metadata, re.MULTILINE)[0]
    assert metadata.rpartition("\n\n")[2] == (
        f"![shot](https://example.com/a/b/raw/v{version}/deploy/page.png) "
        f"[how](https://example.com/a/b/blob/v{version}/deploy/README.md#x) [else](https://example.org/)\n"
    )
