"""A small JSON client on the official asynchronous Kubernetes client.

Plain dictionaries in and out: models are validated once, in `joulery.api`. Every call has a timeout (the
client has none of its own, and a frozen API server would hold a call for minutes) and a phrase that names it
in errors.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config import load_incluster_config, load_kube_config

from joulery import __version__
from joulery.adapters.cluster_clock import ClusterClock
from joulery.adapters.kube_errors import CLIENT_ERRORS, ThrottledError, translate
from joulery.errors import UnavailableError

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

USER_AGENT = f"joulery/{__version__}"

# Three tries cover the seconds in which custom resources answer 429 after an API server restart; a longer
# outage is the next cycle's affair.
_TRIES = 3
_FIRST_DELAY_S = 0.2
# A watch is closed by the server after this long, so that a dead stream is noticed.
_WATCH_TIMEOUT_S = 50
_WATCH_SILENCE_S = 70.0


async def connect(kubeconfig: Path | None) -> KubeClient:
    """A client for the cluster of `kubeconfig`, or of the pod this runs in; never for plain `KUBECONFIG`."""
    configuration = Configuration()
    if kubeconfig is not None:
        await load_kube_config(  # type: ignore[no-untyped-call]
            config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
        )
    else:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    return KubeClient(ApiClient(configuration=configuration))


def path_of(
    group: str,
    version: str,
    plural: str,
    *,
    namespace: str | None = None,
    name: str | None = None,
    subresource: str | None = None,
) -> str:
    """The URL path of a kind or an object; the core group is the empty string."""
    parts = ["apis", group, version] if group else ["api", version]
    if namespace is not None:
        parts += ["namespaces", namespace]
    parts.append(plural)
    parts += [p for p in (name, subresource) if p is not None]
    return "/" + "/".join(parts)


@dataclass(frozen=True, slots=True)
class Connection:
    """Where and as whom a client speaks, for those who bring a client of their own."""

    server: str
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    verify: bool


class KubeClient:
    """Reads and writes JSON objects by path."""

    def __init__(self, api: ApiClient, *, timeout_s: float = 10.0) -> None:
        self._api = api
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, connect=5.0)
        self.clock = ClusterClock()

    @property
    def connection(self) -> Connection:
        """How this client is connected; tokens are asked for with `bearer_token`, since they rotate."""
        known = self._api.configuration
        return Connection(known.host, known.ssl_ca_cert, known.cert_file, known.key_file, known.verify_ssl)

    async def bearer_token(self) -> str | None:
        """The token of now, None with client certificates."""
        setting = (await self._api.configuration.auth_settings()).get("BearerToken")
        return str(setting["value"]).removeprefix("Bearer ") if setting else None

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, path: str, *, operation: str | None = None, **query: str) -> dict[str, Any]:
        """GET one object."""
        return await self._retrying("GET", path, operation or f"reading {path}", query=query)

    async def list_all(self, path: str, **query: str) -> dict[str, Any]:
        """LIST from the API server's watch cache (`resourceVersion=0`): no quorum read, no pages."""
        query = {"resourceVersion": "0", **query}
        return await self._retrying("GET", path, f"listing {path}", query=query)

    async def create(self, path: str, body: Mapping[str, Any], *, field_manager: str) -> dict[str, Any]:
        """POST one object; not repeated, since a lost answer may hide a success."""
        query = {"fieldManager": field_manager}
        return await self._call("POST", path, f"creating in {path}", query=query, body=body)

    async def patch(
        self,
        path: str,
        body: Mapping[str, Any] | list[Any],
        *,
        content_type: str,
        field_manager: str,
        operation: str | None = None,
        force: bool = False,
        user_agent: str = USER_AGENT,
    ) -> dict[str, Any]:
        """PATCH one object. Repeated on 429 and 5xx: all our patches are idempotent or carry a test."""
        query = {"fieldManager": field_manager} | ({"force": "true"} if force else {})
        return await self._retrying(
            "PATCH",
            path,
            operation or f"patching {path}",
            query=query,
            body=body,
            headers={"Content-Type": content_type, "User-Agent": user_agent},
        )

    async def watch(self, path: str, resource_version: str) -> AsyncGenerator[dict[str, Any]]:
        """Watch events from a version on, bookmarks included; ends when the stream ends."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(_WATCH_TIMEOUT_S),
        }
        timeout = aiohttp.ClientTimeout(total=None, connect=5.0, sock_read=_WATCH_SILENCE_S)
        try:
            response = await self._send("GET", path, query=query, timeout=timeout)
            async with response:
                await _raise_for_status(response)
                async for line in response.content:
                    yield json.loads(line)
        except CLIENT_ERRORS as error:
            raise translate(error, f"watching {path}") from error

    async def _retrying(self, method: str, path: str, operation: str, **request: Any) -> dict[str, Any]:
        delay_s = _FIRST_DELAY_S
        for left in reversed(range(_TRIES)):
            try:
                return await self._call(method, path, operation, **request)
            except UnavailableError as error:
                if not left:
                    raise
                await asyncio.sleep(error.retry_after_s if isinstance(error, ThrottledError) else delay_s)
                delay_s *= 2
        raise AssertionError("unreachable: the last try returns or raises")

    async def _call(self, method: str, path: str, operation: str, **request: Any) -> dict[str, Any]:
        sent_s = self.clock.unix_s()
        try:
            async with await self._send(method, path, timeout=self._timeout, **request) as response:
                self.clock.heard(response.headers.get("Date"), sent_s)
                await _raise_for_status(response)
                body: dict[str, Any] = json.loads(await response.read())
                return body
        except CLIENT_ERRORS as error:
            raise translate(error, operation) from error

    async def _send(
        self,
        method: str,
        path: str,
        *,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - handed to aiohttp, which enforces it
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> aiohttp.ClientResponse:
        wanted = {"Accept": JSON, "User-Agent": USER_AGENT, "Content-Type": JSON} | dict(headers or {})
        _, url, sent_headers, _, _ = await self._api.param_serialize(
            method, path, query_params=list((query or {}).items()), auth_settings=["BearerToken"]
        )
        answer = await self._api.rest_client.request(  # type: ignore[no-untyped-call]
            method, url, headers={**sent_headers, **wanted}, body=body, _request_timeout=timeout
        )
        response: aiohttp.ClientResponse = answer.response
        return response


async def _raise_for_status(response: aiohttp.ClientResponse) -> None:
    if response.status < 300:
        return
    error = ApiException(status=response.status, reason=response.reason)
    error.body = (await response.read()).decode(errors="replace")
    error.headers = response.headers
    raise error
