"""Translates the three error families of the asynchronous Kubernetes client into Joulery's own, once.

`kubernetes.aio` answers with `ApiException`, builtin `TimeoutError` or `aiohttp.ClientError`, depending on
how far a request came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp
from kubernetes.aio.client.exceptions import ApiException

from joulery.errors import ClusterError, ConflictError, ForbiddenError, UnavailableError

CLIENT_ERRORS = (ApiException, TimeoutError, aiohttp.ClientError, ConnectionError)


class NotFoundError(ClusterError):
    """The object, or the whole kind, is not there."""


class MissingKindError(ClusterError):
    """The API server does not serve a kind that Joulery needs."""


class RefusedError(ClusterError):
    """The API server refused what was sent: validation, admission or a failed test of a JSON patch."""


class ThrottledError(UnavailableError):
    """The API server asked to come back after `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def translate(error: Exception, operation: str) -> ClusterError:
    """The Joulery error for an error of the client; `operation` is a lower-case phrase naming the object."""
    if isinstance(error, ApiException):
        return _translate_answer(error, operation)
    if isinstance(error, TimeoutError):
        return UnavailableError(f"{operation}: the API server did not answer in time")
    return UnavailableError(f"{operation}: {type(error).__name__}: {error}")


def _translate_answer(error: ApiException, operation: str) -> ClusterError:
    status = int(error.status or 0)
    text = f"{operation}: {status} {answer_message(error)}"
    match status:
        case 401 | 403:
            return ForbiddenError(text)
        case 404:
            return NotFoundError(text)
        case 409:
            return ConflictError(text)
        case 429:
            return ThrottledError(text, _retry_after_s(error.headers or {}))
        case _ if 400 <= status < 500:
            return RefusedError(text)
        case _:
            return UnavailableError(text)


def answer_message(error: ApiException) -> str:
    """The `message` of a Kubernetes Status with its causes, or the bare body, at most 300 characters."""
    try:
        status: dict[str, Any] = json.loads(error.body or "")
    except ValueError:
        return str(error.body or error.reason)[:300]
    causes = ((status.get("details") or {}).get("causes")) or []
    extra = "; ".join(c.get("message", "") for c in causes if c.get("message"))
    message = str(status.get("message", error.reason))
    return (f"{message} ({extra})" if extra and extra not in message else message)[:300]


def _retry_after_s(headers: Mapping[str, str]) -> float:
    try:
        return min(float(headers.get("Retry-After", "")), 5.0)
    except ValueError:
        return 1.0
