"""HTTP contract with Prometheus, on synthesised pages (fake_prometheus): trouble is no zero load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_prometheus import FakePrometheus, Load, Trouble
from fakes import CHAT, NOW_S, pool
from joulery.adapters.prometheus import PrometheusDemand
from joulery.adapters.prometheus_api import PrometheusAccess, PrometheusClient
from joulery.domain import reasons
from joulery.domain.demand import Demand
from joulery.domain.fleet import SHARE_WINDOW_S
from joulery.domain.keys import ObjectKey
from joulery.domain.pool import DemandSource, Engine
from joulery.domain.request_class import Objective, RequestClass, TokenRange
from joulery.domain.verdict import ConditionStatus

CHAT_LABELS = {"namespace": "llm", "model_name": "llama"}


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with FakePrometheus([Load(CHAT_LABELS)]) as server:
        yield server


def reader(server: FakePrometheus, **access: object) -> PrometheusDemand:
    settings = PrometheusAccess(server.url, timeout_s=2.0, **access)  # type: ignore[arg-type]
    return PrometheusDemand(PrometheusClient(settings), scrape_interval_s=5.0)


async def chat(demand: PrometheusDemand, now_s: float = NOW_S) -> Demand:
    return (await demand.read([pool()], now_s))[CHAT]


async def test_load_is_read_with_lengths_and_latency(prometheus: FakePrometheus) -> None:
    demand = await chat(reader(prometheus))
    assert demand.problem is None
    assert (demand.requests_per_s, demand.prompt_tokens_per_s) == (4.0, 4000.0)
    assert demand.generation_tokens_per_s == 800.0
    assert demand.input_lengths is not None
    assert demand.output_lengths is not None
    assert demand.input_lengths.mean_tokens == pytest.approx(1000.0)
    assert demand.output_lengths.mean_tokens == pytest.approx(200.0)
    assert demand.input_lengths.rates[demand.input_lengths.edges.index(1000)] == pytest.approx(4.0)
    assert sum(demand.input_lengths.rates) == pytest.approx(4.0)
    assert len(demand.input_lengths.rates) == len(demand.input_lengths.edges) + 1
    assert demand.latency is not None
    assert demand.latency.requests == pytest.approx(2400.0)


async def test_growing_queue_counts_as_load(prometheus: FakePrometheus) -> None:
    prometheus.loads[0].queue_growth = 1.5
    assert (await chat(reader(prometheus))).requests_per_s == 5.5
    prometheus.loads[0].queue_growth = -1.5
    assert (await chat(reader(prometheus))).requests_per_s == 4.0


async def test_zero_load_is_zero_and_no_trouble(prometheus: FakePrometheus) -> None:
    prometheus.loads[0].requests_per_s = 0.0
    demand = await chat(reader(prometheus))
    assert (demand.problem, demand.requests_per_s) == (None, 0.0)


async def test_pools_share_one_batch_of_queries_and_keep_apart(prometheus: FakePrometheus) -> None:
    names = [f"m{i}" for i in range(10)]
    prometheus.loads = [
        Load({"namespace": "llm", "model_name": name}, requests_per_s=float(i))
        for i, name in enumerate(names)
    ]
    pools = [pool(ObjectKey("llm", n), demand_source=DemandSource(n)) for n in names]
    found = await reader(prometheus).read(pools, NOW_S)
    assert [found[p.key].requests_per_s for p in pools] == [float(i) for i in range(10)]
    assert len(prometheus.asked) == 19


async def test_matchers_tell_pools_of_one_model_apart(prometheus: FakePrometheus) -> None:
    prometheus.loads = [
        Load({**CHAT_LABELS, "tier": "gold"}, requests_per_s=1.0),
        Load({**CHAT_LABELS, "tier": "free"}, requests_per_s=9.0),
    ]
    free = pool(demand_source=DemandSource("llama", (("tier", "free"),)))
    assert (await reader(prometheus).read([free], NOW_S))[CHAT].requests_per_s == 9.0


async def test_series_of_another_namespace_are_not_ours(prometheus: FakePrometheus) -> None:
    prometheus.loads.append(Load({**CHAT_LABELS, "namespace": "other"}, requests_per_s=50.0))
    assert (await chat(reader(prometheus))).requests_per_s == 4.0


async def test_running_requests_are_known_by_pod(prometheus: FakePrometheus) -> None:
    prometheus.loads[0].pods = ("a", "b")
    demand = reader(prometheus)
    await chat(demand)
    assert demand.pod_loads.running == {("llm", "a"): 10.0, ("llm", "b"): 10.0}


async def test_running_requests_are_as_old_as_their_samples(prometheus: FakePrometheus) -> None:
    prometheus.loads[0].pods, prometheus.loads[0].age_s = ("a", "b"), 12.0
    demand = reader(prometheus)
    await chat(demand)
    assert demand.pod_loads.measured_s == {("llm", "a"): NOW_S - 12.0, ("llm", "b"): NOW_S - 12.0}
    promqls = [asked.promql for asked in prometheus.asked]
    by_pod = [p for p in promqls if "(namespace, pod)" in p and "num_requests_running" in p]
    assert ["timestamp(" in p for p in by_pod] == [True, False], "figures may be newer than told, never older"


async def test_request_rates_are_known_by_pod_over_the_window_of_shares(prometheus: FakePrometheus) -> None:
    prometheus.loads[0].pods, prometheus.loads[0].shares = ("a", "b"), (0.75, 0.25)
    demand = reader(prometheus)
    await chat(demand)
    assert demand.pod_loads.requests_per_s == {("llm", "a"): 3.0, ("llm", "b"): 1.0}
    asked = next(a.promql for a in prometheus.asked if "(namespace, pod)" in a.promql and "rate(" in a.promql)
    assert f"[{SHARE_WINDOW_S * 1000:.0f}ms]" in asked


async def test_answers_begun_since_its_start_are_known_by_pod(prometheus: FakePrometheus) -> None:
    prometheus.loads[0].pods, prometheus.loads[0].answers = ("a", "b"), 17
    demand = reader(prometheus)
    await chat(demand)
    assert demand.pod_loads.answers == {("llm", "a"): 17.0, ("llm", "b"): 17.0}


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        (lambda s: s.loads.clear(), reasons.METRICS_MISSING, "has no series"),
        (lambda s: setattr(s.loads[0], "age_s", 30.0), reasons.METRICS_STALE, "30 s old"),
        (lambda s: setattr(s.loads[0], "requests_per_s", float("nan")), reasons.METRICS_INVALID, "NaN"),
        (lambda s: setattr(s.loads[0], "requests_per_s", -1.0), reasons.METRICS_INVALID, "negative"),
        (lambda s: setattr(s.loads[0], "running", 1e12), reasons.METRICS_INVALID, "absurd"),
        (lambda s: setattr(s, "trouble", Trouble(500)), reasons.METRICS_QUERY_FAILED, "query age"),
        (
            lambda s: setattr(s, "trouble", Trouble(422, "generation_tokens_total")),
            reasons.METRICS_QUERY_FAILED,
            "query generation_tokens",
        ),
        (
            lambda s: setattr(s, "trouble", Trouble(garbage=True)),
            reasons.METRICS_QUERY_FAILED,
            "no Prometheus",
        ),
    ],
    ids=["missing", "stale", "NaN", "negative", "absurd", "500", "one query refused", "no JSON"],
)
async def test_trouble_is_named_and_the_last_good_figures_stay(
    prometheus: FakePrometheus, change: object, reason: str, words: str
) -> None:
    demand = reader(prometheus)
    await chat(demand)
    change(prometheus)  # type: ignore[operator]
    held = await chat(demand, NOW_S + 15)
    assert held.problem is not None
    expected = reasons.METRICS_STALE if reason == reasons.METRICS_MISSING else reason
    assert held.problem.reason == expected
    assert held.requests_per_s == 4.0
    assert held.observed_at_s == NOW_S
    assert "last good figures" in held.problem.message
    if expected == reason:
        assert words in held.problem.message


async def test_series_never_seen_are_missing_not_stale(prometheus: FakePrometheus) -> None:
    prometheus.loads.clear()
    demand = await chat(reader(prometheus))
    assert demand.problem is not None
    assert demand.problem.reason == reasons.METRICS_MISSING
    assert demand.requests_per_s == 0.0


async def test_message_keeps_the_time_trouble_began(prometheus: FakePrometheus) -> None:
    prometheus.trouble = Trouble(500)
    demand = reader(prometheus)
    first = await chat(demand, NOW_S)
    later = await chat(demand, NOW_S + 300)
    assert first.problem == later.problem
    prometheus.trouble = Trouble()
    assert (await chat(demand, NOW_S + 315)).problem is None


async def test_unreachable_prometheus_is_named_with_its_address() -> None:
    with FakePrometheus() as server:
        demand, url = reader(server), server.url
    problem = (await chat(demand)).problem
    assert problem is not None
    assert problem.reason == reasons.METRICS_UNREACHABLE
    assert url in problem.message


async def test_counter_reset_is_told_and_no_trouble(prometheus: FakePrometheus) -> None:
    prometheus.loads[0].resets = 2.0
    demand = await chat(reader(prometheus))
    assert demand.problem is None
    assert demand.note is not None
    assert demand.note.reason == reasons.METRICS_COUNTER_RESET


async def test_engine_without_a_metric_table_is_named(prometheus: FakePrometheus) -> None:
    old = pool(engine=Engine("VLLM", "0.3.0"))
    problem = (await reader(prometheus).read([old], NOW_S))[CHAT].problem
    assert problem is not None
    assert problem.reason == reasons.UNKNOWN_ENGINE


async def test_token_file_is_read_again_for_each_request(prometheus: FakePrometheus, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    demand = reader(prometheus, bearer_token_file=token, tenant_header=("X-Scope-OrgID", "llm"))
    await chat(demand)
    token.write_text("second\n")
    await chat(demand)
    assert prometheus.asked[0].headers["Authorization"] == "Bearer first"
    assert prometheus.asked[-1].headers["Authorization"] == "Bearer second"
    assert prometheus.asked[-1].headers["X-Scope-OrgID"] == "llm"


async def test_missing_token_file_is_trouble_not_a_crash(prometheus: FakePrometheus, tmp_path: Path) -> None:
    problem = (await chat(reader(prometheus, bearer_token_file=tmp_path / "none"))).problem
    assert problem is not None
    assert "none" in problem.message


async def test_objective_on_an_edge_is_judged(prometheus: FakePrometheus) -> None:
    served = (await reader(prometheus).read([pool(classes=one_class(250, 100))], NOW_S))[CHAT].latency
    assert served is not None
    assert (served.slo.status, served.slo.verdict.reason) == (ConditionStatus.TRUE, reasons.SLO_MET)
    prometheus.loads[0].ttft_s = 0.4
    missed = (await reader(prometheus).read([pool(classes=one_class(250, 100))], NOW_S))[CHAT].latency
    assert missed is not None
    assert missed.slo.verdict.reason == reasons.SLO_MISSED


async def test_objective_between_edges_is_unknown_and_an_edge_is_proposed(prometheus: FakePrometheus) -> None:
    latency = (await reader(prometheus).read([pool(classes=one_class(400, 100))], NOW_S))[CHAT].latency
    assert latency is not None
    assert latency.slo.status is ConditionStatus.UNKNOWN
    assert latency.slo.verdict.reason == reasons.SLO_BETWEEN_BUCKETS
    assert "250 or 500 ms" in latency.slo.verdict.message


def one_class(ttft_ms: int, tpot_ms: int) -> tuple[RequestClass, ...]:
    tokens = TokenRange(1, 8192)
    return (RequestClass("all", tokens, tokens, Objective(ttft_ms, tpot_ms)),)
