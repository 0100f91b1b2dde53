"""The operator's heartbeat to the node agents: a Lease that agents watch for change, not for its time."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import Any

from joulery.adapters.kube_client import MERGE_PATCH, KubeClient, path_of
from joulery.adapters.kube_errors import NotFoundError
from joulery.api.labels import FIELD_MANAGER, GROUP, LEASE_NAME

_GROUP, _VERSION, _PLURAL = "coordination.k8s.io", "v1", "leases"
_DURATION_S = 30


class KubeLease:
    """Renews the Lease in the operator's namespace."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._holder = socket.gethostname() or "controller"

    async def renew(self, plan_id: str | None) -> None:
        """Renew the Lease, creating it where absent. Raises ClusterError."""
        body = self._body(plan_id)
        path = path_of(_GROUP, _VERSION, _PLURAL, namespace=self._namespace, name=LEASE_NAME)
        try:
            await self._client.patch(
                path,
                body,
                content_type=MERGE_PATCH,
                field_manager=FIELD_MANAGER,
                operation="renewing the Lease",
            )
        except NotFoundError:
            path = path_of(_GROUP, _VERSION, _PLURAL, namespace=self._namespace)
            await self._client.create(path, body, field_manager=FIELD_MANAGER)

    def _body(self, plan_id: str | None) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {
            "apiVersion": f"{_GROUP}/{_VERSION}",
            "kind": "Lease",
            "metadata": {
                "name": LEASE_NAME,
                "namespace": self._namespace,
                "annotations": {f"{GROUP}/plan-id": plan_id or ""},
            },
            "spec": {"holderIdentity": self._holder, "leaseDurationSeconds": _DURATION_S, "renewTime": now},
        }
