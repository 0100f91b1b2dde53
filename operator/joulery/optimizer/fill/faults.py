"""What makes a problem of lanes that fill, and pools beside them, unusable."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from joulery.optimizer.faults import faults_of
from joulery.optimizer.fill.lane import Lane, LaneProblem
from joulery.optimizer.problem import Floats


def lane_faults(problem: LaneProblem) -> Iterator[str]:
    """Each names the lane or pool, or what they share, and the cure."""
    yield from faults_of(problem.of_pools())
    keys = [lane.key for lane in problem.lanes]
    for key in sorted({pool.key for pool in problem.pools} & set(keys)):
        yield f"pool {key}: a lane has the same name; a router splits in one way only"
    for key in sorted({key for key in keys if keys.count(key) > 1} if len(set(keys)) < len(keys) else ()):
        yield f"lane {key}: given more than once"
    is_sound = _items_are_sound(problem)
    for lane in problem.lanes:
        fault = None if is_sound else _item_fault(lane, len(problem.kinds))
        if fault is None:
            yield from _rule_faults(lane, len(problem.kinds))
        else:
            yield fault


def _items_are_sound(problem: LaneProblem) -> bool:
    """All lanes in one look, since nearly every problem is; which and why is asked only when it is not."""
    lanes = problem.lanes
    if not lanes or not all(_has_one_length(lane) for lane in lanes):
        return False
    capacity, idle_w, full_w = (
        np.concatenate([getattr(lane, name) for lane in lanes]) for name in ("capacity", "idle_w", "full_w")
    )
    kind = np.concatenate([lane.kind for lane in lanes])
    is_finite = capacity.max() < np.inf and full_w.max() < np.inf
    is_ordered = capacity.min() > 0.0 and idle_w.min() >= 0.0 and (full_w >= idle_w).all()
    return bool(is_finite and is_ordered and kind.min() >= 0 and kind.max() < len(problem.kinds))


def _has_one_length(lane: Lane) -> bool:
    clocks, capacities = len(lane.clock_mhz), len(lane.capacity)
    return 0 < len(lane.kind) == clocks == capacities == len(lane.idle_w) == len(lane.full_w)


def _item_fault(lane: Lane, kinds: int) -> str | None:
    arrays = (lane.capacity, lane.idle_w, lane.full_w)
    if not len(lane):
        return f"lane {lane.key}: no item holds its objectives; give it a larger size or a longer objective"
    if not _has_one_length(lane):
        return f"lane {lane.key}: item arrays differ in length"
    if not all(_is_sound(array) for array in arrays) or not (lane.capacity > 0.0).all():
        return f"lane {lane.key}: capacity must be finite and positive, watts finite and not negative"
    if not (lane.full_w >= lane.idle_w).all():
        return f"lane {lane.key}: full watts below idle watts"
    if not (lane.kind.min() >= 0 and lane.kind.max() < kinds):
        return f"lane {lane.key}: an item names a kind outside 0..{kinds - 1}"
    return None


def _rule_faults(lane: Lane, kinds: int) -> Iterator[str]:
    if lane.fewest < 0 or lane.lost < 0:
        yield f"lane {lane.key}: fewest and lost instances must not be negative"
    if not 0.0 <= lane.weight < math.inf:
        yield f"lane {lane.key}: weight {lane.weight}; it must be finite and not negative"
    if not all(0.0 <= watts < math.inf for watts in (lane.start_w, *(w.short_w for w in lane.awaited))):
        yield f"lane {lane.key}: costs of starts and of what is awaited must be finite and not negative"
    if not all(0 <= wanted.kind < kinds and wanted.instances >= 0 for wanted in lane.awaited):
        yield f"lane {lane.key}: what is awaited names a kind outside 0..{kinds - 1} or fewer than no instances"
    if not all(0 <= kind < kinds and instances >= 0 for kind, instances in lane.running):
        yield f"lane {lane.key}: what runs names a kind outside 0..{kinds - 1} or fewer than no instances"


def _is_sound(values: Floats) -> bool:
    return bool(np.isfinite(values).all() and (values >= 0.0).all())
