"""The CRDs on a real API server, and a client that asks it what it thinks of a manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from joulery.api.crd import definition
from joulery.api.v1alpha1.kinds import KINDS, Kind
from joulery.emulator.cluster_access import Cluster

REPOSITORY = Path(__file__).resolve().parents[2]
_MANIFESTS = REPOSITORY / "manifests"


class Judge:
    """Asks the API server whether it would take a manifest; nothing is stored unless said."""

    def __init__(self, api: client.CustomObjectsApi) -> None:
        self._api = api
        self._kinds = {kind.kind: kind for kind in KINDS}

    def refusal(self, manifest: dict[str, Any], *, store: bool = False) -> str | None:
        """Why the server refuses to create it, None where it would."""
        kind = self._kinds[manifest["kind"]]
        return self._ask("create", kind, manifest, None if store else "All")

    def refusal_of_update(self, manifest: dict[str, Any]) -> str | None:
        """Why the server refuses a changed version of a stored object."""
        kind = self._kinds[manifest["kind"]]
        patch = {"spec": manifest["spec"]}
        return self._ask("patch", kind, patch, "All", manifest["metadata"]["name"])

    def refusal_of_status(self, kind: Kind, name: str, status: dict[str, Any]) -> str | None:
        """Why the server refuses a status of a stored object, applied as we write it."""
        manifest = {
            "apiVersion": "joulery.dev/v1alpha1",
            "kind": kind.kind,
            "metadata": {"name": name},
            "status": status,
        }
        arguments: dict[str, Any] = {
            "field_manager": "joulery",
            "force": True,
            "_content_type": "application/apply-patch+yaml",
        }
        return self._ask("patch", kind, manifest, "All", name, suffix="_status", **arguments)

    def remove(self, manifest: dict[str, Any]) -> None:
        kind = self._kinds[manifest["kind"]]
        self._call("delete", kind, (manifest["metadata"]["name"],))

    def _ask(
        self,
        verb: str,
        kind: Kind,
        body: dict[str, Any],
        dry_run: str | None,
        *names: str,
        suffix: str = "",
        **more: Any,
    ) -> str | None:
        arguments = {"field_validation": "Strict", **more}
        if dry_run:
            arguments["dry_run"] = dry_run
        try:
            self._call(verb, kind, (*names, body), suffix, **arguments)
        except client.ApiException as error:
            if error.status not in (400, 409, 422, 500):
                raise
            return str(json.loads(error.body)["message"])
        return None

    def _call(self, verb: str, kind: Kind, rest: tuple[Any, ...], suffix: str = "", **arguments: Any) -> None:
        scope = "namespaced" if kind.namespaced else "cluster"
        place = ("default",) if kind.namespaced else ()
        method = getattr(self._api, f"{verb}_{scope}_custom_object{suffix}")
        method("joulery.dev", "v1alpha1", *place, kind.plural, *rest, **arguments, _request_timeout=30)


@pytest.fixture(scope="session")
def served(cluster: Cluster) -> Cluster:
    """The cluster once it serves our CRDs."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(REPOSITORY / "crds"))
    names = [f"crd/{definition(kind)['metadata']['name']}" for kind in KINDS]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    # The session's cluster has seen other tests.
    cluster.kubectl("delete", "--all", "energypolicies,energyprofiles,gpunodes.joulery.dev")
    return cluster


@pytest.fixture(scope="session")
def judge(served: Cluster) -> Iterator[Judge]:
    with config.new_client_from_config(config_file=str(served.kubeconfig)) as connection:
        yield Judge(client.CustomObjectsApi(connection))


@pytest.fixture(scope="module")
def installed(served: Cluster) -> Cluster:
    """Rights and policies; the Deployment and the DaemonSet are only asked about, so that no pod starts."""
    served.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(_MANIFESTS / "namespace.yaml"))
    for name in (
        "controller-rbac.yaml",
        "user-rbac.yaml",
        "pod-marks-policy.yaml",
        "agent/rbac.yaml",
        "agent/own-node-policy.yaml",
    ):
        served.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(_MANIFESTS / name))
    return served
