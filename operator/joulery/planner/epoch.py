"""Making a plan: which pools can be planned, their offers, the joint solve, and the plan that comes out."""

from __future__ import annotations

import hashlib
from base64 import b32encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from joulery.domain import reasons
from joulery.domain.fleet import Fleet
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import Plan, PlanKind, PoolPlan
from joulery.domain.policy import Guardrails
from joulery.domain.pool import Knob, Mode
from joulery.domain.verdict import Verdict
from joulery.optimizer.solution import Solution
from joulery.planner.alternatives import alternatives
from joulery.planner.candidates import beside, choosable, points_of, running
from joulery.planner.clocks import tables_of
from joulery.planner.feasibility import judge
from joulery.planner.guardrails import Proposal, guard
from joulery.planner.history import PoolHistory, VariantRate
from joulery.planner.joint import Offer, Outcome, solve_jointly
from joulery.planner.load import accepted_mix
from joulery.planner.options import Target, build_options, kinds_of
from joulery.planner.pricing import PointSource, Pricing
from joulery.planner.settings import PlannerSettings
from joulery.planner.supply import supplies
from joulery.planner.view import PoolView


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for one planning: time, cadence, solver limit, settings, and which pools may move."""

    now_s: float
    epoch_s: float
    time_limit_s: float
    settings: PlannerSettings
    kind: PlanKind = PlanKind.EPOCH
    movers: frozenset[ObjectKey] | None = None

    @property
    def is_up_only(self) -> bool:
        """Whether only some pools may move, and only up."""
        return self.kind is PlanKind.UP_ONLY

    def moves(self, key: ObjectKey) -> bool:
        """Whether a pool's plan may change; all may at an epoch."""
        return self.movers is None or key in self.movers


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, the pools' histories with what was learned on the way, and the verdicts given."""

    plan: Plan | None
    pasts: Mapping[ObjectKey, PoolHistory]
    verdicts: Mapping[ObjectKey, tuple[Verdict, ...]] = field(default_factory=dict)
    problem: Verdict | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Priced:
    """A pool whose operating points are known."""

    view: PoolView
    pricing: Pricing
    current: Target

    @property
    def is_reachable(self) -> bool:
        """Whether any variant that may be chosen, or stays, meets the objective."""
        names = {v.name for v in choosable(self.view)} | {b.variant for b in self.pricing.beside}
        return any(n in self.pricing.points and self.pricing.max_rate_rps(n) > 0.0 for n in names)


def make_plan(
    fleet: Fleet, views: Sequence[PoolView], catalog: PointSource, previous: Plan | None, terms: Terms
) -> Planned:
    """Plan acting pools on the GPUs they can have, then recommendations beside them."""
    pasts: dict[ObjectKey, PoolHistory] = {}
    priced: list[_Priced] = []
    for view in views:
        found = _priced(view, catalog, terms)
        if isinstance(found, _Priced):
            pasts[view.key] = replace(found.view.past, obstacle=None, mark=view.mark())
            priced.append(found)
        else:
            pasts[view.key] = replace(view.past, obstacle=found, mark=view.mark())
    reachable = [p for p in priced if p.is_reachable and choosable(p.view)]
    acting = [p for p in reachable if p.view.acts]
    first = _solve_up(fleet, acting, terms) if terms.is_up_only else _solve(fleet, acting, terms)
    if isinstance(first, Solution):
        return Planned(None, pasts, problem=_refused(first))
    outcomes = [first]
    advised = [p for p in reachable if p.view.mode is Mode.RECOMMEND and not terms.is_up_only]
    if advised:
        settled = [replace(p, current=first.targets[p.view.key]) for p in acting]
        second = _solve(fleet, [*settled, *advised], terms, pinned=frozenset(p.view.key for p in acting))
        if isinstance(second, Solution):
            return Planned(None, pasts, problem=_refused(second))
        outcomes.append(second)
    return _assembled(priced, outcomes, pasts, previous, terms)


def _priced(view: PoolView, catalog: PointSource, terms: Terms) -> _Priced | Verdict | None:
    """The pool with its operating points, or why it is not planned; None where nothing is asked of the planner."""
    if view.mode is Mode.OBSERVE:
        return None
    mix = accepted_mix(view.past.mix, view.past.lengths, terms.settings)
    ahead = view.forecast
    if mix is None or ahead is None:
        return _no_demand(view)
    points = points_of(view, mix, catalog)
    if isinstance(points, Verdict):
        return points
    if not choosable(view) and not beside(view):
        return _nothing_to_plan(view)
    margin = 1.0 + (terms.settings.up_only_margin_percent / 100.0 if terms.is_up_only else 0.0)
    rates = tuple(VariantRate(name, p.rate_at(-1)) for name, p in points.items())
    view = replace(view, past=replace(view.past, mix=mix, rates=rates))
    pricing = Pricing(
        points=points,
        beside=beside(view),
        mean_rps=ahead.mean_rps,
        peak_rps=ahead.peak_rps * margin,
        clocks_move=view.has(Knob.CLOCKS),
        absent={name: counts.absent for name, counts in view.counts.items() if counts.absent},
    )
    return _Priced(view, pricing, _current(view, pricing))


def _current(view: PoolView, pricing: Pricing) -> Target:
    now = running(view)
    if now is None:  # every variant is held: what runs most is what there is
        most = max(pricing.beside, key=lambda b: b.instances, default=None)
        name = most.variant if most is not None else next(iter(pricing.points))
        return Target(name, 0, pricing.price(name, 0).clock_mhz)
    if now.variant not in pricing.points:
        return Target(next(iter(pricing.points)), 0, next(iter(pricing.points.values())).clocks_mhz[-1])
    return Target(now.variant, now.replicas, pricing.price(now.variant, now.replicas).clock_mhz)


