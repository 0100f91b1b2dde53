"""The synthesised vLLM page is one that Prometheus' own parser reads."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from joulery.domain.vllm_metrics import SUPPORTED, EngineMetrics
from joulery.emulator.pages import EnginePage
from joulery.serving.engine import Engine
from serving_cases import instance as instance_model

NS = 1_000_000_000
MODEL_LENGTH = 8192


def busy_engine(requests: int = 40) -> Engine:
    engine = Engine(instance_model(4), token_budget=2048, max_num_seqs=64, clock_mhz=1980)
    rng = np.random.default_rng(5)
    arrivals = np.sort(rng.integers(0, 4 * NS, requests))
    engine.submit_many(
        arrivals, rng.integers(1, 3000, requests), rng.integers(1, 200, requests), np.arange(requests)
    )
    return engine


def step(engine: Engine, page: EnginePage, until_ns: int) -> dict[str, Metric]:
    engine.advance(until_ns)
    page.observe_first_tokens(engine.take_first_tokens())
    page.observe_finished(engine.take_finished())
    text = page.render(engine.counters(), engine.itl_histogram, engine.itl_sum_ns).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def page_of(table: EngineMetrics) -> EnginePage:
    return EnginePage(table, 'a "quoted" \\ model', MODEL_LENGTH)


def values(families: dict[str, Metric], suffix: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("le", sample.labels.get("finished_reason", ""))): sample.value
        for family in families.values()
        for sample in family.samples
        if sample.name.endswith(suffix)
    }


@pytest.mark.parametrize("table", SUPPORTED, ids=lambda table: table.version_range)
def test_every_series_of_the_table_is_there_with_its_type_and_labels(table: EngineMetrics) -> None:
    families = step(busy_engine(), page_of(table), 3 * NS)
    kinds = dict.fromkeys(table.gauges, "gauge")
    kinds |= {name.removesuffix("_total"): "counter" for name in table.counters}
    kinds |= {name: "histogram" for name in table.histograms(MODEL_LENGTH) if name != table.queue_time}
    assert {name: family.type for name, family in families.items()} == kinds
    for family in families.values():
        for sample in family.samples:
            assert sample.labels["model_name"] == 'a "quoted" \\ model'
            assert sample.labels["engine"] == "0"


def test_bucket_edges_are_those_of_the_table() -> None:
    table = SUPPORTED[-1]
    families = step(busy_engine(), page_of(table), 3 * NS)
    for name, edges in table.histograms(MODEL_LENGTH).items():
        if name == table.queue_time:
            continue
        found = [float(s.labels["le"]) for s in families[name].samples if s.name.endswith("_bucket")]
        assert found == [*map(float, edges), float("inf")]


def test_counters_and_buckets_never_fall_and_cumulate() -> None:
    engine, page = busy_engine(), page_of(SUPPORTED[-1])
    before: dict[tuple[str, str], float] = {}
    for second in range(1, 12):
        families = step(engine, page, second * NS // 2)
        now = {
            k: v
            for suffix in ("_total", "_bucket", "_count", "_sum")
            for k, v in values(families, suffix).items()
        }
        assert all(now[key] >= value for key, value in before.items())
        for family in families.values():
            counts = [s.value for s in family.samples if s.name.endswith("_bucket")]
            assert counts == sorted(counts)
        before = now
    assert before


def test_the_page_agrees_with_the_requests_that_finished() -> None:
    engine, table = busy_engine(), SUPPORTED[-1]
    page = page_of(table)
    engine.advance(60 * NS)
    page.observe_first_tokens(engine.take_first_tokens())
    done = engine.take_finished()
    page.observe_finished(done)
    text = page.render(engine.counters(), engine.itl_histogram, engine.itl_sum_ns).decode()
    samples = {
        s.name: s for f in text_string_to_metric_families(text) for s in f.samples if "le" not in s.labels
    }
    assert samples[f"{table.ttft}_count"].value == len(done) == 40
    expected_s = float((done.ttft_ns - engine.model.client_ns).sum()) * 1e-9
    assert samples[f"{table.ttft}_sum"].value == pytest.approx(expected_s)
    assert samples[table.prompt_tokens].value == done.input_tokens.sum()
    assert samples[table.generation_tokens].value == done.output_tokens.sum()
    assert samples[f"{table.itl}_count"].value == (done.output_tokens - 1).sum()
    assert samples[f"{table.output_lengths}_sum"].value == done.output_tokens.sum()
