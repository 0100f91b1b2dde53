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
    """Applies `GPUNode.spec`; the object is made where a node has something to be told, and owned by its Node.

    An agent that came first has made it without an owner, since it may not read Nodes; then the owner is added.
    `manifest_of` and `uid_of` look into the last snapshot: the GPUNode and the Node's uid.
    """

    def __init__(
        self,
        client: KubeClient,
        manifest_of: Callable[[str], Mapping[str, Any] | None],
        uid_of: Callable[[str], str | None],
    ) -> None:
        self._client = client
        self._manifest_of = manifest_of
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
        if not _is_news(self._manifest_of(directive.node), manifest):
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


def _is_news(current: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Whether a GPUNode must be written: made for bindings, told anew, or given to its Node."""
    if current is None:
        return bool(wanted["spec"].get("bindings"))
    return not (_same_but_for_plan(current.get("spec") or {}, wanted["spec"]) and _is_owned(current, wanted))


def _same_but_for_plan(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether only the plan's id differs: a new plan that clocks a node alike is no news to its agent."""
    return _told(current) == _told(wanted)


def _told(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What an agent is told: an empty list and an absent one are the same to it."""
    return {k: v for k, v in spec.items() if k != "planId" and v}


def _is_owned(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the owners that are wanted are there; a Node made anew under its old name is another owner."""
    uids = {owner["uid"] for owner in current["metadata"].get("ownerReferences") or ()}
    return all(owner["uid"] in uids for owner in wanted["metadata"].get("ownerReferences", ()))
