"""From guarded targets to a plan, and to what each pool's history learns from it."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from joulery.domain.keys import ObjectKey
from joulery.domain.plan import Plan, PoolPlan
from joulery.domain.verdict import Verdict
from joulery.planner.alternatives import alternatives
from joulery.planner.clocks import tables_of
from joulery.planner.feasibility import judge
from joulery.planner.history import PoolHistory
from joulery.planner.joint import Outcome
from joulery.planner.options import Target
from joulery.planner.priced import PricedPool
from joulery.planner.settings import PlannerSettings
from joulery.planner.terms import Terms


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, the pools' histories with what was learned on the way, and the verdicts given."""

    plan: Plan | None
    pasts: Mapping[ObjectKey, PoolHistory]
    verdicts: Mapping[ObjectKey, tuple[Verdict, ...]] = field(default_factory=dict)
    problem: Verdict | None = None


def assemble(
    priced: Sequence[PricedPool],
    outcomes: Sequence[Outcome],
    pasts: dict[ObjectKey, PoolHistory],
    previous: Plan | None,
    terms: Terms,
) -> Planned:
    """The plan of all targets, with parts of the last one for pools that do not move now."""
    verdicts: dict[ObjectKey, tuple[Verdict, ...]] = {}
    parts: list[PoolPlan] = []
    futile: set[ObjectKey] = set()
    for p in priced:
        key = p.view.key
        outcome = next((o for o in outcomes if key in o.targets), None)
        before = previous.pool(key) if previous is not None else None
        if before is not None and (p.view.is_stale or not terms.moves(key)):
            parts.append(before)
            continue
        target = _shown(p, outcome.targets[key] if outcome is not None else _as_is(p))
        finding = judge(p.view, p.pricing, target, outcome, is_reachable=p.is_reachable)
        verdicts[key] = outcome.verdicts[key] if outcome is not None else ()
        parts.append(_pool_plan(p, target, terms.settings))
        is_futile = terms.is_up_only and before is not None and _is_same(before, parts[-1])
        futile |= {key} if is_futile else set()
        futile_s = pasts[key].futile_s if key in terms.held else terms.now_s if is_futile else None
        pasts[key] = replace(
            pasts[key],
            feasible=finding,
            outside_polls=0,
            futile_s=futile_s,
            candidates=alternatives(p.view, p.pricing, target, verdicts[key], terms.settings.longest_count),
        )
    if terms.is_up_only and futile.issuperset(terms.movers or ()):
        return Planned(previous, pasts, verdicts)
    kept = _kept(previous, {p.view.key for p in priced}, pasts)
    pools = tuple(sorted((*parts, *kept), key=lambda part: part.pool))
    return Planned(_plan(pools, outcomes, terms), pasts, verdicts)


def _as_is(p: PricedPool) -> Target:
    """What runs, for nothing may be chosen; at the highest clock where no clock meets the objective."""
    if p.is_reachable:
        return p.current
    return replace(p.current, clock_mhz=p.pricing.points[p.current.variant].clocks_mhz[-1])


def _shown(p: PricedPool, target: Target) -> Target:
    """The target; where nothing is chosen beside what stays, the largest part of what stays."""
    most = max(p.pricing.beside, key=lambda b: b.instances, default=None)
    if target.replicas > 0 or most is None:
        return target
    clock = p.pricing.price(most.variant, 0).clock_mhz if p.is_reachable else target.clock_mhz
    return Target(most.variant, 0, clock)


def _is_same(before: PoolPlan, after: PoolPlan) -> bool:
    return (before.variant, before.replicas) == (after.variant, after.replicas)


def _pool_plan(p: PricedPool, target: Target, settings: PlannerSettings) -> PoolPlan:
    price = p.pricing.price(target.variant, target.replicas)
    peak = p.pricing.peak_rps
    as_held = next((b.instances for b in p.pricing.beside if b.variant == target.variant), 0)
    sheds = p.is_reachable and peak > 0.0
    return PoolPlan(
        pool=p.view.key,
        variant=target.variant,
        replicas=max(target.replicas, as_held),
        clock_mhz=target.clock_mhz,
        tables=tables_of(p.view, p.pricing, settings),
        planned_rate_rps=peak,
        capacity_rps=price.capacity_rps,
        predicted_w=price.watts,
        shed_fraction=p.pricing.shed(target.variant, target.replicas) if sheds else 0.0,
    )


def _kept(
    previous: Plan | None, fresh: set[ObjectKey], pasts: Mapping[ObjectKey, PoolHistory]
) -> list[PoolPlan]:
    """Parts of the last plan for pools that could not be planned now: held, not dropped."""
    if previous is None:
        return []
    return [
        part
        for part in previous.pools
        if part.pool not in fresh and part.pool in pasts and pasts[part.pool].obstacle is not None
    ]


def _plan(pools: tuple[PoolPlan, ...], outcomes: Sequence[Outcome], terms: Terms) -> Plan:
    decisive = outcomes[0].solution
    return Plan(
        id=plan_id(terms.now_s, pools),
        kind=terms.kind,
        made_at_s=terms.now_s,
        pools=pools,
        cost_w=decisive.cost_w,
        bound_w=decisive.bound_w,
        engine=decisive.engine,
        status=str(decisive.status),
    )


def plan_id(made_at_s: float, content: object) -> str:
    """Ten letters and digits from time and content: the same decision has the same name everywhere."""
    digest = hashlib.sha256(repr((round(made_at_s, 3), content)).encode()).digest()
    return b32encode(digest).decode()[:10].lower()
