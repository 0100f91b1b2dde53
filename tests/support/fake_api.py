"""An API server of canned answers on loopback, for what our client sends and makes of answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from kubernetes.aio.client import ApiClient, Configuration

from joulery.adapters.kube_client import KubeClient

APPS = {
    "resources": [
        {"name": "deployments", "kind": "Deployment"},
        {"name": "deployments/scale", "kind": "Scale"},
    ]
}


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class FakeApi:
    """Answers by (method, path), 404 otherwise; a list is used up in turn, a function is given the body."""

    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    client: KubeClient | None = None

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        body = json.loads(text) if text else None
        self.seen.append(Seen(request.method, request.path, dict(request.query), dict(request.headers), body))
        answer = self.answers.get((request.method, request.path), (404, {"message": "not found"}))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer(body)
        status, payload = answer
        return web.json_response(payload, status=status)

    def of(self, method: str, path: str) -> list[Seen]:
        return [s for s in self.seen if (s.method, s.path) == (method, path)]


@pytest_asyncio.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeApi]:
    monkeypatch.setattr("joulery.adapters.kube_client._FIRST_DELAY_S", 0.0)
    monkeypatch.setattr("joulery.adapters.kube_errors._retry_after_s", lambda _: 0.0)
    fake = FakeApi({("GET", "/apis/apps/v1"): (200, APPS)})
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", fake.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    fake.client = KubeClient(ApiClient(Configuration(host=f"http://127.0.0.1:{port}")))
    yield fake
    await fake.client.close()
    await runner.cleanup()


def client(api: FakeApi) -> KubeClient:
    assert api.client is not None
    return api.client
