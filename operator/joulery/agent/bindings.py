"""Which GPUs an instance runs on: the spec's bindings joined with what the kubelet says, pure.

A binding names a pod by UID, the kubelet by namespace and name. A pod of that name that left and came back,
or holds other devices, is another pod: its binding is dropped until the operator writes a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from joulery.domain import reasons
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import Binding
from joulery.domain.verdict import Verdict


@dataclass(frozen=True, slots=True)
class PodDevices:
    """One pod's GPU device ids as the kubelet spells them."""

    namespace: str
    pod: str
    device_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoundInstance:
    """A binding and the UUIDs of the GPUs that it may clock."""

    binding: Binding
    gpus: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BindingBook:
    """Memory between epochs: devices each accepted binding was seen with, and bindings that are void."""

    accepted: Mapping[Binding, tuple[str, ...]] = field(default_factory=dict)
    dropped: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Resolution:
    """One epoch's answer.

    `refused` says why a GPU is not clocked; `holders` names the pod, ours or not, that holds each GPU in use.
    """

    book: BindingBook
    instances: tuple[BoundInstance, ...]
    refused: Mapping[str, Verdict]
    holders: Mapping[str, ObjectKey]


def resolve(
    book: BindingBook, bindings: Sequence[Binding], pods: Sequence[PodDevices], gpu_ids: Mapping[str, str]
) -> Resolution:
    """Join bindings with pods.

    Args:
        book: memory of the last epoch.
        bindings: what the operator wrote.
        pods: what the kubelet reports.
        gpu_ids: UUID by every bare device id (UUID or index) that this node knows.
    """
    devices = {(p.namespace, p.pod): p.device_ids for p in pods}
    dropped = book.dropped | _gone(book, devices)
    current = [b for b in bindings if (b.pod_uid, b.address) not in dropped]
    accepted = {b: devices[key] for b in current if (key := (b.namespace, b.pod)) in devices}
    owners = _owners(pods, gpu_ids)
    governed = {(b.namespace, b.pod) for b in accepted}
    refused = _refused(owners, governed)
    instances = tuple(
        BoundInstance(b, tuple(sorted({u for u in _uuids(ids, gpu_ids) if u not in refused})))
        for b, ids in accepted.items()
    )
    still_named = {(b.pod_uid, b.address) for b in bindings}
    holders = {uuid: ObjectKey(*min(holding)) for uuid, holding in owners.items()}
    return Resolution(BindingBook(accepted, frozenset(dropped & still_named)), instances, refused, holders)


def _gone(
    book: BindingBook, devices: Mapping[tuple[str, str], tuple[str, ...]]
) -> frozenset[tuple[str, str]]:
    """Bindings whose pod left the node or came back with other devices."""
    return frozenset(
        (b.pod_uid, b.address) for b, ids in book.accepted.items() if devices.get((b.namespace, b.pod)) != ids
    )


def _uuids(device_ids: Iterable[str], gpu_ids: Mapping[str, str]) -> Iterable[str]:
    """GPUs of this node behind device ids; a shared GPU is `<id>::<n>`, a MIG slice is none of ours."""
    for device_id in device_ids:
        uuid = gpu_ids.get(device_id.partition("::")[0])
        if uuid is not None:
            yield uuid


def _owners(pods: Sequence[PodDevices], gpu_ids: Mapping[str, str]) -> dict[str, set[tuple[str, str]]]:
    owners: dict[str, set[tuple[str, str]]] = {}
    for pod in pods:
        for uuid in _uuids(pod.device_ids, gpu_ids):
            owners.setdefault(uuid, set()).add((pod.namespace, pod.pod))
    return owners


def _refused(
    owners: Mapping[str, set[tuple[str, str]]], governed: set[tuple[str, str]]
) -> dict[str, Verdict]:
    """GPUs that a governed pod shares with one that no pool governs: slowing it would slow a stranger."""
    refused = {}
    for uuid, pods in owners.items():
        strangers = sorted(pods - governed)
        if strangers and len(strangers) < len(pods):
            namespace, pod = strangers[0]
            message = (
                f"shared with pod {namespace}/{pod}, which no pool in Act governs; give it GPUs of its own"
            )
            refused[uuid] = Verdict(reasons.NO_BINDING, message)
    return refused
