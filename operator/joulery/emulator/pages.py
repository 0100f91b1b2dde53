"""vLLM's `/metrics` page of one emulated engine, synthesised from the cited table in `domain.vllm_metrics`.

Times are the engine's own: TTFT counts from arrival at the engine to the first token, without the client's
share. Per-request histograms (TTFT among them) count a request when it has finished. The model records no
admission times, so the queue-time histogram is left out rather than invented.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from prometheus_client.utils import floatToGoString

from joulery.domain.vllm_metrics import FINISHED_REASONS, EngineMetrics
from joulery.serving.engine_records import EngineCounters, FinishedRequests

Ints = npt.NDArray[np.int64]
_NS = 1e-9
# The model ends every answer at its drawn length; vLLM says "stop" for an answer that ends by itself.
_FINISHED_BY = "stop"


class _Histogram:
    """Counts per bucket and their sum, with the page's line starts made once."""

    def __init__(self, name: str, labels: str, edges: Sequence[float]) -> None:
        self.edges = np.array(edges, float)
        self.counts = np.zeros(len(edges) + 1, np.int64)
        self.sum = 0.0
        ends = [*map(floatToGoString, map(float, edges)), "+Inf"]
        self._buckets = [f'{name}_bucket{{{labels},le="{end}"}}' for end in ends]
        self._head = f"# HELP {name} {name}.\n# TYPE {name} histogram\n"
        self._count, self._sum = f"{name}_count{{{labels}}}", f"{name}_sum{{{labels}}}"

    def observe(self, values: npt.NDArray[np.float64]) -> None:
        """Count values; a bucket holds those at most its edge."""
        bins = np.searchsorted(self.edges, values, side="left")
        self.counts += np.bincount(bins, minlength=len(self.counts))
        self.sum += float(values.sum())

    def text(self) -> str:
        """The family as it stands on a page."""
        running = self.counts.cumsum().tolist()
        lines = [f"{start} {count}.0\n" for start, count in zip(self._buckets, running, strict=True)]
        return f"{self._head}{''.join(lines)}{self._count} {running[-1]}.0\n{self._sum} {self.sum!r}\n"


class EnginePage:
    """Metrics of one engine since it was loaded."""

    def __init__(self, table: EngineMetrics, model_name: str, max_model_length: int) -> None:
        self._table = table
        self._labels = f'engine="0",model_name="{_escaped(model_name)}"'
        self._histograms = {
            name: _Histogram(name, self._labels, edges)
            for name, edges in table.histograms(max_model_length).items()
            if name != table.queue_time
        }
        self._finished = 0

    def observe_first_tokens(self, ttft_ns: Ints) -> None:
        """Count requests whose first token has come, as vLLM does long before they finish."""
        if len(ttft_ns):
            self._histograms[self._table.ttft].observe(ttft_ns.astype(float) * _NS)

    def observe_finished(self, done: FinishedRequests) -> None:
        """Count finished requests."""
        if len(done) == 0:
            return
        table = self._table
        observed = {
            table.input_lengths: done.input_tokens.astype(float),
            table.output_lengths: done.output_tokens.astype(float),
            table.end_to_end: (done.finish_ns - done.arrival_ns) * _NS,
        }
        if table.tpot is not None:
            observed[table.tpot] = done.tpot_ns * _NS
        for name, values in observed.items():
            self._histograms[name].observe(values)
        self._finished += len(done)

    def render(self, counters: EngineCounters, itl_counts: Ints, itl_sum_ns: int) -> bytes:
        """The page now."""
        itl = self._histograms[self._table.itl]
        itl.counts, itl.sum = itl_counts, itl_sum_ns * _NS
        gauges = dict(
            zip(self._table.gauges, (counters.running, counters.waiting, counters.kv_usage), strict=True)
        )
        totals = {
            self._table.prompt_tokens: counters.prompt_tokens_total,
            self._table.generation_tokens: counters.generation_tokens_total,
            self._table.preemptions: counters.preemptions_total,
        }
        parts = [self._plain(name, "gauge", value) for name, value in gauges.items()]
        parts += [self._plain(name, "counter", value) for name, value in totals.items()]
        parts.append(self._success())
        parts += [histogram.text() for histogram in self._histograms.values()]
        return "".join(parts).encode()

    def _plain(self, name: str, kind: str, value: float) -> str:
        return f"# HELP {name} {name}.\n# TYPE {name} {kind}\n{name}{{{self._labels}}} {float(value)!r}\n"

    def _success(self) -> str:
        name, label = self._table.finished, self._table.finished_label
        counts = {reason: self._finished if reason == _FINISHED_BY else 0 for reason in FINISHED_REASONS}
        series = "".join(
            f'{name}{{{self._labels},{label}="{reason}"}} {count}.0\n' for reason, count in counts.items()
        )
        return f"# HELP {name} {name}.\n# TYPE {name} counter\n{series}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
