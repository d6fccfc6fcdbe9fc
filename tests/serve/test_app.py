"""The import path of `serve deploy`, read by Serve's own reader of configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError
from ray.serve import Application
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary as built

from provray.serve.app import build


def test_serve_deploy_reads_its_args_as_settings(tmp_path: Path) -> None:
    args = {"index": "s3://bucket/index", "state": str(tmp_path), "allow": ["hf://lab"]}
    assert isinstance(built(build, args), Application)
    assert (tmp_path / "metrics").is_dir()


def test_an_unknown_setting_is_an_error_and_no_silent_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="allowed_sources"):
        built(build, {"index": "x", "state": str(tmp_path), "allowed_sources": ["hf://"]})
