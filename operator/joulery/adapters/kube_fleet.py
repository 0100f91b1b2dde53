"""Reads the whole cluster once per cycle and converts it: the FleetReader on Kubernetes.

Everything comes from a LIST with `resourceVersion=0`: an informer's index may keep objects that were deleted
while its watch was cut, a LIST does not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joulery.adapters.agent_heartbeats import AgentHeartbeats
from joulery.adapters.held_clocks import held_since_s, with_held_clocks
from joulery.adapters.kube_client import KubeClient, path_of
from joulery.adapters.kube_errors import MissingKindError, NotFoundError
from joulery.adapters.kube_limits import LimitLists, LimitReader
from joulery.adapters.kube_targets import TargetReader, autoscaled, claims_of
from joulery.adapters.limit_view import quotas_of
from joulery.adapters.node_view import node_states, watts_by_pod
from joulery.adapters.pending_view import reserved_gpus
from joulery.adapters.pod_view import Manifest, seconds_of
from joulery.adapters.pod_watch import PodWatch
from joulery.adapters.provisioner_view import provisioner_of
from joulery.adapters.snapshot import Surroundings, least_priority, true_state
from joulery.api.convert import (
    generation_of,
    key_of,
    memory_of,
    policy_of,
    pool_of,
    profile_of,
)
from joulery.api.labels import GROUP, VERSION
from joulery.domain.fleet import Fleet, PoolState
from joulery.domain.keys import ObjectKey
from joulery.domain.policy import Policy
from joulery.domain.pool import Pool
from joulery.errors import ConfigError
from joulery.ports import Observation, PolicyProblem, Rejected
from joulery.serving.parameters import EngineProfile

POOLS, POLICIES, PROFILES, GPU_NODES = "inferencepools", "energypolicies", "energyprofiles", "gpunodes"


@dataclass(frozen=True, slots=True)
class _Lists:
    pools: list[Manifest]
    policies: list[Manifest]
    profiles: list[Manifest]
    gpu_nodes: dict[str, Manifest]
    nodes: list[Manifest]
    autoscalers: list[Manifest]
    pods: list[dict[str, Any]]
    limits: LimitLists


class KubeFleet:
    """Snapshots; also remembers the manifests of the last one for the writers of status and Events."""

    def __init__(self, client: KubeClient, targets: TargetReader, pods: PodWatch) -> None:
        self._client = client
        self._targets = targets
        self._pods = pods
        self._limits = LimitReader(client)
        self._profiles: dict[tuple[str, str], EngineProfile | str] = {}
        self._pool_manifests: Mapping[ObjectKey, Manifest] = {}
        self._gpu_node_manifests: Mapping[str, Manifest] = {}
        self._node_uids: Mapping[str, str] = {}
        self._heartbeats = AgentHeartbeats()
        self._last_good_policies: Mapping[str, Policy] = {}

    def pool_manifest(self, key: ObjectKey) -> Manifest | None:
        """A pool's manifest in the last snapshot."""
        return self._pool_manifests.get(key)

    def gpu_node(self, node: str) -> Manifest | None:
        """A node's GPUNode in the last snapshot, None where there was none."""
        return self._gpu_node_manifests.get(node)

    def node_uid(self, node: str) -> str | None:
        """A Node's uid in the last snapshot."""
        return self._node_uids.get(node)

    async def read(self) -> Observation:
        """The snapshot. Raises ClusterError; MissingKindError where our CRDs are not installed."""
        began_s = time.monotonic()
        lists = await self._list()
        # Known by now even in the first cycle: when the first of the lists was asked for, by the cluster's clock.
        observed_at_s = self._client.clock.now_s() - (time.monotonic() - began_s)
        self._pool_manifests = {key_of(m): m for m in lists.pools}
        self._gpu_node_manifests = lists.gpu_nodes
        self._node_uids = {n["metadata"]["name"]: n["metadata"]["uid"] for n in lists.nodes}
        pools, rejected = _converted(lists.pools)
        limits = lists.limits
        provisioner = provisioner_of(limits.nodepools, limits.autoscaler_status, lists.nodes, lists.pods)
        around = Surroundings.of(lists.nodes, limits.budgets, provisioner)
        states = await self._pool_states(pools, lists, around)
        policies, policy_problems = policies_of(lists.policies, self._last_good_policies)
        self._last_good_policies = {policy.name: policy for policy in policies}
        profiles, profile_problems = self._converted_profiles(lists.profiles)
        reporting = self._heartbeats.reporting(lists.gpu_nodes)
        held = held_since_s(reporting, self._heartbeats.ages_s(), observed_at_s)
        states = with_held_clocks(states, held)
        nodes = node_states(lists.nodes, lists.pods, reporting, self._reserved(states, lists))
        return Observation(
            fleet=Fleet(observed_at_s, states, nodes, quotas_of(limits.quotas), provisioner, limits.unread),
            policies=policies,
            profiles=profiles,
            profile_problems=profile_problems,
            rejected=rejected,
            memories={key_of(m): memory_of(m.get("status") or {}) for m in lists.pools},
            measured_w=_measured_w(states, reporting),
            policy_problems=policy_problems,
        )

    async def _list(self) -> _Lists:
        own = (self._ours(plural) for plural in (POOLS, POLICIES, PROFILES, GPU_NODES))
        foreign = (
            self._items(path_of("", "v1", "nodes")),
            self._items(path_of("autoscaling", "v2", "horizontalpodautoscalers")),
        )
        lists, limits = await asyncio.gather(asyncio.gather(*own, *foreign), self._limits.read())
        pools, policies, profiles, gpu_nodes, nodes, autoscalers = lists
        by_name = {m["metadata"]["name"]: m for m in gpu_nodes}
        return _Lists(pools, policies, profiles, by_name, nodes, autoscalers, await self._pods.pods(), limits)

    async def _ours(self, plural: str) -> list[Manifest]:
        try:
            return await self._items(path_of(GROUP, VERSION, plural))
        except NotFoundError as error:
            text = f"the cluster does not serve {plural}.{GROUP}/{VERSION}; install the CRDs of this release"
            raise MissingKindError(text) from error

    async def _items(self, path: str) -> list[Manifest]:
        items: list[Manifest] = (await self._client.list_all(path))["items"]
        return items

    async def _pool_states(
        self, pools: Sequence[Pool], lists: _Lists, around: Surroundings
    ) -> tuple[PoolState, ...]:
        created_s = {key_of(m): seconds_of(m["metadata"]["creationTimestamp"]) for m in lists.pools}
        claims = claims_of(pools, created_s)
        scalers = autoscaled(lists.autoscalers, lists.limits.scaled_objects)
        states = await self._targets.read(pools, claims, scalers, lists.pods)
        workloads = self._targets.workloads
        for pool in pools:
            for variant in pool.variants:
                of = (pool.key, variant.name)
                if of in workloads:
                    states[of] = true_state(states[of], pool, variant, workloads[of], around)
        return tuple(PoolState(p, tuple(states[p.key, v.name] for v in p.variants)) for p in pools)

    def _reserved(self, states: Sequence[PoolState], lists: _Lists) -> dict[str, int]:
        """GPUs that foreign pods ahead of ours will take; pods of held variants are not a plan's to move either."""
        free = [(s.pool.key, v) for s in states for v in s.variants if v.hold is None]
        ours = frozenset(r.uid for _, v in free for r in v.replicas)
        workloads = (self._targets.workloads.get((key, v.variant)) for key, v in free)
        priority = least_priority([w for w in workloads if w is not None])
        return reserved_gpus(lists.nodes, lists.pods, ours, priority)

    def _converted_profiles(
        self, manifests: Sequence[Manifest]
    ) -> tuple[dict[str, EngineProfile], dict[str, str]]:
        """Profiles and problems by name; converted once per revision, since each is checked in full."""
        seen = {(m["metadata"]["uid"], m["metadata"]["resourceVersion"]): m for m in manifests}
        self._profiles = {k: self._profiles.get(k) or _profile(m) for k, m in seen.items()}
        named = {seen[k]["metadata"]["name"]: result for k, result in self._profiles.items()}
        good = {name: result for name, result in named.items() if not isinstance(result, str)}
        return good, {name: result for name, result in named.items() if isinstance(result, str)}


