"""Reads what bounds pools besides nodes: quotas, budgets and KEDA every cycle, who adds nodes now and then.

Each of these may be missing or forbidden without the cycle failing: the snapshot then names what it could not see.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from joulery.adapters.kube_client import KubeClient, path_of
from joulery.adapters.kube_errors import NotFoundError
from joulery.adapters.pod_view import Manifest
from joulery.domain import reasons
from joulery.domain.verdict import Verdict
from joulery.errors import ForbiddenError, UnavailableError

_QUOTAS = path_of("", "v1", "resourcequotas")
_BUDGETS = path_of("policy", "v1", "poddisruptionbudgets")
_SCALED_OBJECTS = path_of("keda.sh", "v1alpha1", "scaledobjects")
_NODEPOOLS = path_of("karpenter.sh", "v1", "nodepools")
_AUTOSCALER = path_of("", "v1", "configmaps", namespace="kube-system", name="cluster-autoscaler-status")
# Whether nodes are added, and up to which limit, is configuration: nobody changes it by the minute.
_PROVISIONERS_EVERY_S = 60.0

_Read = tuple[Any, Verdict | None]


@dataclass(frozen=True, slots=True)
class LimitLists:
    """What was read; `unread` names what was not."""

    quotas: list[Manifest]
    budgets: list[Manifest]
    scaled_objects: list[Manifest]
    nodepools: list[Manifest]
    autoscaler_status: Manifest | None
    unread: tuple[Verdict, ...]


class LimitReader:
    """Three LISTs per cycle, and two requests a minute."""

    def __init__(self, client: KubeClient, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._now_s = now_s
        self._provisioners: tuple[float, _Read, _Read] = (float("-inf"), ([], None), (None, None))
        self._forbidden_since: dict[str, str] = {}

    async def read(self) -> LimitLists:
        """The lists of now. Raises ClusterError where the API server does not answer."""
        quotas, budgets, scaled, (_, pools, status) = await asyncio.gather(
            self._list(_QUOTAS, "ResourceQuotas, so a quota is met when pods are refused"),
            self._list(_BUDGETS, "PodDisruptionBudgets, so none is respected on the way down"),
            self._list(
                _SCALED_OBJECTS, "KEDA's ScaledObjects, so one is not seen before it has made its autoscaler"
            ),
            self._provisioners_now(),
        )
        problems = (quotas[1], budgets[1], scaled[1], pools[1], status[1])
        unread = tuple(p for p in problems if p is not None)
        return LimitLists(quotas[0], budgets[0], scaled[0], pools[0], status[0], unread)

    async def _provisioners_now(self) -> tuple[float, _Read, _Read]:
        """What was read last; kept where it cannot be read anew, since no plan depends on it being fresh."""
        read_s, *_ = self._provisioners
        if self._now_s() - read_s >= _PROVISIONERS_EVERY_S:
            with suppress(UnavailableError):
                self._provisioners = (self._now_s(), *await self._read_provisioners())
        return self._provisioners

    async def _read_provisioners(self) -> tuple[_Read, _Read]:
        status = self._client.get(_AUTOSCALER)
        return await asyncio.gather(
            self._list(_NODEPOOLS, "Karpenter's NodePools, so its limits are not known"),
            self._optional(status, None, _AUTOSCALER, "the status of cluster-autoscaler"),
        )

    async def _list(self, path: str, what: str) -> _Read:
        listed, problem = await self._optional(self._client.list_all(path), {"items": []}, path, what)
        return listed["items"], problem

    async def _optional(self, asked: Awaitable[Manifest], nothing: Any, path: str, what: str) -> _Read:
        """What was asked for; `nothing` where it is not there, and a note too where it may not be read."""
        try:
            found = await asked
        except NotFoundError:
            return nothing, None
        except ForbiddenError as error:
            since = self._forbidden_since.setdefault(path, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
            text = f"may not read {what}, since {since} ({error}); apply the RBAC of this release"
            return nothing, Verdict(reasons.NOT_READ, text)
        self._forbidden_since.pop(path, None)
        return found, None
