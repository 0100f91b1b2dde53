"""What users are told about a pool after a cycle; becomes status, Events, metrics and log lines."""

from __future__ import annotations

from dataclasses import dataclass

from joulery.domain.keys import ObjectKey
from joulery.domain.memory import PoolMemory
from joulery.domain.verdict import Finding, Verdict


@dataclass(frozen=True, slots=True)
class VariantReport:
    """Replicas of one variant: as asked, ready, and as the plan wants them.

    `derate` is the share of its profile's speed that is counted on, None where it was never planned for.
    """

    variant: str
    current: int
    ready: int
    target: int | None
    clock_mhz: int | None = None
    hold: Verdict | None = None
    derate: float | None = None


@dataclass(frozen=True, slots=True)
class PoolReport:
    """One pool after one cycle. Watts are of all GPUs of the pool's instances."""

    pool: ObjectKey
    generation: int
    mode: str
    findings: tuple[Finding, ...]
    variants: tuple[VariantReport, ...]
    plan_id: str | None
    predicted_w: float | None
    measured_w: float | None
    requests_per_s: float | None
    attainment_percent: float | None
    decisions: tuple[Verdict, ...]
    memory: PoolMemory