def _solve_up(fleet: Fleet, priced: Sequence[_Priced], terms: Terms) -> Outcome | Solution:
    """More of the same variant first; another one only where that leaves load unserved."""
    narrow = _solve(fleet, priced, terms, is_narrow=True)
    if isinstance(narrow, Solution) or max(narrow.shed.values(), default=0.0) <= 1e-6:
        return narrow
    return _solve(fleet, priced, terms)


def _solve(
    fleet: Fleet,
    priced: Sequence[_Priced],
    terms: Terms,
    *,
    pinned: frozenset[ObjectKey] = frozenset(),
    is_narrow: bool = False,
) -> Outcome | Solution:
    kinds = kinds_of([p.view for p in priced])
    offers = _offers(priced, terms, pinned)
    if is_narrow:
        offers = [replace(o, options=o.options.raising(o.current)) for o in offers]
    offered = supplies(fleet, [(p.view, v.name) for p in priced for v in choosable(p.view)])

    def guarded(offer: Offer, target: Target) -> tuple[Target, tuple[Verdict, ...]]:
        return (target, ()) if offer.pinned else guard(_proposal(offer, target, terms))

    return solve_jointly(
        offers, kinds=kinds, supplies=offered, guard=guarded, time_limit_s=terms.time_limit_s
    )


def _offers(priced: Sequence[_Priced], terms: Terms, pinned: frozenset[ObjectKey]) -> list[Offer]:
    offers: list[Offer] = []
    first_kind = 0
    for p in priced:
        horizon_s = max(terms.epoch_s, _limits(p.view).dwell_s)  # a change cannot be taken back sooner
        options = build_options(
            p.view, p.pricing, first_kind=first_kind, horizon_s=horizon_s, settings=terms.settings
        )
        first_kind += len(p.view.pool.variants)
        is_held = p.view.key in pinned or not terms.moves(p.view.key) or p.view.is_stale
        offers.append(Offer(p.view, p.pricing, options, p.current, is_held))
    return offers


def _proposal(offer: Offer, target: Target, terms: Terms) -> Proposal:
    return Proposal(
        view=offer.view,
        pricing=offer.pricing,
        options=offer.options,
        current=offer.current,
        target=target,
        limits=_limits(offer.view),
        now_s=terms.now_s,
        settings=terms.settings,
        raise_only=terms.is_up_only,
    )


def _limits(view: PoolView) -> Guardrails:
    return view.policy.guardrails if view.policy is not None else Guardrails()


def _assembled(
    priced: Sequence[_Priced],
    outcomes: Sequence[Outcome],
    pasts: dict[ObjectKey, PoolHistory],
    previous: Plan | None,
    terms: Terms,
) -> Planned:
    verdicts: dict[ObjectKey, tuple[Verdict, ...]] = {}
    parts: list[PoolPlan] = []
    for p in priced:
        key = p.view.key
        outcome = next((o for o in outcomes if key in o.targets), None)
        before = previous.pool(key) if previous is not None else None
        if before is not None and (p.view.is_stale or not terms.moves(key)):
            parts.append(before)
            continue
        target = outcome.targets[key] if outcome is not None else _as_is(p)
        finding = judge(p.view, p.pricing, target, outcome, is_reachable=p.is_reachable)
        verdicts[key] = outcome.verdicts[key] if outcome is not None else ()
        parts.append(_pool_plan(p, target, terms.settings))
        is_futile = terms.is_up_only and before is not None and _is_same(before, parts[-1])
        futile_s = terms.now_s if is_futile else None
        pasts[key] = replace(
            pasts[key],
            feasible=finding,
            outside_polls=0,
            futile_s=futile_s,
            candidates=alternatives(p.view, p.pricing, target, verdicts[key], terms.settings.longest_count),
        )
    if terms.is_up_only and all(pasts[key].futile_s == terms.now_s for key in terms.movers or ()):
        return Planned(previous, pasts, verdicts)
    kept = _kept(previous, {p.view.key for p in priced}, pasts)
    pools = tuple(sorted((*parts, *kept), key=lambda part: part.pool))
    return Planned(_plan(pools, outcomes, terms), pasts, verdicts)


def _as_is(p: _Priced) -> Target:
    """What runs, for nothing may be chosen; at the highest clock where no clock meets the objective."""
    if p.is_reachable:
        return p.current
    return replace(p.current, clock_mhz=p.pricing.points[p.current.variant].clocks_mhz[-1])


def _is_same(before: PoolPlan, after: PoolPlan) -> bool:
    return (before.variant, before.replicas) == (after.variant, after.replicas)


def _pool_plan(p: _Priced, target: Target, settings: PlannerSettings) -> PoolPlan:
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
        shed_fraction=max(0.0, 1.0 - price.capacity_rps / peak) if sheds else 0.0,
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


def _nothing_to_plan(view: PoolView) -> Verdict:
    held = next((s.hold for s in view.state.variants if s.hold is not None), None)
    message = f"no workload of pool {view.key} exists; create one of its scaleTargetRefs"
    return held or Verdict(reasons.TARGET_NOT_FOUND, message)


def _no_demand(view: PoolView) -> Verdict:
    problem = view.demand.problem if view.demand is not None else None
    if problem is not None:
        return problem
    message = f"pool {view.key} has served no request yet, so neither rate nor lengths are known; it is held as it is"
    return Verdict(reasons.NO_DEMAND_YET, message)


def _refused(solution: Solution) -> Verdict:
    return Verdict(reasons.SOLVER_FAILED, f"no plan was made: {solution.why}; the last plan holds")
