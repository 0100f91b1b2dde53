"""Prometheus's HTTP API: instant queries, and a verdict where one has no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from requests.auth import AuthBase
from urllib3.util import Retry

from joulery.adapters.prometheus_queries import Query
from joulery.domain import reasons
from joulery.domain.verdict import Verdict
from joulery.errors import MetricsError

# A third of the twenty that Prometheus runs at once by default; the client keeps ten connections alive.
_AT_ONCE = 7

Series = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PrometheusAccess:
    """How Prometheus is reached. The token file is read again for each request, since tokens rotate."""

    url: str
    bearer_token_file: Path | None = None
    ca_file: Path | None = None
    tenant_header: tuple[str, str] | None = None
    timeout_s: float = 5.0
    scrape_interval_s: float = 15.0


class QueryError(MetricsError):
    """A query failed; `verdict` names it."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.message)
        self.verdict = verdict


class _TokenFile(AuthBase):
    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._path.read_text().strip()}"
        return request


class PrometheusClient:
    """Instant queries with a timeout, several at once; no retries here, the next poll is one."""

    def __init__(self, access: PrometheusAccess) -> None:
        session = requests.Session()
        session.trust_env = False
        session.verify = str(access.ca_file) if access.ca_file else True
        self._url = access.url
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="prometheus")
        self._connection = PrometheusConnect(
            url=access.url,
            headers=dict([access.tenant_header]) if access.tenant_header else None,
            auth=_TokenFile(access.bearer_token_file) if access.bearer_token_file else None,
            session=session,
            retry=Retry(total=0),
            timeout=access.timeout_s,
            # Selectors of many pools outgrow what proxies accept as a URL.
            method="POST",
        )

    def ask_all(self, asked: Sequence[Query]) -> dict[str, list[Series]]:
        """The series of each query by its name. Raises QueryError for the first that fails."""
        return dict(zip((q.name for q in asked), self._threads.map(self.ask, asked), strict=True))

    def ask(self, query: Query) -> list[Series]:
        """The series that answer a query. Raises QueryError."""
        try:
            answer: list[Series] = self._connection.custom_query(query.promql)
        except PrometheusApiClientException as error:
            text = f"query {query.name} failed: {str(error)[:200]}: {query.promql}"
            raise QueryError(Verdict(reasons.METRICS_QUERY_FAILED, text)) from error
        except (requests.JSONDecodeError, KeyError, TypeError) as error:
            text = f"query {query.name} got no Prometheus answer from {self._url}: {_short(error)}"
            raise QueryError(Verdict(reasons.METRICS_QUERY_FAILED, text)) from error
        except (requests.RequestException, OSError) as error:
            text = f"Prometheus at {self._url} cannot be read: {_short(error)} (query {query.name})"
            raise QueryError(Verdict(reasons.METRICS_UNREACHABLE, text)) from error
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._connection.close()


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:160]}"
