"""An index of many unrelated, really trained small image networks: what false discovery is measured against.

    python benchmarks/strangers.py --index FOLDER [--count 4200] [--processes 2]

The larger an index, the better the best score that a suspect finds in it by chance. The zoo holds a few dozen
unrelated networks; this makes thousands. Each has the configuration of one of the zoo's four image architectures
(the same tensor names and shapes), initial weights and order of pictures of its own, and is trained from scratch on
the digits or on Fashion-MNIST, in turn, until it is clearly above chance (`RECIPES`, far shorter
than what the zoo's networks get). Kept are the rows of weights and DNA on the default image probes;
GiF would cost more than everything else, so there is none. The folder of the model is deleted.

Names are `strangers/digits-resnet-00017`, and what a name stands for never changes: the first 50 or 300 by number are
the smaller indexes, each with the same mix of architectures. A run goes on where the last one stopped. What the
training came to stands in the `declared` column: `accuracy` on the held-out pictures, `steps`, `seconds` of CPU time.

Needs Fashion-MNIST (see `provray.testbed.pictures`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from transformers import PreTrainedModel

import provray
from provray.crawl.fingerprinter import Fingerprinter
from provray.fingerprints.dna import DnaState
from provray.fingerprints.seeds import key_of
from provray.fingerprints.settings import FingerprintSettings
from provray.index.row import Row
from provray.index.table import FingerprintTable
from provray.models.checkpoint import DEFAULT_LIMITS
from provray.models.config import SUPPORTED
from provray.models.preprocess import PixelSettings, read_pixel_settings
from provray.models.vision import ImageInputs, VisionModel
from provray.probes import ProbeSet, Shard, default_probes
from provray.sources import ModelRef
from provray.sources.folder import folder_revision
from provray.testbed import vision
from provray.testbed.digits import SIZE, augmented
from provray.testbed.pictures import Pictures, pictures

BATCH = 50
"""Strangers of one commit to the table."""
DATA: tuple[Pictures, Pictures] = ("digits", "fashion")
MIX = (
    *("resnet", "convnext", "resnet", "vit", "resnet"),
    *("convnext", "resnet", "efficientnet", "resnet", "convnext"),
)
"""Architectures in turn, those that train fastest most often."""


@dataclass(frozen=True)
class Recipe:
    """`steps` of `batch` pictures at a learning rate peaking at `rate`."""

    steps: int
    batch: int
    rate: float


RECIPES = {
    "resnet": Recipe(32, 12, 4e-3),
    "convnext": Recipe(36, 10, 4e-3),
    "vit": Recipe(70, 12, 2e-3),
    "efficientnet": Recipe(50, 10, 4e-3),
}
MOMENTUM = 0.3
"""Of batch normalisation: at the zoo's 0.1 the statistics lag behind so short a training."""
FLOOR, ROUNDS = 0.25, 4
"""A network below this accuracy (chance is 0.1) is trained for another round of its recipe, so many rounds at most."""


