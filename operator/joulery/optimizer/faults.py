"""What makes a problem unusable, as values: a wrong number in one profile becomes a message, never an exception."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from joulery.optimizer.problem import Floats, Ints, Kind, OffNodes, PoolBlock, Problem, Supply


def faults_of(problem: Problem) -> tuple[str, ...]:
    """What makes a problem unusable, each naming the place and the cure; empty if nothing does."""
    return (
        *_kind_faults(problem.kinds),
        *_supply_faults(problem.supplies),
        *_coverage_faults(problem),
        *_quota_faults(problem),
        *_starts_faults(problem),
        *_budget_faults(problem),
        *_key_faults(problem.pools),
        *_option_faults(problem),
    )


def _option_faults(problem: Problem) -> Iterator[str]:
    misshapen = {pool.key: fault for pool in problem.pools if (fault := _shape_fault(pool))}
    for key, fault in misshapen.items():
        yield f"pool {key}: {fault}"
    if not misshapen and not _values_are_sound(problem):
        for pool in problem.pools:
            yield from _value_faults(pool, len(problem.kinds))


def _values_are_sound(problem: Problem) -> bool:
    """All pools in one look, since nearly every problem is; who and where is asked only when it is not."""
    if not problem.pools:
        return True
    return all(
        pool.weight >= 0 and pool.weight < np.inf and not pool.count.all() for pool in problem.pools
    ) and all(
        _within(np.concatenate([getattr(pool, name) for pool in problem.pools]), low, high)
        for name, low, high in (*_RANGES, ("kind", 0, len(problem.kinds) - 1))
    )


def _within(values: Floats | Ints, low: float, high: float) -> bool:
    return bool(values.min() >= low and values.max() <= high)  # false for NaN as well


def _kind_faults(kinds: tuple[Kind, ...]) -> Iterator[str]:
    for accelerator in sorted({kind.accelerator for kind in kinds}):
        sizes = sorted({kind.gpus for kind in kinds if kind.accelerator == accelerator})
        if sizes[0] < 1:
            yield f"accelerator {accelerator}: an instance of {sizes[0]} GPUs; it needs at least one"
        elif any(large % small for small, large in pairwise(sizes)):
            yield f"accelerator {accelerator}: instance sizes {sizes} do not divide each other"


def _supply_faults(supplies: tuple[Supply, ...]) -> Iterator[str]:
    times = Counter(supply.accelerator for supply in supplies)
    for name in sorted(name for name, number in times.items() if number > 1):
        yield f"supply of {name}: given more than once; merge its nodes into one"
    for supply in supplies:
        slots = sorted(supply.slots)
        if any(size < 1 or number < 0 for size, number in slots):
            yield f"supply of {supply.accelerator}: slots {supply.slots} hold a negative number"
        elif any(b % a or a * n < b * m for (a, n), (b, m) in pairwise(slots)):
            yield f"supply of {supply.accelerator}: slots {supply.slots} contradict each other"
        elif supply.off is not None:
            yield from _off_faults(supply, supply.off)


def _off_faults(supply: Supply, off: OffNodes) -> Iterator[str]:
    name = f"supply of {supply.accelerator}"
    if off.number < 0 or off.gpus < 1:
        yield f"{name}: {off.number} nodes of {off.gpus} GPUs are off; neither may be negative, and none without GPUs"
    elif not 0.0 <= off.watts < np.inf:
        yield f"{name}: a node takes {off.watts} W once it is on; it must be finite and not negative"
    elif any(number < off.number * (off.gpus // size) for size, number in supply.slots):
        yield f"{name}: slots {supply.slots} do not hold the {off.number} nodes that are off; add theirs"


def _budget_faults(problem: Problem) -> Iterator[str]:
    budget_w = problem.power_budget_w
    if budget_w is not None and not 0.0 <= budget_w < np.inf:
        yield f"power budget: {budget_w} W; it must be finite and not negative"


def _coverage_faults(problem: Problem) -> Iterator[str]:
    # Sizes above the largest slot simply have no room; a gap below it would silently count as none.
    sizes = {supply.accelerator: {size for size, _ in supply.slots} for supply in problem.supplies}
    for kind in problem.kinds:
        known = sizes.get(kind.accelerator, set())
        if known and kind.gpus not in known and kind.gpus < max(known):
            yield f"supply of {kind.accelerator}: no slots for instances of {kind.gpus} GPUs; add that size"


def _quota_faults(problem: Problem) -> Iterator[str]:
    times = Counter(quota.name for quota in problem.quotas)
    for name in sorted(name for name, number in times.items() if number > 1):
        yield f"quota {name}: given more than once; the least of them holds"
    for quota in problem.quotas:
        if quota.gpus < 0:
            yield f"quota {quota.name}: {quota.gpus} GPUs; it must not be negative"
    for name in sorted({kind.quota for kind in problem.kinds if kind.quota} - set(times)):
        yield f"quota {name}: named by instances but not given; give its GPUs"


def _starts_faults(problem: Problem) -> Iterator[str]:
    if problem.max_starts is not None and problem.max_starts < 0:
        yield f"limit of starts: {problem.max_starts}; it must not be negative"
    for pool in problem.pools:
        starts = pool.starts
        if starts is not None and (starts.shape != pool.count.shape or starts.dtype != np.int64):
            yield f"pool {pool.key}: starts must be int64, one per option"
        elif starts is not None and not _within(starts, 0, 1e6):
            yield f"pool {pool.key}: starts must lie in [0, 1e6], got {_offender(starts, 0, 1e6)}"
        elif starts is not None and starts[pool.count == 0].any():
            yield f"pool {pool.key}: an option with count 0 starts instances"


def _key_faults(pools: tuple[PoolBlock, ...]) -> Iterator[str]:
    times = Counter(pool.key for pool in pools)
    for key in sorted(key for key, number in times.items() if number > 1):
        yield f"pool {key}: given more than once"


def _value_faults(pool: PoolBlock, kinds: int) -> Iterator[str]:
    if not (np.isfinite(pool.weight) and pool.weight >= 0):
        yield f"pool {pool.key}: weight {pool.weight}; it must be finite and not negative"
    for name, low, high in _RANGES:
        values = getattr(pool, name)
        if not _within(values, low, high):
            offender = _offender(values, low, high)
            yield f"pool {pool.key}: {name} must lie in [{low:g}, {high:g}], got {offender}"
    if not (pool.kind.min() >= 0 and pool.kind.max() < kinds):
        yield f"pool {pool.key}: an option names a kind outside 0..{kinds - 1}"
    elif not (pool.count == 0).any():
        yield f"pool {pool.key}: no option with count 0, so it could not be shed"


_RANGES = (
    ("count", 0, 1e6),
    ("clock_mhz", 0, 1e6),
    ("watts", 0.0, 1e12),
    ("served", 0.0, 1.0),
    ("switch_w", 0.0, 1e12),
)


def _shape_fault(pool: PoolBlock) -> str | None:
    arrays = (pool.kind, pool.count, pool.clock_mhz, pool.watts, pool.served, pool.switch_w)
    if not all(isinstance(array, np.ndarray) and array.ndim == 1 for array in arrays):
        return "options must be one-dimensional arrays"
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        return f"option arrays differ in length: {lengths}"
    if lengths[0] == 0:
        return "no option; count 0 with served 0 is the least that a pool has"
    if not all(array.dtype == np.int64 for array in arrays[:3]):
        return "kind, count and clock_mhz must be int64"
    if not all(array.dtype == np.float64 for array in arrays[3:]):
        return "watts, served and switch_w must be float64"
    return None


def _offender(values: Floats | Ints, low: float, high: float) -> str:
    index = int(np.flatnonzero(~((values >= low) & (values <= high)))[0])
    return f"{values[index]} at option {index}"
