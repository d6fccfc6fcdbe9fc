"""Index versions as Ray metrics of the replicas that hold them, which Ray exports with `deployment` and `replica`.

ray_provray_index_newest_version         the table's newest version that the watcher has seen
ray_provray_index_changed_time_seconds   when that was committed, in Unix time
ray_provray_index_looked_time_seconds    when the watcher could last look at the table
ray_provray_index_served_version         what each search replica answers from
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
        self._told = (-1, 0.0)

    def tell(self, table: FingerprintTable) -> None:
        """Tell what was found just now."""
        if self._told[0] != table.version:
            self._told = (table.version, table.delta.history(1)[0]["timestamp"] / 1000)
        self._newest.set(self._told[0])
        self._changed.set(self._told[1])
        self._looked.set(time.time())


class ServedVersion:
    """What a search replica answers from."""

    def __init__(self) -> None:
        self._served = Gauge("provray_index_served_version", "Version that is answered from.")

    def tell(self, version: int) -> None:
        """Tell the version."""
        self._served.set(version)
