"""deploy/demo.sh and tests/run.sh, in a copy of the checkout whose locks name nothing: no index is asked."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import ROOT

SCRIPTS = ("deploy/demo.sh", "tests/run.sh")
TOOLS = ("sh", "dirname", "cat", "rm")
MAIN = "import os, sys; print(sys.argv[1:], os.path.dirname(sys.prefix)); print('\\u2713')"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    root = tmp_path / "a check out"
    for name in (*SCRIPTS, "deploy/setup.sh"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for lock in ("requirements-demo.lock", "requirements-dev.lock"):
        (root / lock).write_text("# nothing\n")
    for package in ("archiver", "pytest"):
        (root / package).mkdir()
        (root / package / "__main__.py").write_text(MAIN)
    return root


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder for PATH that holds what the scripts need, and neither uv nor Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (folder / tool).symlink_to(found)
    return folder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with pip, made once: making it takes seconds, a copy of it does the same."""
    env = tmp_path_factory.mktemp("env") / "template"
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    return env


def program(file: Path, script: str) -> None:
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def quick_python(path: Path, template: Path) -> None:
    """Put a Python on `path` whose `-m venv ENV` copies the template."""
    copy = f'[ "$2" != venv ] || exec "{shutil.which("cp")}" -Rp "{template}" "$3"'
    program(path / "python3", f'{copy}\nexec "{sys.executable}" "$@"')


def bare_python(path: Path) -> None:
    """Put a Python on `path` that lacks ensurepip, as Debian's does without python3-venv."""
    blocked = path.parent / "blocked"
    blocked.mkdir()
    (blocked / "ensurepip.py").write_text("raise ImportError('not installed')\n")
    program(path / "python3", f'PYTHONPATH="{blocked}" exec "{sys.executable}" "$@"')


