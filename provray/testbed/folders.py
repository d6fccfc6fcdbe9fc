"""Model folders in the layout of a hub, written whole or not at all, and the records of their lineage.

A folder is first written beside its place and then renamed into it, so a folder that exists is
complete. `truth.parquet` is the table of `Record`s of one zoo, one row a model.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

Split = Literal["indexed", "held_out"]
Relation = Literal[
    "base",
    "twin",
    "stranger",
    "look-alike",
    "copy",
    "fine-tune",
    "continued",
    "new head",
    "adapter",
    "pruned",
    "quantised",
    "cast",
    "layers dropped",
    "merged",
    "noise",
    "permuted",
    "rescaled",
    "stolen",
    "distilled",
    "same start",
    "control",
]
RELATIONS: tuple[str, ...] = get_args(Relation)

#: Everything beside the weights that a model needs to be used: copied from parent to child.
INPUT_FILES = (
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)


@dataclass(frozen=True)
class Record:
    """What is known of one model of a zoo.

    `model` is its path below the folder of its split, `path` its path below the zoo. `parents` are the
    models it was made from: the victim of a theft, the teachers of a student, what was merged; empty for a
    base, a twin or a stranger. `method` says more precisely than `relation` how it was made (`prune-60`,
    `steal soft 2000`); `data` names what it was trained on by this step. `accuracy` is on held-out inputs
    of its own task (None: no task). For the stolen,
    `fidelity` is the share of held-out digits on which model and victim name the same label and
    `fidelity_mixed` the same on mixtures of them; `margin` and `margin_mixed` are these minus the best
    agreement with any model that is not of the victim's family. `seconds` is CPU time of making it.
    """

    model: str
    split: Split
    path: str
    parents: tuple[str, ...]
    relation: Relation
    method: str
    data: str
    settings: Mapping[str, Any]
    seed: int
    accuracy: float | None
    fidelity: float | None
    fidelity_mixed: float | None
    margin: float | None
    margin_mixed: float | None
    seconds: float
    bytes: int

    @property
    def parent(self) -> str | None:
        """The first of the parents, None if there is none."""
        return self.parents[0] if self.parents else None


def write_json(path: Path, value: object) -> None:
    """Write `value` as JSON to `path` by an atomic rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.write("\n")
    Path(temporary).replace(path)


_TRUTH = pa.schema(
    [
        ("model", pa.string()),
        ("split", pa.string()),
        ("path", pa.string()),
        ("parents", pa.list_(pa.string())),
        ("relation", pa.string()),
        ("method", pa.string()),
        ("data", pa.string()),
        ("settings", pa.string()),  # JSON: every recipe has its own
        ("seed", pa.int64()),
        ("accuracy", pa.float64()),
        ("fidelity", pa.float64()),
        ("fidelity_mixed", pa.float64()),
        ("margin", pa.float64()),
        ("margin_mixed", pa.float64()),
        ("seconds", pa.float64()),
        ("bytes", pa.int64()),
    ]
)


def write_truth(zoo: Path, records: Sequence[Record]) -> Path:
    """Write `truth.parquet` of the zoo at `zoo` by an atomic rename and return its path."""
    rows = [
        {**asdict(record), "settings": json.dumps(record.settings, sort_keys=True)}
        for record in records
    ]
    path = zoo / "truth.parquet"
    temporary = zoo / ".truth.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=_TRUTH), temporary)
    temporary.replace(path)
    return path


def record_from(row: Mapping[str, Any]) -> Record:
    """The record of a stored row, JSON or Parquet."""
    settings = row["settings"]
    return Record(
        **{
            **row,
            "parents": tuple(row["parents"]),
            "settings": json.loads(settings) if isinstance(settings, str) else settings,
        }
    )


def read_truth(zoo: Path) -> list[Record]:
    """Read the records of the zoo at `zoo`; FileNotFoundError if it was never completed."""
    path = zoo / "truth.parquet"
    if not path.is_file():
        raise FileNotFoundError(
            f"{zoo} holds no truth.parquet: it is no zoo, or not built to its end"
        )
    return [record_from(row) for row in pq.read_table(path).to_pylist()]


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder` to write into; it becomes `folder` when the block ends well.

    What stood at `folder` before is replaced. If the block raises, nothing is left behind.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        yield temporary
        # mkdtemp and safetensors make things private to their owner; a model is read by others
        temporary.chmod(0o755)
        for file in temporary.iterdir():
            file.chmod(0o644)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def folder_bytes(folder: Path) -> int:
    """Return the size of all files of `folder` in bytes."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def write_card(folder: Path, title: str) -> None:
    """Write a README.md that names the model and declares nothing about where it comes from."""
    (folder / "README.md").write_text(f"# {title}\n", encoding="utf-8")


def copy_input_files(source: Path, folder: Path) -> None:
    """Copy preprocessor or tokenizer files from one model folder to another."""
    for name in INPUT_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def save_model(
    model: PreTrainedModel,
    folder: Path,
    *,
    title: str,
    inputs: Path | Callable[[Path], None],
) -> None:
    """Write a complete model folder: config, safetensors, input files and a card.

    `inputs` is a folder to copy preprocessor or tokenizer files from, or a function that writes them.
    """
    transformers_logging.disable_progress_bar()
    with new_folder(folder) as temporary:
        model.save_pretrained(temporary)
        if callable(inputs):
            inputs(temporary)
        else:
            copy_input_files(inputs, temporary)
        write_card(temporary, title)


def load_own_model(folder: Path) -> PreTrainedModel:
    """Load a model this testbed wrote, as the class its config names, in evaluation mode.

    Only for folders made here or shipped by an asset package: it trusts the config.
    """
    import transformers

    transformers_logging.disable_progress_bar()
    architecture = json.loads((folder / "config.json").read_text(encoding="utf-8"))[
        "architectures"
    ][0]
    model: PreTrainedModel = getattr(transformers, architecture).from_pretrained(
        folder, local_files_only=True
    )
    return model.eval()
