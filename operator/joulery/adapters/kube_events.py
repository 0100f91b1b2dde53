"""Posts Events about pools: the EventSink on Kubernetes."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from joulery.adapters.kube_client import KubeClient, path_of
from joulery.api.labels import API_VERSION, FIELD_MANAGER, GROUP
from joulery.domain.keys import ObjectKey
from joulery.domain.verdict import Verdict
from joulery.errors import ClusterError

_REPEAT_S = 120.0
_AT_ONCE = 8
# The API's own limit on `note`.
_LONGEST_NOTE = 1024

_log = logging.getLogger(__name__)


class KubeEvents:
    """One Event per pool and reason within two minutes; `manifest_of` looks into the last snapshot."""

    def __init__(
        self,
        client: KubeClient,
        manifest_of: Callable[[ObjectKey], Mapping[str, Any] | None],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._manifest_of = manifest_of
        self._monotonic_s = monotonic_s
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._posted_s: dict[tuple[ObjectKey, str, str], float] = {}

    async def emit(self, pool: ObjectKey, verdict: Verdict, *, warning: bool = False) -> None:
        """Post, or drop a repeat. A failure is logged: an Event guards nothing."""
        manifest = self._manifest_of(pool)
        if manifest is None or self._is_repeat(pool, verdict):
            return
        event = event_of(pool, manifest["metadata"]["uid"], verdict, warning=warning)
        path = path_of("events.k8s.io", "v1", "events", namespace=pool.namespace)
        try:
            async with self._limit:
                await self._client.create(path, event, field_manager=FIELD_MANAGER)
        except ClusterError as error:
            _log.warning("event not posted", extra={"pool": str(pool), "error": str(error)})

    def _is_repeat(self, pool: ObjectKey, verdict: Verdict) -> bool:
        now_s = self._monotonic_s()
        self._posted_s = {k: at for k, at in self._posted_s.items() if now_s - at < _REPEAT_S}
        key = (pool, verdict.reason, verdict.message)
        if key in self._posted_s:
            return True
        self._posted_s[key] = now_s
        return False


def event_of(pool: ObjectKey, uid: str, verdict: Verdict, *, warning: bool) -> dict[str, Any]:
    """The Event; without the uid `kubectl describe` would not show it."""
    note = verdict.message
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{pool.name}.{secrets.token_hex(8)}", "namespace": pool.namespace},
        "eventTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": f"{GROUP}/controller",
        "reportingInstance": socket.gethostname()[:128] or "controller",
        "action": verdict.reason,
        "reason": verdict.reason,
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": "InferencePool",
            "namespace": pool.namespace,
            "name": pool.name,
            "uid": uid,
        },
        "note": note if len(note) <= _LONGEST_NOTE else note[: _LONGEST_NOTE - 1] + "…",
        "type": "Warning" if warning else "Normal",
    }