def run(checkout: Path, path: Path, script: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": str(path), "HOME": str(path.parent), "PIP_NO_INDEX": "1", **extra}
    command = ["/bin/sh", str(checkout / script), *arguments]
    return subprocess.run(
        command, cwd=path.parent, env=environ, capture_output=True, encoding="utf-8", check=False, timeout=120
    )


@pytest.mark.parametrize("script", [*SCRIPTS, "deploy/setup.sh", ".ci/run"])
def test_script_is_sound_shell(script: str) -> None:
    subprocess.run(["/bin/sh", "-n", str(ROOT / script)], check=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_script_may_be_executed(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.parametrize("file", [*SCRIPTS, "deploy/setup.sh", *(lock.name for lock in ROOT.glob("*.lock"))])
def test_set_up_names_no_index_host(file: str) -> None:
    assert "://" not in (ROOT / file).read_text()


@pytest.mark.parametrize("script", SCRIPTS)
def test_python_without_venv_gets_one_clear_line(checkout: Path, path: Path, script: str) -> None:
    bare_python(path)

    done = run(checkout, path, script)

    assert done.returncode == 2
    assert done.stdout == ""
    start, reason = done.stderr.splitlines()
    name = Path(script).name
    assert start.startswith(f"{name}: setting up .venv")
    assert reason == f"{name}: python3 has no venv: install it (Debian, Ubuntu: apt install python3-venv), or uv"


@pytest.mark.parametrize("old", [None, "exit 1"])
def test_no_recent_python_gets_one_clear_line(checkout: Path, path: Path, old: str | None) -> None:
    if old is not None:
        program(path / "python3", old)

    done = run(checkout, path, "deploy/demo.sh")

    assert done.returncode == 2
    assert done.stderr.splitlines()[1:] == ["demo.sh: Python 3.11 or newer is needed, and none is on PATH"]


def test_demo_sets_up_once_and_passes_its_arguments_on(checkout: Path, path: Path, template: Path) -> None:
    program(path / "python3.13", "exit 127")  # a version manager's shim with nothing behind it
    quick_python(path, template)

    first = run(checkout, path, "deploy/demo.sh", "--keep", "a b")
    second = run(checkout, path, "deploy/demo.sh")

    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout == f"['demo', '--keep', 'a b'] {checkout}\n✓\n"
    assert first.stderr == "demo.sh: setting up .venv-demo from requirements-demo.lock\n"
    assert second.stderr == ""
    assert (checkout / ".venv-demo/.gitignore").read_text() == "*\n"


def test_changed_lock_is_installed_again(checkout: Path, path: Path, template: Path) -> None:
    quick_python(path, template)
    run(checkout, path, "deploy/demo.sh")
    (checkout / "requirements-demo.lock").write_text("# something else\n")

    done = run(checkout, path, "deploy/demo.sh")

    assert done.returncode == 0
    assert "setting up" in done.stderr


def test_failing_install_is_told_and_tried_again(checkout: Path, path: Path, template: Path) -> None:
    quick_python(path, template)
    lock = checkout / "requirements-demo.lock"
    lock.write_text(f"no-such-thing==1.0 --hash=sha256:{'0' * 64}\n")

    failed = run(checkout, path, "deploy/demo.sh")
    lock.write_text("# nothing\n")
    mended = run(checkout, path, "deploy/demo.sh")

    assert failed.returncode == 2
    assert failed.stderr.splitlines()[-1] == (
        "demo.sh: could not install requirements-demo.lock (the reason stands above):"
        " can this machine reach its package index?"
    )
    assert mended.returncode == 0


def wheel(folder: Path, name: str, version: str, *metadata: str) -> str:
    """Build an empty wheel; return the line of a lock that names it."""
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{about}/METADATA", "\n".join(["Metadata-Version: 2.1", f"Name: {name}", *metadata, ""]))
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


def test_release_newer_than_the_lock_does_not_stop_the_set_up(checkout: Path, path: Path, template: Path) -> None:
    quick_python(path, template)
    index = path.parent / "index"
    version = ("Version: 1.0", "Provides-Extra: more")
    lock = wheel(index, "pinned", "1.0", *version) + wheel(
        index, "wanting", "1.0", "Version: 1.0", "Requires-Dist: pinned[more]>=1.0"
    )
    wheel(index, "pinned", "1.1", "Version: 1.1", "Provides-Extra: more")
    (checkout / "requirements-demo.lock").write_text(lock)

    done = run(checkout, path, "deploy/demo.sh", PIP_FIND_LINKS=str(index))

    assert done.returncode == 0, done.stderr


def test_requirement_without_a_hash_is_not_installed(checkout: Path, path: Path, template: Path) -> None:
    quick_python(path, template)
    (checkout / "pyproject.toml").touch()
    (checkout / "requirements-demo.lock").write_text(f"{checkout.as_uri()}\n")

    done = run(checkout, path, "deploy/demo.sh")

    assert done.returncode == 2
    assert "verify hashes" in done.stderr


@pytest.mark.parametrize("uv_fails_at", ["--version", "venv", "pip"])
def test_uv_that_fails_leaves_the_work_to_pip(checkout: Path, path: Path, template: Path, uv_fails_at: str) -> None:
    make = f'[ "$1" != venv ] || "{sys.executable}" -m venv --without-pip "$6"'
    program(path / "uv", f'[ "$1" != {uv_fails_at} ] || exit 2\n{make}')
    quick_python(path, template)

    done = run(checkout, path, "deploy/demo.sh")

    assert done.returncode == 0
    assert done.stdout.startswith(f"['demo'] {checkout}\n")
    assert (checkout / ".venv-demo/bin/pip").exists()


def test_uv_serves_a_python_without_venv(checkout: Path, path: Path) -> None:
    program(path / "uv", f'echo "$*" >&2\n[ "$1" != venv ] || "{sys.executable}" -m venv --without-pip "$6"')
    bare_python(path)

    done = run(checkout, path, "deploy/demo.sh")

    assert done.returncode == 0
    assert "pip install --quiet" in done.stderr
    assert "--require-hashes -r" in done.stderr


def test_run_with_arguments_is_pytest_alone(checkout: Path, path: Path, template: Path) -> None:
    quick_python(path, template)

    done = run(checkout, path, "tests/run.sh", "-k", "name")

    assert (done.returncode, done.stdout) == (0, f"['-k', 'name'] {checkout}\n✓\n")
    quick = run(checkout, path, "tests/run.sh", "quick", "-x").stdout
    assert "not long', 'tests/unit', 'tests/contracts', 'tests/golden', '-x'" in quick
    assert quick.splitlines()[0].partition("] ")[0].endswith(", '-x'")


def test_run_names_every_check_that_failed_and_runs_them_all(checkout: Path, path: Path, template: Path) -> None:
    quick_python(path, template)
    run(checkout, path, "tests/run.sh", "-k", "setup")
    tools = checkout / ".venv/bin"
    program(tools / "ruff", 'echo "ruff $*"; [ "$1" = format ]')
    program(tools / "mypy", "echo mypy; exit 1")
    program(tools / "lint-imports", "echo lint-imports")

    failed = run(checkout, path, "tests/run.sh")
    program(tools / "ruff", "exit 0")
    program(tools / "mypy", "exit 0")
    passed = run(checkout, path, "tests/run.sh")

    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == "FAILED: lint types"
    for line in ("ruff check .", "ruff format --check .", "mypy", "lint-imports", "['-q', '-n', '3', "):
        assert line in failed.stdout
    assert passed.returncode == 0
    assert passed.stdout.splitlines()[-1] == "All checks passed."
