"""What one poll decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from joulery.domain.keys import ObjectKey
from joulery.domain.plan import NodeDirective, Plan, ScaleChange
from joulery.domain.verdict import Finding, Verdict
from joulery.planner.history import History


@dataclass(frozen=True, slots=True)
class Decision:
    """The plan in force, what to write now, and what to tell.

    Attributes:
        plan: in force; made at this poll where `plan.made_at_s` is the snapshot's time.
        changes: writes of `/scale`, ways down first, then large instances before small ones.
        directives: one per node.
        findings: conditions by pool.
        decisions: verdicts given at this poll, by pool.
        history: to be given to the next call; its restart blocks are to be stored before anything is written.
        step_id: names these writes: differs from the plan's id by what is written, so that a plan carried
            out in several steps never writes one target twice under one name.
        notices: what happened since the last call and is worth an Event, by pool.
        holds: why replicas are not written, by (pool, variant).
        adoptions: replicas that these writes take over from an unknown owner, by (pool, variant).
    """

    plan: Plan
    changes: tuple[ScaleChange, ...]
    directives: tuple[NodeDirective, ...]
    findings: Mapping[ObjectKey, tuple[Finding, ...]]
    decisions: Mapping[ObjectKey, tuple[Verdict, ...]]
    history: History
    step_id: str
    notices: Mapping[ObjectKey, tuple[Verdict, ...]] = field(default_factory=dict)
    holds: Mapping[tuple[ObjectKey, str], Verdict] = field(default_factory=dict)
    adoptions: Mapping[tuple[ObjectKey, str], Verdict] = field(default_factory=dict)
