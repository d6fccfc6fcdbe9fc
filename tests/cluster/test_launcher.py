"""The cluster launcher's files, read by Ray's own code and by the model of AWS's interface. No cloud is asked."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import botocore.session
import click
import jsonschema
import pytest
import yaml
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import start

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "cluster").glob("*.yaml"))


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def accepted(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` makes of a file before it asks anybody. Raises what Ray raises for a bad one."""
    validate_config(ready := prepare_config(deepcopy(config)))
    return ready


@pytest.fixture
def aws() -> dict[str, Any]:
    return read(ROOT / "cluster" / "aws.yaml")


def test_they_are_all_there() -> None:
    assert [f.name for f in FILES] == ["aws.yaml", "on-premise.yaml", "one-machine.yaml"]


@pytest.mark.parametrize("path", FILES, ids=lambda f: f.stem)
def test_ray_accepts_it(path: Path) -> None:
    ready = accepted(read(path))
    types = ready["available_node_types"]
    hosts = len(ready["provider"].get("worker_ips", ()))
    if ready["provider"]["type"] == "local":
        (only,) = types.values()
        assert only["min_workers"] == only["max_workers"] == ready["max_workers"] == hosts
    else:
        assert sum(t["max_workers"] for t in types.values()) <= ready["max_workers"]


@pytest.mark.parametrize("path", FILES, ids=lambda f: f.stem)
@pytest.mark.parametrize("place", ["", "auth"])
def test_a_field_that_does_not_exist_is_found(path: Path, place: str) -> None:
    config = read(path)
    (config[place] if place else config)["ssh_usr"] = "x"
    with pytest.raises(jsonschema.ValidationError, match="ssh_usr"):
        accepted(config)


def test_a_field_of_a_machine_that_does_not_exist_is_found(aws: dict[str, Any]) -> None:
    aws["available_node_types"]["gpu"]["min_worker"] = 2
    with pytest.raises(jsonschema.ValidationError, match="min_worker"):
        accepted(aws)


def test_a_list_of_hosts_without_a_head_is_refused() -> None:
    config = read(ROOT / "cluster" / "on-premise.yaml")
    config["provider"]["head"] = config["provider"].pop("head_ip")
    with pytest.raises(click.ClickException):
        accepted(config)


def machines(config: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, node_type in config["available_node_types"].items():
        yield name, node_type["node_config"]


def complaints(node_config: dict[str, Any]) -> str:
    """What EC2 would not take, by the model of its interface that comes with its client."""
    asked = {**node_config, "MinCount": 1, "MaxCount": 1}
    # Of Ray's making: it picks one of them.
    asked["SubnetId"] = asked.pop("SubnetIds")[0]
    model = botocore.session.get_session().get_service_model("ec2")
    shape = model.operation_model("RunInstances").input_shape
    return ParamValidator().validate(asked, shape).generate_report()


def test_aws_takes_the_machines(aws: dict[str, Any]) -> None:
    for _, machine in machines(aws):
        assert complaints(machine) == ""
    machine["MetadataOptions"]["HttpToken"] = "required"
    assert "HttpToken" in complaints(machine)


def test_nothing_on_aws_is_public(aws: dict[str, Any]) -> None:
    assert aws["provider"]["use_internal_ips"] is True
    # Named groups: of its own accord the launcher opens SSH to everywhere.
    assert "security_group" not in aws["provider"]
    for name, machine in machines(aws):
        assert machine["SecurityGroupIds"], name
        assert machine["SubnetIds"], name
        assert "NetworkInterfaces" not in machine, name
        assert machine["MetadataOptions"]["HttpTokens"] == "required"
        assert machine["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
        for disk in machine["BlockDeviceMappings"]:
            assert disk["Ebs"]["Encrypted"] is True
            assert disk["Ebs"]["DeleteOnTermination"] is True
        profile = {"head": "provray-head"}.get(name, "provray-worker")
        assert machine["IamInstanceProfile"] == {"Name": profile}
    region = aws["provider"]["region"]
    assert f"--region {region} " in aws["auth"]["ssh_proxy_command"]


def test_the_gpu_pool_is_fixed_and_the_head_takes_no_work(aws: dict[str, Any]) -> None:
    types = aws["available_node_types"]
    assert types["gpu"]["min_workers"] == types["gpu"]["max_workers"] > 0
    assert types["loader"]["min_workers"] == 0 < types["loader"]["max_workers"]
    assert types["head"]["resources"] == {"CPU": 0}


@pytest.mark.parametrize("path", FILES, ids=lambda f: f.stem)
def test_what_is_sent_is_in_the_tree_and_holds_no_secret_but_the_token(path: Path) -> None:
    mounts = read(path)["file_mounts"]
    assert mounts.pop("~/.ray/auth_token") == "~/.ray/auth_token"
    for target, source in mounts.items():
        assert (ROOT / source).exists(), source
        assert target == f"~/provray/{source}"
    installs = " ".join(read(path)["setup_commands"])
    assert "-c ~/provray/requirements.lock" in installs


def starts(path: Path) -> list[str]:
    config = read(path)
    commands = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
    return [command for command in commands if "ray start" in command]


@pytest.mark.parametrize("path", FILES, ids=lambda f: f.stem)
def test_ray_starts_with_its_token_and_a_dashboard_of_its_own_machine(path: Path) -> None:
    for command in starts(path):
        assert "RAY_AUTH_MODE=token " in command
        words = shlex.split(command)
        # Options that do not exist are errors here.
        options = start.make_context("start", words[words.index("start") + 1 :]).params
        if options["head"]:
            assert options["dashboard_host"] == "127.0.0.1"
        else:
            assert options["address"] == "$RAY_HEAD_IP:6379"


def test_the_costs_are_of_the_measured_seconds() -> None:
    text = (ROOT / "cluster" / "README.md").read_text()
    measured = json.loads((ROOT / "docs/results/fingerprint-benchmark.json").read_text())
    crawl = (ROOT / "docs/results/crawl.md").read_text()
    (added,) = re.findall(r"from first begun to last committed \| ([\d.]+) \|  \|\n\| two", crawl)
    assert f"s × {added} / (3,600 × w)" in text
    for model in measured["time_per_model"]:
        weights = model["weights_seconds"]
        every = model["seconds"] + weights + model["load_seconds"]
        hours = [1000 * s * float(added) / 3600 for s in (every, weights)]
        row = f"| {model['model']} | {every:.2f} | {hours[0]:.2f} | {weights} | {hours[1]:.3f} |"
        assert row in text
        if model["model"] == "all-MiniLM-L6-v2":
            assert f"{hours[0]:.2f} × 0.05 = {hours[0] * 0.05:.2f}" in text
            assert f"{1000 * hours[0]:,.0f} core-hours: {1000 * hours[0] / 64:.0f} hours" in text
        if model["model"] == "MobileNetV2":
            assert f"{hours[0]:.2f} × 0.05 = {hours[0] * 0.05:.2f}" in text
