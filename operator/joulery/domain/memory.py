"""What must survive a restart: one typed block of the pool's status.

Written before the action it guards. Losing it makes Joulery slower, never wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Derate:
    """Share of a profile's speed that is counted on, from 0.7 to 1, learned from measured latency.

    `optimistic_since_s` is since when the profile is called optimistic, None where it is not; `profile` is the
    content hash of the profile it was learned on: another one begins at 1.
    """

    share: float = 1.0
    optimistic_since_s: float | None = None
    profile: str | None = None

    @property
    def applied(self) -> float:
        """In whole percents, so that clock tables which agents hold stay valid from window to window."""
        return round(self.share, 2)


@dataclass(frozen=True, slots=True)
class Reinforcement:
    """Instances beyond what the profile asks for, after objectives were missed at the highest clock."""

    instances: int = 0
    changed_s: float | None = None


@dataclass(frozen=True, slots=True)
class VariantMemory:
    """What was last set on one variant and when; `startup_s` is learned, None until a start was seen.

    Attributes:
        adopted: whether replicas of an owner that could not be told were taken over.
        pending_from_replicas: value before a write that was not yet seen to take effect, so that a crash in
            between or a LIST that lags does not look like a person.
        set_backs_s: when others last changed what was set.
        held_generation: the pool's generation at which replicas began to be held.
        held_replicas: the value they were found at then.
        held_reason: why.
        held_by: the owner at that time, as `Owner.key` spells it; a raise makes Joulery the owner since.
        asked_replicas: what an autoscaler was last asked to set, None where none is to follow.
        derate: what measured latency says of its profile.
    """

    variant: str
    last_set_replicas: int | None = None
    last_up_s: float | None = None
    last_down_s: float | None = None
    startup_s: float | None = None
    adopted: bool = False
    pending_from_replicas: int | None = None
    set_backs_s: tuple[float, ...] = ()
    held_generation: int | None = None
    held_replicas: int | None = None
    held_reason: str | None = None
    held_by: str | None = None
    asked_replicas: int | None = None
    derate: Derate = Derate()

    def no_later_than(self, now_s: float) -> VariantMemory:
        """Without times of the future."""
        up_s, down_s = _bounded(self.last_up_s, now_s), _bounded(self.last_down_s, now_s)
        set_backs_s = tuple(min(at_s, now_s) for at_s in self.set_backs_s)
        since_s = _bounded(self.derate.optimistic_since_s, now_s)
        derate = replace(self.derate, optimistic_since_s=since_s)
        return replace(self, last_up_s=up_s, last_down_s=down_s, set_backs_s=set_backs_s, derate=derate)


@dataclass(frozen=True, slots=True)
class PoolMemory:
    """Restart block of one pool. `goal_*` is the last decided end state, reached step by step."""

    plan_id: str | None = None
    planned_at_s: float | None = None
    goal_variant: str | None = None
    goal_replicas: int | None = None
    goal_clock_mhz: int | None = None
    variants: tuple[VariantMemory, ...] = ()
    reinforcement: Reinforcement = Reinforcement()

    def variant(self, name: str) -> VariantMemory:
        """Memory of one variant, empty where nothing was remembered."""
        return next((v for v in self.variants if v.variant == name), VariantMemory(name))

    def no_later_than(self, now_s: float) -> PoolMemory:
        """Without times of the future: a clock that was ahead must not hold a way down until they are reached."""
        variants = tuple(v.no_later_than(now_s) for v in self.variants)
        added = replace(self.reinforcement, changed_s=_bounded(self.reinforcement.changed_s, now_s))
        planned_s = _bounded(self.planned_at_s, now_s)
        return replace(self, planned_at_s=planned_s, variants=variants, reinforcement=added)


def _bounded(at_s: float | None, now_s: float) -> float | None:
    return None if at_s is None else min(at_s, now_s)
