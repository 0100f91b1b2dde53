"""The manifests install as they are, give exactly the rights they say, and the admission policies hold."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

import api_cases as cases
from joulery.emulator.cluster_access import Cluster

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFESTS = REPOSITORY / "manifests"
CONTROLLER = "system:serviceaccount:joulery-system:joulery-controller"
AGENT = "system:serviceaccount:joulery-system:joulery-agent"


@pytest.fixture(scope="module")
def installed(served: Cluster) -> Cluster:
    """Rights and policies; the Deployment and the DaemonSet are only asked about, so that no pod starts."""
    served.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(MANIFESTS / "namespace.yaml"))
    for name in (
        "controller-rbac.yaml",
        "user-rbac.yaml",
        "pod-marks-policy.yaml",
        "agent/rbac.yaml",
        "agent/own-node-policy.yaml",
    ):
        served.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(MANIFESTS / name))
    return served


@pytest.mark.parametrize("folder", [".", "agent", "leaderworkerset", "examples"])
def test_every_manifest_is_valid(installed: Cluster, folder: str) -> None:
    done = installed.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-k",
        str(MANIFESTS / folder),
    )
    assert done.stdout.count("serverside-applied") >= 2


def test_shipped_profile_is_valid(served: Cluster) -> None:
    profiles = sorted((REPOSITORY / "operator/joulery/data/profiles").glob("*.yaml"))
    assert profiles
    for path in profiles:
        served.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(path))


def test_the_base_install_holds_no_policy() -> None:
    """Without an EnergyPolicy nothing goes beyond Recommend."""
    base = (MANIFESTS / "kustomization.yaml").read_text()
    assert "examples" not in base
    assert "agent" not in base.split("resources:")[1]


ALLOWED = [
    (CONTROLLER, "list", "inferencepools.joulery.dev", "--all-namespaces"),
    (CONTROLLER, "patch", "inferencepools.joulery.dev", "--subresource=status"),
    (CONTROLLER, "patch", "gpunodes.joulery.dev"),
    (CONTROLLER, "patch", "deployments.apps", "--subresource=scale"),
    (CONTROLLER, "patch", "statefulsets.apps", "--subresource=scale"),
    (CONTROLLER, "get", "statefulsets.apps"),
    (CONTROLLER, "list", "nodes"),
    (CONTROLLER, "list", "gpunodes.joulery.dev"),
    (CONTROLLER, "create", "leases.coordination.k8s.io", "-n", "joulery-system"),
    (CONTROLLER, "watch", "customresourcedefinitions.apiextensions.k8s.io"),
    (CONTROLLER, "watch", "pods", "--all-namespaces"),
    (CONTROLLER, "list", "horizontalpodautoscalers.autoscaling", "--all-namespaces"),
    (CONTROLLER, "patch", "leases.coordination.k8s.io/joulery", "-n", "joulery-system"),
    (CONTROLLER, "create", "events.events.k8s.io"),
    (AGENT, "watch", "gpunodes.joulery.dev"),
    (AGENT, "create", "gpunodes.joulery.dev"),
    (AGENT, "patch", "gpunodes.joulery.dev", "--subresource=status"),
    (AGENT, "list", "energypolicies.joulery.dev"),
    (AGENT, "watch", "leases.coordination.k8s.io/joulery", "-n", "joulery-system"),
]
FORBIDDEN = [
    (CONTROLLER, "patch", "deployments.apps"),
    (CONTROLLER, "patch", "inferencepools.joulery.dev"),
    (CONTROLLER, "patch", "gpunodes.joulery.dev", "--subresource=status"),
    (CONTROLLER, "patch", "horizontalpodautoscalers.autoscaling"),
    (CONTROLLER, "delete", "pods"),
    (CONTROLLER, "create", "pods"),
    (CONTROLLER, "get", "secrets", "--all-namespaces"),
    (CONTROLLER, "patch", "nodes"),
    (CONTROLLER, "get", "nodes"),
    (CONTROLLER, "get", "pods", "--all-namespaces"),
    (CONTROLLER, "get", "deployments.apps"),
    (CONTROLLER, "list", "statefulsets.apps"),
    (CONTROLLER, "get", "deployments.apps", "--subresource=scale"),
    (CONTROLLER, "update", "deployments.apps", "--subresource=scale"),
    (CONTROLLER, "get", "inferencepools.joulery.dev"),
    (CONTROLLER, "watch", "gpunodes.joulery.dev"),
    (CONTROLLER, "patch", "events.events.k8s.io"),
    (CONTROLLER, "get", "leases.coordination.k8s.io/joulery", "-n", "joulery-system"),
    (CONTROLLER, "update", "leases.coordination.k8s.io/joulery", "-n", "joulery-system"),
    (CONTROLLER, "patch", "leases.coordination.k8s.io/other", "-n", "joulery-system"),
    (AGENT, "patch", "gpunodes.joulery.dev"),
    (AGENT, "update", "gpunodes.joulery.dev"),
    (AGENT, "get", "gpunodes.joulery.dev"),
    (AGENT, "update", "gpunodes.joulery.dev", "--subresource=status"),
    (AGENT, "create", "events.events.k8s.io"),
    (AGENT, "get", "leases.coordination.k8s.io/joulery", "-n", "joulery-system"),
    (AGENT, "delete", "gpunodes.joulery.dev"),
    (AGENT, "list", "pods", "--all-namespaces"),
    (AGENT, "get", "nodes"),
    (AGENT, "get", "secrets", "--all-namespaces"),
    (AGENT, "get", "leases.coordination.k8s.io/other", "-n", "joulery-system"),
    (AGENT, "patch", "energypolicies.joulery.dev"),
]


@pytest.mark.parametrize(
    ("question", "expected"), [(q, "yes") for q in ALLOWED] + [(q, "no") for q in FORBIDDEN], ids=str
)
def test_rights(installed: Cluster, question: tuple[str, ...], expected: str) -> None:
    user, verb, resource, *more = question
    done = installed.kubectl("auth", "can-i", verb, resource, *more, f"--as={user}", check=False)
    assert done.stdout.strip().startswith(expected), done.stderr


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
