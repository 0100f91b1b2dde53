"""The restart block of a pool's status, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from joulery.api.times import seconds_of, time_of
from joulery.api.v1alpha1 import inference_pool_status as api
from joulery.domain.memory import Derate, PoolMemory, Reinforcement, VariantMemory


def memory_of(status: Mapping[str, Any] | None) -> PoolMemory:
    """What a status remembers; what is unreadable is forgotten, which makes us slower, never wrong."""
    block = (status or {}).get("memory")
    try:
        memory = api.Memory.model_validate(block or {})
    except ValidationError:
        return PoolMemory()
    return PoolMemory(
        plan_id=memory.plan_id,
        planned_at_s=None if memory.planned_time is None else seconds_of(memory.planned_time),
        goal_variant=memory.goal_variant,
        goal_replicas=memory.goal_replicas,
        goal_clock_mhz=memory.goal_clock_mhz,
        variants=tuple(_variant_memory(v) for v in memory.variants),
        reinforcement=_reinforcement_memory(memory.reinforcement),
    )


def memory_block(memory: PoolMemory) -> dict[str, Any]:
    """The restart block as it is written to the status."""
    return memory_model(memory).manifest()


def memory_model(memory: PoolMemory) -> api.Memory:
    """The restart block as the API holds it."""
    return api.Memory(
        plan_id=memory.plan_id,
        planned_time=None if memory.planned_at_s is None else time_of(memory.planned_at_s),
        goal_variant=memory.goal_variant,
        goal_replicas=memory.goal_replicas,
        goal_clock_mhz=memory.goal_clock_mhz,
        variants=tuple(
            api.VariantMemory(
                name=v.variant,
                last_set_replicas=v.last_set_replicas,
                last_up_time=None if v.last_up_s is None else time_of(v.last_up_s),
                last_down_time=None if v.last_down_s is None else time_of(v.last_down_s),
                startup_milliseconds=None if v.startup_s is None else round(v.startup_s * 1000),
                adopted=v.adopted or None,
                pending_from_replicas=v.pending_from_replicas,
                set_back_times=tuple(time_of(at_s) for at_s in v.set_backs_s),
                held_generation=v.held_generation,
                held_replicas=v.held_replicas,
                held_reason=v.held_reason,
                held_by=v.held_by,
                asked_replicas=v.asked_replicas,
                derate=_derate(v.derate),
            )
            for v in memory.variants
        ),
        reinforcement=_reinforcement(memory.reinforcement),
    )


def _derate(derate: Derate) -> api.Derate | None:
    if derate == Derate():
        return None
    since_s = derate.optimistic_since_s
    return api.Derate(
        basis_points=round(derate.share * 10_000),
        optimistic_time=None if since_s is None else time_of(since_s),
        profile_hash=derate.profile,
    )


def _reinforcement(added: Reinforcement) -> api.Reinforcement | None:
    if added == Reinforcement():
        return None
    return api.Reinforcement(
        replicas=added.instances,
        changed_time=None if added.changed_s is None else time_of(added.changed_s),
    )


def _variant_memory(variant: api.VariantMemory) -> VariantMemory:
    milliseconds = variant.startup_milliseconds
    return VariantMemory(
        variant=variant.name,
        last_set_replicas=variant.last_set_replicas,
        last_up_s=None if variant.last_up_time is None else seconds_of(variant.last_up_time),
        last_down_s=None if variant.last_down_time is None else seconds_of(variant.last_down_time),
        startup_s=None if milliseconds is None else milliseconds / 1000,
        adopted=bool(variant.adopted),
        pending_from_replicas=variant.pending_from_replicas,
        set_backs_s=tuple(seconds_of(at) for at in variant.set_back_times),
        held_generation=variant.held_generation,
        held_replicas=variant.held_replicas,
        held_reason=variant.held_reason,
        held_by=variant.held_by,
        asked_replicas=variant.asked_replicas,
        derate=_derate_memory(variant.derate),
    )


def _derate_memory(derate: api.Derate | None) -> Derate:
    if derate is None:
        return Derate()
    since = derate.optimistic_time
    return Derate(
        share=derate.basis_points / 10_000,
        optimistic_since_s=None if since is None else seconds_of(since),
        profile=derate.profile_hash,
    )


def _reinforcement_memory(added: api.Reinforcement | None) -> Reinforcement:
    if added is None:
        return Reinforcement()
    return Reinforcement(
        added.replicas, None if added.changed_time is None else seconds_of(added.changed_time)
    )
