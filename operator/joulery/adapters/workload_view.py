"""What a workload and its pods tell of an update under way, of pods that cannot be created, and of pods that go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from joulery.adapters.pod_view import Manifest, condition, seconds_of
from joulery.domain import reasons
from joulery.domain.verdict import Verdict

DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
_HASH_LABELS = ("pod-template-hash", "controller-revision-hash")


def template_of(manifest: Manifest) -> Manifest:
    """The pod template of a workload, empty where its kind has it elsewhere."""
    template: Manifest = manifest.get("spec", {}).get("template") or {}
    return template


def pod_spec_of(manifest: Manifest) -> Manifest:
    """The pod spec of a workload's template."""
    spec: Manifest = template_of(manifest).get("spec") or {}
    return spec


def rollout(manifest: Manifest, pods: Sequence[Manifest], where: str) -> Verdict | None:
    """Why replicas must not be taken away while old and new ones run side by side; None without an update.

    Taking some away in the middle would take from whichever set its controller likes.
    """
    if not _is_updating(manifest, pods):
        return None
    since = _since(manifest)
    stuck = [p for p in _living(pods) if _is_unscheduled(p)]
    if stuck:
        name, why = stuck[0]["metadata"]["name"], _unscheduled_text(stuck[0])
        text = (
            f"the rolling update of {where}{since} waits for room: pod {name} finds no node ({why}); free GPUs for "
            "one more replica, or set maxSurge: 0 and maxUnavailable: 1 in its strategy; until then none is taken away"
        )
        return Verdict(reasons.ROLLOUT_WITHOUT_ROOM, text)
    new, old = _by_set(pods)
    text = (
        f"{where} is being updated{since}: {new} of its pods are new, {old} are old; none is taken away until the "
        f"update is over (kubectl rollout status), or undone (kubectl rollout undo)"
    )
    return Verdict(reasons.ROLLOUT_IN_PROGRESS, text)


def _is_updating(manifest: Manifest, pods: Sequence[Manifest]) -> bool:
    if len(_hashes(pods)) > 1:
        return True
    # The new set may have no pod yet. Other generations than of the template count too, for one cycle or two.
    status = manifest.get("status") or {}
    updated, replicas = status.get("updatedReplicas"), status.get("replicas", 0)
    is_counted = status.get("observedGeneration") == manifest.get("metadata", {}).get("generation")
    return bool(is_counted and replicas > (updated or 0))


def _living(pods: Iterable[Manifest]) -> Iterator[Manifest]:
    return (pod for pod in pods if "deletionTimestamp" not in pod["metadata"])


def _hash(pod: Manifest) -> str:
    labels = pod["metadata"].get("labels") or {}
    return next((labels[name] for name in _HASH_LABELS if name in labels), "")


def _hashes(pods: Iterable[Manifest]) -> set[str]:
    return {_hash(pod) for pod in _living(pods)}


def _by_set(pods: Sequence[Manifest]) -> tuple[int, int]:
    """Pods of the set that was begun last, and all others."""
    living = sorted(_living(pods), key=lambda p: p["metadata"]["creationTimestamp"])
    first_of = {_hash(pod): pod["metadata"]["creationTimestamp"] for pod in reversed(living)}
    newest = max(first_of, key=lambda name: first_of[name], default="")
    new = sum(_hash(pod) == newest for pod in living)
    return new, len(living) - new


def _since(manifest: Manifest) -> str:
    """Since when, from the newest note of the workload's own progress."""
    progressing = condition(manifest, "Progressing")
    time = (progressing or {}).get("lastTransitionTime")
    return f" (progress since {time})" if time else ""


def _is_unscheduled(pod: Manifest) -> bool:
    scheduled = condition(pod, "PodScheduled")
    return scheduled is not None and scheduled["status"] == "False"


def _unscheduled_text(pod: Manifest) -> str:
    found = condition(pod, "PodScheduled") or {}
    return f"since {found.get('lastTransitionTime', '?')}: {found.get('message', 'no reason given')}"[:300]


def uncreated_since_s(manifest: Manifest) -> float | None:
    """Since when a workload's controller has failed to create pods (a quota, an admission rule), else None."""
    failure = condition(manifest, "ReplicaFailure")
    if failure is None or failure["status"] != "True":
        return None
    return seconds_of(failure["lastTransitionTime"])


def uncreated(manifest: Manifest, where: str) -> Verdict | None:
    """Why pods are not created, in the words of the workload's own controller."""
    failure = condition(manifest, "ReplicaFailure")
    if failure is None or failure["status"] != "True":
        return None
    text = (
        f"{where} creates no pods since {failure['lastTransitionTime']}: {failure.get('message', '')[:300]}; "
        "raise what refuses them, such as a ResourceQuota; until then they count as absent"
    )
    return Verdict(reasons.QUOTA_EXCEEDED, text)


def unscheduled(pods: Iterable[Manifest]) -> Verdict | None:
    """The first pod that found no node, in the scheduler's words."""
    pod = next((p for p in _living(pods) if _is_unscheduled(p)), None)
    if pod is None:
        return None
    text = f"pod {pod['metadata']['name']} finds no node {_unscheduled_text(pod)}"
    return Verdict(reasons.UNSCHEDULABLE, text)


def disrupted(pod: Manifest) -> Manifest | None:
    """The condition by which Kubernetes marks a pod that is evicted, preempted or drained; None where it is not."""
    found = condition(pod, "DisruptionTarget")
    return found if found is not None and found["status"] == "True" else None


def disruption(pods: Iterable[Manifest], draining: frozenset[str], where: str) -> Verdict | None:
    """Why replicas must not be taken away while others of theirs are evicted or drained; None without any."""
    going = [p for p in pods if disrupted(p) or p.get("spec", {}).get("nodeName") in draining]
    if not going:
        return None
    pod = going[0]
    found = disrupted(pod)
    node = pod.get("spec", {}).get("nodeName")
    since = (
        f"{found.get('reason', 'Evicted')} since {found['lastTransitionTime']}" if found else "to be drained"
    )
    text = (
        f"{len(going)} pods of {where} are going, {pod['metadata']['name']} on node {node} among them ({since}); none "
        "is taken away beside them until they run elsewhere"
    )
    return Verdict(reasons.PODS_DISRUPTED, text)
