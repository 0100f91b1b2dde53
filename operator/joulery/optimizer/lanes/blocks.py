"""A lane as a pool of the joint problem: every count and clock of every variant, and fewer where GPUs are short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from joulery.domain.verdict import Verdict
from joulery.optimizer.lanes.atoms import LaneLoad
from joulery.optimizer.lanes.curves import MOST_COUNTS, Curves, Options, options_of
from joulery.optimizer.lanes.pricing import PointLaneCosts
from joulery.optimizer.problem import Floats, Ints, PoolBlock

# What spares count for among the load that is served.
_SPARES_SHARE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    kind: Ints
    count: Ints
    clock_mhz: Ints
    watts: Floats
    served: Floats


def lane_block(key: str, weight: float, load: LaneLoad, costs: PointLaneCosts, first_kind: int) -> PoolBlock:
    """Options of a lane with load; kinds are those of `costs.variants`, from `first_kind` on. None is one of them.

    A lane that nothing serves has no other.
    """
    rows = [_nothing(first_kind), *_rows(load, costs, first_kind)]
    return PoolBlock(
        key=key,
        weight=weight,
        kind=np.concatenate([row.kind for row in rows]),
        count=np.concatenate([row.count for row in rows]),
        clock_mhz=np.concatenate([row.clock_mhz for row in rows]),
        watts=np.concatenate([row.watts for row in rows]),
        served=np.concatenate([row.served for row in rows]),
        switch_w=np.zeros(sum(len(row.kind) for row in rows)),
    )


def _nothing(kind: int) -> _Rows:
    none = np.zeros(1, dtype=np.int64)
    return _Rows(none + kind, none, none, np.zeros(1), np.zeros(1))


def _rows(load: LaneLoad, costs: PointLaneCosts, first_kind: int) -> Iterator[_Rows]:
    found = costs.curves(load)
    curves = {} if isinstance(found, Verdict) else {each.variant.name: each for each in found}
    for place, variant in enumerate(costs.variants):
        each = curves.get(variant.name)
        options = options_of(each, load.rate_rps, costs.spares) if each is not None else None
        if each is not None and options is not None:
            yield _whole(options, first_kind + place)
            yield _short(each, load.rate_rps, costs.spares, int(options.instances.min()), first_kind + place)


def _whole(options: Options, kind: int) -> _Rows:
    kinds = np.full(len(options.instances), kind, dtype=np.int64)
    return _Rows(kinds, options.instances, options.clock_mhz, options.watts, np.ones(len(kinds)))


def _short(curves: Curves, rate_rps: float, spares: int, fewest: int, kind: int) -> _Rows:
    """Fewer than carry the load, at the highest clock and full, or with the spares in use."""
    counts = np.unique(np.linspace(1, max(1, fewest - 1), MOST_COUNTS).round()).astype(np.int64)
    counts = counts[counts < fewest]
    each_rps = np.minimum(rate_rps / counts, float(curves.max_rate_rps[-1]))
    most = 1.0 - _SPARES_SHARE if spares else 1.0
    watts = counts * np.interp(each_rps, curves.rates_rps[-1], curves.watts[-1])
    return _Rows(
        kind=np.full(len(counts), kind, dtype=np.int64),
        count=counts,
        clock_mhz=np.full(len(counts), curves.clocks_mhz[-1], dtype=np.int64),
        watts=watts,
        served=np.minimum(most, counts * each_rps / rate_rps),
    )
