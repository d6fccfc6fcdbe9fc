"""One command, run in the process of the test."""

from __future__ import annotations

import json
from typing import Any


class Ran:
    """Exit code, standard output and standard error of one command, run in this process."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)
