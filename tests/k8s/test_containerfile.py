"""The image's recipe: what it copies is there, what it installs is locked, and what runs in it is nobody."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib.metadata import distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.k8s.containerfile import CONTAINERFILE, Stage, instructions, stages
from tests.k8s.kubectl import OVERLAYS, ROOT, rendered
from tests.k8s.pods import find, pods

VARIANTS = ("cpu", "cuda")


def chain(name: str) -> list[Stage]:
    """A stage and those that it starts from."""
    found = stages()
    stage = found[name]
    return [stage, *(chain(stage.base) if stage.base in found else [])]


def test_bases_are_tags_that_stay() -> None:
    (base,) = (i.rest for i in instructions()[:1])
    assert instructions()[0].word == "ARG"
    assert re.fullmatch(r"PYTHON=python:3\.11\.\d+-slim-[a-z]+", base)
    known = set(stages()) | {"${PYTHON}"}
    assert {stage.base for stage in stages().values()} <= known


def test_the_image_has_the_python_of_the_lock() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"]
    assert instructions()[0].rest.startswith(f"PYTHON=python:{wanted}.")


def test_a_build_without_a_target_is_for_cpus() -> None:
    assert list(stages())[-1] == "cpu"


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_copied_is_in_the_tree_and_not_ignored(variant: str) -> None:
    let_in = {
        line.removeprefix("!")
        for line in (ROOT / ".containerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = set()
    for stage in [*chain(variant), *chain(f"packages-{variant}")]:
        for copy in stage.of("COPY"):
            if copy.startswith("--from="):
                source = re.match(r"--from=(\S+)", copy)[1]
                assert source == f"packages-{variant}"
                continue
            copied |= set(copy.split()[:-1])
    assert copied <= let_in
    for name in copied:
        assert (ROOT / name).exists(), name
        tracked = subprocess.run(
            ["git", "ls-files", name], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert tracked.stdout, f"{name} is not part of the project"


def test_nothing_else_is_sent_to_the_builder() -> None:
    lines = (ROOT / ".containerignore").read_text().splitlines()
    rules = [line for line in lines if not line.startswith("#")]
    assert rules[0] == "*"
    assert not [r for r in rules if r.startswith("!") and ("*" in r or ".." in r)]
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_runs_in_it_is_a_user_of_the_pods(variant: str) -> None:
    users = [user for stage in reversed(chain(variant)) for user in stage.of("USER")]
    assert users == ["10001:10001"]
    for overlay in OVERLAYS:
        for pod in pods(rendered(overlay)):
            context = pod.spec["securityContext"]
            if not pod.name.startswith("StatefulSet"):
                assert f"{context['runAsUser']}:{context['runAsGroup']}" == users[0]
    # Nothing is written after root has left, and what the user has is /tmp.
    runtime = stages()["runtime"]
    assert "HOME=/tmp" in " ".join(runtime.of("ENV"))
    last = [i.word for i in runtime.instructions].index("USER")
    assert not {"RUN", "COPY"} & {i.word for i in runtime.instructions[last:]}


def test_no_secret_can_be_baked_in() -> None:
    arguments = {i.rest.partition("=")[0] for i in instructions() if i.word == "ARG"}
    assert arguments == {"PYTHON", "TORCH_INDEX"}
    text = CONTAINERFILE.read_text()
    assert not re.search(r"(?i)(password|secret|api_?key|_token)\s*=", text)
    assert "latest" not in text
    assert "://" not in text, "no index is named in the tree"


def test_ray_in_the_image_asks_for_its_token() -> None:
    assert "RAY_AUTH_MODE=token" in " ".join(stages()["runtime"].of("ENV"))


def test_jobs_lie_where_manifests_look_for_them() -> None:
    (folder,) = stages()["runtime"].of("WORKDIR")
    assert stages()["runtime"].of("COPY") == ["jobs ./jobs"]
    for overlay in OVERLAYS:
        entrypoint = find(rendered(overlay), "RayJob")["spec"]["entrypoint"]
        assert entrypoint.startswith(f"python {folder}/jobs/crawl.py ")


def test_what_is_installed_is_in_the_lock_to_the_last_dependency() -> None:
    lock = {
        canonicalize_name(name): version
        for name, version in re.findall(
            r"^(\S+)==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE
        )
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["serve"], "torch"]
    text = " ".join(i.rest for i in instructions() if i.word == "RUN")
    assert "-c requirements.lock -r wanted.txt setuptools" in text
    assert 'p["dependencies"]' in text
    assert '["serve"]' in text
    seen: set[tuple[str, tuple[str, ...]]] = set()
    waiting = [Requirement(line) for line in wanted]
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        if (name, tuple(sorted(asked.extras))) in seen:
            continue
        seen.add((name, tuple(sorted(asked.extras))))
        assert name in lock, f"the lock does not name {name}"
        found = distribution(asked.name)
        assert found.version.partition("+")[0] == lock[name]
        for line in found.requires or ():
            needed = Requirement(line)
            # Of another variant: CUDA's libraries, which torch pins.
            if name == "torch" and re.match(r"(nvidia|cuda|triton)", needed.name):
                continue
            extras = asked.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)
    assert len(seen) > 80
    # The tools of the tests stay out.
    assert not {"pytest", "mypy", "ruff", "hypothesis"} & {name for name, _ in seen}
