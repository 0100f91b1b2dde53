"""Writes what each node's agent is told: the DirectiveWriter on Kubernetes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from joulery.adapters.kube_client import APPLY_PATCH, KubeClient, path_of
from joulery.api.convert import gpu_node_manifest
from joulery.api.labels import FIELD_MANAGER, GROUP, VERSION
from joulery.domain import reasons
from joulery.domain.plan import NodeDirective
from joulery.domain.verdict import Verdict
from joulery.errors import ClusterError, ForbiddenError
from joulery.ports import WriteOutcome

_AT_ONCE = 8


class KubeNodes:
    """Applies `GPUNode.spec`, creating the object where absent, owned by its Node so that it goes with it.

    `spec_of` and `uid_of` look into the last snapshot: the GPUNode's spec and the Node's uid.
    """

    def __init__(
        self,
        client: KubeClient,
        spec_of: Callable[[str], Mapping[str, Any] | None],
        uid_of: Callable[[str], str | None],
    ) -> None:
        self._client = client
        self._spec_of = spec_of
        self._uid_of = uid_of

    async def write(self, directives: Sequence[NodeDirective]) -> Mapping[str, WriteOutcome]:
        """Outcome by node; `done` is False where nothing had to be written or the write failed."""
        limit = asyncio.Semaphore(_AT_ONCE)

        async def write_one(directive: NodeDirective) -> WriteOutcome:
            async with limit:
                return await self._write(directive)

        outcomes = await asyncio.gather(*(write_one(d) for d in directives))
        return {d.node: outcome for d, outcome in zip(directives, outcomes, strict=True)}

    async def _write(self, directive: NodeDirective) -> WriteOutcome:
        manifest = gpu_node_manifest(directive, self._uid_of(directive.node))
        if _same_but_for_plan(self._spec_of(directive.node), manifest["spec"]):
            return WriteOutcome(False, Verdict(reasons.ACTUATED, f"node {directive.node} already follows"))
        try:
            await self._client.patch(
                path_of(GROUP, VERSION, "gpunodes", name=directive.node),
                manifest,
                content_type=APPLY_PATCH,
                field_manager=FIELD_MANAGER,
                force=True,
                operation=f"directing node {directive.node}",
            )
        except ForbiddenError as error:
            return WriteOutcome(False, Verdict(reasons.WRITE_REFUSED, str(error)))
        except ClusterError as error:
            return WriteOutcome(False, Verdict(reasons.API_UNAVAILABLE, str(error)))
        text = f"node {directive.node}: {len(directive.bindings)} instances follow plan {directive.plan_id}"
        return WriteOutcome(True, Verdict(reasons.ACTUATED, text))


def _same_but_for_plan(current: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Whether only the plan's id differs: a new plan that clocks a node alike is no news to its agent."""
    if current is None:
        return False
    return {k: v for k, v in current.items() if k != "planId"} == {
        k: v for k, v in wanted.items() if k != "planId"
    }
