"""Where an index lies: folders and buckets behind the same calls, on a real S3 server."""

from __future__ import annotations

from pathlib import Path

import obstore
import pytest

from provray.index.location import IndexLocation


@pytest.fixture(params=["disk", "s3"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> IndexLocation:
    if request.param == "disk":
        return IndexLocation.of(tmp_path / "not" / "there")
    return IndexLocation.of(f"s3://{request.getfixturevalue('s3_bucket')}/deep/index")


def test_an_object_that_was_put_is_got_back(location: IndexLocation) -> None:
    obstore.put(location.store, "probes/a", b"content")
    assert bytes(obstore.get(location.store, "probes/a").bytes()) == b"content"
