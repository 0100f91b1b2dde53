"""What the controller writes for an agent is what the agent reads, rounded towards the faster clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import api_cases as cases
from api_cases import changed
from joulery.api.convert_node import directive_of, gpu_node_manifest, gpu_node_spec
from joulery.api.v1alpha1.gpu_node import GPUNodeStatus
from joulery.domain.clock_table import ClockGuards, ClockRow, ClockTable, EngineSample, wanted_clock_mhz
from joulery.domain.plan import Binding, NodeDirective
from joulery.errors import ConfigError

clocks = st.integers(300, 2000)
rates = st.integers(0, 100_000)


@st.composite
def tables(draw: st.DrawFn, name: str, rate: st.SearchStrategy[float]) -> ClockTable:
    lowest = draw(clocks)
    return ClockTable(
        name=name,
        rows=tuple(
            ClockRow(p, g, c) for p, g, c in draw(st.lists(st.tuples(rate, rate, clocks), max_size=4))
        ),
        lowest_mhz=lowest,
        highest_mhz=draw(st.integers(lowest, 2100)),
        guards=ClockGuards(
            draw(st.integers(1, 1000)), draw(st.integers(1, 100)) / 100, draw(st.integers(0, 5000)) / 1000
        ),
        dwell_s=draw(st.integers(0, 60_000)) / 1000,
    )


@st.composite
def directives(draw: st.DrawFn) -> NodeDirective:
    names = draw(st.lists(st.sampled_from(["a/b/tp2", "a/b/tp4", "c/d/tp8"]), unique=True, min_size=1))
    return NodeDirective(
        node="gpu-0",
        plan_id=draw(st.sampled_from(["", "p-1"])),
        tables=tuple(draw(tables(name, rates.map(float))) for name in names),
        bindings=tuple(
            Binding(
                f"uid-{i}", "a", f"pod-{i}", f"127.1.0.{i}", 8000, "/metrics", draw(st.sampled_from(names))
            )
            for i in range(draw(st.integers(0, 3)))
        ),
    )


@given(directives())
def test_a_directive_comes_back_exactly(directive: NodeDirective) -> None:
    spec = gpu_node_spec(directive)
    assert directive_of("gpu-0", spec) == directive
    assert gpu_node_spec(directive_of("gpu-0", spec)) == spec


@given(tables("t", st.floats(0, 1e12)), st.floats(0, 2e5), st.floats(0, 2e5))
def test_rounding_never_slows_an_instance(table: ClockTable, prompt: float, generation: float) -> None:
    sample = EngineSample(0.0, prompt, generation, 0.0, 0.0, 0.0)
    spec = gpu_node_spec(NodeDirective("gpu-0", "p-1", (table,), ()))
    read = directive_of("gpu-0", spec).tables[0]
    rising = all(a.clock_mhz <= b.clock_mhz for a, b in zip(table.rows, table.rows[1:], strict=False))
    if rising:
        assert wanted_clock_mhz(read, sample) >= wanted_clock_mhz(table, sample)


def test_the_object_is_owned_by_its_node() -> None:
    directive = directive_of("gpu-0", cases.gpu_node()["spec"])
    owned = gpu_node_manifest(directive, "node-uid")
    assert owned["spec"] == cases.gpu_node()["spec"]
    assert owned["metadata"]["ownerReferences"][0]["uid"] == "node-uid"
    assert "ownerReferences" not in gpu_node_manifest(directive, None)["metadata"]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("bindings", 0, "table"), "other", "chat-tp4-abc"),
        (("tables", 0, "highestMHz"), 0, "spec.tables[0].highestMHz"),
        (("bindings", 0, "metricsPort"), "http", "spec.bindings[0].metricsPort"),
    ],
)
def test_a_wrong_spec_names_the_field(path: tuple[str | int, ...], value: object, words: str) -> None:
    manifest = changed(cases.gpu_node(), ("spec", *path), value)
    with pytest.raises(ConfigError) as caught:
        directive_of("gpu-0", manifest["spec"])
    assert words in str(caught.value)
    assert "gpu-0" in str(caught.value)


def test_an_empty_spec_tells_nothing() -> None:
    assert directive_of("gpu-0", {}) == NodeDirective("gpu-0", "", (), ())


def test_status_is_written_as_it_is_read() -> None:
    assert GPUNodeStatus.model_validate(cases.gpu_node_status()).manifest() == cases.gpu_node_status()
