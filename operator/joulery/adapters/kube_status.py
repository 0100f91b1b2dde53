"""Writes pool status by server-side apply: the StatusWriter on Kubernetes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from joulery.adapters.kube_client import APPLY_PATCH, KubeClient, path_of
from joulery.adapters.kube_errors import NotFoundError
from joulery.api.convert import pool_status, rejected_status
from joulery.api.labels import API_VERSION, FIELD_MANAGER, GROUP, VERSION
from joulery.api.skew import known_fields, skew_text, status_schema
from joulery.domain import reasons
from joulery.domain.keys import ObjectKey
from joulery.domain.report import PoolReport
from joulery.domain.verdict import Verdict
from joulery.errors import ClusterError, ForbiddenError
from joulery.ports import Rejected, WriteOutcome

# Above about eight writes at once the API server answers no faster (measured, two cores).
_AT_ONCE = 8
_KIND, _PLURAL = "InferencePool", "inferencepools"

_log = logging.getLogger(__name__)

Status = Mapping[str, Any]


class KubeStatus:
    """Applies status where it differs from what is there; `manifest_of` looks into the last snapshot."""

    def __init__(
        self, client: KubeClient, manifest_of: Callable[[ObjectKey], Mapping[str, Any] | None]
    ) -> None:
        self._client = client
        self._manifest_of = manifest_of
        self._written: dict[ObjectKey, tuple[int, Status]] = {}
        self._schema: Mapping[str, Any] | None = None

    async def write(self, reports: Sequence[PoolReport]) -> Mapping[ObjectKey, WriteOutcome]:
        """Outcome by pool; `done` also where an equal status needed no write."""
        now_s = time.time()
        return await self._write_all({r.pool: self._status(r, now_s) for r in reports})

    async def write_rejected(self, rejected: Sequence[Rejected]) -> Mapping[ObjectKey, WriteOutcome]:
        """The same for pools that could not be taken over."""
        now_s = time.time()
        return await self._write_all(
            {
                r.pool: rejected_status(r.generation, r.findings, self._previous(r.pool), now_s)
                for r in rejected
            }
        )

    def _status(self, report: PoolReport, now_s: float) -> Status:
        spec = (self._manifest_of(report.pool) or {}).get("spec", {})
        sizes = {v["name"]: v["tensorParallelSize"] for v in spec.get("variants", ())}
        return pool_status(report, self._previous(report.pool), now_s, tensor_parallel=sizes)

    async def _write_all(self, wanted: Mapping[ObjectKey, Status]) -> Mapping[ObjectKey, WriteOutcome]:
        limit = asyncio.Semaphore(_AT_ONCE)

        async def write_one(key: ObjectKey, status: Status) -> WriteOutcome:
            async with limit:
                return await _as_outcome(self._write(key, status))

        outcomes = await asyncio.gather(*(write_one(key, status) for key, status in wanted.items()))
        return dict(zip(wanted, outcomes, strict=True))

    async def _write(self, key: ObjectKey, status: Status) -> Verdict:
        if self._schema is None:
            self._schema = await self._status_schema()
        known, dropped = known_fields(status, self._schema) if self._schema else (status, ())
        if known == self._previous(key):
            return Verdict(reasons.ACTUATED, f"status of {key} is current")
        answer = await self._client.patch(
            path_of(GROUP, VERSION, _PLURAL, namespace=key.namespace, name=key.name, subresource="status"),
            {
                "apiVersion": API_VERSION,
                "kind": _KIND,
                "metadata": {"name": key.name, "namespace": key.namespace},
                "status": known,
            },
            content_type=APPLY_PATCH,
            field_manager=FIELD_MANAGER,
            force=True,
            operation=f"writing the status of pool {key}",
        )
        self._written[key] = (int(answer["metadata"]["resourceVersion"]), answer.get("status") or {})
        if dropped:
            # Read again next time: installing the CRDs of this release cures the skew.
            self._schema = None
            return Verdict(reasons.SCHEMA_SKEW, skew_text(_PLURAL, dropped))
        return Verdict(reasons.ACTUATED, f"status of {key} written")

    def _previous(self, key: ObjectKey) -> Status | None:
        """The newest status known: the snapshot's, or our own later write's."""
        manifest = self._manifest_of(key)
        if manifest is None:
            return None
        written = self._written.get(key)
        if written is not None and written[0] >= int(manifest["metadata"]["resourceVersion"]):
            return written[1]
        return manifest.get("status")

    async def _status_schema(self) -> Mapping[str, Any]:
        """The installed CRD's schema of status; empty where we may not read it: nothing is dropped then."""
        path = path_of("apiextensions.k8s.io", "v1", "customresourcedefinitions", name=f"{_PLURAL}.{GROUP}")
        try:
            crd = await self._client.get(path)
        except (ForbiddenError, NotFoundError) as error:
            _log.warning("schema not readable, status goes unpruned", extra={"error": str(error)})
            return {}
        return status_schema(crd) or {}


async def _as_outcome(write: Awaitable[Verdict]) -> WriteOutcome:
    try:
        verdict = await write
    except NotFoundError as error:
        return WriteOutcome(True, Verdict(reasons.ACTUATED, f"pool is gone: {error}"))
    except ForbiddenError as error:
        return WriteOutcome(False, Verdict(reasons.FORBIDDEN, str(error)))
    except ClusterError as error:
        return WriteOutcome(False, Verdict(reasons.API_UNAVAILABLE, str(error)))
    return WriteOutcome(True, verdict)
