"""Runs kopf, which follows changes and wakes the planner, and starts it again whenever it fails.

kopf lets some answers end it for good: a 4xx to its discovery of kinds other than 403 and 429 is one. The planner
needs it for speed only, so neither planner nor Lease ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import traceback
from collections.abc import Callable, Collection, Iterator
from types import CodeType
from typing import Any

import kopf

_log = logging.getLogger(__name__)

# kopf ends its watchers and their workers one after the other.
_END_LIMIT_S = 10.0
_KOPF = os.path.dirname(kopf.__file__) + os.sep


class Forever:
    """Backoff for kopf that never gives up, and is never late by more than 3 s.

    kopf's default ends the process within a minute of a 403, and after an outage comes back up to 21 s late.
    """

    def __iter__(self) -> Iterator[float]:
        delay_s = 0.25
        while True:
            yield delay_s
            delay_s = min(2.0 * delay_s, 3.0)


async def follow_for_ever(registry: kopf.OperatorRegistry, wake: Callable[[], None]) -> None:
    """Run kopf until a signal ends it; where it fails, say why and start it again, with backoff."""
    asyncio.get_running_loop().set_exception_handler(report_unheard)
    for delay_s in Forever():
        problem = await _follow(registry)
        if problem is None:
            return
        _log.warning(
            "changes are followed again in a moment, meanwhile polls find them",
            extra={"error": f"{type(problem).__name__}: {problem}", "retry_s": delay_s},
        )
        await asyncio.sleep(delay_s)
        wake()


async def _follow(registry: kopf.OperatorRegistry) -> BaseException | None:
    """Run kopf until one of its tasks ends; the error that ended it, None after a signal."""
    tasks = await kopf.spawn_tasks(
        registry=registry, settings=kopf_settings(), clusterwide=True, standalone=True
    )
    try:
        # Not `kopf.run_tasks`: in the end it cancels every task of the loop, the planner's among them.
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(tasks)
    return next((e for e in (task.exception() for task in ended) if e is not None), None)


def report_unheard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what nobody awaited, but for kopf's own failures beside the one that is told already."""
    error = context.get("exception")
    frames = list(traceback.walk_tb(error.__traceback__)) if error is not None else []
    raised_in = frames[-1][0].f_code if frames else None
    if not type(error).__module__.startswith("kopf.") and not _is_kopfs(raised_in):
        loop.default_exception_handler(context)


def _is_kopfs(code: CodeType | None) -> bool:
    return code is not None and code.co_filename.startswith(_KOPF)


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended, but not for ever; errors on the way are of no interest."""
    for task in tasks:
        task.cancel()
    ended, _ = await asyncio.wait(tasks, timeout=_END_LIMIT_S)
    for task in ended:
        if not task.cancelled():
            task.exception()


def kopf_settings() -> kopf.OperatorSettings:
    """Settings of kopf: no postings of its own; scanning stays on, so that CRDs may come and go."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.networking.request_timeout = 30.0
    settings.networking.connect_timeout = 5.0
    settings.networking.error_backoffs = Forever()
    # kopf would kill the process ten minutes after its own end, which here is not the process's.
    settings.process.ultimate_exiting_timeout = None
    return settings
