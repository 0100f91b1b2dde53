"""Writes replicas: the Actuator on Kubernetes.

A JSON patch with a test of the value that was decided on, since server-side apply fails on the `/scale` of
custom resources and scales to 0 when the field is missing. The patch cannot carry the plan's id without
owning another field, so the id travels in the request's User-Agent, which the audit log keeps (`userAgent`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from joulery.adapters.kube_client import JSON_PATCH, STRATEGIC_PATCH, USER_AGENT, KubeClient, path_of
from joulery.adapters.kube_discovery import Discovery, Resource
from joulery.adapters.kube_errors import NotFoundError, RefusedError
from joulery.api.labels import DELETION_COST_ANNOTATION, FIELD_MANAGER, VICTIM_DELETION_COST
from joulery.domain import reasons
from joulery.domain.plan import ScaleChange
from joulery.domain.verdict import Verdict
from joulery.errors import ClusterError, ConflictError, ForbiddenError
from joulery.ports import WriteOutcome

_log = logging.getLogger(__name__)


class KubeActuator:
    """Marks the victims, then patches `/scale`."""

    def __init__(self, client: KubeClient, discovery: Discovery) -> None:
        self._client = client
        self._discovery = discovery

    async def scale(self, change: ScaleChange, plan_id: str) -> WriteOutcome:
        """Never raises: what went wrong is in the outcome's verdict."""
        try:
            await self._mark_victims(change, VICTIM_DELETION_COST)
            resource = await self._discovery.resolve(change.target.api_version, change.target.kind)
            if resource is None:
                return _refused(change, reasons.TARGET_NOT_SCALABLE, "its kind is no longer served")
            await self._patch(resource, change, plan_id)
        except ClusterError as error:
            return await self._failed(change, error)
        text = f"{change.target} scaled from {change.seen} to {change.want}: {change.message}"
        return WriteOutcome(True, Verdict(change.reason, text))

    async def _patch(self, resource: Resource, change: ScaleChange, plan_id: str) -> None:
        await self._client.patch(
            resource.path(change.pool.namespace, change.target.name, "scale"),
            tested_patch(change.seen, change.want),
            content_type=JSON_PATCH,
            field_manager=FIELD_MANAGER,
            operation=f"scaling {change.target} of pool {change.pool}",
            user_agent=f"{USER_AGENT} plan/{plan_id}",
        )
        _log.info(
            "scaled",
            extra={
                "pool": str(change.pool),
                "variant": change.variant,
                "from": change.seen,
                "to": change.want,
                "plan_id": plan_id,
                "reason": change.reason,
            },
        )

    async def _failed(self, change: ScaleChange, error: ClusterError) -> WriteOutcome:
        await self._unmark_victims(change)
        if isinstance(error, NotFoundError):
            return _refused(change, reasons.TARGET_NOT_FOUND, "it is gone")
        if isinstance(error, RefusedError | ConflictError):
            text = (
                f"replicas are no longer {change.seen}, or the write was refused ({error}); observing again"
            )
            return _refused(change, reasons.REPLICAS_MOVED, text)
        if isinstance(error, ForbiddenError):
            return _refused(change, reasons.WRITE_REFUSED, f"{error}; grant the controller's ClusterRole")
        return _refused(change, reasons.API_UNAVAILABLE, str(error))

    async def _mark_victims(self, change: ScaleChange, cost: str | None) -> None:
        """Deletion cost acts as soon as the patch is answered; a victim that is gone needs none."""
        patch: Mapping[str, Any] = {"metadata": {"annotations": {DELETION_COST_ANNOTATION: cost}}}

        async def mark(pod: str) -> None:
            try:
                await self._client.patch(
                    path_of("", "v1", "pods", namespace=change.pool.namespace, name=pod),
                    patch,
                    content_type=STRATEGIC_PATCH,
                    field_manager=FIELD_MANAGER,
                    operation=f"setting the deletion cost of pod {change.pool.namespace}/{pod}",
                )
            except NotFoundError:
                return

        await asyncio.gather(*(mark(pod) for pod in change.victims))

    async def _unmark_victims(self, change: ScaleChange) -> None:
        """A mark that outlives its write would choose the victim of somebody else's."""
        try:
            await self._mark_victims(change, None)
        except ClusterError as error:
            _log.warning(
                "deletion costs left in place", extra={"pool": str(change.pool), "error": str(error)}
            )


def tested_patch(seen: int, want: int) -> list[dict[str, Any]]:
    """Set replicas if they still are what was decided on.

    A Scale of no replicas omits the field (`omitempty`), so there is nothing to compare 0 with or to replace:
    its absence is tested by null, and the value added.
    """
    test: dict[str, Any] = {"op": "test", "path": "/spec/replicas", "value": seen or None}
    return [test, {"op": "replace" if seen else "add", "path": "/spec/replicas", "value": want}]


def _refused(change: ScaleChange, reason: str, why: str) -> WriteOutcome:
    return WriteOutcome(False, Verdict(reason, f"{change.target} not scaled to {change.want}: {why}"))
