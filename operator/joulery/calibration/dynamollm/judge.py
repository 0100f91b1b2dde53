"""A serving environment on the published cells: relative energy, cheapest cell, SLO pattern, Fig. 3."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from joulery.calibration.dynamollm.steady import MOST_SEQUENCES, Load, Steady, iteration, steady
from joulery.calibration.dynamollm.tables import (
    GPUS_OF_FIGURE,
    HIGHEST_CLOCK_MHZ,
    TOKEN_INTERVAL_OBJECTIVE_MS,
    TTFT_OBJECTIVE_MS,
    Cell,
    rows_of,
    shipped_power,
)
from joulery.calibration.dynamollm.workload import STANDARD, Workload
from joulery.calibration.holdout import Errors
from joulery.serving.instance import InstanceModel, instance_model
from joulery.serving.parameters import EngineProfile

ACCELERATOR = "H100-SXM-80GB"
SIZES = (2, 4, 8)
# A cheapest cell this close to the published one is as good: differences of 3-10 % are the tables' noise.
NEAR_BEST = 0.03
# Where what is in flight does not fit, the objective counts as missed by at least this much.
_NOT_FITTING = 0.05


@dataclass(frozen=True)
class Environment:
    """A serving model under the tables' load; `interval_tail` is the P99 of token intervals over their mean."""

    profile: EngineProfile
    interval_tail: float = 1.0
    workload: Workload = STANDARD

    def models(self) -> dict[int, InstanceModel]:
        """Its instances by tensor-parallel size."""
        return {size: instance_model(self.profile, ACCELERATOR, size) for size in SIZES}


@dataclass(frozen=True, slots=True)
class Played:
    """A cell with what an environment says of it; `lateness` is log P99 over objective, the worse of the two."""

    cell: Cell
    state: Steady
    lateness: float

    @property
    def attains(self) -> bool:
        """Whether both objectives hold."""
        return self.lateness <= 0.0

    @property
    def pattern_is_right(self) -> bool:
        """Whether the paper says the same of the objectives."""
        return self.attains == (self.cell.energy_wh is not None)


def play(environment: Environment, cells: Sequence[Cell]) -> tuple[Played, ...]:
    """All cells in one environment."""
    models = environment.models()
    return tuple(_played(environment, models[cell.tensor_parallel_size], cell) for cell in cells)


def _played(environment: Environment, model: InstanceModel, cell: Cell) -> Played:
    state = steady(model, cell.clock_mhz, environment.workload.of(cell))
    first = math.log(state.ttft_p99_ms / TTFT_OBJECTIVE_MS[cell.request_class[0]])
    interval_p99_ms = environment.interval_tail * state.token_interval_ms
    lateness = max(first, math.log(interval_p99_ms / TOKEN_INTERVAL_OBJECTIVE_MS))
    return Played(cell, state, lateness if state.fits else max(lateness, _NOT_FITTING))


def relative_energies(played: Sequence[Played]) -> tuple[tuple[str, float, float], ...]:
    """Ours and the published energy of every feasible cell over those of TP8 at the highest clock in its row."""
    by_cell = {p.cell: p for p in played}
    found = []
    for row in rows_of([p.cell for p in played]).values():
        reference = next(cell for cell in row if cell.is_reference)
        if reference.energy_wh is None:
            continue
        for cell in row:
            if cell.energy_wh is not None and not cell.is_reference:
                ours = by_cell[cell].state.energy_wh / by_cell[reference].state.energy_wh
                found.append((cell.name, ours, cell.energy_wh / reference.energy_wh))
    return tuple(found)


def attained(played: Sequence[Played]) -> tuple[Played, ...]:
    """The rows whose reference attains for us too, and of them the cells that do: none of them is overloaded."""
    able = {p.cell for p in played if p.attains}
    rows = {cell.row for cell in able if cell.is_reference}
    return tuple(p for p in played if p.cell in able and p.cell.row in rows)


def relative_errors(played: Sequence[Played]) -> Errors:
    """Errors of the relative energies in percent, by cell."""
    return Errors(
        tuple((name, 100.0 * (ours / theirs - 1.0)) for name, ours, theirs in relative_energies(played))
    )


def regrets(played: Sequence[Played], *, own_mask: bool = False) -> dict[str, float | None]:
    """By row, how much dearer the cell that we find cheapest is in the published energies (0 is the same cell).

    On the published SLO mask, or on our own: None where we find a cell that the paper calls infeasible, or none.
    """
    by_cell = {p.cell: p for p in played}
    found: dict[str, float | None] = {}
    for (_, name), row in rows_of([p.cell for p in played]).items():
        able = [c for c in row if (by_cell[c].attains if own_mask else c.energy_wh is not None)]
        ours = min(able, key=lambda c: by_cell[c].state.energy_wh).energy_wh if able else None
        least = min(c.energy_wh for c in row if c.energy_wh is not None)
        found[name] = None if ours is None else ours / least - 1.0
    return found


def rows_near_best(found: dict[str, float | None]) -> int:
    """Rows whose cheapest cell is ours or within `NEAR_BEST` of it."""
    return sum(regret is not None and regret <= NEAR_BEST for regret in found.values())


def figure_watts(profile: EngineProfile, parallel_tokens: int) -> float:
    """Watts of eight GPUs with so many tokens in every iteration: decodes up to the batch limit, prompts beyond."""
    model = instance_model(profile, ACCELERATOR, GPUS_OF_FIGURE)
    if parallel_tokens == 0:
        return model.idle_loaded_w
    decodes = min(parallel_tokens, MOST_SEQUENCES)
    at = model.at_clock(HIGHEST_CLOCK_MHZ)
    one = iteration(at, Load(0, 1, 0.0), decodes, parallel_tokens - decodes)
    return 1e3 * one.joules / one.ms


def figure_errors(profile: EngineProfile) -> Errors:
    """Errors on Fig. 3 in percent, by load."""
    return Errors(
        tuple(
            (f"{tokens} tokens", 100.0 * (figure_watts(profile, tokens) / watts - 1.0))
            for tokens, watts in shipped_power()
        )
    )
