"""Lanes for the public conversation mix on a shipped profile: what each policy draws, at rising load."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from joulery.domain.pool import Variant
from joulery.domain.request_class import DEFAULT_CLASSES, Objective, RequestClass, class_of
from joulery.optimizer.lanes.partition import partition
from joulery.optimizer.lanes.plan import LanePartition
from joulery.optimizer.lanes.pricing import LanePoints, PointLaneCosts
from joulery.optimizer.lanes.request import ClassLoad, Confusion, LanePolicy, LaneRequest, Promise
from joulery.serving.catalog import PointCatalog
from joulery.serving.class_mix import Lengths
from joulery.serving.mix import of_requests
from joulery.serving.parameters import EngineProfile
from joulery.serving.points import OperatingPoints
from joulery.simulator.scenario import ACCELERATOR, variants_of
from joulery.simulator.traces import request_lengths


@dataclass(frozen=True, slots=True)
class LaneTable:
    """What is shown: requests per second of the whole pool, how good the predictor is, and the partition found."""

    rate_rps: float
    predictor: str
    found: LanePartition


def conversation_classes(rate_rps: float, ttft_ms: int | None = None) -> tuple[ClassLoad, ...]:
    """The nine classes with their shares and lengths in the Azure 2023 conversation trace.

    `ttft_ms` is one objective for all of them in place of their own, so that sharing loosens nothing.
    """
    inputs, outputs = request_lengths("conv")
    found = [class_of(DEFAULT_CLASSES, int(i), int(o)) for i, o in zip(inputs, outputs, strict=True)]
    names = np.array([each.name if each else "" for each in found])
    rows = {each.name: names == each.name for each in DEFAULT_CLASSES}
    covered = sum(int(row.sum()) for row in rows.values())
    return tuple(
        ClassLoad(
            each if ttft_ms is None else _under(each, ttft_ms),
            rate_rps * int(rows[each.name].sum()) / covered,
            of_requests(inputs[rows[each.name]], outputs[rows[each.name]]),
        )
        for each in DEFAULT_CLASSES
    )


def _under(each: RequestClass, ttft_ms: int) -> RequestClass:
    return replace(each, objective=replace(each.objective, time_to_first_token_ms=ttft_ms))


def costs_of(
    profile: EngineProfile, catalog: PointCatalog, gpu_price_w: Mapping[str, float] | None = None
) -> PointLaneCosts:
    """Costs on the variants of the scenario, at every clock of the profile."""
    return PointLaneCosts(
        variants_of(profile.name, startup_s=120.0), points_of(profile, catalog), gpu_price_w=gpu_price_w
    )


def points_of(profile: EngineProfile, catalog: PointCatalog) -> LanePoints:
    """Operating points from a catalog."""
    clocks_mhz = profile.accelerators[ACCELERATOR].device.supported_clocks_mhz

    def points(variant: Variant, lengths: Lengths, objective: Objective) -> OperatingPoints:
        return catalog.points(profile, variant, mix=lengths, objective=objective, clocks_mhz=clocks_mhz)

    return points


def table_of(
    profile: EngineProfile,
    classes: tuple[ClassLoad, ...],
    predictor: str,
    confusion: Confusion | None,
    *,
    promise: Promise,
    most_priced: int,
    catalog: PointCatalog,
) -> LaneTable:
    """`Auto` with the fixed policies beside it, at one load with one predictor."""
    rate_rps = math.fsum(each.rate_rps for each in classes)
    request = LaneRequest(classes, LanePolicy.AUTO, confusion, promise, most_priced)
    return LaneTable(rate_rps, predictor, partition(request, costs_of(profile, catalog)))


def figures_of(table: LaneTable) -> dict[str, object]:
    """The same as one JSON object."""
    found = table.found
    return {
        "requestsPerSecond": table.rate_rps,
        "predictor": table.predictor,
        "policies": {
            **{
                each.policy.value: _figures(each.cost_w, each.unserved_rps, each.lanes)
                for each in found.alternatives
            },
            "Auto": _figures(found.cost_w, found.unserved_rps, len(found.lanes)),
        },
        "boundWatts": found.bound_w,
        "quality": found.quality.value,
        "lanesPriced": found.priced,
        "lanes": {lane.name: lane.verdict.message for lane in found.lanes},
    }


def _figures(watts: float, unserved_rps: float, lanes: int) -> dict[str, float | int]:
    return {"watts": round(watts, 1), "unservedRequestsPerSecond": unserved_rps, "lanes": lanes}


def text_of(table: LaneTable) -> str:
    """One row of watts per policy, then the lanes of `Auto` with their reasons."""
    found = table.found
    bound = "no bound" if not found.bound_w else f"no partition below {found.bound_w:,.0f} W"
    rows = [
        f"{table.rate_rps:g} requests/s, predictor {table.predictor}",
        *(
            f"  {each.policy:<9} {_draw(each.cost_w, each.unserved_rps)}  {each.lanes} lanes"
            for each in found.alternatives
        ),
        f"  {'Auto':<9} {_draw(found.cost_w, found.unserved_rps)}  {len(found.lanes)} lanes; {bound}; "
        f"{found.priced} lanes priced",
        *(f"    {lane.verdict.message}" for lane in found.lanes),
        *(f"    {verdict.message}" for verdict in found.refused),
    ]
    return "\n".join(rows)


def _draw(watts: float, unserved_rps: float) -> str:
    return f"{watts:>9,.0f} W" + (f", {unserved_rps:g} requests/s not served" if unserved_rps else "")
