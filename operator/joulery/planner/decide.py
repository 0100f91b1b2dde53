"""The one entry point of the planner, for production and simulator alike. One call per demand poll."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from joulery.domain.demand import Demand
from joulery.domain.fleet import Fleet
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import Plan, PlanKind, ScaleChange
from joulery.domain.policy import Policy, cluster_wide
from joulery.domain.verdict import Finding, Verdict
from joulery.planner.asked import as_asked, asked_of, is_followed, remembered_asks
from joulery.planner.assembly import Planned, plan_id
from joulery.planner.clocks import directives
from joulery.planner.decision import Decision
from joulery.planner.derate_findings import reinforcement_told
from joulery.planner.derate_window import weighed
from joulery.planner.drain import safe_changes
from joulery.planner.draining import followed, told
from joulery.planner.epoch import make_plan
from joulery.planner.findings import findings_of
from joulery.planner.held import woken
from joulery.planner.history import History, PoolHistory, remembered
from joulery.planner.limits import patient, respected
from joulery.planner.move import Steps, is_void
from joulery.planner.observe import observe, set_replicas
from joulery.planner.occasion import occasion, watched
from joulery.planner.ownership import adoptions, owned, raises
from joulery.planner.pricing import PointSource
from joulery.planner.reshard import next_steps
from joulery.planner.settings import PlannerSettings
from joulery.planner.supply import FreeGpus
from joulery.planner.terms import Terms
from joulery.planner.view import PoolView, view_pools
from joulery.serving.parameters import EngineProfile

__all__ = ["Decision", "decide"]


def decide(
    fleet: Fleet,
    demand: Mapping[ObjectKey, Demand],
    policies: Sequence[Policy],
    profiles: Mapping[str, EngineProfile],
    history: History,
    *,
    catalog: PointSource,
    settings: PlannerSettings | None = None,
    profile_problems: Mapping[str, str] | None = None,
    stopwatch: Callable[[], float] | None = None,
) -> Decision:
    """Decide on one snapshot. Same input, same decision; nothing is read or written but the arguments.

    Args:
        history: of the previous call; `History.restored` after a restart.
        catalog: operating points, remembered between calls.
        profile_problems: why profiles that exist are not in `profiles`, by name.
        stopwatch: seconds since some moment. With it the policy's solver limit is a deadline over all solves of a
            plan; without it each solver keeps the limit by its own clock, and no plan depends on it sooner.
    """
    policy = cluster_wide(policies) or Policy("default")
    settings = patient((settings or PlannerSettings()).at(policy.cadence), fleet.provisioner)
    now_s = fleet.observed_at_s
    history = history.at(now_s)

    # 1. See: every pool beside its bounds and its past, with this poll's samples and a forecast.
    fleet = as_asked(fleet, history)
    views = _seen(fleet, demand, policies, profiles, history, policy, settings)
    views, notices = _with_endings(views, now_s)
    notices = {v.key: (*notices[v.key], *reinforcement_told(v, history.pools.get(v.key))) for v in views}
    # 2. Plan, if it is time to.
    terms = occasion(views, history, policy, now_s, settings, stopwatch)
    views, calls = woken(views, terms, now_s)
    planned = make_plan(fleet, views, catalog, history.plan, terms) if terms is not None else None
    plan = _in_force(planned, history.plan, now_s)
    views = _aimed(views, planned, plan)
    # 3. Step: from the goals and what is observed to the next writes.
    aimed = views
    views, changes, waits = _stepped(views, fleet, now_s)
    followed_keys = {v.key for v in views if is_followed(v.pool)}
    written = tuple(c for c in changes if c.pool not in followed_keys)
    # 4. Tell: the agents, the users, and the next call.
    return Decision(
        plan=plan,
        changes=written,
        asked=asked_of(views),
        directives=directives(fleet, views, plan),
        findings=_findings(views, plan, fleet, planned, changes, waits, profile_problems or {}),
        decisions=_told(views, planned, changes, waits, calls),
        history=_next_history(history, views, plan, terms, now_s),
        step_id=_step_id(plan, views, written),
        notices={key: (*told, *_called(calls, key)) for key, told in notices.items()},
        holds={(v.key, s.variant): s.hold for v in views for s in v.state.variants if s.hold is not None},
        adoptions=adoptions(aimed, written),
    )


def _next_history(
    history: History, views: Sequence[PoolView], plan: Plan, terms: Terms | None, now_s: float
) -> History:
    """The history after this poll."""
    is_epoch = terms is not None and terms.kind is PlanKind.EPOCH
    return History(
        pools={v.key: v.past for v in views},
        memories=history.memories,
        plan=plan,
        last_epoch_s=now_s if is_epoch else history.last_epoch_s,
        last_poll_s=now_s,
    )


def _step_id(plan: Plan, views: Sequence[PoolView], written: tuple[ScaleChange, ...]) -> str:
    """A name of these writes; the same write after somebody set it back is another."""
    if not written:
        return plan.id
    memories = {view.key: view.past.memory for view in views}
    set_backs = tuple(at_s for c in written for at_s in memories[c.pool].variant(c.variant).set_backs_s)
    content = (written, set_backs) if set_backs else written
    return f"{plan.id}-{plan_id(plan.made_at_s, content)[:6]}"


def _seen(
    fleet: Fleet,
    demand: Mapping[ObjectKey, Demand],
    policies: Sequence[Policy],
    profiles: Mapping[str, EngineProfile],
    history: History,
    policy: Policy,
    settings: PlannerSettings,
) -> tuple[PoolView, ...]:
    views = view_pools(fleet, demand, policies, profiles, history, settings)
    free, now_s = FreeGpus.of(fleet), fleet.observed_at_s
    epoch_s, last_s = policy.cadence.plan_epoch_s, history.last_poll_s
    seen = (
        observe(
            v,
            free.seen_from(v.state),
            now_s=now_s,
            last_poll_s=last_s,
            epoch_s=epoch_s,
            settings=settings,
        )
        for v in views
    )
    judged = (weighed(v, fleet.nodes, fleet.observed_at_s, settings) for v in seen)
    return tuple(watched(owned(v, fleet.observed_at_s), history.plan, settings) for v in judged)


def _with_endings(
    views: Sequence[PoolView], now_s: float
) -> tuple[tuple[PoolView, ...], dict[ObjectKey, tuple[Verdict, ...]]]:
    """Views with the replicas that end in their history, and what became of those that are gone."""
    seen: list[PoolView] = []
    notices: dict[ObjectKey, tuple[Verdict, ...]] = {}
    for view in views:
        replicas = [r for s in view.state.variants for r in s.replicas]
        ending, gone = followed(view.past.ending, replicas, now_s=now_s)
        notices[view.key] = tuple(told(view.key, gone, now_s))
        seen.append(replace(view, past=replace(view.past, ending=ending)))
    return tuple(seen), notices


def _in_force(planned: Planned | None, previous: Plan | None, now_s: float) -> Plan:
    """The new plan, else the last one, else an empty one that holds everything."""
    if planned is not None and planned.plan is not None:
        return planned.plan
    return previous or Plan(plan_id(now_s, ()), PlanKind.HOLD, now_s, (), 0.0, 0.0, "none", "Held")


def _aimed(views: tuple[PoolView, ...], planned: Planned | None, plan: Plan) -> tuple[PoolView, ...]:
    """Views with the goals of a plan just made in the restart blocks of acting pools."""
    if planned is None:
        return views
    pasts = planned.pasts
    renewed = (replace(v, past=pasts.get(v.key, v.past)) for v in views)
    return tuple(replace(v, past=_with_goal(v, plan)) if v.acts else v for v in renewed)


def _with_goal(view: PoolView, plan: Plan) -> PoolHistory:
    part = plan.pool(view.key)
    if part is None or not view.is_free(part.variant):
        return view.past
    memory = view.past.memory
    aimed = replace(
        memory,
        plan_id=plan.id,
        planned_at_s=plan.made_at_s,
        goal_variant=part.variant,
        goal_replicas=part.replicas,
        goal_clock_mhz=part.clock_mhz,
    )
    return replace(view.past, memory=aimed)


def _stepped(
    views: tuple[PoolView, ...], fleet: Fleet, now_s: float
) -> tuple[tuple[PoolView, ...], tuple[ScaleChange, ...], dict[ObjectKey, tuple[Verdict, ...]]]:
    """The next changes of all pools, and the views with what will have been set in their restart blocks."""
    free = FreeGpus.of(fleet)
    stepped: list[PoolView] = []
    changes: list[ScaleChange] = []
    waits: dict[ObjectKey, tuple[Verdict, ...]] = {}
    for view in views:
        steps = next_steps(view, free.seen_from(view.state))
        free = steps.free
        respectful, bounded = respected(view.state, steps.changes)
        safe, held = safe_changes(view, respectful)
        raised = raises(view, safe, free)
        for change in raised:
            free = free.taken(view.pool.variant(change.variant), change.want - change.seen)
        changes += (*safe, *raised)
        waits[view.key] = (*bounded, *held, *steps.verdicts)
        stepped.append(_with_sets(_cramped(view, steps, now_s), (*safe, *raised), now_s))
    sizes = {(v.key, x.name): x.tensor_parallel_size for v in views for x in v.pool.variants}
    # Room before need; then the largest instances, which find room hardest.
    changes.sort(key=lambda c: (c.want > c.seen, -sizes[c.pool, c.variant], c.pool, c.variant))
    return tuple(stepped), tuple(changes), waits


def _cramped(view: PoolView, steps: Steps, now_s: float) -> PoolView:
    since_s = (view.past.cramped_since_s or now_s) if steps.cramped else None
    if since_s == view.past.cramped_since_s:
        return view
    return replace(view, past=replace(view.past, cramped_since_s=since_s))


def _with_sets(view: PoolView, changes: tuple[ScaleChange, ...], now_s: float) -> PoolView:
    memory = remembered_asks(view, view.past.memory, changes, now_s)
    taken = adoptions((view,), changes)
    for change in () if is_followed(view.pool) else changes:
        memory = set_replicas(memory, change.variant, seen=change.seen, want=change.want, now_s=now_s)
        if (change.pool, change.variant) in taken:
            memory = remembered(memory, replace(memory.variant(change.variant), adopted=True))
    is_left = not view.acts and not changes and memory.goal_variant is not None
    if is_left or is_void(view):
        # Out of Act with nothing left to finish, or planned for what is gone: the goal is no longer ours to reach.
        memory = replace(memory, goal_variant=None, goal_replicas=None, goal_clock_mhz=None)
    return view if memory is view.past.memory else replace(view, past=replace(view.past, memory=memory))


def _findings(
    views: tuple[PoolView, ...],
    plan: Plan,
    fleet: Fleet,
    planned: Planned | None,
    changes: tuple[ScaleChange, ...],
    waits: Mapping[ObjectKey, tuple[Verdict, ...]],
    profile_problems: Mapping[str, str],
) -> dict[ObjectKey, tuple[Finding, ...]]:
    return {
        v.key: findings_of(
            v,
            plan,
            fleet,
            changes=tuple(c for c in changes if c.pool == v.key),
            waits=waits[v.key],
            problem=planned.problem if planned is not None else None,
            profile_problem=profile_problems.get(v.pool.profile_name),
        )
        for v in views
    }


def _told(
    views: tuple[PoolView, ...],
    planned: Planned | None,
    changes: tuple[ScaleChange, ...],
    waits: Mapping[ObjectKey, tuple[Verdict, ...]],
    calls: Mapping[ObjectKey, Verdict],
) -> dict[ObjectKey, tuple[Verdict, ...]]:
    guarded = planned.verdicts if planned is not None else {}
    return {
        v.key: (
            *_called(calls, v.key),
            *guarded.get(v.key, ()),
            *(Verdict(c.reason, c.message) for c in changes if c.pool == v.key),
            *waits[v.key],
        )
        for v in views
    }


def _called(calls: Mapping[ObjectKey, Verdict], key: ObjectKey) -> tuple[Verdict, ...]:
    return (calls[key],) if key in calls else ()
