"""The workloads behind variants: read whole, with their pods, and with why they must not be written."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulery.adapters.drain_view import drain_of
from joulery.adapters.kube_client import KubeClient, path_of
from joulery.adapters.kube_discovery import Discovery, Resource
from joulery.adapters.kube_errors import NotFoundError
from joulery.adapters.ownership_view import claim_of
from joulery.adapters.pod_view import Manifest, has_ended, replica_of, selects
from joulery.adapters.snapshot import Workload
from joulery.domain import reasons
from joulery.domain.fleet import Replica, VariantState
from joulery.domain.keys import ObjectKey, TargetRef
from joulery.domain.pool import Pool, Variant
from joulery.domain.verdict import Verdict
from joulery.errors import ClusterError, UnavailableError

_DEPLOYMENTS = path_of("apps", "v1", "deployments")
_AT_ONCE = 16

TargetKey = tuple[str, str, str, str]


def target_key(namespace: str, ref: TargetRef) -> TargetKey:
    """Identity of a target; the version of its API does not make it another object."""
    return (namespace, ref.api_version.rpartition("/")[0], ref.kind, ref.name)


@dataclass(frozen=True, slots=True)
class Scaled:
    """Replicas asked for, the pods that they are, and the object, None where only its /scale was read."""

    desired: int | None
    pods: tuple[Manifest, ...]
    template: Manifest | None = None
    manifest: Manifest | None = None


class TargetReader:
    """Reads every target once per cycle: Deployments in one LIST, other kinds by GET.

    `workloads` are those of the last read by (pool, variant), as far as they were read whole.
    """

    def __init__(self, client: KubeClient, discovery: Discovery) -> None:
        self._client = client
        self._discovery = discovery
        self.workloads: Mapping[tuple[ObjectKey, str], Workload] = {}

    async def read(
        self,
        pools: Sequence[Pool],
        claims: Mapping[TargetKey, ObjectKey],
        autoscalers: Mapping[TargetKey, str],
        pods: Iterable[Manifest],
    ) -> dict[tuple[ObjectKey, str], VariantState]:
        """The state of every variant by (pool, variant)."""
        by_namespace: dict[str, list[Manifest]] = defaultdict(list)
        for pod in pods:
            by_namespace[pod["metadata"]["namespace"]].append(pod)
        listed = await self._client.list_all(_DEPLOYMENTS)
        deployments = {(d["metadata"]["namespace"], d["metadata"]["name"]): d for d in listed["items"]}
        limit = asyncio.Semaphore(_AT_ONCE)
        workloads: dict[tuple[ObjectKey, str], Workload] = {}

        async def read_one(pool: Pool, variant: Variant) -> VariantState:
            hold = _hold(pool, variant, claims, autoscalers)
            async with limit:
                found = await self._read_target(pool, variant, deployments, by_namespace[pool.key.namespace])
            if isinstance(found, Verdict):
                return VariantState(variant.name, None, hold=hold or found)
            workloads[pool.key, variant.name] = _workload(found)
            drain = drain_of(variant.target, found.template, found.pods)
            scaler = autoscalers.get(target_key(pool.key.namespace, variant.target))
            claim = claim_of(found.manifest, scaler) if found.manifest is not None else None
            return VariantState(variant.name, found.desired, _replicas(found.pods), hold, drain, claim=claim)

        wanted = [(pool, variant) for pool in pools for variant in pool.variants]
        states = await asyncio.gather(*(read_one(pool, variant) for pool, variant in wanted))
        self.workloads = workloads
        return {(p.key, v.name): state for (p, v), state in zip(wanted, states, strict=True)}

    async def _read_target(
        self,
        pool: Pool,
        variant: Variant,
        deployments: Mapping[tuple[str, str], Manifest],
        pods: Sequence[Manifest],
    ) -> Scaled | Verdict:
        ref, namespace = variant.target, pool.key.namespace
        if (ref.api_version, ref.kind) == ("apps/v1", "Deployment"):
            deployment = deployments.get((namespace, ref.name))
            return _not_found(namespace, ref) if deployment is None else _from_spec(deployment, pods)
        resource = await self._discovery.resolve(ref.api_version, ref.kind)
        if resource is None or not resource.scalable:
            return _not_scalable(ref, served=resource is not None)
        return await self._read_any(resource, namespace, ref, pods)

    async def _read_any(
        self, resource: Resource, namespace: str, ref: TargetRef, pods: Sequence[Manifest]
    ) -> Scaled | Verdict:
        try:
            if resource.group == "apps":
                return _from_spec(await self._client.get(resource.path(namespace, ref.name)), pods)
            scale = await self._client.get(resource.path(namespace, ref.name, "scale"))
        except NotFoundError:
            self._discovery.forget(ref.api_version, ref.kind)
            return _not_found(namespace, ref)
        except UnavailableError as error:
            # A custom resource whose `spec.replicas` is unset answers its /scale with a 500.
            text = f"{ref} answers no /scale ({error}); set its replicas once"
            return Verdict(reasons.TARGET_NOT_SCALABLE, text)
        found = await self._from_scale(scale, namespace)
        return replace(found, manifest=await self._whole(resource, namespace, ref))

    async def _whole(self, resource: Resource, namespace: str, ref: TargetRef) -> Manifest | None:
        """The object behind a /scale, which does not tell its managedFields; None where it may not be read."""
        try:
            found: Manifest = await self._client.get(resource.path(namespace, ref.name))
        except ClusterError:
            return None
        return found

    async def _from_scale(self, scale: Manifest, namespace: str) -> Scaled:
        selector = scale.get("status", {}).get("selector")
        found: list[Any] = []
        if selector:
            path = path_of("", "v1", "pods", namespace=namespace)
            found = (await self._client.list_all(path, labelSelector=selector))["items"]
        return Scaled(scale.get("spec", {}).get("replicas", 0), tuple(p for p in found if not has_ended(p)))


def claims_of(pools: Sequence[Pool], created_s: Mapping[ObjectKey, float]) -> dict[TargetKey, ObjectKey]:
    """Who may write each target: the pool that was created first, then the first key."""
    claims: dict[TargetKey, ObjectKey] = {}
    for pool in sorted(pools, key=lambda p: (created_s[p.key], p.key)):
        for variant in pool.variants:
            claims.setdefault(target_key(pool.key.namespace, variant.target), pool.key)
    return claims


def autoscaled(autoscalers: Iterable[Manifest]) -> dict[TargetKey, str]:
    """Names of the HorizontalPodAutoscalers by their target."""
    found: dict[TargetKey, str] = {}
    for hpa in autoscalers:
        ref = hpa["spec"]["scaleTargetRef"]
        target = TargetRef(ref.get("apiVersion", ""), ref["kind"], ref["name"])
        found[target_key(hpa["metadata"]["namespace"], target)] = hpa["metadata"]["name"]
    return found


def _hold(
    pool: Pool,
    variant: Variant,
    claims: Mapping[TargetKey, ObjectKey],
    autoscalers: Mapping[TargetKey, str],
) -> Verdict | None:
    key = target_key(pool.key.namespace, variant.target)
    scaler = autoscalers.get(key)
    if scaler is not None:
        text = (
            f"{variant.target} is scaled by HorizontalPodAutoscaler {pool.key.namespace}/{scaler}; "
            "delete the autoscaler, or take the variant out of the pool, to let one of the two scale it"
        )
        return Verdict(reasons.FOREIGN_SCALER, text)
    if claims[key] != pool.key:
        text = (
            f"{variant.target} already belongs to pool {claims[key]}; name another target in one of the two"
        )
        return Verdict(reasons.TARGET_CONFLICT, text)
    return None


def _from_spec(manifest: Manifest, pods: Sequence[Manifest]) -> Scaled:
    spec = manifest["spec"]
    own = (
        p for p in pods if selects(spec["selector"], p["metadata"].get("labels") or {}) and not has_ended(p)
    )
    return Scaled(spec.get("replicas", 1), tuple(own), spec.get("template"), manifest)


def _workload(found: Scaled) -> Workload:
    """Without the manifest where its kind is not known to keep a pod template in `spec.template`."""
    return Workload((found.manifest if found.template is not None else None) or {}, found.pods)


def _replicas(pods: Iterable[Manifest]) -> tuple[Replica, ...]:
    return tuple(sorted((replica_of(pod) for pod in pods), key=lambda r: (r.created_s, r.name)))


def _not_found(namespace: str, ref: TargetRef) -> Verdict:
    text = f"{ref} is not in namespace {namespace}; create it, or correct the variant's scaleTargetRef"
    return Verdict(reasons.TARGET_NOT_FOUND, text)


def _not_scalable(ref: TargetRef, *, served: bool) -> Verdict:
    why = "has no /scale subresource" if served else "is not served by this cluster"
    text = f"kind {ref.kind} of {ref.api_version} {why}; name a scalable kind in the variant's scaleTargetRef"
    return Verdict(reasons.TARGET_NOT_SCALABLE, text)
