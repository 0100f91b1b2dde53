"""Names of accelerators, version skew, and the table of engine metrics."""

from __future__ import annotations

from itertools import pairwise

import pytest

import api_cases as cases
from joulery.api.crd import definition
from joulery.api.labels import accelerator_of_product
from joulery.api.skew import known_fields, skew_text, spec_schema, status_schema
from joulery.api.v1alpha1.kinds import ENERGY_POLICY, INFERENCE_POOL
from joulery.domain.vllm_metrics import SUPPORTED, metrics_of, token_edges


@pytest.mark.parametrize(
    ("product", "accelerator"),
    [
        ("NVIDIA-H100-80GB-HBM3", "H100-SXM-80GB"),
        ("NVIDIA-H100-80GB-HBM3-SHARED", "H100-SXM-80GB"),
        ("Tesla-V100", None),
    ],
)
def test_accelerators_are_named_from_the_product_label(product: str, accelerator: str | None) -> None:
    assert accelerator_of_product(product) == accelerator


def test_a_status_of_ours_passes_our_own_crd_untouched() -> None:
    schema = status_schema(definition(INFERENCE_POOL))
    assert schema is not None
    assert known_fields(cases.pool_status(), schema) == (cases.pool_status(), ())


def test_fields_that_an_older_crd_lacks_are_dropped_and_named_once() -> None:
    schema = status_schema(definition(INFERENCE_POOL))
    assert schema is not None
    status = cases.pool_status()
    status["newPart"] = {"x": 1}
    status["variants"] = [
        {**status["variants"][0], "lane": "long"},
        {**status["variants"][0], "lane": "short"},
    ]
    kept, dropped = known_fields(status, schema)
    assert dropped == ("status.variants[].lane", "status.newPart")
    assert kept["variants"][0] == cases.pool_status()["variants"][0]
    assert "newPart" not in kept
    assert "status.newPart" in skew_text("inferencepools.joulery.dev", dropped)


def test_a_crd_without_status_or_version_has_no_schema() -> None:
    assert status_schema(definition(ENERGY_POLICY)) is None
    assert spec_schema({"spec": {"versions": [{"name": "v2"}]}}) is None


@pytest.mark.parametrize(
    ("version", "kv_usage", "tpot"),
    [
        ("0.9.2", "vllm:gpu_cache_usage_perc", False),
        ("0.10.1", "vllm:kv_cache_usage_perc", False),
        ("v0.11.0rc1", "vllm:kv_cache_usage_perc", True),
        ("1.2.0", "vllm:kv_cache_usage_perc", True),
    ],
)
def test_metrics_follow_the_version(version: str, kv_usage: str, tpot: bool) -> None:
    metrics = metrics_of("VLLM", version)
    assert metrics is not None
    assert metrics.kv_usage == kv_usage
    assert (metrics.tpot is not None) is tpot
    assert ("vllm:request_time_per_output_token_seconds" in metrics.histograms(8192)) is tpot


@pytest.mark.parametrize(("engine", "version"), [("VLLM", "0.8.5"), ("VLLM", "nightly"), ("TGI", "3.0")])
def test_what_is_not_in_the_table_is_not_guessed(engine: str, version: str) -> None:
    assert metrics_of(engine, version) is None


def test_versions_follow_each_other_without_gap() -> None:
    assert all(a.until == b.since for a, b in pairwise(SUPPORTED))
    assert SUPPORTED[-1].until is None


@pytest.mark.parametrize(("longest", "last"), [(1, 1), (9, 5), (10, 10), (8192, 5000), (131072, 100000)])
def test_token_edges_end_at_the_longest_context(longest: int, last: int) -> None:
    edges = token_edges(longest)
    assert edges[-1] == last
    assert list(edges) == sorted(set(edges))


def test_every_histogram_has_rising_edges() -> None:
    for metrics in SUPPORTED:
        for edges in metrics.histograms(8192).values():
            assert list(edges) == sorted(set(edges))
