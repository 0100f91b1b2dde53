"""Golden cases of the planner: a small cluster and a day's minutes in YAML, and what has to come of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from fleets import (
    ALL_KNOBS,
    H100,
    PROFILES,
    START_S,
    Cluster,
    MadeUpCatalog,
    demand,
    policy,
    pool,
    variant,
)
from joulery.domain.demand import Demand
from joulery.domain.keys import ObjectKey
from joulery.domain.memory import PoolMemory, VariantMemory
from joulery.domain.policy import ClockBounds, Guardrails, Policy
from joulery.domain.pool import Knob, Mode, Pool
from joulery.domain.verdict import Verdict
from joulery.planner.decide import Decision, decide
from joulery.planner.history import History, PoolHistory

POLL_S = 15.0


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """One folder of `tests/golden`."""

    fleet: Mapping[str, Any]
    demand: Mapping[str, Any]
    policy: Mapping[str, Any]
    plan: Mapping[str, Any]


def load(folder: Path) -> GoldenCase:
    """The four files of a case."""
    names = ("fleet", "demand", "policy", "plan")
    return GoldenCase(**{n: yaml.safe_load((folder / f"{n}.yaml").read_text()) for n in names})


def play(case: GoldenCase) -> dict[str, Any]:
    """What happened, in the shape of `plan.yaml`."""
    cluster = _cluster(case.fleet)
    history = History(pools={p.key: _history(p, case) for p in cluster.pools})
    policies = _policies(case.policy)
    catalog = MadeUpCatalog(rates_rps=case.fleet.get("ratesPerInstance", {2: 2.0, 4: 4.5, 8: 8.0}))
    changes: list[dict[str, Any]] = []
    verdicts: dict[str, set[str]] = {p.key.name: set() for p in cluster.pools}
    decision: Decision | None = None
    for poll in range(case.demand["polls"]):
        load_now = {p.key: _demand(p.key, case, poll, cluster.now_s) for p in cluster.pools}
        decision = decide(cluster.fleet(), load_now, policies, PROFILES, history, catalog=catalog)  # type: ignore[arg-type]
        changes += [_change(c, cluster.now_s - START_S) for c in decision.changes]
        for key, told in decision.decisions.items():
            verdicts[key.name] |= {v.reason for v in told}
        cluster.apply(decision)
        history = decision.history
        cluster.pass_time(POLL_S)
    assert decision is not None
    return {
        "plan": {
            p.pool.name: {"variant": p.variant, "replicas": p.replicas, "clockMHz": p.clock_mhz}
            for p in decision.plan.pools
        },
        "changes": changes,
        "verdicts": {name: sorted(reasons) for name, reasons in verdicts.items()},
        "conditions": {
            key.name: {str(f.condition): f"{f.status} {f.verdict.reason}" for f in found}
            for key, found in decision.findings.items()
        },
        "boundNodes": sum(1 for d in decision.directives if d.bindings),
    }


def _change(change: Any, at_s: float) -> dict[str, Any]:
    return {
        "atSeconds": round(at_s),
        "pool": change.pool.name,
        "variant": change.variant,
        "from": change.seen,
        "to": change.want,
        "reason": change.reason,
    }


def _cluster(spec: Mapping[str, Any]) -> Cluster:
    pools = [_pool(p) for p in spec["pools"]]
    cluster = Cluster(pools, nodes=spec["nodes"], startup_s=spec.get("startupSeconds", 120.0))
    for given, made in zip(spec["pools"], pools, strict=True):
        for entry in given["variants"]:
            name = f"tp{entry['tp']}"
            cluster.run(made.key, name, entry.get("replicas", 0))
            if "hold" in entry:
                message = f"Deployment chat-{name} is held by another controller; remove it"
                cluster.holds[made.key, name] = Verdict(entry["hold"], message)
    return cluster


def _pool(spec: Mapping[str, Any]) -> Pool:
    variants = tuple(
        variant(v["tp"], min_replicas=v.get("min", 0), max_replicas=v.get("max", 12))
        for v in spec["variants"]
    )
    knobs = frozenset(Knob(k) for k in spec["knobs"]) if "knobs" in spec else ALL_KNOBS
    key = ObjectKey("team", spec["name"])
    return pool(
        key, variants=variants, mode=Mode(spec.get("mode", "Act")), knobs=knobs, weight=spec.get("weight", 1)
    )


def _policies(spec: Mapping[str, Any]) -> tuple[Policy, ...]:
    if not spec["exists"]:
        return ()
    rules = Guardrails(
        dwell_s=spec.get("dwellSeconds", 600.0),
        max_step_down_percent=spec.get("maxStepDownPercent", 50),
        minimum_gain_percent=spec.get("minimumGainPercent", 3),
    )
    bounds = ClockBounds(H100, spec.get("floorMHz", 1200), spec.get("ceilingMHz", 1980))
    return (policy(guardrails=rules, clocks=(bounds,), max_mode=Mode(spec.get("maxMode", "Act"))),)


def _history(spec: Pool, case: GoldenCase) -> PoolHistory:
    """Half an hour of steady load, seen for two hours, and what was set last."""
    given = case.demand["pools"][spec.key.name]
    rate = float(given["before"])
    # A spread of a tenth: rates over a minute of ordinary traffic.
    samples = tuple(
        (START_S - POLL_S * i, rate * (1.0 + (0.1 if i % 2 else -0.1))) for i in range(120, 0, -1)
    )
    memory = PoolMemory(variants=(VariantMemory("tp4", last_up_s=_ago(given.get("lastUpSecondsAgo"))),))
    return PoolHistory(first_seen_s=START_S - 7200.0, memory=memory, samples=samples)


def _ago(seconds: float | None) -> float | None:
    return None if seconds is None else START_S - seconds


def _demand(key: ObjectKey, case: GoldenCase, poll: int, now_s: float) -> Demand:
    given = case.demand["pools"][key.name]
    after = given.get("then", [given["before"]])
    measured = demand(float(after[min(poll, len(after) - 1)]), at_s=now_s, key=key)
    if poll < given.get("problemFromPoll", 10**9):
        return measured
    message = f"no sample of vllm:request_success_total for {POLL_S:.0f} s"
    return replace(measured, problem=Verdict(given["problem"], message))
