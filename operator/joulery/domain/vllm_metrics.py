"""Which stock metrics an engine publishes: names, types, labels and bucket edges, by version.

One cited table for everyone who touches them: Prometheus queries, the node agent that reads `/metrics`, and
the emulator that writes it. Source: vllm-project/vllm, `vllm/v1/metrics/loggers.py`, class
`PrometheusStatLogger` (since mid-2026 the same edges live in `vllm/v1/metrics/buckets.py`, pull request
48866). What moved between versions:

* `gpu_cache_usage_perc` became `kv_cache_usage_perc`: both in 0.9 (pull request 18354), the old one hidden
  from 0.10 and gone since 0.12 (29330).
* `time_per_output_token_seconds`, which always held the intervals between tokens, became
  `inter_token_latency_seconds`: both in 0.11 (24110), the old one hidden in 0.12 and removed since 0.13
  (32661).
* `request_time_per_output_token_seconds`, a request's mean interval (our TPOT), exists since 0.11. Before,
  TPOT of single requests cannot be read from stock metrics (24015).

Python's client library appends `_total` to counters on the page, so counters are named here as they are
scraped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

VLLM = "VLLM"

# Version that is assumed for new pools in examples and tests.
DEFAULT_VLLM_VERSION = "0.11.0"

# loggers.py, histogram_time_to_first_token; unchanged since 0.9 (last extended by pull request 15202).
# Seconds.
_TTFT_EDGES_S = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
)  # fmt: skip

# loggers.py, histogram_time_per_output_token, later histogram_inter_token_latency and
# histogram_request_time_per_output_token; unchanged since 0.9. Seconds.
_TOKEN_INTERVAL_EDGES_S = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip

# loggers.py, request_latency_buckets (end to end, queue, inference, prefill, decode); since 0.9. Seconds.
_REQUEST_LATENCY_EDGES_S = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
)  # fmt: skip

# vllm/v1/engine/__init__.py, FinishReason as printed in the label `finished_reason`; newer versions know
# more.
FINISHED_REASONS = ("stop", "length", "abort")


def token_edges(max_model_length: int) -> tuple[int, ...]:
    """Edges of the token-count histograms: 1, 2, 5, 10, ... up to the engine's `--max-model-len` tokens.

    loggers.py, `build_1_2_5_buckets(max_model_len)`; the last finite edge is the largest that does not exceed
    it.
    """
    edges: list[int] = []
    scale = 1
    while scale <= max_model_length:
        edges.extend(m * scale for m in (1, 2, 5) if m * scale <= max_model_length)
        scale *= 10
    return tuple(edges)


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """Series of one engine in versions `since` (included) to `until` (excluded, None = still so).

    `tpot` is None where the version publishes no per-request mean of token intervals.
    """

    engine_type: str
    since: tuple[int, int]
    until: tuple[int, int] | None
    kv_usage: str
    itl: str
    tpot: str | None
    running: str = "vllm:num_requests_running"
    waiting: str = "vllm:num_requests_waiting"
    prompt_tokens: str = "vllm:prompt_tokens_total"
    generation_tokens: str = "vllm:generation_tokens_total"
    finished: str = "vllm:request_success_total"
    preemptions: str = "vllm:num_preemptions_total"
    input_lengths: str = "vllm:request_prompt_tokens"
    output_lengths: str = "vllm:request_generation_tokens"
    ttft: str = "vllm:time_to_first_token_seconds"
    queue_time: str = "vllm:request_queue_time_seconds"
    end_to_end: str = "vllm:e2e_request_latency_seconds"
    model_label: str = "model_name"
    labels: tuple[str, ...] = field(default=("model_name", "engine"))
    finished_label: str = "finished_reason"

    def covers(self, version: tuple[int, int]) -> bool:
        """Whether a (major, minor) version lies in this range."""
        return self.since <= version and (self.until is None or version < self.until)

    @property
    def version_range(self) -> str:
        """The range as people write it."""
        since = f">={self.since[0]}.{self.since[1]}"
        return since if self.until is None else f"{since},<{self.until[0]}.{self.until[1]}"

    @property
    def gauges(self) -> tuple[str, ...]:
        """Names of all gauges; `kv_usage` is a share of one."""
        return (self.running, self.waiting, self.kv_usage)

    @property
    def counters(self) -> tuple[str, ...]:
        """Names of all counters, as scraped."""
        return (self.prompt_tokens, self.generation_tokens, self.finished, self.preemptions)

    def histograms(self, max_model_length: int) -> dict[str, tuple[float, ...]]:
        """Finite bucket edges by histogram name: tokens for the two lengths, seconds for the rest."""
        lengths = token_edges(max_model_length)
        latency = {
            self.ttft: _TTFT_EDGES_S,
            self.itl: _TOKEN_INTERVAL_EDGES_S,
            self.queue_time: _REQUEST_LATENCY_EDGES_S,
            self.end_to_end: _REQUEST_LATENCY_EDGES_S,
        }
        tpot = {} if self.tpot is None else {self.tpot: _TOKEN_INTERVAL_EDGES_S}
        return {self.input_lengths: lengths, self.output_lengths: lengths, **latency, **tpot}

    @property
    def ttft_edges_s(self) -> tuple[float, ...]:
        """Finite edges of the TTFT histogram."""
        return _TTFT_EDGES_S

    @property
    def token_interval_edges_s(self) -> tuple[float, ...]:
        """Finite edges of the histograms of token intervals, per interval and per request."""
        return _TOKEN_INTERVAL_EDGES_S


SUPPORTED: tuple[EngineMetrics, ...] = (
    EngineMetrics(
        VLLM, (0, 9), (0, 10), "vllm:gpu_cache_usage_perc", "vllm:time_per_output_token_seconds", None
    ),
    EngineMetrics(
        VLLM, (0, 10), (0, 11), "vllm:kv_cache_usage_perc", "vllm:time_per_output_token_seconds", None
    ),
    EngineMetrics(
        VLLM,
        (0, 11),
        None,
        "vllm:kv_cache_usage_perc",
        "vllm:inter_token_latency_seconds",
        "vllm:request_time_per_output_token_seconds",
    ),
)


def metrics_of(engine_type: str, version: str) -> EngineMetrics | None:
    """The table row of an engine's version such as `0.11.0` or `v0.11.1rc2`; None where there is none."""
    parts = version.removeprefix("v").split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    wanted = (int(parts[0]), int(parts[1]))
    return next((m for m in SUPPORTED if m.engine_type == engine_type and m.covers(wanted)), None)


def supported_text() -> str:
    """What is supported, for messages."""
    return f"{VLLM} {SUPPORTED[0].since[0]}.{SUPPORTED[0].since[1]} and later"
