"""What a wheel carries of config/ and deploy/, and how it is printed."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import yaml

from archiver.app.shipped import EXAMPLE, MAIN, deploy_files, kubernetes, shipped
from tests import ROOT
from tests.house import command


def test_wheel_is_made_with_every_file_that_is_printed() -> None:
    built = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    carried = built["wheel"]["force-include"]
    assert all(inside == f"archiver/shipped/{outside}" for outside, inside in carried.items())
    wanted = [Path(name) for name in (EXAMPLE, *MAIN.values(), *(f"deploy/{name}" for name in deploy_files()))]
    assert [name for name in wanted if not any(name.is_relative_to(outside) for outside in carried)] == []
    assert {"/config", "/deploy"} <= set(built["sdist"]["include"]), "a wheel is built from the sdist"


@pytest.mark.parametrize("what", [name for name in MAIN if name != "kubernetes"])
def test_shown_is_the_file_itself(what: str) -> None:
    assert command("deploy", "show", what).stdout == (ROOT / MAIN[what]).read_text("utf-8")


def test_shown_for_kubernetes_are_all_resources_that_its_kustomization_names() -> None:
    folder = ROOT / "deploy" / "kubernetes"
    names = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))["resources"]
    each = [document for name in names for document in yaml.safe_load_all((folder / name).read_text("utf-8"))]
    assert list(yaml.safe_load_all(kubernetes())) == each
    assert len(each) >= 6


def test_listed_is_what_can_be_shown() -> None:
    listed = command("deploy", "list").stdout.split()
    assert "systemd/stem-archiver-worker@.service" in listed
    assert listed == list(deploy_files())
    assert json.loads(command("deploy", "show", "aws/cors.json").stdout) == json.loads(shipped("deploy/aws/cors.json"))


@pytest.mark.parametrize("what", ["nix", "../README.md", "/etc/passwd", "", "aws"])
def test_shown_is_nothing_that_is_not_listed(what: str) -> None:
    done = command("deploy", "show", what)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "`deploy list` names every file" in done.stderr


def test_example_is_the_one_that_the_settings_are_documented_by() -> None:
    assert command("config", "example").stdout == (ROOT / EXAMPLE).read_text("utf-8")
