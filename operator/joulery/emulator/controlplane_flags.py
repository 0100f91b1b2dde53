"""Command lines and audit policy of the embedded control plane, and why each flag is there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")

# Two thousand pods become Ready in 17 s with these, in 100 s with the default limits of the clients.
_FAST_CLIENT = ("--kube-api-qps=500", "--kube-api-burst=1000")
# Groups whose /scale a pool's variant may have; an audit policy knows no wildcard for groups.
_SCALABLE_GROUPS = ("", "apps", "leaderworkerset.x-k8s.io", "joulery.dev")


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Loopback ports, in the order of COMPONENTS."""

    etcd: int
    apiserver: int
    controller_manager: int
    scheduler: int


def command_lines(data: Path, ports: Endpoints, *, audit_log: Path | None) -> dict[str, list[str]]:
    """Arguments by component; files are those of the data folder."""
    return {
        "etcd": _etcd(data, ports),
        "kube-apiserver": _apiserver(data, ports, audit_log),
        "kube-controller-manager": [
            *_client(data, "kube-controller-manager", ports.controller_manager),
            f"--service-account-private-key-file={data}/sa.key",
            f"--root-ca-file={data}/ca.crt",
            "--use-service-account-credentials=true",
            # Autoscalers follow within a test's patience; the default is 15 s.
            "--horizontal-pod-autoscaler-sync-period=3s",
        ],
        "kube-scheduler": _client(data, "kube-scheduler", ports.scheduler),
    }


def _etcd(data: Path, ports: Endpoints) -> list[str]:
    client = f"http://127.0.0.1:{ports.etcd}"
    return [
        f"--data-dir={data}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        "--listen-peer-urls=http://127.0.0.1:0",
        # The data is thrown away: no need to survive a power cut.
        "--unsafe-no-fsync",
    ]


def _apiserver(data: Path, ports: Endpoints, audit_log: Path | None) -> list[str]:
    audit = [f"--audit-policy-file={data}/audit-policy.json", f"--audit-log-path={audit_log}"]
    return [
        f"--etcd-servers=http://127.0.0.1:{ports.etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={ports.apiserver}",
        f"--cert-dir={data}",
        f"--tls-cert-file={data}/apiserver.crt",
        f"--tls-private-key-file={data}/apiserver.key",
        f"--client-ca-file={data}/ca.crt",
        f"--service-account-key-file={data}/sa.pub",
        f"--service-account-signing-key-file={data}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=RBAC",
        "--allow-privileged=true",
        # A loopback address is refused as an endpoint of the kubernetes Service.
        "--endpoint-reconciler-type=none",
        *(audit if audit_log is not None else ()),
    ]


def _client(data: Path, name: str, port: int) -> list[str]:
    config = f"{data}/{name}.kubeconfig"
    return [
        f"--kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--leader-elect=false",
        *_FAST_CLIENT,
    ]


def audit_policy() -> bytes:
    """Writes to /scale with bodies, other requests of service accounts outside kube-system, nothing else.

    Watches are seen at ResponseStarted, so only RequestReceived is left out.
    """
    scale = [{"group": group, "resources": ["*/scale"]} for group in _SCALABLE_GROUPS]
    rules = [
        {"level": "RequestResponse", "verbs": ["patch", "update"], "resources": scale},
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ]
    document = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": rules,
    }
    return json.dumps(document, indent=1).encode()