@dataclass(frozen=True)
class Stranger:
    """The stranger of a number: what it is and learns follows from the number alone."""

    number: int

    @property
    def data(self) -> Pictures:
        """The pictures it is trained on."""
        return DATA[self.number % len(DATA)]

    @property
    def architecture(self) -> str:
        """A key of RECIPES."""
        return MIX[self.number // len(DATA) % len(MIX)]

    @property
    def name(self) -> str:
        """Its name in the index."""
        return f"strangers/{self.data}-{self.architecture}-{self.number:05}"


class Maker:
    """Trains strangers and fingerprints them; what is the same for all is done once."""

    def __init__(self, probes: ProbeSet) -> None:
        self._probes = probes
        self._shards = probes.shards(len(probes.probes))
        self._inputs: dict[PixelSettings, list[ImageInputs]] = {}
        self._fingerprinter = Fingerprinter(FingerprintSettings(), {"image": probes.digest})

    def rows(self, stranger: Stranger) -> list[Row]:
        """The weights and DNA rows of a stranger."""
        started = time.process_time()
        network, accuracy, steps = _trained(stranger)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            vision.save_classifier(network, folder, size=SIZE, title=stranger.name)
            declared = {
                "accuracy": round(accuracy, 4),
                "steps": steps,
                "seconds": round(time.process_time() - started, 3),
            }
            ref = ModelRef(stranger.name, str(folder), folder_revision(folder), declared)
            weights = self._fingerprinter.weights(ref)
            if weights.status != "ok":
                raise RuntimeError(f"{stranger.name} has no weights row: {weights.reason}")
            dna = self._dna(network, folder, weights)
        # The folder is gone: a location would only mislead.
        return [replace(weights, location=""), dna]

    def _dna(self, network: PreTrainedModel, folder: Path, weights: Row) -> Row:
        """The DNA row, of the network in memory: it is ours, and need not go through the safe load of a stranger's."""
        started = time.perf_counter()
        pixels, warnings = read_pixel_settings(
            folder,
            network.config.to_dict(),
            fixed_size=SUPPORTED[weights.model_type].fixed_size,
            limits=DEFAULT_LIMITS,
        )
        model = VisionModel(
            network.eval().requires_grad_(False),
            pixels,
            head=True,
            model_type=weights.model_type,
            warnings=tuple(warnings),
        )
        if pixels not in self._inputs:
            self._inputs[pixels] = [model.prepare(shard.probes) for shard in self._shards]
        state = DnaState(self._fingerprinter.settings.dna)
        for shard, inputs in zip(self._shards, self._inputs[pixels], strict=True):
            _add(state, model, shard, inputs)
        dna = state.finish()
        return Row(
            model=weights.model,
            revision=weights.revision,
            kind="dna",
            space=self._fingerprinter.behaviour_id("dna", "image"),
            declared=weights.declared,
            modality="image",
            model_type=weights.model_type,
            architecture=weights.architecture,
            parameters=model.parameters,
            probes=self._probes.digest,
            readouts=dna.readouts,
            vectors=dna.vectors,
            scales=tuple(dna.scales.ravel().tolist()),
            warnings=model.warnings,
            device="cpu",
            dtype="float32",
            seconds=time.perf_counter() - started,
            provray=provray.__version__,
        )


def _add(state: DnaState, model: VisionModel, shard: Shard, inputs: ImageInputs) -> None:
    out = model.readouts(inputs)
    state.add(shard.stratum, [probe.id for probe in shard.probes], out.hidden, out.probabilities)


def _trained(stranger: Stranger) -> tuple[PreTrainedModel, float, int]:
    """The network, its accuracy on the held-out pictures, and how many steps it took."""
    seed = key_of(stranger.name) >> 1  # torch takes signed 64 bits
    network = vision.new_classifier(
        stranger.architecture, channels=1, size=SIZE, classes=10, seed=seed
    )
    images, labels = pictures(stranger.data, "train")
    recipe = RECIPES[stranger.architecture]
    training = vision.Training(
        recipe.steps / (len(images) // recipe.batch), recipe.batch, recipe.rate
    )
    accuracy = 0.0
    for done in range(1, ROUNDS + 1):
        vision.train(
            network,
            images,
            labels,
            training,
            seed=key_of(stranger.name, done) >> 1,
            augment=augmented(1),
            momentum=MOMENTUM,
        )
        accuracy = vision.accuracy(network, *vision.held_out_images(1, stranger.data))
        if accuracy >= FLOOR:
            break
    return network, accuracy, done * recipe.steps


def summary(table: FingerprintTable) -> str:
    """Accuracies (5 %, 50 % and 95 % of the networks) and CPU seconds of training, by architecture and pictures."""
    found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in table.facts():
        if row.kind == "weights":
            declared = json.loads(row.declared)
            kind = row.model.split("/")[1].rsplit("-", 1)[0]
            found[kind].append((declared["accuracy"], declared["seconds"]))
    lines = []
    for kind, pairs in sorted(found.items()):
        accuracies, seconds = np.array(pairs).T
        low, middle, high = np.quantile(accuracies, (0.05, 0.5, 0.95))
        lines.append(
            f"{kind}: {len(pairs)} networks, accuracy {low:.2f} {middle:.2f} {high:.2f}, "
            f"lowest {accuracies.min():.2f}, {np.median(seconds):.2f} s of training"
        )
    return "\n".join(lines)


_MAKER: list[Maker] = []
"""The one maker of each process."""


def _begin() -> None:
    """Called once in each process."""
    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    _MAKER.append(Maker(default_probes("image")))


def _make(strangers: Sequence[Stranger]) -> list[Row]:
    return [row for stranger in strangers for row in _MAKER[0].rows(stranger)]


def fill(table: FingerprintTable, count: int, processes: int) -> None:
    """Append what is missing of the first `count` strangers, `BATCH` of them at a time; progress goes to stderr."""
    probes = default_probes("image")
    table.keep_probes(probes)
    rows_of: defaultdict[str, int] = defaultdict(int)
    for model, _, _ in table.keys("ok"):
        rows_of[model] += 1
    missing = [s for s in map(Stranger, range(count)) if rows_of[s.name] < 2]
    _say(f"{count - len(missing)} of {count} strangers are in the index")
    batches = [missing[start : start + BATCH] for start in range(0, len(missing), BATCH)]
    began, done = time.time(), 0
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, initializer=_begin) as pool:
        for rows in pool.map(_make, batches):
            table.append(rows)
            done += len(rows) // 2
            each = (time.time() - began) / done
            end = time.strftime("%H:%M", time.localtime(began + each * len(missing)))
            _say(f"{count - len(missing) + done} of {count}: {each:.2f} s for each; ends {end}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Make the index, or the rest of it, and say how well its networks learned."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--index", type=Path, required=True, help="folder of the index")
    parser.add_argument("--count", type=int, default=4200, help="how many strangers it shall hold")
    parser.add_argument("--processes", type=int, default=2, help="each of one compute thread")
    options = parser.parse_args()
    table = FingerprintTable.create(options.index)
    fill(table, options.count, options.processes)
    _say(summary(table))


if __name__ == "__main__":
    main()
    # deltalake's threads may outlive the interpreter's
    sys.stderr.flush()
    os._exit(0)
