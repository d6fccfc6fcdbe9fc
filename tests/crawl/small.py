"""Small things that crawl tests share: tiny models on disk, small probe sets, a way to find working actors."""

from __future__ import annotations

import os
from pathlib import Path

from provray.crawl.settings import PoolSettings
from provray.probes import ProbeSet, default_probes
from tests.models import tiny

POOL = PoolSettings(workers=2, threads=1, seconds_per_model=120)


def small_probes() -> list[ProbeSet]:
    """The default probe sets, cut to 8 probes per stratum."""
    cut = []
    for modality in ("image", "text"):
        whole = default_probes(modality)
        some = [p for s in ("natural", "mixed", "noise") for p in whole.stratum(s)[:8]]
        cut.append(ProbeSet(f"small-{modality}", modality, tuple(some)))
    return cut


def tiny_folder(root: Path) -> Path:
    """Four sound models of both modalities."""
    tiny.save(root / "a" / "vit", tiny.build("vit", "ViTForImageClassification"))
    tiny.save(root / "a" / "resnet", tiny.build("resnet", "ResNetForImageClassification"))
    tiny.save(root / "b" / "bert", tiny.build("bert"))
    tiny.save(root / "b" / "deep" / "gpt2", tiny.build("gpt2", "GPT2LMHeadModel"))
    return root


def working(method: str) -> list[int]:
    """Process ids of this process's own actors that are inside this method right now."""
    return [pid for pid, title in actors().items() if title.endswith(f"Worker.{method}")]


def actors() -> dict[int, str]:
    """Titles of this process's own Ray workers by process id: `ray::`, the actor's name, the call it is inside.

    They are children of a raylet that the driver started: those of another cluster on the machine are none of our
    business.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            title = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
            ours = parent(parent(int(entry.name))) == os.getpid()
        except OSError:
            continue
        if title.startswith("ray::") and ours:
            found[int(entry.name)] = title
    return found


def parent(pid: int) -> int:
    """Process id of a process's parent."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
