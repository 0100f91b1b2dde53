"""Making a plan: which pools can be planned, their offers, the joint solve, and the plan that comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from joulery.domain import reasons
from joulery.domain.fleet import Fleet
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import Plan
from joulery.domain.policy import Guardrails
from joulery.domain.pool import Mode
from joulery.domain.verdict import Verdict
from joulery.optimizer.solution import Solution
from joulery.planner.assembly import Planned, assemble
from joulery.planner.candidates import choosable
from joulery.planner.guardrails import Proposal, guard
from joulery.planner.history import PoolHistory
from joulery.planner.joint import Offer, Outcome, Room, solve_jointly
from joulery.planner.options import Target, build_options, kinds_of
from joulery.planner.priced import PricedPool, price_pool
from joulery.planner.pricing import PointSource
from joulery.planner.supply import FreeGpus, quotas, supplies
from joulery.planner.terms import Terms
from joulery.planner.view import PoolView


def make_plan(
    fleet: Fleet, views: Sequence[PoolView], catalog: PointSource, previous: Plan | None, terms: Terms
) -> Planned:
    """Plan acting pools on the GPUs they can have, then recommendations beside them."""
    pasts: dict[ObjectKey, PoolHistory] = {}
    priced: list[PricedPool] = []
    for view in views:
        found = price_pool(view, catalog, terms)
        if isinstance(found, PricedPool):
            pasts[view.key] = replace(found.view.past, obstacle=None, mark=view.mark())
            priced.append(found)
        else:
            pasts[view.key] = replace(view.past, obstacle=found, mark=view.mark())
    terms = terms.begun()  # operating points may have been computed until here
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
    return assemble(priced, outcomes, pasts, previous, terms)


def _solve_up(fleet: Fleet, priced: Sequence[PricedPool], terms: Terms) -> Outcome | Solution:
    """More of the same variant first; another one only where that leaves load unserved."""
    narrow = _solve(fleet, priced, terms, is_narrow=True)
    if isinstance(narrow, Solution) or not narrow.shed:
        return narrow
    return _solve(fleet, priced, terms)


def _solve(
    fleet: Fleet,
    priced: Sequence[PricedPool],
    terms: Terms,
    *,
    pinned: frozenset[ObjectKey] = frozenset(),
    is_narrow: bool = False,
) -> Outcome | Solution:
    offers = _offers(priced, terms, pinned)
    if is_narrow:
        offers = [replace(o, options=o.options.raising(o.current)) for o in offers]
    movable = [(p.view, v.name) for p in priced for v in choosable(p.view)]
    room = Room(supplies(fleet, movable), quotas(fleet, movable), terms.max_starts)
    kinds = kinds_of([p.view for p in priced], room.quotas)

    free = FreeGpus.of(fleet)

    def guarded(offer: Offer, target: Target) -> tuple[Target, tuple[Verdict, ...]]:
        return (target, ()) if offer.pinned else guard(_proposal(offer, target, terms, free))

    return solve_jointly(offers, kinds=kinds, room=room, guard=guarded, next_solve=terms.next_solve)


def _offers(priced: Sequence[PricedPool], terms: Terms, pinned: frozenset[ObjectKey]) -> list[Offer]:
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


def _proposal(offer: Offer, target: Target, terms: Terms, free: FreeGpus) -> Proposal:
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
        free=free.seen_from(offer.view.state),
    )


def _limits(view: PoolView) -> Guardrails:
    return view.policy.guardrails if view.policy is not None else Guardrails()


def _refused(solution: Solution) -> Verdict:
    return Verdict(reasons.SOLVER_FAILED, f"no plan was made: {solution.why}; the last plan holds")
