"""The API server as the emulated kubelets see it: plain JSON in and out, a deadline on every call.

Pods and nodes stay dictionaries: the typed models of the client cost milliseconds per pod, and the tick that
advances the engines shares this process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException
from kubernetes.aio.config import ConfigException, new_client_from_config

from joulery.errors import ClusterError, ConfigError, ConflictError, ForbiddenError, UnavailableError

Json = dict[str, Any]
_T = TypeVar("_T")

MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
PLAIN_JSON = "application/json"

# The client has no default deadline: a frozen API server would hold a call for five minutes.
REQUEST_TIMEOUT_S = 10.0
# A watch ends at the server after this long and is listed anew; its own deadline catches a server that froze.
WATCH_S = 60
_WATCH_DEADLINE_S = WATCH_S + 15.0


class NotFoundError(ClusterError):
    """The object, or the history a watch asked for, is gone (404, 410)."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, Any] | None = None
    content_type: str = PLAIN_JSON
    timeout_s: float = REQUEST_TIMEOUT_S


class ApiServer:
    """One API server through one client. Close it, or use it as an asynchronous context."""

    def __init__(self, client: ApiClient) -> None:
        # Typed, but its methods are not.
        self._client: Any = client

    @classmethod
    async def connect(cls, kubeconfig: Path) -> Self:
        """A client from that file alone, never from the environment.

        Raises:
            ConfigError: the file is missing or no kubeconfig.
        """
        connect: Any = new_client_from_config
        try:
            return cls(await connect(config_file=str(kubeconfig), persist_config=False))
        except (ConfigException, OSError) as error:
            raise ConfigError(f"kubeconfig {kubeconfig}: {error}") from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def get(self, path: str, **query: str) -> Json:
        """GET an object or a list."""
        return await self._call("GET", path, query=query)

    async def create(self, path: str, body: Mapping[str, Any]) -> Json:
        """POST an object to its collection. Raises ConflictError where it exists."""
        return await self._call("POST", path, body=body)

    async def patch(self, path: str, body: Mapping[str, Any], content_type: str = MERGE_PATCH) -> Json:
        """PATCH an object or its status."""
        return await self._call("PATCH", path, body=body, content_type=content_type)

    async def delete(self, path: str, *, uid: str | None = None, grace_s: int | None = None) -> None:
        """DELETE an object, of that uid only; one that is gone already is no error."""
        options: Json = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        try:
            await self._call("DELETE", path, body=options)
        except NotFoundError:
            return

    async def watch(self, path: str, resource_version: str, **query: str) -> AsyncIterator[tuple[str, Json]]:
        """Events (type, object) after a list's version until the server ends the watch; then list again.

        Raises:
            NotFoundError: the version is too old.
            UnavailableError: the connection broke, or stood still past its deadline.
        """
        wanted = {
            "watch": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(WATCH_S),
            "allowWatchBookmarks": "true",
            **query,
        }
        response = await self._send(_Request("GET", path, wanted, timeout_s=_WATCH_DEADLINE_S))
        try:
            await _raise_for_status(response, "watch", path)
            async for line in response.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    problem = event["object"]
                    raise _error(int(problem.get("code", 500)), "watch", path, str(problem.get("message")))
                if event["type"] != "BOOKMARK":
                    yield event["type"], event["object"]
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise UnavailableError(f"watch {path}: {error or type(error).__name__}") from error
        finally:
            response.close()

    async def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = PLAIN_JSON,
    ) -> Json:
        response = await self._send(_Request(method, path, query or {}, body, content_type))
        try:
            await _raise_for_status(response, method, path)
            answer: Json = json.loads(await response.read())
        except (TimeoutError, aiohttp.ClientError) as error:
            raise UnavailableError(f"{method} {path}: {error or type(error).__name__}") from error
        finally:
            response.release()
        return answer

    async def _send(self, request: _Request) -> aiohttp.ClientResponse:
        call = await self._client.param_serialize(
            method=request.method,
            resource_path=request.path,
            query_params=list(request.query.items()),
            header_params={"Accept": "application/json", "Content-Type": request.content_type},
            body=None if request.body is None else dict(request.body),
            auth_settings=["BearerToken"],
        )
        try:
            answer = await self._client.call_api(*call, _request_timeout=request.timeout_s)
        except (TimeoutError, aiohttp.ClientError, ApiException) as error:
            raise UnavailableError(
                f"{request.method} {request.path}: {error or type(error).__name__}"
            ) from error
        response: aiohttp.ClientResponse = answer.response
        return response


async def _raise_for_status(response: aiohttp.ClientResponse, method: str, path: str) -> None:
    if response.status < 400:
        return
    text = (await response.text())[:500]
    raise _error(response.status, method, path, text)


def _error(status: int, method: str, path: str, text: str) -> ClusterError:
    kinds: dict[int, type[ClusterError]] = {
        403: ForbiddenError,
        404: NotFoundError,
        409: ConflictError,
        410: NotFoundError,
        429: UnavailableError,
    }
    kind = kinds.get(status, UnavailableError if status >= 500 else ClusterError)
    return kind(f"{method} {path}: {status} {text}")


async def until_available(call: Callable[[], Awaitable[_T]], *, deadline_s: float | None = None) -> _T:
    """Await `call()` again, with doubling pauses of at most 3 s, until the API server is available.

    Raises:
        UnavailableError: it still was not after `deadline_s` seconds of pauses (None: wait for ever).
    """
    pause_s = 0.1
    waited_s = 0.0
    while True:
        try:
            return await call()
        except UnavailableError:
            if deadline_s is not None and waited_s >= deadline_s:
                raise
        await asyncio.sleep(pause_s)
        waited_s += pause_s
        pause_s = min(2.0 * pause_s, 3.0)
