"""Calling another part of the service: within a time limit, again if a replica died, refused if all are busy."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from provray.serve.problems import Refused

_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)
"""Seconds before a call to a replica that died is made again: every question may be asked twice."""

log = logging.getLogger("ray.serve")


async def call(handle: DeploymentHandle[Any], method: str, *arguments: Any, seconds: float) -> Any:
    """What a replica's method returns.

    Raises Refused: `busy` if the queue is full or the time is up, `not-ready` if no replica can be had.
    """
    try:
        async with asyncio.timeout(seconds):
            for pause in (*_PAUSES, None):
                try:
                    return await getattr(handle, method).remote(*arguments)
                except RayActorError as error:
                    log.warning("a replica died during %s: %s", method, type(error).__name__)
                    if pause is None:
                        raise Refused(
                            "not-ready", "the replicas that answer this keep dying", 5
                        ) from error
                    await asyncio.sleep(pause)
    except TimeoutError:
        raise Refused(
            "busy", f"no answer within the time limit of {seconds:g} s; ask again", 2
        ) from None
    except BackPressureError:
        raise Refused(
            "busy", "every replica and the queue before them are full; ask again", 1
        ) from None
    except DeploymentUnavailableError:
        raise Refused(
            "not-ready", "the replicas that answer this could not be started", 5
        ) from None
    raise AssertionError("unreachable")
