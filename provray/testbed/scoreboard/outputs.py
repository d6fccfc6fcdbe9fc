"""What every model of a zoo computes on inputs that plain baselines need, measured once and kept.

Models are loaded as a crawl loads them and see inputs through their own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import torch

from provray.models.checkpoint import open_checkpoint
from provray.models.load import load_model
from provray.probes import default_probes
from provray.probes.probe import Probe, make_probe
from provray.testbed.corpora import Corpus, corpus_texts
from provray.testbed.digits import as_pictures, mixtures
from provray.testbed.folders import Record
from provray.testbed.pictures import Pictures, pictures
from provray.testbed.scoreboard.cases import is_text

Array = npt.NDArray[np.float32]
COUNT = 200
_BATCH = 50
_WORDS = 40


@dataclass(frozen=True)
class LabelledSet:
    """Inputs of one domain with their labels, none of which any model was trained on."""

    name: str
    probes: tuple[Probe, ...]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Outputs:
    """Of one model: `gram`, the centred Gram matrix of its last hidden states on the natural default probes, flat and
    of unit norm; `probabilities` by set, inputs × classes; empty for a model without a head."""

    gram: Array
    probabilities: Mapping[str, Array]


@dataclass(frozen=True)
class _Job:
    folder: str
    text: bool
    sets: tuple[str, ...]
    target: str


def labelled_set(name: str) -> LabelledSet:
    """`digits`, `fashion` (test pictures), these with ` mixed` (mixtures, no labels), `news`, `reviews` (texts)."""
    if name.split()[0] in get_args(Pictures):
        images, labels = pictures("fashion" if name.startswith("fashion") else "digits", "test")
        images, labels = images[:COUNT], labels[:COUNT]
        if name.endswith("mixed"):
            images, labels = mixtures(images, COUNT, seed=21), torch.full((COUNT,), -1)
        contents = list(as_pictures(images))
        return LabelledSet(name, tuple(make_probe("natural", c) for c in contents), labels.numpy())
    if name not in get_args(Corpus):
        raise ValueError(f"{name!r} is no labelled set")
    texts = corpus_texts("news" if name == "news" else "reviews", "zoo").test.take(range(COUNT))
    cut = [" ".join(text.split()[:_WORDS]) for text in texts.texts]
    return LabelledSet(
        name, tuple(make_probe("natural", text) for text in cut), np.array(texts.labels)
    )


def sets_for(record: Record, domains: Sequence[str]) -> tuple[str, ...]:
    """The sets a model is asked about. Real models get none: their classes are others, and they are slow."""
    if record.model.startswith("real/"):
        return ()
    if is_text(record):
        return tuple(d for d in domains if d in get_args(Corpus))
    own = [d for d in domains if d in get_args(Pictures)]
    return tuple(own) + tuple(f"{d} mixed" for d in own)


@torch.no_grad()
def _measure(job: _Job) -> str:
    model = load_model(open_checkpoint(Path(job.folder)), device="cpu", dtype=torch.float32)
    natural = default_probes("text" if job.text else "image").stratum("natural")

    def ask(probes: Sequence[Probe]) -> tuple[Array, Array | None]:
        hidden, given = [], []
        for start in range(0, len(probes), _BATCH):
            out = model.readouts(model.prepare(probes[start : start + _BATCH]))
            hidden.append(out.hidden[-1].numpy())
            if out.probabilities is not None:
                given.append(out.probabilities.numpy())
        return np.concatenate(hidden), np.concatenate(given) if given else None

    features = ask(natural)[0].astype(np.float64)
    features -= features.mean(0)
    gram = (features @ features.T).ravel()
    values = {"gram": (gram / max(float(np.linalg.norm(gram)), 1e-30)).astype(np.float32)}
    for name in job.sets:
        probabilities = ask(labelled_set(name).probes)[1]
        if probabilities is not None:
            values[f"probabilities {name}"] = probabilities
    target = Path(job.target)
    partial = target.with_suffix(".partial.npz")
    np.savez(partial, **values)  # type: ignore[arg-type]
    partial.replace(target)
    return job.folder


def measure_outputs(
    zoo: Path,
    records: Sequence[Record],
    revisions: Mapping[str, str],
    domains: Sequence[str],
    *,
    workers: int = 2,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Outputs]:
    """Outputs of every model that has a revision, by model; what was measured before is read back.

    Kept below `zoo`/.outputs under the model's revision, so a model that was built anew is measured anew.
    """
    store = zoo / ".outputs"
    store.mkdir(exist_ok=True)
    wanted = [record for record in records if record.model in revisions]
    files = {r.model: store / f"{revisions[r.model][:24]}.npz" for r in wanted}
    missing = {files[r.model]: r for r in wanted if not files[r.model].is_file()}
    if missing:
        jobs = [
            _Job(str(zoo / r.path), is_text(r), sets_for(r, domains), str(file))
            for file, r in missing.items()
        ]
        _run(jobs, workers, progress)
    return {model: _read(file) for model, file in files.items()}


def _run(
    jobs: Sequence[_Job], workers: int, progress: Callable[[int, int, str], None] | None
) -> None:
    from provray.crawl.tasks import RayTasks

    waiting, running = list(jobs), set[Future[str]]()
    with RayTasks(workers) as tasks:
        while waiting or running:
            while waiting and len(running) < workers:
                running.add(tasks.submit(_measure, waiting.pop()))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                folder = future.result()
                if progress is not None:
                    progress(len(jobs) - len(waiting) - len(running), len(jobs), folder)


def _read(file: Path) -> Outputs:
    with np.load(file) as stored:
        return Outputs(
            stored["gram"],
            {
                name.removeprefix("probabilities "): stored[name]
                for name in stored.files
                if name.startswith("probabilities ")
            },
        )