def _converted(manifests: Sequence[Manifest]) -> tuple[tuple[Pool, ...], tuple[Rejected, ...]]:
    pools: list[Pool] = []
    rejected: list[Rejected] = []
    for manifest in sorted(manifests, key=key_of):
        if "deletionTimestamp" in manifest["metadata"]:
            continue
        result = pool_of(manifest)
        if isinstance(result, Pool):
            pools.append(result)
        else:
            rejected.append(Rejected(key_of(manifest), generation_of(manifest), result))
    return tuple(pools), tuple(rejected)


def policies_of(
    manifests: Sequence[Manifest], last_good: Mapping[str, Policy]
) -> tuple[tuple[Policy, ...], dict[str, PolicyProblem]]:
    """Policies and problems by name; one that became unusable keeps its last good content.

    Dropping it would lift the ceiling that it sets.
    """
    policies: list[Policy] = []
    problems: dict[str, PolicyProblem] = {}
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        try:
            policies.append(policy_of(manifest))
        except ConfigError as error:
            known = last_good.get(name)
            policies += [known] if known else []
            held = "its last good content holds" if known else "it is ignored"
            text = f"{error}; {held} until it is corrected (kubectl edit energypolicies.joulery.dev {name})"
            problems[name] = PolicyProblem(text, _namespaces(manifest))
    return tuple(policies), problems


def _namespaces(manifest: Manifest) -> tuple[str, ...]:
    """Whom a policy that could not be understood would govern, as far as that can be read."""
    named = (manifest.get("spec") or {}).get("namespaces")
    return tuple(str(name) for name in named) if isinstance(named, list) else ()


def _profile(manifest: Manifest) -> EngineProfile | str:
    try:
        return profile_of(manifest)
    except ConfigError as error:
        return str(error)


def _measured_w(states: Sequence[PoolState], gpu_nodes: Mapping[str, Manifest]) -> dict[ObjectKey, float]:
    """Watts by pool; a pool none of whose pods is reported is left out, since unknown is not zero."""
    watts = watts_by_pod(gpu_nodes.values())
    measured: dict[ObjectKey, float] = {}
    for state in states:
        key = state.pool.key
        pods = (ObjectKey(key.namespace, r.name) for v in state.variants for r in v.replicas)
        known = [watts[pod] for pod in pods if pod in watts]
        if known:
            measured[key] = sum(known)
    return measured
