"""A real Kubernetes control plane on loopback: etcd, API server, controller manager and scheduler.

From nothing to all four ready takes about 5 s on two cores, and 0.5 GB. Everything lives in one data folder:
certificates, logs, kubeconfig, audit log. There is no kubelet: the emulator brings nodes and pods to life.
"""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from joulery.emulator.cluster_access import kubectl
from joulery.emulator.controlplane_flags import COMPONENTS, Endpoints, audit_policy, command_lines
from joulery.emulator.pki import Authority, kubeconfig, signing_pair, write_secret
from joulery.emulator.processes import Child, ProcessGroup, free_port
from joulery.errors import ConfigError

READY_TIMEOUT_S = 60.0
STOP_PATIENCE_S = 5.0
PROGRAMS = (*COMPONENTS, "kubectl", "prometheus")


def assets_from_environment() -> Path:
    """The folder with the control plane's programs, as `hack/tools.py assets` prints it.

    Raises:
        ConfigError: KUBEBUILDER_ASSETS is unset or a program is missing there.
    """
    folder = os.environ.get("KUBEBUILDER_ASSETS", "")
    missing = [name for name in PROGRAMS if not os.access(Path(folder) / name, os.X_OK)]
    if not folder or missing:
        cure = 'set it by KUBEBUILDER_ASSETS="$(python3 hack/tools.py assets)" or use the Makefile'
        raise ConfigError(f"KUBEBUILDER_ASSETS={folder!r} lacks {', '.join(missing)}: {cure}")
    return Path(folder)


class ControlPlane:
    """Starts on entry (`with ControlPlane(...) as plane`), stops on exit; blocking: not for an event loop."""

    def __init__(self, assets: Path, data: Path, *, audit: bool = True) -> None:
        """Prepare only; nothing is written or started.

        Args:
            assets: folder with etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kubectl.
            data: folder of this control plane alone; its owner removes it.
            audit: whether the API server writes `audit_log`.
        """
        self.assets = assets
        self.data = data.resolve()
        self.audit_log = self.data / "audit.log"
        self.kubeconfig = self.data / "admin.kubeconfig"
        self.ca_pem = b""
        self._audit = audit
        self._endpoints = Endpoints(*(free_port() for _ in COMPONENTS))
        self._group: ProcessGroup | None = None

    @property
    def server(self) -> str:
        """Address of the API server."""
        return f"https://127.0.0.1:{self._endpoints.apiserver}"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by component, of what runs now."""
        children = self._group.children.values() if self._group else ()
        return {child.name: child.pid for child in children if child.exit_code is None}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Bring all components up until pods can be created; on failure or Ctrl-C nothing is left running.

        Raises:
            ProcessError: a component failed; the message holds the end of its log.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        self._write_credentials()
        self._group = ProcessGroup(self.data / "logs")
        try:
            for component in ("etcd", "kube-apiserver"):
                self._launch(component)
                self._wait_ready(component)
            # These two take their time to come up: side by side, not one after the other.
            self._launch("kube-controller-manager")
            self._launch("kube-scheduler")
            self._wait_ready("kube-controller-manager")
            self._wait_ready("kube-scheduler")
        except BaseException:
            self._group.kill()
            raise

    def stop(self) -> None:
        """End every component; a second call does nothing."""
        group, self._group = self._group, None
        if group is not None:
            group.stop(STOP_PATIENCE_S)

    def kill(self, component: str) -> None:
        """SIGKILL one component, as a crash would; `restart` brings it back."""
        self._child(component).kill()

    def suspend(self, component: str) -> None:
        """SIGSTOP one component: it keeps its connections and answers nothing, as a frozen machine would."""
        self._child(component).signal(signal.SIGSTOP)

    def resume(self, component: str) -> None:
        """SIGCONT after `suspend`."""
        self._child(component).signal(signal.SIGCONT)

    def restart(self, component: str) -> None:
        """End one component if it still runs, start it again on the same port and data, wait until ready."""
        self._child(component).end(STOP_PATIENCE_S)
        self._launch(component)
        self._wait_ready(component)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator; raises ClusterError with its output if it fails and `check` is on."""
        return kubectl(self.assets / "kubectl", self.kubeconfig, *arguments, stdin=stdin, check=check)

    def audit_events(self) -> list[dict[str, object]]:
        """The audit log so far: writes to /scale with bodies, service accounts' other requests without."""
        if not self.audit_log.exists():
            return []
        whole = self.audit_log.read_bytes().rpartition(b"\n")[0]  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    # ------------------------------------------------------------------ inside

    def _child(self, component: str) -> Child:
        if self._group is None or component not in self._group.children:
            known = ", ".join(COMPONENTS)
            raise ConfigError(f"{component!r} was not started here; components are {known}")
        return self._group.children[component]

    def _launch(self, component: str) -> None:
        assert self._group is not None
        lines = command_lines(self.data, self._endpoints, audit_log=self.audit_log if self._audit else None)
        self._group.start(component, [self.assets / component, *lines[component]])

    def _write_credentials(self) -> None:
        authority = Authority()
        self.ca_pem = authority.certificate_pem
        private, public = signing_pair()
        names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        serving = authority.server("kube-apiserver", dns=names, addresses=("127.0.0.1", "10.96.0.1"))
        files = {
            "ca.crt": self.ca_pem,
            "sa.key": private,
            "sa.pub": public,
            "audit-policy.json": audit_policy(),
        }
        files |= {"apiserver.crt": serving.certificate_pem, "apiserver.key": serving.key_pem}
        users = {
            "admin": authority.client("joulery-admin", "system:masters"),
            "kube-controller-manager": authority.client("system:kube-controller-manager"),
            "kube-scheduler": authority.client("system:kube-scheduler"),
        }
        for name, pair in users.items():
            files[f"{name}.kubeconfig"] = kubeconfig(self.server, self.ca_pem, certificate=pair).encode()
        files |= {"admin.crt": users["admin"].certificate_pem, "admin.key": users["admin"].key_pem}
        for name, content in files.items():
            write_secret(self.data / name, content)

    def _wait_ready(self, component: str) -> None:
        urls = {
            "etcd": (f"http://127.0.0.1:{self._endpoints.etcd}/health",),
            "kube-apiserver": (f"{self.server}/readyz",),
            # Pods are refused until the controller manager has made the namespace's service account.
            "kube-controller-manager": (f"{self.server}/api/v1/namespaces/default/serviceaccounts/default",),
            "kube-scheduler": (f"https://127.0.0.1:{self._endpoints.scheduler}/readyz",),
        }[component]
        self._child(component).wait_until(lambda: all(map(self._answers, urls)), READY_TIMEOUT_S)

    def _answers(self, url: str) -> bool:
        context = ssl.create_default_context(cadata=self.ca_pem.decode())
        context.load_cert_chain(self.data / "admin.crt", self.data / "admin.key")
        if not url.startswith(self.server):
            # The scheduler serves with a certificate it made itself; nothing secret is sent there.
            context = ssl._create_unverified_context()
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(url, timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False
