"""Index versions as Ray metrics of the replicas that hold them, which Ray exports with `deployment` and `replica`.

ray_provray_index_newest_version         the table's newest version that the watcher has seen
ray_provray_index_changed_time_seconds   when that was committed, in Unix time
ray_provray_index_looked_time_seconds    when the watcher could last look at the table
ray_provray_index_served_version         what each search replica answers from

Ray forgets a gauge that is not set again and again, so both are shown with every look, a vain one too.
"""

from __future__ import annotations

import time

from ray.serve.metrics import Gauge

from provray.index.table import FingerprintTable


class SeenVersion:
    """What the watcher sees of the table."""

    def __init__(self) -> None:
        self._newest = Gauge("provray_index_newest_version", "Newest version of the table.")
        self._changed = Gauge("provray_index_changed_time_seconds", "When it was committed.")
        self._looked = Gauge("provray_index_looked_time_seconds", "When it was last looked for.")
        self._version, self._committed, self._at = -1, 0.0, 0.0

    def saw(self, table: FingerprintTable) -> None:
        """The table was looked at just now."""
        if self._version != table.version:
            self._version = table.version
            self._committed = table.delta.history(1)[0]["timestamp"] / 1000
        self._at = time.time()

    def show(self) -> None:
        """Set the gauges, if the table was ever seen."""
        if self._at:
            self._newest.set(self._version)
            self._changed.set(self._committed)
            self._looked.set(self._at)


class ServedVersion:
    """What a search replica answers from."""

    def __init__(self) -> None:
        self._served = Gauge("provray_index_served_version", "Version that is answered from.")

    def show(self, version: int) -> None:
        """Set the gauge."""
        self._served.set(version)
