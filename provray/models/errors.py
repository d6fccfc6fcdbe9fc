"""Why a model could not be probed: one exception class per row status."""

from __future__ import annotations

from typing import ClassVar


class ModelError(Exception):
    """A model that cannot be fingerprinted.

    `status` is the word stored in the model's row, `reason` one sentence that names the rule and
    the value.
    """

    status: ClassVar[str] = "broken"

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnsupportedModel(ModelError):
    """A sound model of a kind this version does not probe."""

    status = "unsupported"


class UnsafeModel(ModelError):
    """Files that break a safety rule: pickles, path escapes, headers beyond the bounds."""

    status = "unsafe"


class BrokenModel(ModelError):
    """Files that contradict themselves or each other, or weights that are not finite numbers."""

    status = "broken"


class TooLargeModel(ModelError):
    """A model above the size the crawl was asked to stay under."""

    status = "too_large"


class UnavailableModel(ModelError):
    """A model that its source lists but does not give: gated, private, deleted, renamed, changed, or out of reach."""

    status = "unavailable"


class SlowModel(ModelError):
    """A model that takes longer than the time limit."""

    status = "timeout"
