"""Alerts, their runbook and the dashboard speak of metrics that exist, and each alert fires when it must."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
RUNBOOK = (ROOT / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")

Json = Any  # what json and yaml give; the tests say what they expect of it

RULES: list[Json] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD: Json = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
TESTS = ("alerts_test.yml", "alerts_day_test.yml")
TARGETS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)


def series() -> set[str]:
    """Every series that the runbook's table (held equal to a real page by test_metrics) promises."""
    table = re.findall(r"^\| `(stem_archiver_\w+)(?:\{\w+\})?` \| (\w+) \|", RUNBOOK, re.MULTILINE)
    plain = {name for name, kind in table if kind != "histogram"}
    return plain | {
        f"{name}_{end}" for name, kind in table if kind == "histogram" for end in ("bucket", "sum", "count")
    }


def promtool(*words: str) -> str:
    done = subprocess.run(["promtool", *words], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("expr", [*(rule["expr"] for rule in RULES), *TARGETS])
def test_expression_asks_only_for_metrics_that_exist(expr: str) -> None:
    asked = set(re.findall(r"\bstem_archiver_\w+", expr))
    assert asked or "up{" in expr
    assert asked - series() == set()


def test_every_alert_waits_a_while_and_says_what_is_wrong_and_where_to_read_on() -> None:
    for rule in RULES:
        assert re.fullmatch(r"[1-9]\d*m", rule["for"]), rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule["alert"]


def test_every_alert_leads_to_its_section_of_the_runbook_by_a_relative_name() -> None:
    sections = re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)
    assert sections == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook_url"] == f"deploy/RUNBOOK.md#{rule['alert'].lower()}"


def test_alerts_of_the_runbook_are_those_of_the_rules() -> None:
    table = re.findall(r"^\| `(StemArchiver\w+)` \| (\w+) \|", RUNBOOK, re.MULTILINE)
    assert table == [(rule["alert"], rule["labels"]["severity"]) for rule in RULES]


def test_runbook_names_only_events_and_commands_that_exist() -> None:
    from typer.main import get_command

    from archiver.commands.app import app
    from archiver.logs import EVENTS
    from archiver.settings import KEYS

    commands = set(getattr(get_command(app), "commands"))  # noqa: B009 - typer's type does not say that it is a group
    assert set(re.findall(r"`stem-archiver ([a-z]+)", RUNBOOK)) <= commands
    dotted = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", RUNBOOK)) - {"prometheus.yml", "alerts.yml", *TESTS}
    errors = {"cdn.busy", "store.busy", "api.busy", "store.clock_skewed"}
    assert dotted - {"dashboard.json"} - set(EVENTS) - set(KEYS) - errors == set()


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    asked: dict[str, set[bool]] = {}
    cases = [case for file in TESTS for case in yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))["tests"]]
    for case in cases:
        for check in case.get("promql_expr_test", ()):
            [alert] = re.findall(r'alertname="(\w+)"', check["expr"])
            asked.setdefault(alert, set()).add(bool(check["exp_samples"]))
    assert asked == {rule["alert"]: {True, False} for rule in RULES}


@needs_promtool
def test_rules_and_configuration_satisfy_promtool() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")
    promtool("check", "config", "prometheus.yml")


@needs_promtool
def test_every_alert_fires_when_it_must_and_not_else() -> None:
    assert "SUCCESS" in promtool("test", "rules", *TESTS)


# --- the dashboard


@needs_promtool
def test_expressions_of_the_dashboard_are_promql(tmp_path: Path) -> None:
    exprs = [expr.replace("$__rate_interval", "1m") for expr in TARGETS]
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(exprs)]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", "--lint=none", str(file))


def test_panels_of_the_dashboard_fill_its_columns_without_overlap() -> None:
    cells = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    for cell in cells:
        assert 0 <= cell["x"] < cell["x"] + cell["w"] <= 24
    for one, other in combinations(cells, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, (one, other)
    assert sum(cell["w"] * cell["h"] for cell in cells) == 24 * max(cell["y"] + cell["h"] for cell in cells)


def test_panels_of_the_dashboard_have_what_grafana_needs_of_them() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["type"] for panel in panels} == {"stat", "timeseries"}
    for panel in panels:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0
        assert all('instance=~"$instance"' in target["expr"] for target in panel["targets"])
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "instance"]
