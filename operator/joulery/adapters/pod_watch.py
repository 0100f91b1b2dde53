"""All pods of the cluster, kept by an informer-like list and watch of our own.

The asynchronous client has no informer. A watch that ended unnoticed once froze a fleet: here every end of a
stream, for whatever reason, leads to a fresh LIST.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from joulery.adapters.kube_client import KubeClient, path_of
from joulery.adapters.pod_view import phase_of
from joulery.errors import ClusterError

_PODS = path_of("", "v1", "pods")
_FIRST_DELAY_S = 0.25
_LONGEST_DELAY_S = 3.0

_log = logging.getLogger(__name__)


class PodWatch:
    """Holds the pods; `wake` is called whenever one comes, goes or changes its phase."""

    def __init__(self, client: KubeClient, wake: Callable[[], None]) -> None:
        self._client = client
        self._wake = wake
        self._pods: dict[str, dict[str, Any]] = {}
        self._synced = False

    async def pods(self) -> list[dict[str, Any]]:
        """All pods: from the watch while its stream is whole, else from a LIST. Raises ClusterError."""
        if self._synced:
            return list(self._pods.values())
        listed = await self._client.list_all(_PODS)
        pods: list[dict[str, Any]] = listed["items"]
        return pods

    async def run(self) -> None:
        """List and watch for ever."""
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                await self._follow()
                delay_s = _FIRST_DELAY_S
            except ClusterError as error:
                _log.info("pod watch interrupted", extra={"error": str(error)})
                delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
            finally:
                self._synced = False
            await asyncio.sleep(delay_s)

    async def _follow(self) -> None:
        listed = await self._client.list_all(_PODS)
        self._pods = {pod["metadata"]["uid"]: pod for pod in listed["items"]}
        self._synced = True
        self._wake()
        async with aclosing(self._client.watch(_PODS, listed["metadata"]["resourceVersion"])) as events:
            async for event in events:
                if event["type"] == "ERROR":
                    return
                if event["type"] != "BOOKMARK":
                    self._apply(event["type"], event["object"])

    def _apply(self, event_type: str, pod: dict[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        before = self._pods.pop(uid, None)
        if event_type != "DELETED":
            self._pods[uid] = pod
        # Kubelets touch status often; only a new, gone or otherwise phased pod is news to a plan.
        if before is None or event_type == "DELETED" or phase_of(before) is not phase_of(pod):
            self._wake()
