"""Updates, refused pods, evictions, quotas, budgets and autoscalers as manifests tell of them."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import pool
from joulery.adapters.limit_view import budgets_of, quotas_of
from joulery.adapters.pod_view import seconds_of
from joulery.adapters.provisioner_view import disruptable, node_start_s, provisioner_of
from joulery.adapters.snapshot import Surroundings, Workload, least_priority, true_state
from joulery.adapters.workload_view import disruption, rollout, uncreated, uncreated_since_s, unscheduled
from joulery.domain import reasons
from joulery.domain.fleet import VariantState
from joulery.domain.limits import Provisioner, Quota
from joulery.domain.verdict import Verdict
from kube_manifests import BORN, LATER, condition, deployment, node, pod

NO_NODE = condition(
    "PodScheduled", "False", message="0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
)


def of_set(name: str, template: str, **fields: Any) -> dict[str, Any]:
    return pod(name, labels={"app": "chat", "pod-template-hash": template}, **fields)


def test_settled_workload_is_not_updating() -> None:
    assert rollout(deployment(), [of_set("a", "old"), of_set("b", "old")], "it") is None


def test_terminating_pods_of_the_old_set_do_not_prolong_an_update() -> None:
    pods = [of_set("a", "new"), of_set("b", "old", deleted=LATER)]
    assert rollout(deployment(), pods, "it") is None


def test_old_and_new_sets_side_by_side_are_counted_and_named() -> None:
    pods = [of_set("a", "old"), of_set("b", "old"), of_set("c", "new", born=LATER)]
    progress = [condition("Progressing")]
    verdict = rollout(deployment(conditions=progress), pods, "Deployment chat-tp4")
    assert verdict is not None
    assert verdict.reason == reasons.ROLLOUT_IN_PROGRESS
    assert f"Deployment chat-tp4 is being updated (progress since {LATER})" in verdict.message
    assert "1 of its pods are new, 2 are old" in verdict.message


def test_update_without_a_new_pod_yet_is_known_by_its_status() -> None:
    verdict = rollout(deployment(updatedReplicas=0), [of_set("a", "old")], "it")
    assert verdict is not None
    assert verdict.reason == reasons.ROLLOUT_IN_PROGRESS


def test_surge_without_room_is_named_with_its_pod_and_the_cure() -> None:
    pods = [of_set("a", "old"), of_set("b", "new", born=LATER, conditions=[NO_NODE])]
    verdict = rollout(deployment(), pods, "it")
    assert verdict is not None
    assert verdict.reason == reasons.ROLLOUT_WITHOUT_ROOM
    assert "pod b finds no node" in verdict.message
    assert LATER in verdict.message
    assert "maxSurge: 0" in verdict.message


def test_refused_pods_are_told_in_their_controllers_words() -> None:
    failure = condition("ReplicaFailure", message='pods "x" is forbidden: exceeded quota: gpus')
    manifest = deployment(conditions=[failure])
    verdict = uncreated(manifest, "it")
    assert verdict is not None
    assert verdict.reason == reasons.QUOTA_EXCEEDED
    assert "exceeded quota: gpus" in verdict.message
    assert uncreated_since_s(manifest) == seconds_of(LATER)
    assert uncreated_since_s(deployment()) is None


def test_pod_without_a_node_is_told_in_the_schedulers_words() -> None:
    verdict = unscheduled([pod("a", node="n0"), pod("b", conditions=[NO_NODE])])
    assert verdict is not None
    assert "pod b finds no node since" in verdict.message
    assert "Insufficient nvidia.com/gpu" in verdict.message


def test_evicted_pods_and_pods_of_a_drained_node_are_going() -> None:
    evicted = pod("a", node="n0", conditions=[condition("DisruptionTarget", reason="EvictionByEvictionAPI")])
    verdict = disruption([evicted, pod("b", node="n1")], frozenset(), "it")
    assert verdict is not None
    assert (
        f"1 pods of it are going, a on node n0 among them (EvictionByEvictionAPI since {LATER})"
        in verdict.message
    )
    assert disruption([pod("b", node="n1")], frozenset({"n1"}), "it") is not None
    assert disruption([pod("b", node="n1")], frozenset(), "it") is None


def quota(hard: str | None = "16", used: str = "12", **spec: Any) -> dict[str, Any]:
    amounts = {"pods": "9"} if hard is None else {"requests.nvidia.com/gpu": hard}
    return {
        "metadata": {"name": "gpus", "namespace": "llm"},
        "spec": {"hard": amounts, **spec},
        "status": {"used": {"requests.nvidia.com/gpu": used}},
    }


def test_quota_on_gpus_tells_what_is_left() -> None:
    (found,) = quotas_of([quota()])
    assert found == Quota("llm", "gpus", 16, 12)
    assert found.left_gpus == 4
    assert Quota("llm", "gpus", 8, 12).left_gpus == 0


@pytest.mark.parametrize(
    "other", [quota(None), quota(scopes=["BestEffort"])], ids=["on pods", "of some pods"]
)
def test_quota_that_does_not_bound_all_gpus_is_left_to_the_server(other: dict[str, Any]) -> None:
    assert quotas_of([other]) == ()


def budget(selector: Any, *, seen: int = 1, allowed: int = 1) -> dict[str, Any]:
    status = {
        "observedGeneration": seen,
        "disruptionsAllowed": allowed,
        "currentHealthy": 3,
        "desiredHealthy": 2,
    }
    return {
        "metadata": {"name": "keep", "namespace": "llm", "generation": 1},
        "spec": {"minAvailable": 2, "selector": selector},
        "status": status,
    }


@pytest.mark.parametrize(
    ("selector", "count"),
    [({"matchLabels": {"app": "chat"}}, 1), ({}, 1), ({"matchLabels": {"app": "x"}}, 0), (None, 0)],
    ids=["selects", "all pods", "others", "none"],
)
def test_budget_counts_where_it_selects_a_pod(selector: Any, count: int) -> None:
    pods = [of_set("a", "old")]
    assert len(budgets_of([budget(selector)], "llm", pods)) == count
    assert budgets_of([budget(selector)], "other", pods) == ()


def test_budget_tells_its_rule_and_allows_nothing_before_it_is_computed() -> None:
    pods = [of_set("a", "old")]
    (known,) = budgets_of([budget({})], "llm", pods)
    assert (known.disruptions_allowed, known.rule) == (1, "minAvailable 2: 3 healthy, 2 wanted")
    (fresh,) = budgets_of([budget({}, seen=0)], "llm", pods)
    assert fresh.disruptions_allowed == 0


def nodepool(limit: str | None, used: str = "8") -> dict[str, Any]:
    limits = {} if limit is None else {"nvidia.com/gpu": limit}
    return {"spec": {"limits": limits}, "status": {"resources": {"nvidia.com/gpu": used}}}


def test_karpenter_is_found_by_nodepools_or_labels_and_tells_what_it_may_add() -> None:
    labelled = node(labels={"karpenter.sh/nodepool": "gpu"})
    assert provisioner_of([], None, [labelled], []) == Provisioner("Karpenter")
    assert provisioner_of([nodepool("64"), nodepool("8")], None, [], []) == Provisioner("Karpenter", 56)
    assert provisioner_of([nodepool("64"), nodepool(None)], None, [], []) == Provisioner("Karpenter", None)
    full = provisioner_of([nodepool("8")], None, [], [])
    assert full is not None
    assert not full.may_grow


def test_cluster_autoscaler_is_found_by_its_status_and_nobody_without_any_sign() -> None:
    assert provisioner_of([], {"data": {}}, [node()], []) == Provisioner("cluster-autoscaler")
    assert provisioner_of([], None, [node()], []) is None


def test_node_start_is_how_long_a_pod_waited_for_a_node_younger_than_itself() -> None:
    bound = condition("PodScheduled")
    nodes = [node("old", born=BORN), node("new", born="2026-11-21T10:04:00Z")]
    waited = pod("a", node="new", born="2026-11-21T10:01:00Z", conditions=[bound])
    at_once = pod("b", node="old", born="2026-11-21T10:02:00Z", conditions=[bound])
    assert node_start_s(nodes, [waited, at_once]) == 240.0
    assert node_start_s(nodes, [at_once]) is None


@pytest.mark.parametrize(
    ("name", "annotation"),
    [
        ("Karpenter", {"karpenter.sh/do-not-disrupt": "true"}),
        ("cluster-autoscaler", {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}),
    ],
)
def test_pods_that_may_be_moved_to_save_nodes_are_named_with_the_annotation(
    name: str, annotation: dict[str, str]
) -> None:
    template = deployment()["spec"]["template"]
    note = disruptable(template, Provisioner(name), "it")
    assert note is not None
    assert next(iter(annotation)) in note.message
    assert disruptable({**template, "metadata": {"annotations": annotation}}, Provisioner(name), "it") is None
    assert disruptable(template, None, "it") is None


def true(state: VariantState, workload: Workload, *nodes: dict[str, Any]) -> VariantState:
    spec = pool()
    return true_state(state, spec, spec.variants[0], workload, Surroundings.of(nodes, [], None))


def test_variant_is_barred_from_nodes_that_its_template_cannot_use() -> None:
    tainted = node("n1", taints=({"key": "team", "effect": "NoSchedule"},))
    state = VariantState("tp4", 2)
    assert true(state, Workload(deployment(), ()), node("n0"), tainted).limits.barred == {"n1"}
    tolerant = deployment()
    tolerant["spec"]["template"]["spec"]["tolerations"] = [{"key": "team", "operator": "Exists"}]
    assert true(state, Workload(tolerant, ()), node("n0"), tainted).limits.barred == frozenset()


def test_kind_without_a_template_is_judged_by_its_pods() -> None:
    tainted = node("n1", taints=({"key": "team", "effect": "NoSchedule"},))
    chosen = pod("a", nodeSelector={"zone": "b"})
    assert true(VariantState("g", 1), Workload({}, ()), tainted).limits.barred == {"n1"}
    assert true(VariantState("g", 1), Workload({}, (chosen,)), node("n0")).limits.barred == {"n0"}


def test_stale_template_holds_its_variant_unless_another_hold_came_first() -> None:
    changed = Workload(deployment(args=("--max-num-seqs=512",)), ())
    held = true(VariantState("tp4", 2), changed)
    assert held.hold is not None
    assert held.hold.reason == reasons.PROFILE_STALE
    first = Verdict(reasons.FOREIGN_SCALER, "scaled by another")
    assert true(VariantState("tp4", 2, hold=first), changed).hold is first


def test_leaving_pods_are_named() -> None:
    evicted = pod("a", node="n0", conditions=[condition("DisruptionTarget")])
    state = true(VariantState("tp4", 2), Workload(deployment(), (evicted, pod("b", node="n1"))), node("n1"))
    assert state.limits.leaving == {"a"}
    assert state.limits.keep is not None


def test_priority_of_ours_is_the_lowest_of_pods_or_templates() -> None:
    with_pods = Workload(deployment(), (pod("a", priority=100),))
    assert least_priority([with_pods]) == 100
    assert least_priority([with_pods, Workload(deployment(), ())]) == 0
    assert least_priority([]) == 0
