"""A Prometheus of one process: the HTTP API with figures that a test sets.

The pages are SYNTHESISED from `joulery.domain.vllm_metrics` (names, labels, bucket edges); nothing here was
scraped from an engine.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs

from joulery.domain.vllm_metrics import VLLM, EngineMetrics, metrics_of

METRICS = metrics_of(VLLM, "0.11.0")
_MAX_MODEL_LENGTH = 131072


@dataclass
class Load:
    """Figures of one pool; latency is a share of requests at or below each of two edges."""

    labels: Mapping[str, str]
    requests_per_s: float = 4.0
    prompt_tokens: int = 1000
    generation_tokens: int = 200
    running: float = 20.0
    waiting: float = 0.0
    queue_growth: float = 0.0
    age_s: float = 1.0
    resets: float = 0.0
    ttft_s: float = 0.2
    tpot_s: float = 0.03
    pods: tuple[str, ...] = ("pod-0",)
    shares: tuple[float, ...] | None = None
    answers: int = 1000


@dataclass
class Trouble:
    """How the server misbehaves: a status for queries that contain a text, no JSON at all, or no answer."""

    status: int = 200
    containing: str = ""
    garbage: bool = False
    hangs_up: bool = False


@dataclass
class Asked:
    """What one request brought along."""

    promql: str
    headers: Mapping[str, str]
    at_s: float = field(default_factory=time.time)


class FakePrometheus:
    """Serves on loopback from entry to exit; `loads` and `trouble` may be changed meanwhile."""

    def __init__(self, loads: Sequence[Load] = ()) -> None:
        assert METRICS is not None
        self._metrics: EngineMetrics = METRICS
        self.loads = list(loads)
        self.trouble = Trouble()
        self.asked: list[Asked] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                query = parse_qs(self.path.partition("?")[2] or body)["query"][0]
                fake.asked.append(Asked(query, dict(self.headers)))
                if fake.trouble.hangs_up:
                    self.close_connection = True
                    return
                status, payload = fake.answer(query)
                self.send_response(status)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                return

        Handler.protocol_version = "HTTP/1.1"
        # As Prometheus does: what follows a first packet would wait 40 ms for a delayed acknowledgement.
        Handler.disable_nagle_algorithm = True
        Handler.wbufsize = -1
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, promql: str) -> tuple[int, bytes]:
        """Status and body of one instant query."""
        if self.trouble.status != 200 and self.trouble.containing in promql:
            return self.trouble.status, b'{"status":"error","error":"synthesised trouble"}'
        if self.trouble.garbage:
            return 200, b"<html>a login page</html>"
        result = [
            {"metric": labels, "value": [time.time(), str(value)]}
            for load in self.loads
            for labels, value in self._series(load, promql)
        ]
        body = {"status": "success", "data": {"resultType": "vector", "result": result}}
        return 200, json.dumps(body).encode()

    def _series(self, load: Load, promql: str) -> list[tuple[dict[str, str], float]]:
        if "_bucket" in promql:
            return self._buckets(load, promql)
        if "by (namespace, pod)" in promql:
            if f"{self._metrics.ttft}_count" in promql and "rate(" not in promql:
                namespace = load.labels["namespace"]
                return [({"namespace": namespace, "pod": pod}, float(load.answers)) for pod in load.pods]
            if "timestamp(" in promql:
                return [
                    ({"namespace": load.labels["namespace"], "pod": pod}, load.age_s) for pod in load.pods
                ]
            total = load.requests_per_s if self._metrics.ttft in promql else load.running
            shares = load.shares or [1.0 / max(1, len(load.pods))] * len(load.pods)
            namespace = load.labels["namespace"]
            return [
                ({"namespace": namespace, "pod": pod}, total * share)
                for pod, share in zip(load.pods, shares, strict=True)
            ]
        return [(dict(load.labels), self._figure(load, promql))]

    def _figure(self, load: Load, promql: str) -> float:
        m = self._metrics
        figures = {
            "timestamp(": load.age_s,
            "resets(": load.resets,
            "deriv(": load.queue_growth,
            f"{m.input_lengths}_sum": load.requests_per_s * load.prompt_tokens,
            f"{m.output_lengths}_sum": load.requests_per_s * load.generation_tokens,
            m.ttft: load.requests_per_s,
            m.prompt_tokens: load.requests_per_s * load.prompt_tokens,
            m.generation_tokens: load.requests_per_s * load.generation_tokens,
            m.running: load.running,
            m.waiting: load.waiting,
        }
        return next(value for part, value in figures.items() if part in promql)

    def _buckets(self, load: Load, promql: str) -> list[tuple[dict[str, str], float]]:
        m = self._metrics
        typical = {
            m.input_lengths: float(load.prompt_tokens),
            m.output_lengths: float(load.generation_tokens),
            m.ttft: load.ttft_s,
            m.itl: load.tpot_s,
            m.tpot or "": load.tpot_s,
        }
        metric = next(name for name in typical if name and f"{name}_bucket" in promql)
        total = load.requests_per_s * (600.0 if "increase(" in promql else 1.0)
        edges = (*m.histograms(_MAX_MODEL_LENGTH)[metric], math.inf)
        counts = [(e, total if e >= typical[metric] else 0.0) for e in edges]
        return [({**load.labels, "le": "+Inf" if math.isinf(e) else str(e)}, n) for e, n in counts]
