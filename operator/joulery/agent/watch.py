"""What the API server says to this node: its GPUNode, the EnergyPolicies and the operator's Lease.

Three watches keep one small picture. Each begins with a LIST and begins anew whenever it ends, so a lost
event heals within minutes and an outage as soon as it is over. Meanwhile the picture stays as it was.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from joulery.agent.kube import AgentCluster, GoneError
from joulery.agent.lease import LeaseWatch
from joulery.api.convert_node import directive_of
from joulery.api.convert_policy import policy_of
from joulery.api.labels import API_VERSION, LEASE_NAME
from joulery.domain.plan import NodeDirective
from joulery.domain.policy import Cadence, Policy, cluster_wide
from joulery.errors import ClusterError, ConfigError

_LOG = logging.getLogger(__name__)

# Objects of one kind by name.
Manifests = Mapping[str, Mapping[str, Any]]

_FIRST_DELAY_S = 0.2
# Custom resources answer 429 for some seconds after an API server restart; a few seconds more is no load.
_LONGEST_DELAY_S = 3.0
_SPEC = "spec"
GPU_NODES = f"/apis/{API_VERSION}/gpunodes"
_POLICIES = f"/apis/{API_VERSION}/energypolicies"


class NodePicture:
    """The newest state that was read; `changed` is set when the next epoch should not wait."""

    def __init__(self, node: str, now_s: float) -> None:
        self.node = node
        self.directive: NodeDirective | None = None
        self.generation: int | None = None
        self.lease = LeaseWatch(now_s)
        self.lease_seen_at: datetime | None = None
        self.policies: tuple[Policy, ...] = ()
        self.problems: dict[str, str] = {}
        self.changed = asyncio.Event()
        self._read: set[str] = set()

    @property
    def is_complete(self) -> bool:
        """Whether all three kinds have been read at least once."""
        return len(self._read) == 3

    @property
    def cadence(self) -> Cadence:
        """Epoch and Lease timeout, from the policy named `default`."""
        policy = cluster_wide(self.policies)
        return policy.cadence if policy else Cadence()

    def mark_read(self, path: str) -> None:
        """The objects of a path were listed or have changed."""
        self.problems.pop(path, None)
        if path not in self._read:
            self._read.add(path)
            self.changed.set()

    def take_node(self, found: Manifests) -> None:
        """Take over this node's GPUNode; an unusable spec leaves the last good one and is reported."""
        manifest = found.get(self.node)
        generation = manifest["metadata"].get("generation") if manifest else None
        if manifest is not None and generation is not None and generation == self.generation:
            return  # only status moved, most often by our own hand
        self.generation = generation
        try:
            directive = directive_of(self.node, manifest.get("spec") or {}) if manifest else None
        except ConfigError as error:
            self.problems[_SPEC] = str(error)
            _LOG.error("spec not understood, the last good one holds: %s", error)
            return
        self.problems.pop(_SPEC, None)
        if directive != self.directive:
            self.directive = directive
            self.changed.set()

    def take_policies(self, found: Manifests) -> None:
        """Take over all policies; an unusable one keeps its last good content."""
        known = {policy.name: policy for policy in self.policies}
        policies = [self._policy(manifest, known.get(name)) for name, manifest in sorted(found.items())]
        taken = tuple(policy for policy in policies if policy is not None)
        if taken != self.policies:
            self.policies = taken
            self.changed.set()

    def take_lease(self, found: Manifests) -> None:
        """Note the moment at which renewTime changes; renewals wake nobody."""
        spec = (found.get(LEASE_NAME) or {}).get("spec") or {}
        now_s = time.monotonic()
        lease = self.lease.seen(spec.get("renewTime"), now_s)
        if lease is self.lease:
            return
        if self.lease.is_stale(now_s, self.cadence.lease_timeout_s):
            self.changed.set()
        self.lease, self.lease_seen_at = lease, datetime.now(UTC)

    def _policy(self, manifest: Mapping[str, Any], last_good: Policy | None) -> Policy | None:
        try:
            return policy_of(manifest)
        except ConfigError as error:
            _LOG.error("policy not understood, %s: %s", "last good holds" if last_good else "ignored", error)
            return last_good


class Follower:
    """Keeps the objects of one path by name and hands them on after each change."""

    def __init__(
        self,
        cluster: AgentCluster,
        path: str,
        picture: NodePicture,
        take: Callable[[Manifests], None],
        name: str | None = None,
    ) -> None:
        self._cluster = cluster
        self._path = path
        self._picture = picture
        self._take = take
        self._selector = f"metadata.name={name}" if name else None
        self._objects: dict[str, Mapping[str, Any]] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                await self._follow_once()
                delay_s = _FIRST_DELAY_S
            except GoneError as error:
                # Too old a version is everyday; a missing CRD is not, and both end in a new LIST.
                self._note(error)
            except ClusterError as error:
                self._note(error)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)

    async def _follow_once(self) -> None:
        listed = await self._cluster.list(self._path, self._selector)
        self._objects = {item["metadata"]["name"]: item for item in listed.get("items", [])}
        self._hand_on()
        version = str(listed["metadata"].get("resourceVersion", ""))
        async for event in self._cluster.watch(self._path, version, self._selector):
            if event["type"] == "ERROR":
                raise GoneError(
                    f"watching {self._path}: {event['object'].get('message', 'ended by the server')}"
                )
            if event["type"] != "BOOKMARK":
                self._merge(event)

    def _merge(self, event: Mapping[str, Any]) -> None:
        name = event["object"]["metadata"]["name"]
        if event["type"] == "DELETED":
            self._objects.pop(name, None)
        else:
            self._objects[name] = event["object"]
        self._hand_on()

    def _hand_on(self) -> None:
        self._take(self._objects)
        self._picture.mark_read(self._path)

    def _note(self, error: ClusterError) -> None:
        if self._picture.problems.get(self._path) != str(error):
            _LOG.warning("API server: %s", error)
        self._picture.problems[self._path] = str(error)


def followers(cluster: AgentCluster, picture: NodePicture, operator_namespace: str) -> tuple[Follower, ...]:
    """The three watches of an agent."""
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{operator_namespace}/leases"
    return (
        Follower(cluster, GPU_NODES, picture, picture.take_node, picture.node),
        Follower(cluster, _POLICIES, picture, picture.take_policies),
        Follower(cluster, leases, picture, picture.take_lease, LEASE_NAME),
    )
