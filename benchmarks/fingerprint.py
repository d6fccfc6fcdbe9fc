"""What a fingerprint costs, held against the bare PyTorch loop it cannot beat, and GiF against the paper's recipe.

    python benchmarks/fingerprint.py [--json FILE] [--only time|gif|memory] [--work FOLDER]

Three measurements, each with both sides in one process and one run, `--threads` compute threads:

1. Time per model: probing (readouts of every probe; fields of the GiF probes) against a loop that only tokenises or
   resizes the same inputs, runs the bare transformers module on the same batches with hidden states, and takes as
   many gradients at the same points. Runs alternate; the ratio of medians is reported.
2. GiF against the recipe of the ModelGiF paper done plainly: 50 equal steps, one probe at a time, every cumulative
   point kept; time, and the rank correlation of both methods' distances, for our fields before they are sketched and
   for the stored sketches, over all pairs of models and over pairs within families; and of our sketches with those that
   the recipe's fields would have had.
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
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from provray.crawl.behaviour import Prober
from provray.crawl.fingerprinter import Fingerprinter
from provray.crawl.settings import Compute
from provray.fingerprints.gif import Fields, GifState, gradient_fields
from provray.fingerprints.quadrature import gauss_legendre
from provray.fingerprints.settings import FingerprintSettings, GifSettings
from provray.fingerprints.sketch import unit
from provray.probes import MODALITIES, ProbeSet, default_probes
from provray.sources import open_source
from provray.testbed import assets
from provray.testbed.build import build
from provray.testbed.demo_zoo import demo_items

PAPER_POINTS = 50
#: Those of them, by place, that lie where our fields are kept: after two, four, six and eight nodes, whose weights add
#: up to .16, .5, .84 and 1 of the path.
PAPER_POINTS_OF_OURS = (7, 24, 41, 49)
#: Sketches longer than the stored ones: how much of the order of unrelated pairs more numbers would keep.
LONGER_SKETCHES = (2048, 8192, 32768)


def main() -> None:
    """Run the measurements and print them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--only", choices=["time", "gif", "memory"], help="one measurement alone")
    parser.add_argument(
        "--work", type=Path, help="folder to keep the models in (default: made anew)"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--probes", type=int, default=32, help="probes of the GiF comparison")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of is not None:
        print(json.dumps(_peak_memory(options.memory_of)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        timed, family = _models(options.work or Path(scratch))
        figures: dict[str, Any] = {
            "machine": f"{platform.machine()}, {options.threads} threads",
            "command": "python benchmarks/fingerprint.py",
        }
        if options.json is not None and options.json.exists():
            figures = json.loads(options.json.read_text())
        if options.only in (None, "time"):
            figures["time_per_model"] = [
                _time_per_model(name, folder, options.repeats) for name, folder in timed.items()
            ]
        if options.only in (None, "gif"):
            figures["gif_against_paper"] = _gif_against_paper(family, options.probes)
        if options.only in (None, "memory"):
            figures["peak_memory"] = [_memory(name, folder) for name, folder in timed.items()]
        figures["date"] = datetime.now(UTC).date().isoformat()
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _models(work: Path) -> tuple[dict[str, Path], dict[str, tuple[str, Path]]]:
    """Real models of three sizes to time; and small families with strangers (root, folder) to compare in pairs."""
    timed = {"all-MiniLM-L6-v2": work / "minilm", "MobileNetV2": work / "mobilenet"}
    if not timed["all-MiniLM-L6-v2"].exists():
        assets.copy_model(assets.minilm_folder(), timed["all-MiniLM-L6-v2"], title="MiniLM")
    if not timed["MobileNetV2"].exists():
        assets.build_mobilenet_v2(timed["MobileNetV2"])
    wanted = [i for i in demo_items() if i.recipe.startswith(("vision", "compress"))]
    wanted = [i for i in wanted if "minilm" not in (i.parent or "")]
    family = {
        r.model: (
            r.parent if r.parent and r.relation != "stolen" else r.model,
            work / "zoo" / r.path,
        )
        for r in build(work / "zoo", wanted, workers=1)
    }
    timed["ResNet, 0.2 M, 16x16"] = family["aurora/resnet-digits"][1]
    return timed, family


def _fingerprinter(threads: int = 1) -> tuple[Fingerprinter, dict[str, ProbeSet]]:
    probes: dict[str, ProbeSet] = {m: default_probes(m) for m in MODALITIES}
    digests = {m: p.digest for m, p in probes.items()}
    return Fingerprinter(FingerprintSettings(), digests, Compute(threads=threads)), probes


def _time_per_model(name: str, folder: Path, repeats: int) -> dict[str, Any]:
    """Seconds of the fingerprint and of the bare loop over the same batches, alternating."""
    fingerprinter, sets = _fingerprinter()
    ref = next(iter(open_source(str(folder)).models()))
    model = Prober(fingerprinter).load(ref)
    shards = sets[model.modality].shards()
    ours, bare = [], []
    _bare_loop(fingerprinter, model, shards[:1])  # warm up allocator and thread pool
    for _ in range(repeats):
        ours.append(_seconds(lambda: _probe(fingerprinter, model, ref, shards)))
        bare.append(_seconds(lambda: _bare_loop(fingerprinter, model, shards)))
    weights = _seconds(lambda: fingerprinter.weights(ref))
    loading = _seconds(lambda: Prober(fingerprinter).load(ref))
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
    prober = Prober(fingerprinter)
    part = prober.begin(model, ref, shards)
    prober.add(part, model, shards)
    fingerprinter.finish(part)


def _bare_loop(fingerprinter: Fingerprinter, model: Any, shards: Any) -> None:
    """The transformers module alone on the same inputs, batches, points and scalars; nothing is kept."""
    gif = fingerprinter.settings.gif
    nodes = torch.tensor(gauss_legendre(gif.steps)[0], dtype=torch.float32)
    activation = model.activation_bytes(model.prepare(shards[0].probes[:1]))
    budget = max(fingerprinter.compute.batch_bytes // activation, 1)
    rows = max(budget // 2, 1)
    for stratum in dict.fromkeys(shard.stratum for shard in shards):
        probes = [p for shard in shards if shard.stratum == stratum for p in shard.probes]
        asked = gif.probes if stratum == gif.stratum else 0
        for some in _cut(probes, budget):
            inputs = model.prepare(some)
            with torch.no_grad():
                _plain_outputs(model, model.endpoints(inputs)[1], inputs)
            size = max(rows // gif.steps, 1)
            wanted = min(asked, len(some))
            for start in range(0, wanted, size):
                _bare_gradients(model, inputs[start : min(start + size, wanted)], nodes, rows)
            asked -= wanted


def _bare_gradients(model: Any, inputs: Any, nodes: torch.Tensor, rows: int) -> None:
    x0, x = model.endpoints(inputs)
    for part in nodes.split(max(rows // len(inputs), 1)):
        alpha = part.view(1, -1, *((1,) * (x.dim() - 1)))
        path = (x0.unsqueeze(1) + alpha * (x - x0).unsqueeze(1)).flatten(0, 1)
        path.requires_grad_()
        values = _plain_outputs(model, path, inputs)
        for i, value in enumerate(values):
            torch.autograd.grad(value.sum(), path, retain_graph=i + 1 < len(values))


def _plain_outputs(model: Any, x: torch.Tensor, inputs: Any) -> list[torch.Tensor]:
    """One forward of the bare transformers module with all hidden states: last state's norm, and top logit."""
    network = model._model
    if model.modality == "image":
        out = network(x, output_hidden_states=True)
    else:
        mask = inputs.mask.repeat_interleave(x.shape[0] // len(inputs), dim=0)
        out = network(inputs_embeds=x, attention_mask=mask, output_hidden_states=True)
    norm = out.hidden_states[-1].flatten(2).mean(dim=-1).norm(dim=1)
    return [norm, out.logits.amax(dim=1)] if model.head else [norm]


def _gif_against_paper(family: dict[str, tuple[str, Path]], probes: int) -> dict[str, Any]:
    """Time and pair distances of our fields, our sketches and the plain recipe, over the same models and probes."""
    fingerprinter, sets = _fingerprinter()
    settings = fingerprinter.settings.gif
    chosen = sets["image"].stratum(settings.stratum)[:probes]
    kinds = ("fields", "sketches", *(f"sketches_of_{length}" for length in LONGER_SKETCHES))
    made: dict[str, dict[str, np.ndarray]] = {
        kind: {} for kind in ("plain", "plain_sketched", *kinds)
    }
    seconds = {"plain": 0.0, "ours": 0.0}
    for name, (_, folder) in family.items():
        model = Prober(fingerprinter).load(next(iter(open_source(str(folder)).models())))
        started = time.perf_counter()
        made["plain"][name] = np.stack([_paper_field(model, probe) for probe in chosen])
        seconds["plain"] += time.perf_counter() - started
        sketched = GifState(settings)
        ours = made["plain"][name][:, PAPER_POINTS_OF_OURS].astype(np.float32)
        sketched.add([probe.id for probe in chosen], Fields({"top_logit": ours}, {}))
        made["plain_sketched"][name] = _top_logit(sketched, settings)
        started = time.perf_counter()
        state, given = GifState(settings), []
        for some in _cut(chosen, 16):
            inputs = model.prepare(some)
            got = gradient_fields(model, inputs, settings, rows=16 * settings.steps)
            state.add([p.id for p in some], got)
            given.append(([p.id for p in some], got))
        made["sketches"][name] = _top_logit(state, settings)
        seconds["ours"] += time.perf_counter() - started
        made["fields"][name] = unit(np.concatenate([g.by_scalar["top_logit"] for _, g in given]))
        for length in LONGER_SKETCHES:
            longer = GifState(replace(settings, dimensions=length))
            for ids, got in given:
                longer.add(ids, got)
            made[f"sketches_of_{length}"][name] = _top_logit(longer, settings)
    pairs = list(itertools.combinations(family, 2))
    kin = [i for i, (a, b) in enumerate(pairs) if family[a][0] == family[b][0]]
    distances = {
        kind: np.array([1 - np.mean(np.sum(of[a] * of[b], axis=-1)) for a, b in pairs])
        for kind, of in made.items()
    }
    figures = {
        "models": len(family),
        "pairs": len(pairs),
        "pairs_within_families": len(kin),
        "probes": probes,
        "plain_seconds_per_model": round(seconds["plain"] / len(family), 3),
        "seconds_per_model": round(seconds["ours"] / len(family), 3),
        "speedup": round(seconds["plain"] / seconds["ours"], 2),
        **{
            f"rank_correlation_of_{kind}{label}": round(
                _spearman(distances["plain"][chosen_pairs], distances[kind][chosen_pairs]), 4
            )
            for kind in kinds
            for label, chosen_pairs in (("", list(range(len(pairs)))), ("_within_families", kin))
        },
        "rank_correlation_of_sketches_with_the_recipe_sketched": round(
            _spearman(distances["plain_sketched"], distances["sketches"]), 4
        ),
        "rank_correlation_of_sketches_with_the_recipe_sketched_within_families": round(
            _spearman(distances["plain_sketched"][kin], distances["sketches"][kin]), 4
        ),
    }
    print(f"GiF against the paper's recipe: {figures}", flush=True)
    return figures


def _top_logit(state: GifState, settings: GifSettings) -> np.ndarray:
    """The finished sketch of the top logit's field."""
    sketch = state.finish()
    return sketch.vectors[sketch.readouts.index(f"{settings.stratum}@top_logit")]


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
    import ray  # a worker has it loaded

    fingerprinter, sets = _fingerprinter()
    ref = next(iter(open_source(str(folder)).models()))
    row = fingerprinter.weights(ref)
    shards = [s for s in sets[row.modality].shards() if s.start == 0]
    fingerprinter.finish(Prober(fingerprinter).probe(ref, shards))
    # Not getrusage: its maximum survives exec, so a child would report its parent's.
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return {"peak_bytes": peak, "weights_bytes": row.bytes, "ray": int(bool(ray.__version__))}


def _cut(items: Any, size: int) -> list[Any]:
    size = max(1, min(size, len(items)))
    return [items[i : i + size] for i in range(0, len(items), size)]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = np.stack([np.argsort(np.argsort(values)) for values in (a, b)])
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


if __name__ == "__main__":
    main()
