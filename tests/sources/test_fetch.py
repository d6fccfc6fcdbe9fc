"""Fetching models from a real server: what travels, what does not, how much disk it takes, and what is left behind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from provray.crawl.sample_ranges import sample_ranges
from provray.fingerprints.settings import WeightsSettings
from provray.models.checkpoint import DEFAULT_LIMITS, Limits, open_checkpoint
from provray.models.errors import (
    ModelError,
    SlowModel,
    TooLargeModel,
    UnavailableModel,
    UnsafeModel,
    UnsupportedModel,
)
from provray.sources import ModelRef, hub_http, open_source
from provray.sources.fetch import HEAD_BYTES, Scratch, ScratchFull
from provray.testbed.local_hub import LocalHub
from tests.models import tiny

MIB = 1 << 20


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    monkeypatch.setattr(hub_http, "FIRST_WAIT", 0.01)
    with LocalHub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    made = Scratch(tmp_path / "scratch", 64 * MIB, DEFAULT_LIMITS, 60)
    yield made
    made.close()


def _bert(folder: Path, **options: int) -> Path:
    tiny.save(folder, tiny.build("bert", **options))
    return folder


def _listed(hub: LocalHub, name: str, folder: Path) -> ModelRef:
    hub.push(name, folder)
    (ref,) = open_source(f"hf://{name}").models()
    hub.requests.clear()
    return ref


def _resolved(hub: LocalHub) -> int:
    """Bytes of files that the hub sent."""
    return sum(request.sent for request in hub.asked("/resolve/"))


def _large(folder: Path) -> Path:
    """A model with some MiB of weights."""
    return _bert(folder, hidden_size=256, num_hidden_layers=4, intermediate_size=1024)


def test_a_fetched_model_is_the_model_that_was_pushed(
    hub: LocalHub, scratch: Scratch, tmp_path: Path
) -> None:
    folder = _large(tmp_path / "m")
    (folder / "README.md").write_text("---\nbase_model: org/parent\n---\n")
    (folder / "evil.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02" * 50_000)
    ref = _listed(hub, "org/m", folder)
    fetched = scratch.fetch(ref, probed=True)
    local = Path(fetched.ref.location)
    names = {p.name for p in local.iterdir()}
    assert names >= {"config.json", "model.safetensors", "README.md"}
    assert not names & {"evil.py", "pytorch_model.bin"}
    for name in names:
        assert (local / name).read_bytes() == (folder / name).read_bytes(), name
    assert fetched.ref.declared == {"base_model": ["org/parent"]}
    assert fetched.bytes == _resolved(hub) == sum(p.stat().st_size for p in local.iterdir())
    assert not fetched.ref.remote
    scratch.drop(ref)
    assert not local.exists()


def test_a_model_that_cannot_be_probed_costs_kilobytes(
    hub: LocalHub, scratch: Scratch, tmp_path: Path
) -> None:
    folder = _large(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "rwkv9"}))
    ref = _listed(hub, "org/m", folder)
    assert (folder / "model.safetensors").stat().st_size > 8 * MIB
    with pytest.raises(UnsupportedModel, match="rwkv9"):
        scratch.fetch(ref, probed=True)
    assert not hub.asked(r"model\.safetensors")
    # Its weights alone need no model code.
    assert (Path(scratch.fetch(ref, probed=False).ref.location) / "model.safetensors").exists()


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\x80\x02" + bytes(4 * MIB))


def _overlapping(folder: Path) -> None:
    header = json.dumps(
        {
            "a": {"dtype": "F32", "shape": [MIB], "data_offsets": [0, 4 * MIB]},
            "b": {"dtype": "F32", "shape": [MIB], "data_offsets": [0, 4 * MIB]},
        }
    ).encode()
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(header)) + header + bytes(4 * MIB)
    )


def _huge_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 40 * MIB) + bytes(41 * MIB))


@pytest.mark.parametrize("spoil", [_pickled, _overlapping, _huge_header])
def test_headers_are_checked_before_the_weights_travel(
    hub: LocalHub, scratch: Scratch, tmp_path: Path, spoil: object
) -> None:
    folder = _bert(tmp_path / "m")
    spoil(folder)  # type: ignore[operator]
    ref = _listed(hub, "org/m", folder)
    with pytest.raises(ModelError):
        scratch.fetch(ref, probed=True)
    assert sum(r.sent for r in hub.asked(r"model\.safetensors")) <= HEAD_BYTES


def test_a_header_longer_than_the_first_request_is_fetched_whole(
    hub: LocalHub, scratch: Scratch, tmp_path: Path
) -> None:
    folder = _bert(tmp_path / "m")
    names = [f"tensor.{'x' * 900}.{number}" for number in range(400)]
    places = {
        n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
        for i, n in enumerate(names)
    }
    header = json.dumps(places).encode()
    assert len(header) > 2 * HEAD_BYTES
    (folder / "model.safetensors").write_bytes(
        struct.pack("<Q", len(header)) + header + bytes(4 * len(names))
    )
    local = Path(scratch.fetch(_listed(hub, "org/m", folder), probed=False).ref.location)
    assert len(open_checkpoint(local).tensors) == 400


def test_too_large_a_model_costs_kilobytes(hub: LocalHub, tmp_path: Path) -> None:
    ref = _listed(hub, "org/m", _large(tmp_path / "m"))
    small = Scratch(tmp_path / "scratch", 64 * MIB, Limits(total_bytes=4 * MIB), 60)
    with pytest.raises(TooLargeModel, match="4,194,304"):
        small.fetch(ref, probed=True)
    tight = Scratch(tmp_path / "scratch", 4 * MIB, DEFAULT_LIMITS, 60)
    with pytest.raises(TooLargeModel, match="raise --disk"):
        tight.fetch(ref, probed=True)
    assert sum(r.sent for r in hub.asked(r"model\.safetensors")) <= 2 * HEAD_BYTES
    small.close()
    tight.close()


def test_shards_travel_and_are_checked(hub: LocalHub, scratch: Scratch, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    tiny.build("bert", hidden_size=256).save_pretrained(folder, max_shard_size="200KB")
    shards = sorted(p.name for p in folder.glob("*.safetensors"))
    assert len(shards) > 2
    local = Path(scratch.fetch(_listed(hub, "org/m", folder), probed=False).ref.location)
    for shard in shards:
        assert (local / shard).read_bytes() == (folder / shard).read_bytes()
    (folder / shards[0]).unlink()
    with pytest.raises(ModelError, match="not in the folder"):
        scratch.fetch(_listed(hub, "org/lacking", folder), probed=False)


def test_a_sample_fetches_only_what_its_sketch_reads(
    hub: LocalHub, scratch: Scratch, tmp_path: Path
) -> None:
    folder = _bert(tmp_path / "m", hidden_size=512, intermediate_size=4096)
    ref = _listed(hub, "org/m", folder)
    settings = WeightsSettings(sample=1)
    whole = (folder / "model.safetensors").stat().st_size
    fetched = scratch.fetch(
        ref, probed=False, ranges=lambda found: sample_ranges(found.tensors, settings)
    )
    assert fetched.bytes < whole / 2
    ours, theirs = Path(fetched.ref.location) / "model.safetensors", folder / "model.safetensors"
    assert ours.stat().st_size == whole
    found = open_checkpoint(folder)
    for begin, end in sample_ranges(found.tensors, settings)[theirs]:
        assert ours.read_bytes()[begin:end] == theirs.read_bytes()[begin:end]
    # Asked for whole, it is fetched again, and is whole.
    again = Path(scratch.fetch(ref, probed=False).ref.location)
    assert load_file(again / "model.safetensors").keys() == load_file(theirs).keys()
    assert (again / "model.safetensors").read_bytes() == theirs.read_bytes()


def test_two_threads_fetch_a_model_once(hub: LocalHub, scratch: Scratch, tmp_path: Path) -> None:
    ref = _listed(hub, "org/m", _large(tmp_path / "m"))
    hub.bandwidth = 20e6
    places: list[str] = []
    threads = [
        threading.Thread(target=lambda: places.append(scratch.fetch(ref, probed=True).ref.location))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(places) == 3
    assert len(set(places)) == 1
    assert _resolved(hub) < 2 * Path(places[0], "model.safetensors").stat().st_size


def test_the_budget_is_kept_and_a_drop_makes_room(hub: LocalHub, tmp_path: Path) -> None:
    refs = [_listed(hub, f"org/m{n}", _large(tmp_path / f"m{n}")) for n in range(3)]
    size = (tmp_path / "m0" / "model.safetensors").stat().st_size
    scratch = Scratch(tmp_path / "scratch", int(2.5 * size), DEFAULT_LIMITS, 60)
    for ref in refs[:2]:
        scratch.fetch(ref, probed=True)
    third = threading.Thread(target=scratch.fetch, args=(refs[2],), kwargs={"probed": True})
    third.start()
    third.join(1.0)
    assert third.is_alive(), "there is no room for a third model"
    held = sum(p.stat().st_size for p in (tmp_path / "scratch").rglob("model.safetensors"))
    blocks = sum(p.stat().st_blocks * 512 for p in (tmp_path / "scratch").rglob("*.safetensors"))
    assert held == 3 * size  # its header is there, in a sparse file
    assert blocks < 2.5 * size
    scratch.drop(refs[0])
    third.join(60)
    assert not third.is_alive()
    scratch.close()


def test_a_slow_link_is_given_up(hub: LocalHub, tmp_path: Path) -> None:
    ref = _listed(hub, "org/m", _large(tmp_path / "m"))
    hub.bandwidth = 1e6
    hasty = Scratch(tmp_path / "scratch", 64 * MIB, DEFAULT_LIMITS, 0.5)
    with pytest.raises(SlowModel, match=r"0\.5 s"):
        hasty.fetch(ref, probed=True)
    assert not list((tmp_path / "scratch").rglob("*.safetensors")), "nothing of it is left"
    hasty.close()


def test_a_hostile_file_name_is_refused(hub: LocalHub, scratch: Scratch, tmp_path: Path) -> None:
    ref = _listed(hub, "org/m", _bert(tmp_path / "m"))
    bad = ref.files[0].__class__("../../evil.safetensors", 10)
    with pytest.raises(UnsafeModel, match="only plain names"):
        scratch.fetch(ModelRef(ref.model, ref.location, "r", {}, files=(bad,)), probed=True)


def test_a_failed_fetch_leaves_nothing_and_can_be_tried_again(
    hub: LocalHub, scratch: Scratch, tmp_path: Path
) -> None:
    ref = _listed(hub, "org/m", _bert(tmp_path / "m"))
    hub.fail(r"config\.json", 404)
    with pytest.raises(UnavailableModel):
        scratch.fetch(ref, probed=True)
    assert not list((tmp_path / "scratch").rglob("config.json"))
    assert scratch.fetch(ref, probed=True).bytes > 0


def test_a_full_disk_is_no_fault_of_a_model(
    hub: LocalHub, scratch: Scratch, tmp_path: Path
) -> None:
    """/dev/full refuses every byte as a full disk does."""
    ref = _listed(hub, "org/m", _bert(tmp_path / "m"))
    (worker,) = (tmp_path / "scratch").iterdir()
    key = repr((ref.model, ref.revision, True))
    folder = worker / hashlib.sha256(key.encode()).hexdigest()[:24]
    folder.mkdir()
    (folder / "config.json").symlink_to("/dev/full")
    with pytest.raises(ScratchFull, match="free space"):
        scratch.fetch(ref, probed=True)
    assert not folder.exists()


_HOLDER = """
import sys, time
from pathlib import Path
from provray.models.checkpoint import DEFAULT_LIMITS
from provray.sources.fetch import Scratch
held = Scratch(Path(sys.argv[1]), 1 << 20, DEFAULT_LIMITS, 60)
print("ready", flush=True)
time.sleep(600)
"""


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(
    tmp_path: Path,
) -> None:
    root = tmp_path / "scratch"
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(root)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for holder in holders:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
        assert len(list(root.glob("worker-*"))) == 2
        os.kill(holders[0].pid, signal.SIGKILL)
        holders[0].wait(30)
        time.sleep(0.1)
        ours = Scratch(root, MIB, DEFAULT_LIMITS, 60)
        assert len(list(root.glob("worker-*"))) == 2  # ours, and the living one's
        ours.close()
    finally:
        for holder in holders:
            holder.kill()
            holder.wait(30)
