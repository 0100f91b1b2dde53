"""Reading an engine's page: every gap is an error, never a zero. Pages here are synthesised, not recorded."""

from __future__ import annotations

import pytest

from fake_node import FakeEngine
from joulery.agent.engine_metrics import parse_page
from joulery.agent.loop import metrics_url
from joulery.domain.plan import Binding
from joulery.errors import MetricsError

PAGE = FakeEngine().text()


def changed(old: str, new: str) -> bytes:
    assert old in PAGE
    return PAGE.replace(old, new).encode()


def test_page_is_read_whatever_its_labels_hold() -> None:
    reading = parse_page(changed("waiting{", 'waiting{odd="a } b",'), at_s=7.0)
    assert (reading.at_s, reading.running_requests, reading.kv_usage) == (7.0, 0.0, 0.1)


def test_data_parallel_engines_are_summed_and_the_fullest_cache_counts() -> None:
    one = FakeEngine()
    one.running, one.kv_usage = 3, 0.7
    reading = parse_page((PAGE + one.text().replace('engine="0"', 'engine="1"') + one.text()).encode(), 0.0)
    assert reading.running_requests == 6.0
    assert reading.kv_usage == 0.7


def test_cache_use_of_older_versions_is_understood() -> None:
    assert parse_page(changed("kv_cache_usage_perc", "gpu_cache_usage_perc"), 0.0).kv_usage == 0.1


@pytest.mark.parametrize(
    "series",
    [
        "prompt_tokens_total",
        "generation_tokens_total",
        "time_to_first_token_seconds_count",
        "num_requests_running",
        "num_requests_waiting",
        "kv_cache_usage_perc",
    ],
)
def test_missing_series_is_named(series: str) -> None:
    with pytest.raises(MetricsError, match="lacks"):
        parse_page(changed(f"vllm:{series}", "other:series"), 0.0)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1.0", "broken"])
def test_value_that_is_no_count_is_refused(value: str) -> None:
    page = changed(" 0.1\n", f" {value}\n")
    with pytest.raises(MetricsError, match="kv_cache_usage_perc"):
        parse_page(page, 0.0)


def test_series_with_a_longer_name_is_not_taken_for_ours() -> None:
    assert (
        parse_page(PAGE.encode() + b"\nvllm:prompt_tokens_total_created 1e9\n", 0.0).prompt_tokens_total
        == 0.0
    )


def test_ipv6_addresses_are_bracketed() -> None:
    bound = Binding("u", "llm", "p", "fd00::1", 8000, "/metrics", "t")
    assert metrics_url(bound) == "http://[fd00::1]:8000/metrics"
