"""The agent's few calls to the API server, as plain JSON on the official asynchronous client.

Every call has a timeout: the client has none, and a frozen API server would hold a call for minutes.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import load_incluster_config, load_kube_config
from kubernetes.aio.config.config_exception import ConfigException

from joulery import __version__
from joulery.api.labels import AGENT_FIELD_MANAGER
from joulery.errors import ClusterError, ConfigError, ConflictError, ForbiddenError, UnavailableError

# Apply patches are YAML by name; JSON is YAML.
_APPLY = "application/apply-patch+yaml"
_CALL_LIMIT_S = 10.0
_CONNECT_LIMIT_S = 5.0
# The server ends each watch, so that a dead stream is noticed and the state listed anew.
_WATCH_S = 240
_WATCH_SILENCE_S = 300.0
# The client lets errors of three libraries through; ValueError is an answer cut short within its JSON.
_TRANSPORT_ERRORS = (aiohttp.ClientError, TimeoutError, OSError, ApiException, ValueError)


class GoneError(ClusterError):
    """What was asked for is not there: an object, a kind, or a version to watch from."""


async def connect(kubeconfig: Path | None) -> AgentCluster:
    """Connect with a kubeconfig or as a pod; plain `KUBECONFIG` is never read. Raises ConfigError."""
    configuration = Configuration()
    try:
        if kubeconfig is None:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
            )
    except (ConfigException, OSError) as error:
        where = kubeconfig or "the pod's service account"
        raise ConfigError(f"no access to the cluster through {where}: {error}") from error
    return AgentCluster(ApiClient(configuration=configuration))


class AgentCluster:
    """Lists, watches and applies by path."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def list(self, path: str, field_selector: str | None = None) -> dict[str, Any]:
        """LIST from the watch cache. Raises ClusterError."""
        query = {"resourceVersion": "0"} | ({"fieldSelector": field_selector} if field_selector else {})
        return await self._json("GET", path, f"listing {path}", query)

    async def create(self, path: str, manifest: Mapping[str, Any]) -> None:
        """POST an object. Raises ClusterError, ConflictError where it exists."""
        await self._json("POST", path, f"creating in {path}", {"fieldManager": AGENT_FIELD_MANAGER}, manifest)

    async def apply(self, path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply as the agent's field manager. Raises ClusterError."""
        query = {"fieldManager": AGENT_FIELD_MANAGER, "force": "true"}
        return await self._json("PATCH", path, f"applying {path}", query, manifest)

    async def watch(
        self, path: str, resource_version: str, field_selector: str | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Events from a version on, until the server ends the stream. Raises ClusterError."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(_WATCH_S),
        } | ({"fieldSelector": field_selector} if field_selector else {})
        limit = aiohttp.ClientTimeout(total=None, connect=_CONNECT_LIMIT_S, sock_read=_WATCH_SILENCE_S)
        try:
            async with await self._send("GET", path, query, None, limit) as response:
                await _raise_for_status(response, f"watching {path}")
                async for line in response.content:
                    yield json.loads(line)
        except _TRANSPORT_ERRORS as error:
            raise UnavailableError(f"watching {path}: {type(error).__name__}: {error}") from error

    async def _json(
        self, method: str, path: str, operation: str, query: Mapping[str, str], body: object = None
    ) -> dict[str, Any]:
        limit = aiohttp.ClientTimeout(total=_CALL_LIMIT_S, connect=_CONNECT_LIMIT_S)
        try:
            async with await self._send(method, path, query, body, limit) as response:
                await _raise_for_status(response, operation)
                answer: dict[str, Any] = json.loads(await response.read())
                return answer
        except _TRANSPORT_ERRORS as error:
            raise UnavailableError(f"{operation}: {type(error).__name__}: {error}") from error

    async def _send(
        self, method: str, path: str, query: Mapping[str, str], body: object, limit: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        _, url, headers, _, _ = await self._api.param_serialize(
            method, path, query_params=list(query.items()), auth_settings=["BearerToken"]
        )
        headers |= {
            "Accept": "application/json",
            "Content-Type": _APPLY if method == "PATCH" else "application/json",
            "User-Agent": f"joulery-agent/{__version__}",
        }
        answer = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
            method, url, headers=headers, body=body, _request_timeout=limit
        )
        response: aiohttp.ClientResponse = answer.response
        return response


async def _raise_for_status(response: aiohttp.ClientResponse, operation: str) -> None:
    if response.status < 300:
        return
    text = f"{operation}: {response.status} {_message(await response.read())}"
    match response.status:
        case 401 | 403:
            raise ForbiddenError(f"{text}; apply the agent's ClusterRole from manifests/")
        case 404 | 410:
            raise GoneError(text)
        case 409:
            raise ConflictError(text)
        case 429 | 500 | 502 | 503 | 504:
            raise UnavailableError(text)
        case _:
            raise ClusterError(text)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:300]
