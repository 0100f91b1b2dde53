"""A data centre whose processes of ours speak through lines that a fault may spoil."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import uuid
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fault_line import FaultLine
from joulery.demo import datacentre
from joulery.demo.datacentre import DataCentre
from joulery.emulator import controlplane
from joulery.errors import ClusterError
from live_centre import PATIENCE

_PATHS = {
    "pods": "/api/v1",
    "nodes": "/api/v1",
    "deployments": "/apis/apps/v1",
    "inferencepools.joulery.dev": "/apis/joulery.dev/v1alpha1",
    "gpunodes.joulery.dev": "/apis/joulery.dev/v1alpha1",
}


class FaultyCentre(DataCentre):
    """Controller and agents speak through `api`, the controller asks Prometheus through `metrics`.

    `spoilt_environment` is added to the environment of the next controller that is started.
    """

    def __enter__(self) -> FaultyCentre:
        self.spoilt_environment: dict[str, str] = {}
        # The programs' own limits know nothing of a machine that others keep busy.
        with (
            patch.object(controlplane, "READY_TIMEOUT_S", controlplane.READY_TIMEOUT_S * PATIENCE),
            patch.object(datacentre, "_AGENT_PODS_S", 40.0 * PATIENCE),
        ):
            super().__enter__()
        self.lines = ExitStack()
        self.api = self.lines.enter_context(FaultLine(self.plane.server, self.plane.ca_pem))
        self.metrics = self.lines.enter_context(FaultLine(self.prometheus.url))
        return self

    def apply(self, manifests: Iterable[Any]) -> None:
        """As a user would; the server checks them, and kubectl need not read its whole API to do it too."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self.plane.kubectl("apply", "--server-side", "--validate=false", "-f", "-", stdin=json.dumps(listed))

    def get(self, *arguments: str) -> Any:
        """As `kubectl get -o json`, in one request where kind and namespace are plain."""
        kind, *rest = arguments
        flags = [a.partition("=")[2] for a in rest if a.startswith("-n=")]
        names = [a for a in rest if not a.startswith("-")]
        if kind not in _PATHS or len(rest) != len(flags) + len(names):
            return super().get(*arguments)
        parts = [_PATHS[kind], *(f"namespaces/{n}" for n in flags), kind.partition(".")[0], *names]
        return self._read("/".join(parts))

    def send(self, method: str, path: str, body: Any = None) -> int:
        """The status of a request to the API server as administrator."""
        return self._asked(method, path, body)[0]

    def _read(self, path: str) -> Any:
        try:
            status, answer = self._asked("GET", path)
        except OSError as error:
            raise ClusterError(f"reading {path}: {error}") from error
        if status != 200:
            raise ClusterError(f"reading {path}: {status}")
        return json.loads(answer)

    def _asked(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Over one connection that is kept, and made anew once where the server has closed it."""
        data = None if body is None else json.dumps(body)
        for is_last in (False, True):
            try:
                self._connection.request(method, path, data, {"Content-Type": "application/json"})
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if is_last:
                    raise OSError(str(error)) from error
        raise AssertionError("unreachable: the last try returns or raises")

    @cached_property
    def _connection(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cadata=self.plane.ca_pem.decode())
        context.load_cert_chain(self.plane.data / "admin.crt", self.plane.data / "admin.key")
        host = self.plane.server.removeprefix("https://")
        return http.client.HTTPSConnection(host, timeout=10, context=context)

    def stop(self) -> None:
        super().stop()
        if hasattr(self, "lines"):
            self.lines.close()

    def controller_environment(self) -> dict[str, str]:
        settings = self._through_line(super().controller_environment())
        return settings | {
            "JOULERY_PROMETHEUS_URL": self.metrics.url,
            "JOULERY_PROMETHEUS_TIMEOUT_SECONDS": "2",
            **self.spoilt_environment,
        }

    def agent_environment(self, node: str, pod: str) -> dict[str, str]:
        boot_id = self.boot_id_file(node)
        if not boot_id.exists():
            boot_id.write_text(str(uuid.uuid4()))
        settings = self._through_line(super().agent_environment(node, pod))
        return settings | {"JOULERY_BOOT_ID_FILE": str(boot_id)}

    def boot_id_file(self, node: str) -> Path:
        """What a node's agent takes for the kernel's word."""
        return self.paths.data / f"{node}.boot-id"

    def _through_line(self, settings: dict[str, str]) -> dict[str, str]:
        path = Path(settings["JOULERY_KUBECONFIG"])
        document = json.loads(path.read_text())
        trusted = base64.b64encode(self.api.ca_pem).decode()
        document["clusters"][0]["cluster"] = {
            "server": self.api.url,
            "certificate-authority-data": trusted,
        }
        through = path.with_suffix(".line.kubeconfig")
        through.write_text(json.dumps(document))
        return settings | {"JOULERY_KUBECONFIG": str(through)}
