"""What the demo and the tests need of any cluster, embedded or not: kubectl and service account tokens."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Protocol

from joulery.emulator.nodes import EMULATED_LABEL
from joulery.emulator.pki import kubeconfig, write_secret
from joulery.errors import ClusterError, ConfigError

KUBECTL_TIMEOUT_S = 120.0
# `kubectl wait` gives up at once on an object so new that it has no status.
_NO_STATUS_YET = ".status.conditions accessor error"
_MOST_TRIES, _TRY_AGAIN_S = 100, 0.1


class Cluster(Protocol):
    """A control plane one can administer."""

    @property
    def kubeconfig(self) -> Path:
        """File with an administrator's credentials."""

    @property
    def data(self) -> Path:
        """Folder for files that belong to this cluster."""

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator."""


class ExternalCluster:
    """A cluster that somebody else runs, reached by a kubeconfig."""

    def __init__(self, config: Path, program: Path, data: Path) -> None:
        self.kubeconfig = config
        self.data = data
        self._program = program

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl with the kubeconfig's credentials."""
        return kubectl(self._program, self.kubeconfig, *arguments, stdin=stdin, check=check)


def kubectl(
    program: Path, config: Path, *arguments: str, stdin: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run kubectl against one kubeconfig and no other.

    Raises:
        ClusterError: it failed and `check` is set; the message holds what it printed.
    """
    command = (str(program), f"--kubeconfig={config}", *arguments)
    done = _run(command, stdin)
    tries = 1
    while _NO_STATUS_YET in done.stderr and tries < _MOST_TRIES:
        time.sleep(_TRY_AGAIN_S)
        done = _run(command, stdin)
        tries += 1
    if check and done.returncode != 0:
        raise ClusterError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def _run(command: tuple[str, ...], stdin: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=KUBECTL_TIMEOUT_S,
        check=False,
    )


def service_account_kubeconfig(
    cluster: Cluster, namespace: str, name: str, *, bound_pod: str | None = None, duration: str = "24h"
) -> Path:
    """Write a kubeconfig that speaks as a ServiceAccount, by a token of the TokenRequest API.

    Args:
        cluster: where the account lives.
        namespace: of the account, and of the pod.
        name: of the account.
        bound_pod: a pod of that account; the token then carries the pod's node and dies with the pod.
        duration: validity of the token.
    """
    request = ["create", "token", name, f"--namespace={namespace}", f"--duration={duration}"]
    if bound_pod is not None:
        uid = cluster.kubectl(
            "get", "pod", bound_pod, f"-n={namespace}", "-o=jsonpath={.metadata.uid}"
        ).stdout
        request += [
            "--bound-object-kind=Pod",
            f"--bound-object-name={bound_pod}",
            f"--bound-object-uid={uid}",
        ]
    token = cluster.kubectl(*request).stdout.strip()
    view = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--output=json").stdout)
    admin = view["clusters"][0]["cluster"]
    ca_pem = base64.b64decode(admin["certificate-authority-data"])
    text = kubeconfig(admin["server"], ca_pem, token=token, namespace=namespace)
    folder = cluster.data / "service-accounts"
    folder.mkdir(parents=True, exist_ok=True)
    return write_secret(folder / f"{namespace}.{bound_pod or name}.kubeconfig", text)


def external_cluster(program: Path, data: Path) -> ExternalCluster | None:
    """The cluster JOULERY_KUBECONFIG names, or None when it is unset. Plain KUBECONFIG is never looked at.

    Raises:
        ConfigError: the file is missing, or the cluster holds nodes that are not emulated and
            JOULERY_ALLOW_FOREIGN_NODES is not 1.
    """
    setting = os.environ.get("JOULERY_KUBECONFIG", "")
    if not setting:
        return None
    config = Path(setting).expanduser()
    if not config.is_file():
        raise ConfigError(f"JOULERY_KUBECONFIG={setting}: no such file")
    cluster = ExternalCluster(config, program, data)
    if os.environ.get("JOULERY_ALLOW_FOREIGN_NODES") != "1":
        _refuse_foreign_nodes(cluster)
    return cluster


def _refuse_foreign_nodes(cluster: Cluster) -> None:
    selector = f"--selector=!{EMULATED_LABEL}"
    names = cluster.kubectl("get", "nodes", selector, "--output=name").stdout.split()
    if names:
        raise ConfigError(
            f"the cluster of {cluster.kubeconfig} holds nodes that are not emulated "
            f"({', '.join(names[:5])}): emulated pods could land there and real ones here; "
            "set JOULERY_ALLOW_FOREIGN_NODES=1 if you mean it"
        )
