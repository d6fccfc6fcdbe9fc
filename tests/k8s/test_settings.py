"""What an overlay's settings fill in fits together: sizes with options, options with commands, paths with the image."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from ray.serve.schema import ServeDeploySchema
from typer.exceptions import TyperException

import provray
from provray.cli.app import app
from provray.serve.settings import ServiceSettings
from tests.k8s.kubectl import OVERLAYS, ROOT, rendered
from tests.k8s.pods import Pod, find, pods

GIB = 1 << 30
IMAGE = Path("/opt/provray")
"""Where the image has this tree (Containerfile)."""


def settings(overlay: str) -> dict[str, str]:
    text = (ROOT / "k8s" / "overlays" / overlay / "settings.yaml").read_text()
    return yaml.safe_load(text)["data"]


def bytes_of(quantity: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi)", quantity).groups()
    return int(number) << {"Mi": 20, "Gi": 30}[unit]


def jobs(overlay: str) -> dict[str, dict[str, Any]]:
    things = rendered(overlay)
    return {
        "crawl": find(things, "RayJob")["spec"],
        "refresh": find(things, "RayCronJob")["spec"]["jobTemplate"],
    }


def parsed(entrypoint: str) -> tuple[str, dict[str, Any]]:
    """The program of an entry point, and its arguments as `provray crawl` reads them."""
    python, program, *arguments = shlex.split(entrypoint)
    assert python == "python"
    crawl = typer.main.get_command(app).commands["crawl"]
    return program, crawl.make_context("crawl", arguments).params


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_are_filled_in_and_not_applied_themselves(overlay: str) -> None:
    text = yaml.safe_dump_all(rendered(overlay))
    left = re.findall(r"\b(?:INDEX|SOURCES|OPTIONS|ALLOW|HOST|STORAGE_CLASS|\w+_NAMESPACE)\b", text)
    assert left == []
    applied = {t["metadata"]["name"] for t in rendered(overlay) if t["kind"] == "ConfigMap"}
    assert "settings" not in applied
    for key, value in settings(overlay).items():
        assert value in re.sub(r"\s+", " ", text), key


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("job", ["crawl", "refresh"])
def test_a_job_runs_a_program_of_the_image_with_arguments_that_it_takes(
    overlay: str, job: str
) -> None:
    program, options = parsed(jobs(overlay)[job]["entrypoint"])
    assert program == str(IMAGE / "jobs" / f"{job}.py")
    assert (ROOT / "jobs" / f"{job}.py").is_file()
    wanted = settings(overlay)
    assert options["index"] == wanted["index"]
    assert options["sources"] == wanted["sources"].split()


def test_an_option_that_no_command_has_is_found() -> None:
    with pytest.raises(TyperException, match="--wokers"):
        parsed("python crawl.py models --index i --wokers 2")


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("job", ["crawl", "refresh"])
def test_the_workers_of_a_job_fit_its_pods(overlay: str, job: str) -> None:
    _, options = parsed(jobs(overlay)[job]["entrypoint"])
    (group,) = jobs(overlay)[job]["rayClusterSpec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    limits, count = container["resources"]["limits"], group["replicas"]
    assert options["workers"] * options["threads"] <= int(limits["cpu"]) * count
    gpus = int(limits.get("nvidia.com/gpu", 0))
    assert options["workers"] * options["gpus_per_worker"] == gpus * count
    assert container["image"].endswith("-cuda") == bool(gpus)
    each = -(-options["workers"] // count)
    store = int(group["rayStartParams"]["object-store-memory"])
    if not gpus:
        # The default is a share of the machine, which a container takes to be its own.
        assert options["worker_memory"] is not None
        assert each * options["worker_memory"] * GIB + store <= bytes_of(limits["memory"])
    (scratch,) = (v for v in group["template"]["spec"]["volumes"] if v["name"] == "tmp")
    assert each * options["disk"] * GIB < bytes_of(scratch["emptyDir"]["sizeLimit"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_serve_reads_its_configuration(overlay: str) -> None:
    config = yaml.safe_load(find(rendered(overlay), "RayService")["spec"]["serveConfigV2"])
    read = ServeDeploySchema(**config)
    assert read.http_options.host == "0.0.0.0"
    (application,) = read.applications
    assert application.import_path == "provray.serve.app:build"
    made = ServiceSettings(**application.args)
    assert made.index == settings(overlay)["index"]
    assert made.allow == (settings(overlay)["allow"],)
    assert made.front_replicas == made.search_replicas == 2
    deployments = {d.name: d for d in application.deployments}
    for kind in ("front", "search"):
        assert deployments[kind].max_replicas_per_node == 1
    # Replicas ask for nodes that there are.
    cluster = find(rendered(overlay), "RayService")["spec"]["rayClusterConfig"]
    (group,) = cluster["workerGroupSpecs"]
    assert made.node_labels == group["labels"]
    # A rollout starts what is new before it ends what is old: that needs a worker without one of its kind.
    assert group["replicas"] > made.front_replicas
    # Folders of the settings are mounted wherever they are read.
    for pod in pods(rendered(overlay)):
        if pod.labels["app.kubernetes.io/component"] == "service":
            assert mounted(pod) >= {made.state, str(Path(made.keys).parent)}


def mounted(pod: Pod) -> set[str]:
    return {m["mountPath"] for c in pod.containers for m in c["volumeMounts"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_state_that_lies_in_a_folder_is_mounted_in_the_crawl_too(overlay: str) -> None:
    index = settings(overlay)["index"]
    if "://" in index:
        return
    for pod in pods(rendered(overlay)):
        if pod.labels["app.kubernetes.io/component"] == "crawl":
            assert any(index.startswith(f"{folder}/") for folder in mounted(pod)), pod.name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_traffic_goes_to_pods_that_answer(overlay: str) -> None:
    things = rendered(overlay)
    service = find(things, "RayService")
    assert service["spec"]["upgradeStrategy"] == {"type": "NewCluster"}
    assert service["spec"]["excludeHeadPodFromServeSvc"] is True
    backend = find(things, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == f"{service['metadata']['name']}-serve-svc"
    (worker,) = (p for p in pods(things) if p.name == "RayService/provray/replicas")
    (container,) = worker.containers
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "serve"}
    assert {"name": "serve", "containerPort": 8000} in container["ports"]
    assert container["livenessProbe"]["httpGet"]["port"] == 52365
    budget = find(things, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    chosen = budget["selector"]["matchLabels"].items()
    assert [p.name for p in pods(things) if chosen <= p.labels.items()] == [worker.name]
    keys = {c["topologyKey"] for c in worker.spec["topologySpreadConstraints"]}
    assert keys == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_label_tells_the_crawl_from_the_rest(overlay: str) -> None:
    label = "app.kubernetes.io/component"
    crawl = [t for t in rendered(overlay) if t["metadata"]["labels"].get(label) == "crawl"]
    assert [(t["kind"], t["metadata"]["name"]) for t in crawl] == [("RayJob", "provray-crawl")]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_versions_are_those_of_the_lock(overlay: str) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    (ray,) = re.findall(r"^ray==(.+)$", lock, re.MULTILINE)
    things = rendered(overlay)
    assert find(things, "RayService")["spec"]["rayClusterConfig"]["rayVersion"] == ray
    for job in jobs(overlay).values():
        assert job["rayClusterSpec"]["rayVersion"] == ray
    for pod in pods(things):
        for container in pod.containers:
            if container["name"] != "redis":
                assert container["image"].rpartition(":")[2].startswith(f"{provray.__version__}-")
