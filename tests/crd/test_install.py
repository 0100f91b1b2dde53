"""The manifests install as they are, give exactly the rights they say, and the admission policies hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulery.emulator.cluster_access import Cluster

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFESTS = REPOSITORY / "manifests"
CONTROLLER = "system:serviceaccount:joulery-system:joulery-controller"
AGENT = "system:serviceaccount:joulery-system:joulery-agent"


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
