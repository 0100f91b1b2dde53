"""What an engine of one instance starts from: its cells, its clock, and what it refuses. No numba."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from joulery.serving import kernel_cells as at
from joulery.serving.instance import FIRST_STEP_TOKENS, SECOND_STEP_TOKENS, ClockCoefficients, InstanceModel

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class QueueDiscipline(StrEnum):
    """Who of those that wait comes next: the first that came, or the one whose first token is due first."""

    FIFO = "fifo"
    DEADLINE = "deadline"


def empty_cells(
    model: InstanceModel,
    *,
    token_budget: int,
    max_num_seqs: int,
    start_ns: int = 0,
    queue: QueueDiscipline = QueueDiscipline.FIFO,
) -> Ints:
    """Cells of an engine without requests that has not lived yet. Raises ValueError for limits it cannot have."""
    _check_limits(model, token_budget=token_budget, max_num_seqs=max_num_seqs)
    cells: Ints = np.zeros(at.STATE_CELLS, np.int64)
    cells[[at.ITERATION_END, at.RUN_HEAD, at.RUN_TAIL, at.PARTIAL, at.NEXT_DUE]] = -1
    cells[at.NOW] = start_ns
    cells[[at.TOKEN_BUDGET, at.MAX_NUM_SEQS]] = token_budget, max_num_seqs
    cells[at.KV_CAPACITY] = model.kv_capacity_tokens
    cells[at.STEP_TOKENS : at.STEP_TOKENS + 2] = FIRST_STEP_TOKENS, SECOND_STEP_TOKENS
    cells[at.BY_DEADLINE] = queue is QueueDiscipline.DEADLINE
    return cells


def set_clock(cells: Ints, joules: Floats, clock: ClockCoefficients) -> None:
    """Clock iterations that start from now on."""
    cells[at.CLOCK_HOST_NS] = clock.host_ns
    cells[at.CLOCK_STREAMING_NS : at.CLOCK_STREAMING_NS + 3] = clock.streaming_ns
    cells[at.CLOCK_COMPUTE_PS] = clock.compute_token_ps
    cells[at.CLOCK_CONTEXT_PS] = clock.context_token_ps
    cells[at.CLOCK_SEQUENCE_PS] = clock.sequence_ps
    joules[at.HOST_W :] = clock.host_w, clock.streaming_w, clock.attention_w, clock.compute_w


def flight_w(cells: Ints, joules: Floats) -> float:
    """Mean watts of the iteration in flight; there must be one."""
    duration = float(cells[at.ITERATION_END] - cells[at.ITERATION_START])
    return float(joules[at.FLIGHT_J]) / (1e-9 * duration)


def energy_j(cells: Ints, joules: Floats, idle_w: float) -> float:
    """Joules since the start, idle time and the iteration in flight included."""
    energy = float(joules[at.ENERGY_J]) + 1e-9 * float(cells[at.IDLE_NS]) * idle_w
    if cells[at.ITERATION_END] >= 0:
        energy += 1e-9 * float(cells[at.NOW] - cells[at.ITERATION_START]) * flight_w(cells, joules)
    return energy


def check_lengths(model: InstanceModel, input_tokens: Ints, output_tokens: Ints) -> None:
    """Raise ValueError for lengths below 1 and for a request longer than the engine's limits."""
    if min(int(input_tokens.min()), int(output_tokens.min())) < 1:
        raise ValueError("a request needs at least one input and one output token")
    longest = int((input_tokens + output_tokens).max())
    if longest > model.longest_request_tokens:
        raise ValueError(
            f"a request of {longest} tokens exceeds the limit of {model.longest_request_tokens} (KV cache "
            f"{model.kv_capacity_tokens}, maximum model length {model.max_model_length})"
        )


def _check_limits(model: InstanceModel, *, token_budget: int, max_num_seqs: int) -> None:
    if max_num_seqs < 1 or token_budget < max_num_seqs:
        raise ValueError(
            f"token budget {token_budget} must be at least max_num_seqs {max_num_seqs}, and that at least 1: "
            "a full batch decodes one token per request in one iteration"
        )
    if model.kv_capacity_tokens < 1:
        raise ValueError(f"{model.accelerator} TP{model.tensor_parallel_size} has no room for a KV cache")
