"""The event-driven kernel keeps the schedule of the stepwise one to the nanosecond, whatever happens."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulery.serving import kernel, kernel_cells, kernel_stretch
from joulery.serving.engine import VLLM_ITL_EDGES_NS, Engine
from joulery.serving.engine_state import QueueDiscipline
from serving_cases import instance
from stepped_engine import SteppedEngine

S = 1_000_000_000
CLOCKS = (1200, 1590, 1980)
EDGES_NS = {
    "vllm": VLLM_ITL_EDGES_NS,
    "none": (),
    "one": (12_000_000,),
    "fine": tuple(range(11_000_000, 13_000_000, 997)),
}
# Arrival, input tokens, output tokens, and how long after its arrival the first token is due.
Request = tuple[int, int, int, int]


@dataclass(frozen=True)
class Act:
    at_ns: int
    kind: str
    clock_mhz: int = 0
    requests: tuple[Request, ...] = ()


@dataclass(frozen=True)
class Case:
    kv_capacity_tokens: int
    budget: int
    seqs: int
    edges: str
    # Time per token of context where not the instance's: none, awkward remainders, minutes per iteration.
    context_ps: int | None
    tensor_parallel_size: int
    queue: QueueDiscipline
    acts: tuple[Act, ...]

    def engine(self, kind: type[Engine]) -> Engine:
        model = replace(instance(self.tensor_parallel_size), kv_capacity_tokens=self.kv_capacity_tokens)
        it = kind(
            model,
            token_budget=self.budget,
            max_num_seqs=self.seqs,
            clock_mhz=1980,
            capacity_hint=16,
            itl_edges_ns=EDGES_NS[self.edges],
            queue=self.queue,
        )
        self.set_clock(it, 1980)
        for unused in (it._arrays.requests, it._arrays.queue, it._arrays.finished):
            unused[:] = 0  # or two engines would differ in what nobody has written
        return it

    def set_clock(self, it: Engine, clock_mhz: int) -> None:
        it.set_clock(clock_mhz)
        if self.context_ps is not None:
            it._state[kernel_cells.CLOCK_CONTEXT_PS] = self.context_ps


@st.composite
def cases(draw: st.DrawFn) -> Case:
    seqs = draw(st.integers(1, 40))
    longest_input = draw(st.sampled_from((8, 250, 3000)))
    longest_output = draw(st.sampled_from((3, 60, 1500)))
    within_ns = draw(st.sampled_from((0, 20_000_000, 2 * S, 30 * S)))
    requests = st.tuples(
        st.integers(0, within_ns),
        st.integers(1, longest_input),
        st.integers(1, longest_output),
        st.sampled_from((0, S // 4, 2 * S)),
    )
    times = sorted(draw(st.lists(st.integers(0, 2 * within_ns + S), max_size=25)))
    acts = []
    for at_ns in times:
        kind = draw(st.sampled_from(("submit", "submit", "submit", "cut", "cut", "clock", "take")))
        many = sorted(draw(st.lists(requests, min_size=1, max_size=12))) if kind == "submit" else []
        acts.append(Act(at_ns, kind, draw(st.sampled_from(CLOCKS)), tuple(many)))
    if draw(st.integers(0, 5)) == 0:
        acts.append(Act(times[-1] if times else 0, draw(st.sampled_from(("drain", "abort")))))
    longest = longest_input + longest_output
    room = draw(st.sampled_from((0, longest // 10, longest, 10 * longest, 500_000)))
    return Case(
        kv_capacity_tokens=longest + room,
        budget=draw(st.integers(seqs, 40 * seqs)),
        seqs=seqs,
        edges=draw(st.sampled_from(sorted(EDGES_NS))),
        context_ps=draw(st.sampled_from((None, None, None, 0, 1, 997, 12_500, 10**9, 10**11))),
        tensor_parallel_size=draw(st.sampled_from((2, 4, 8))),
        queue=draw(st.sampled_from(QueueDiscipline)),
        acts=tuple(acts),
    )


def both_do(case: Case, act: Act, engines: tuple[Engine, Engine], last_arrival_ns: int) -> int:
    """Bring both engines to the time of an act and let them do it; the last arrival so far."""
    for it in engines:
        it.advance(max(act.at_ns, it.now_ns))
    assert_equal(*engines)
    fast, slow = engines
    if act.kind == "submit":
        start = max(act.at_ns, last_arrival_ns)
        arrivals, inputs, outputs, slack_ns = np.array(act.requests, np.int64).T
        for it in engines:
            it.submit_many(start + arrivals, inputs, outputs, None, start + arrivals + slack_ns)
        return start + int(arrivals[-1])
    if act.kind == "clock":
        for it in engines:
            case.set_clock(it, act.clock_mhz)
    if act.kind == "take":
        assert fast.take_finished().finish_ns.tolist() == slow.take_finished().finish_ns.tolist()
        assert fast.take_first_tokens().tolist() == slow.take_first_tokens().tolist()
    if act.kind == "drain":
        for it in engines:
            it.drain()
    if act.kind == "abort":
        assert fast.abort().tolist() == slow.abort().tolist()
    return last_arrival_ns


def assert_equal(fast: Engine, slow: Engine) -> None:
    """Every row, every integer cell, every ring and the histogram are the same, joules to 1e-9."""
    a, b = fast._arrays, slow._arrays
    # Only the kernel keeps the next due iteration, in the last cell.
    cells = kernel_cells.NEXT_DUE
    assert a.state[:cells].tolist() == b.state[:cells].tolist()
    for name in ("requests", "queue", "stack", "passed", "due", "completing", "finished", "intervals"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.joules.tolist() == pytest.approx(b.joules.tolist(), rel=1e-9)
    assert fast.energy_j == pytest.approx(slow.energy_j, rel=1e-9)


def run_both(case: Case) -> Engine:
    engines = case.engine(Engine), case.engine(SteppedEngine)
    last_arrival_ns = 0
    for act in case.acts:
        last_arrival_ns = both_do(case, act, engines, last_arrival_ns)
    for it in engines:
        it.advance(max(it.now_ns, last_arrival_ns) + 10_000_000 * S)
    assert_equal(*engines)
    return engines[0]


@settings(max_examples=200, deadline=None)
@given(cases())
def test_schedule_equals_the_stepwise_kernel_and_joules_to_a_billionth(case: Case) -> None:
    run_both(case)


@settings(deadline=None)
@given(st.integers(0, 3000), st.integers(0, 10**7), st.integers(0, 10**12), st.integers(1, 2000))
def test_floor_sum_equals_the_sum_of_its_terms(count: int, slope: int, offset: int, divisor: int) -> None:
    terms = sum((slope * i + offset) // divisor for i in range(count))
    assert kernel_stretch.floor_sum(count, slope, offset, divisor) == terms


@given(
    st.integers(0, 500), st.integers(0, 10**5), st.integers(0, 10**6), st.integers(0, 60), st.integers(0, 600)
)
def test_intervals_within_an_edge_are_counted_to_the_nanosecond(
    fixed: int, slope: int, offset: int, count: int, over: int
) -> None:
    lengths = [fixed + (slope * i + offset) // 1000 for i in range(count + 1)]
    edge = min(lengths[-1] - 1, lengths[0] + over)
    if lengths[0] <= edge:
        within = sum(length <= edge for length in lengths)
        assert kernel_stretch.count_within(fixed, slope, offset, edge) == within


def test_machine_code_on_disk_is_named_by_all_that_it_was_compiled_from() -> None:
    sources = sorted(Path(kernel.__file__).parent.glob("*.py"))
    checksum = zlib.crc32(b"".join(p.read_bytes() for p in sources if p.name.startswith("kernel")))
    assert kernel.advance.__qualname__ == f"advance_{checksum:08x}"
    compiled = [p.name for p in sources if "@compiled" in p.read_text()]
    assert compiled and all(name.startswith("kernel") for name in compiled)
