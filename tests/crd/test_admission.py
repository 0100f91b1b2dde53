"""The admission policies of the manifests refuse what controller and agents may not write, and nothing else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config

import api_cases as cases
from joulery.emulator.cluster_access import Cluster

pytestmark = pytest.mark.e2e

CONTROLLER = "system:serviceaccount:joulery-system:joulery-controller"

# A namespace of its own for every run: a deleted one lingers.
NAMESPACE = f"joulery-pod-marks-{secrets.token_hex(4)}"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "engine",
        "namespace": NAMESPACE,
        "labels": {"app": "engine"},
        "annotations": {"note": "theirs"},
        "finalizers": ["example.com/theirs"],
    },
    "spec": {
        "automountServiceAccountToken": False,
        # Never scheduled: the test needs the object, not the container.
        "schedulingGates": [{"name": "example.com/never"}],
        "containers": [{"name": "engine", "image": "engine:1"}],
    },
}


@pytest.fixture(scope="module")
def pod(installed: Cluster) -> Iterator[Cluster]:
    installed.kubectl("create", "namespace", NAMESPACE)
    installed.kubectl("create", "serviceaccount", "default", "-n", NAMESPACE, check=False)
    installed.kubectl("create", "-f", "-", stdin=json.dumps(POD))
    yield installed
    free = '{"metadata": {"finalizers": null}}'
    installed.kubectl("patch", "pod", "engine", "-n", NAMESPACE, "--type=merge", "-p", free)
    installed.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _patch_pod(cluster: Cluster, patch: dict[str, Any], user: str) -> str | None:
    """Why the API server refuses a patch by a user, None where it does not.

    Not by kubectl, which reads before it patches: the controller may not.
    """
    # The client's generated code carries no types.
    api = config.new_client_from_config(str(cluster.kubeconfig))
    api.set_default_header("Impersonate-User", user)
    try:
        client.CoreV1Api(api).patch_namespaced_pod(
            "engine", NAMESPACE, patch, dry_run="All", _content_type="application/merge-patch+json"
        )
    except client.ApiException as error:
        return str(json.loads(error.body)["message"])
    finally:
        api.close()
    return None


COST = "controller.kubernetes.io/pod-deletion-cost"


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"joulery.dev/lane": "long"}},
        {"annotations": {COST: "-100"}},
        {"annotations": {COST: None}},
        {"labels": {"joulery.dev/lane": None}, "annotations": {COST: "0"}},
    ],
    ids=str,
)
def test_controller_may_mark_pods(pod: Cluster, metadata: dict[str, Any]) -> None:
    assert _patch_pod(pod, {"metadata": metadata}, CONTROLLER) is None


@pytest.mark.parametrize(
    ("patch", "word"),
    [
        ({"spec": {"containers": [{"name": "engine", "image": "evil:1"}]}}, "spec"),
        ({"spec": {"activeDeadlineSeconds": 1}}, "spec"),
        ({"metadata": {"labels": {"app": "other"}}}, "labels"),
        ({"metadata": {"labels": {"app": None}}}, "labels"),
        ({"metadata": {"labels": {"more": "x"}}}, "labels"),
        ({"metadata": {"annotations": {"note": "ours"}}}, "annotations"),
        ({"metadata": {"annotations": {"note": None}}}, "annotations"),
        ({"metadata": {"finalizers": []}}, "finalizers"),
        (
            {
                "metadata": {
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}]
                }
            },
            "owners",
        ),
    ],
    ids=str,
)
def test_controller_may_change_nothing_else_of_pods(pod: Cluster, patch: dict[str, Any], word: str) -> None:
    refusal = _eventually_refused(pod, patch)
    assert "Joulery controller may" in refusal
    assert word in refusal


def _eventually_refused(cluster: Cluster, patch: dict[str, Any]) -> str:
    """A policy is in force within seconds of its creation."""
    for _ in range(20):
        refusal = _patch_pod(cluster, patch, CONTROLLER)
        if refusal is not None:
            return refusal
    raise AssertionError("the policy never came into force")


def test_others_are_not_confined(pod: Cluster) -> None:
    assert _patch_pod(pod, {"metadata": {"labels": {"more": "x"}}}, "kubernetes-admin-of-tests") is not None
    done = pod.kubectl(
        "patch", "pod", "engine", "-n", NAMESPACE, "--type=merge", "--dry-run=server",
        "-p", '{"metadata": {"labels": {"more": "x"}}}',
    )  # fmt: skip
    assert "patched" in done.stdout


@pytest.fixture(scope="module")
def agent_of_one(installed: Cluster) -> Iterator[tuple[Cluster, str]]:
    """A token of the agent on node policy-0, and GPUNodes of two nodes."""
    for name in ("policy-0", "policy-1"):
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "spec": {"unschedulable": True},
        }
        installed.kubectl("create", "-f", "-", stdin=json.dumps(node))
        gpu_node = {**cases.gpu_node(), "metadata": {"name": name}}
        installed.kubectl("create", "-f", "-", stdin=json.dumps(gpu_node))
    token = installed.kubectl(
        "create", "token", "joulery-agent", "-n", "joulery-system",
        "--bound-object-kind=Node", "--bound-object-name=policy-0",
    ).stdout.strip()  # fmt: skip
    yield installed, token
    for name in ("policy-0", "policy-1"):
        installed.kubectl("delete", "gpunodes.joulery.dev", name)
        installed.kubectl("delete", "node", name)


def _as_agent(cluster: Cluster, token: str, manifest: dict[str, Any], *command: str) -> str | None:
    """Why the API server refuses a kubectl command from a bearer of the token, None where it does not."""
    config = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "-o", "json").stdout)
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = cluster.data / "agent-of-one.kubeconfig"
    path.write_text(json.dumps(config))
    done = cluster.kubectl(
        f"--kubeconfig={path}", *command, "-f", "-", stdin=json.dumps(manifest), check=False
    )
    return None if done.returncode == 0 else done.stderr


def _report(cluster: Cluster, name: str, token: str) -> str | None:
    manifest = {**cases.gpu_node(), "metadata": {"name": name}, "status": cases.gpu_node_status()}
    del manifest["spec"]
    apply = ("apply", "--server-side", "--subresource=status", "--field-manager=joulery-agent")
    return _as_agent(cluster, token, manifest, *apply)


def test_an_agent_reports_its_own_node_and_no_other(agent_of_one: tuple[Cluster, str]) -> None:
    cluster, token = agent_of_one
    assert _report(cluster, "policy-0", token) is None
    refusal = _report(cluster, "policy-1", token)
    assert refusal is not None
    assert "only the GPUNode named like the node" in refusal


def test_an_unbound_token_reports_no_node(agent_of_one: tuple[Cluster, str]) -> None:
    cluster, _ = agent_of_one
    unbound = cluster.kubectl("create", "token", "joulery-agent", "-n", "joulery-system").stdout.strip()
    refusal = _report(cluster, "policy-0", unbound)
    assert refusal is not None
    assert "only the GPUNode named like the node" in refusal


def test_an_agent_makes_its_own_gpu_node_and_no_other(agent_of_one: tuple[Cluster, str]) -> None:
    cluster, token = agent_of_one
    own, other = (
        {**cases.gpu_node(), "metadata": {"name": name}, "spec": {}} for name in ("policy-0", "policy-9")
    )
    cluster.kubectl("delete", "gpunodes.joulery.dev", "policy-0")
    assert _as_agent(cluster, token, own, "create") is None
    refusal = _as_agent(cluster, token, other, "create")
    assert refusal is not None
    assert "only the GPUNode named like the node" in refusal


# ------------------------------------------------------------------ where somebody grants an agent too much

MORE_RIGHTS = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "too-much-for-agents"},
            "rules": [{"apiGroups": ["joulery.dev"], "resources": ["gpunodes"], "verbs": ["*"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "too-much-for-agents"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "too-much-for-agents",
            },
            "subjects": [{"kind": "ServiceAccount", "name": "joulery-agent", "namespace": "joulery-system"}],
        },
    ],
}


@pytest.fixture
def spoilt_agent(agent_of_one: tuple[Cluster, str]) -> Iterator[tuple[Cluster, str]]:
    """The agent of policy-0 with every right on GPUNodes: only the policy is left."""
    cluster, token = agent_of_one
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(MORE_RIGHTS))
    yield cluster, token
    cluster.kubectl("delete", "-f", "-", stdin=json.dumps(MORE_RIGHTS))


def _gpu_node(name: str, **spec: Any) -> dict[str, Any]:
    return {**cases.gpu_node(), "metadata": {"name": name}, "spec": spec}


APPLY = ("apply", "--server-side", "--force-conflicts", "--field-manager=joulery-agent")


@pytest.mark.parametrize("name", ["policy-0", "policy-1"])
def test_an_agent_writes_no_spec_even_where_rbac_lets_it(
    spoilt_agent: tuple[Cluster, str], name: str
) -> None:
    cluster, token = spoilt_agent
    refusal = _as_agent(cluster, token, _gpu_node(name, planId="p-evil"), *APPLY)
    assert refusal is not None
    wanted = "may not write the spec" if name == "policy-0" else "only the GPUNode named like the node"
    assert wanted in refusal


def test_an_agent_makes_no_gpu_node_with_a_spec(spoilt_agent: tuple[Cluster, str]) -> None:
    cluster, token = spoilt_agent
    cluster.kubectl("delete", "gpunodes.joulery.dev", "policy-0")
    refusal = _as_agent(cluster, token, _gpu_node("policy-0", planId="p-evil"), "create")
    assert refusal is not None
    assert "may not write the spec" in refusal
    assert _as_agent(cluster, token, _gpu_node("policy-0"), "create") is None


def test_an_agent_deletes_no_other_gpu_node(spoilt_agent: tuple[Cluster, str]) -> None:
    cluster, token = spoilt_agent
    refusal = _as_agent(cluster, token, _gpu_node("policy-1"), "delete")
    assert refusal is not None
    assert "only the GPUNode named like the node" in refusal


def test_without_more_rights_rbac_refuses_delete_and_patch(agent_of_one: tuple[Cluster, str]) -> None:
    cluster, token = agent_of_one
    for command in (("delete",), APPLY):
        refusal = _as_agent(cluster, token, _gpu_node("policy-0", planId="p-evil"), *command)
        assert refusal is not None
        assert "forbidden" in refusal.lower()
