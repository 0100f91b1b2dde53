"""What the planner remembers between polls: an immutable value that goes in with one and comes out changed.

Only `PoolMemory` outlives the process; the rest is measured again within minutes of a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from joulery.domain.demand import Demand
from joulery.domain.keys import ObjectKey
from joulery.domain.memory import PoolMemory, VariantMemory
from joulery.domain.plan import Plan
from joulery.domain.policy import Policy
from joulery.domain.verdict import Finding, Verdict
from joulery.planner.burstiness import Burstiness
from joulery.planner.draining import Ending
from joulery.planner.forecast import Sample
from joulery.planner.load import LengthAverage
from joulery.planner.reinforcement import Streak
from joulery.planner.traffic import Traffic
from joulery.serving.mix import LengthMix

# Clocks that are disciplined step by less.
_MOMENT_S = 5.0


@dataclass(frozen=True, slots=True)
class VariantRate:
    """Highest rate of one instance within the objective at the highest allowed clock.

    `least_rate_rps` is that at the lowest clock that meets the objective and may be set.
    """

    variant: str
    max_rate_rps: float
    least_rate_rps: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """The best that one variant could do at the newest plan, and what spoke against it; for explanations."""

    variant: str
    instances: int
    clock_mhz: int
    watts: float
    capacity_rps: float
    note: str


@dataclass(frozen=True, slots=True)
class Mark:
    """What a pool's plan was made for; when it changes, a plan is made at once."""

    generation: int
    mode: str
    policy: Policy | None
    profile: str | None
    held: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """A window of measured latency under way.

    Attributes:
        variant: the one that serves alone.
        pods: its pods; another set ends the window.
        since_s: when it began.
        polls: polls in it.
        polls_at_highest: those at which no instance was known to be below its highest clock.
    """

    variant: str
    pods: tuple[str, ...]
    since_s: float
    polls: int = 0
    polls_at_highest: int = 0


@dataclass(frozen=True, slots=True)
class PoolHistory:
    """What is remembered of one pool.

    Attributes:
        first_seen_s: when this process first saw it.
        memory: the part that survives a restart.
        samples: recent `(time, requests/s)`, oldest first.
        lengths: averaged histograms of input and output lengths, None before the first request.
        mix: the mix that operating points were last computed for.
        bursts: averages that tell how bursty arrivals are.
        dispersion: the index of dispersion that operating points were last computed for.
        last_good_demand: newest demand without a problem.
        rates: per variant, from the newest plan that could be priced.
        candidates: the best of each variant at the newest plan.
        mark: what the newest plan was made for.
        obstacle: why the pool could not be planned at the newest attempt.
        feasible: the newest plan's word on whether objective and GPUs suffice.
        outside_polls: polls in a row that demand has been outside the plan's envelope.
        futile_s: when an up-only plan last found nothing more for it.
        woken_s: when an instance held at its highest clock last brought about an up-only plan.
        traffic: how requests lie on the pods, None where it is not known.
        cramped_since_s: since when the goal has found no room, None while it has or GPUs are coming free.
        blocked: variants whose pods found no node, and until when they are asked for no more.
        crowded: those of them for which there was no room then: once there is, they are asked for again.
        cold: uids of replicas that were not warm at the last poll.
        ending: replicas that were ending at the last poll.
        watch: the window of measured latency under way, None while none is.
        judgement: what was made of the newest window.
        streak: windows in a row that missed at the highest clock, or kept the promise.
    """

    first_seen_s: float
    memory: PoolMemory = field(default_factory=PoolMemory)
    samples: tuple[Sample, ...] = ()
    lengths: LengthAverage | None = None
    mix: LengthMix | None = None
    bursts: Burstiness | None = None
    dispersion: float | None = None
    last_good_demand: Demand | None = None
    rates: tuple[VariantRate, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    mark: Mark | None = None
    obstacle: Verdict | None = None
    feasible: Finding | None = None
    outside_polls: int = 0
    futile_s: float | None = None
    woken_s: float | None = None
    traffic: Traffic | None = None
    cramped_since_s: float | None = None
    blocked: tuple[tuple[str, float], ...] = ()
    crowded: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()
    ending: tuple[Ending, ...] = ()
    watch: Watch | None = None
    judgement: Verdict | None = None
    streak: Streak = field(default_factory=Streak)

    def max_rate_rps(self, variant: str) -> float | None:
        """Highest rate of one instance of a variant, None where it was never computed."""
        return next((r.max_rate_rps for r in self.rates if r.variant == variant), None)

    def startup_s(self, variant: str, declared_s: float) -> float:
        """Start-up time: learned, else as declared."""
        learned = self.memory.variant(variant).startup_s
        return declared_s if learned is None else learned

    def derate(self, variant: str) -> float | None:
        """What a variant is counted with, as a share of its profile's speed; None where that was never asked."""
        learned = self.memory.variant(variant).derate
        is_known = learned.profile is not None or self.max_rate_rps(variant) is not None
        return learned.share if is_known else None

    @property
    def last_up_s(self) -> float | None:
        """When any variant of the pool was last raised."""
        return max((v.last_up_s for v in self.memory.variants if v.last_up_s is not None), default=None)


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered of all pools, and the plan in force."""

    pools: Mapping[ObjectKey, PoolHistory] = field(default_factory=dict)
    memories: Mapping[ObjectKey, PoolMemory] = field(default_factory=dict)
    plan: Plan | None = None
    last_epoch_s: float | None = None
    last_poll_s: float | None = None

    @classmethod
    def empty(cls) -> History:
        """Nothing remembered."""
        return cls()

    @classmethod
    def restored(cls, memories: Mapping[ObjectKey, PoolMemory]) -> History:
        """After a restart: restart blocks alone."""
        return cls(memories=dict(memories))

    def at(self, now_s: float) -> History:
        """What is known at a time. A clock that was put back makes the rest worthless, as a restart does."""
        if self.last_poll_s is None or now_s >= self.last_poll_s - _MOMENT_S:
            return self
        return History.restored({**self.memories, **{key: past.memory for key, past in self.pools.items()}})

    def pool(self, key: ObjectKey, now_s: float) -> PoolHistory:
        """History of one pool, begun now where it is new."""
        known = self.pools.get(key)
        if known is not None:
            return known
        return PoolHistory(now_s, self.memories.get(key, PoolMemory()).no_later_than(now_s))


def remembered(memory: PoolMemory, changed: VariantMemory) -> PoolMemory:
    """The restart block with one variant's memory replaced."""
    others = tuple(v for v in memory.variants if v.variant != changed.variant)
    variants = tuple(sorted((*others, changed), key=lambda v: v.variant))
    return replace(memory, variants=variants)
