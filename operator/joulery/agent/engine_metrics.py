"""Reads the six numbers that the agent needs from an engine's `/metrics` page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import aiohttp

from joulery.domain import vllm_metrics
from joulery.domain.load_window import EngineReading
from joulery.errors import MetricsError

# A page of a busy engine has some 50 kB; a page without end must not fill the agent's memory.
_MAX_PAGE_BYTES = 4 * 2**20
_CHUNK_BYTES = 2**16
# Longer than any clock epoch, so that connections are kept between them.
_KEEP_ALIVE_S = 75.0
_PROMPT, _GENERATION = "prompt_tokens", "generation_tokens"
_RUNNING, _WAITING, _KV = "running", "waiting", "kv_usage"
# Requests are counted by their first tokens, as the window wants them.
_REQUESTS = "requests"
_FIELDS = (_PROMPT, _GENERATION, _REQUESTS, _RUNNING, _WAITING, _KV)


def _field_by_series() -> Mapping[bytes, str]:
    """Series of every supported version: a binding does not say which version runs."""
    named = (_PROMPT, _GENERATION, _RUNNING, _WAITING, _KV)
    plain = {str(getattr(m, name)).encode(): name for m in vllm_metrics.SUPPORTED for name in named}
    return plain | {f"{m.ttft}_count".encode(): _REQUESTS for m in vllm_metrics.SUPPORTED}


_FIELD_BY_SERIES = _field_by_series()
# name, labels (a value may hold braces: the last one closes), value; vLLM writes no timestamps.
_LINE = re.compile(
    rb"^(" + b"|".join(map(re.escape, sorted(_FIELD_BY_SERIES))) + rb")(?:\{.*\})?[ \t]+(\S+)", re.MULTILINE
)


def parse_page(page: bytes, at_s: float) -> EngineReading:
    """The reading of one page, summed over data-parallel engines; KV usage is that of the fullest.

    Raises MetricsError naming the series that is missing or no finite number.
    """
    values: dict[str, float] = {}
    for series, raw in _LINE.findall(page):
        field, value = _FIELD_BY_SERIES[series], _number(series, raw)
        if field not in values:
            values[field] = value
        else:
            values[field] = max(values[field], value) if field == _KV else values[field] + value
    missing = [name for name in _FIELDS if name not in values]
    if missing:
        raise MetricsError(
            f"the page lacks vLLM's {', '.join(missing)}; supported: {vllm_metrics.supported_text()}"
        )
    return EngineReading(
        at_s=at_s,
        prompt_tokens_total=values[_PROMPT],
        generation_tokens_total=values[_GENERATION],
        requests_total=values[_REQUESTS],
        running_requests=values[_RUNNING],
        waiting_requests=values[_WAITING],
        kv_usage=values[_KV],
    )


def _number(series: bytes, raw: bytes) -> float:
    try:
        value = float(raw)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise MetricsError(f"{series.decode()} is {raw.decode(errors='replace')}, not a number of at least 0")
    return value


class EngineMetricsReader:
    """Fetches pages over kept connections."""

    def __init__(self, limit_s: float) -> None:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=limit_s),
            connector=aiohttp.TCPConnector(keepalive_timeout=_KEEP_ALIVE_S, limit_per_host=2),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def read(self, url: str, at_s: float) -> EngineReading:
        """The engine's reading now. Raises MetricsError."""
        try:
            # Redirects are not followed: the page is the tenant's, the network around it is not.
            async with self._session.get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise MetricsError(f"{url} answers {response.status}")
                page = await _bounded_page(response, url)
        except TimeoutError as error:
            raise MetricsError(f"{url} did not answer in time") from error
        except aiohttp.ClientError as error:
            raise MetricsError(f"{url}: {error}") from error
        try:
            return parse_page(page, at_s)
        except MetricsError as error:
            raise MetricsError(f"{url}: {error}") from error


async def _bounded_page(response: aiohttp.ClientResponse, url: str) -> bytes:
    page = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        page += chunk
        if len(page) > _MAX_PAGE_BYTES:
            raise MetricsError(f"{url} is longer than {_MAX_PAGE_BYTES} bytes")
    return bytes(page)
