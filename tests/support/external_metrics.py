"""An adapter of external metrics in one process: it serves an HPA what the controller's /metrics says.

The API server reaches it on loopback through a Service of type ExternalName, since endpoints refuse loopback.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from prometheus_client.parser import text_string_to_metric_families

from joulery.emulator.pki import Authority

_GROUP_VERSION = "external.metrics.k8s.io/v1beta1"
_API_SERVICE = "v1beta1.external.metrics.k8s.io"
_SERVICE = "external-metrics"

Manifest = dict[str, Any]


class ExternalMetrics:
    """Serves from entry to exit; `page` gives the text of a metrics page."""

    def __init__(self, page: Callable[[], str], folder: Path) -> None:
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    status, body = 200, json.dumps(answer(self.path)).encode()
                except OSError as error:  # the controller is down: its HPA keeps what is there
                    status, body = 503, str(error).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                return

        Handler.protocol_version = "HTTP/1.1"
        self._page = page
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        pair = Authority("external-metrics").server("localhost", dns=("localhost",))
        certificate, key = folder / "metrics.crt", folder / "metrics.key"
        certificate.write_bytes(pair.certificate_pem)
        key.write_bytes(pair.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def manifests(self, namespace: str) -> tuple[Manifest, Manifest]:
        """The Service and the APIService that lead here."""
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": _SERVICE, "namespace": namespace},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        api_service = {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": _API_SERVICE},
            "spec": {
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "insecureSkipTLSVerify": True,
                "service": {"name": _SERVICE, "namespace": namespace, "port": self._server.server_port},
            },
        }
        return service, api_service

    def _answer(self, path: str) -> Manifest:
        """The list of resources, or `/namespaces/NS/METRIC?labelSelector=a=b,c=d` summed over its series."""
        parts = urlsplit(path)
        steps = parts.path.strip("/").split("/")
        if "namespaces" not in steps:
            return {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": _GROUP_VERSION,
                "resources": [],
            }
        namespace, metric = steps[-2:]
        selector = parse_qs(parts.query).get("labelSelector", [""])[0]
        wanted = {"namespace": namespace} | dict(pair.split("=", 1) for pair in selector.split(",") if pair)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        items = [
            {"metricName": metric, "metricLabels": labels, "timestamp": now, "value": str(int(value))}
            for labels, value in self._series(metric)
            if wanted.items() <= labels.items()
        ]
        return {
            "kind": "ExternalMetricValueList",
            "apiVersion": _GROUP_VERSION,
            "metadata": {},
            "items": items,
        }

    def _series(self, metric: str) -> list[tuple[dict[str, str], float]]:
        families = text_string_to_metric_families(self._page())
        return [(dict(s.labels), s.value) for f in families for s in f.samples if s.name == metric]


def autoscaler(namespace: str, pool: str, variant: str, target: str, *, most: int = 16) -> Manifest:
    """An HPA that sets what Joulery asks for, one to one: by default it would ignore steps below a tenth."""
    at_once = {"tolerance": "0", "stabilizationWindowSeconds": 0}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": target, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": 1,
            "maxReplicas": most,
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "metric": {
                            "name": "joulery_desired_replicas",
                            "selector": {"matchLabels": {"pool": pool, "variant": variant}},
                        },
                        "target": {"type": "AverageValue", "averageValue": "1"},
                    },
                }
            ],
            "behavior": {"scaleUp": dict(at_once), "scaleDown": dict(at_once)},
        },
    }
