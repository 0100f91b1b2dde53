"""InferencePool, status: what the operator reports, and the block that survives its restart."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, Field

from joulery.api.v1alpha1.common import (
    CONDITIONS_DESCRIPTION,
    ApiModel,
    Condition,
    Message,
    Name,
    PlanId,
    Reason,
    atomic_list,
    map_list,
)

Replicas = Annotated[int, Field(ge=0, le=1_000_000)]
Watts = Annotated[int, Field(ge=0, le=1_000_000_000)]
Clock = Annotated[int, Field(ge=0, le=10_000)]
Short = Annotated[str, Field(max_length=128)]


class Summary(ApiModel):
    """The columns of `kubectl get inferencepools.joulery.dev`."""

    replicas: Annotated[Short, Field(description="Current and target replicas over all variants, as 3/4.")]
    shards: Annotated[Short, Field(description="Tensor-parallel sizes and replicas of each, as TP4x3.")]
    clock: Annotated[Short, Field(description="SM clock that the plan allows at its peak, in MHz.")]
    watts: Annotated[
        Short, Field(description="Measured and predicted watts of the pool's GPUs, as 5120/5300.")
    ]
    slo: Annotated[Short, Field(description="Share of requests within their objective, in percent.")]


class VariantStatus(ApiModel):
    """Replicas of one variant."""

    name: Annotated[Name, Field(description="Name of the variant.")]
    current_replicas: Annotated[Replicas, Field(description="Replicas that the workload asks for.")]
    ready_replicas: Annotated[Replicas, Field(description="Replicas that serve.")]
    target_replicas: Annotated[Replicas | None, Field(description="Replicas that the plan wants.")] = None
    clock_mhz: Annotated[Clock | None, Field(description="SM clock at the planned peak, in MHz.")] = None
    derate_percent: Annotated[
        str | None,
        Field(
            max_length=8,
            pattern=r"^[0-9]{1,3}(\.[0-9]{1,2})?$",
            description="Share of the profile's speed that is counted on, in percent: 100 until measured latency "
            "contradicts the profile, never below 70.",
        ),
    ] = None
    hold_reason: Annotated[Reason | None, Field(description="Why its replicas are not written.")] = None
    hold_message: Annotated[Message | None, Field(description="The same in words, with the cure.")] = None


class Recommendation(ApiModel):
    """What Act would do."""

    variant: Annotated[Name, Field(description="Variant that should serve.")]
    replicas: Annotated[Replicas, Field(description="Replicas of it.")]
    clock_mhz: Annotated[Clock | None, Field(description="SM clock at the planned peak, in MHz.")] = None


class Decision(ApiModel):
    """One decision and its reason."""

    reason: Annotated[Reason, Field(description="Why, as a constant that Events, metrics and logs repeat.")]
    message: Annotated[Message, Field(description="What was decided and on which figures.")]
    time: Annotated[AwareDatetime, Field(description="When it was decided.")]
    plan_id: Annotated[PlanId | None, Field(description="Plan it belongs to.")] = None


class Derate(ApiModel):
    """What measured latency says of one variant's profile."""

    basis_points: Annotated[
        int,
        Field(ge=0, le=10_000, description="Share of the profile's speed that is counted on, in 1/10000."),
    ]
    optimistic_time: Annotated[
        AwareDatetime | None, Field(description="Since when the profile is called optimistic.")
    ] = None
    profile_hash: Annotated[
        str | None, Field(max_length=64, description="Content of the profile that it was learned on.")
    ] = None


class Reinforcement(ApiModel):
    """Replicas beyond what the profile asks for, after objectives were missed at the highest clock."""

    replicas: Annotated[Replicas, Field(description="How many are added.")]
    changed_time: Annotated[AwareDatetime | None, Field(description="When their number last changed.")] = None


class VariantMemory(ApiModel):
    """What was last set on one variant."""

    name: Annotated[Name, Field(description="Name of the variant.")]
    last_set_replicas: Annotated[Replicas | None, Field(description="Replicas last written.")] = None
    last_up_time: Annotated[AwareDatetime | None, Field(description="When they were last raised.")] = None
    last_down_time: Annotated[AwareDatetime | None, Field(description="When they were last lowered.")] = None
    startup_milliseconds: Annotated[
        int | None,
        Field(ge=0, le=1_000_000_000, description="Learned time from new pod to full speed, in ms."),
    ] = None
    adopted: Annotated[
        bool | None,
        Field(description="Whether replicas of an owner that could not be told were taken over."),
    ] = None
    pending_from_replicas: Annotated[
        Replicas | None, Field(description="Replicas before a write not yet seen to take effect.")
    ] = None
    set_back_times: Annotated[
        tuple[AwareDatetime, ...],
        Field(
            max_length=3,
            description="When others last changed the replicas that were set, oldest first.",
            json_schema_extra=atomic_list(),
        ),
    ] = ()
    held_generation: Annotated[
        int | None, Field(ge=0, description="The pool's metadata.generation when they began to be held.")
    ] = None
    held_replicas: Annotated[Replicas | None, Field(description="Replicas found at that time.")] = None
    held_reason: Annotated[Reason | None, Field(description="Why they are held.")] = None
    held_by: Annotated[
        Short | None,
        Field(
            description="Who owned them then: field manager, operation, subresource and time of its write."
        ),
    ] = None
    asked_replicas: Annotated[
        Replicas | None,
        Field(description="Replicas that an autoscaler was last asked to set, with actuator Metric."),
    ] = None
    derate: Annotated[
        Derate | None,
        Field(description="What measured latency says of its profile. Default: the profile counts in full."),
    ] = None


class Memory(ApiModel):
    """What a restarted operator needs; losing it makes Joulery slower, never wrong."""

    plan_id: Annotated[PlanId | None, Field(description="Plan that is being carried out.")] = None
    planned_time: Annotated[AwareDatetime | None, Field(description="When it was made.")] = None
    goal_variant: Annotated[Name | None, Field(description="Variant it leads to.")] = None
    goal_replicas: Annotated[Replicas | None, Field(description="Replicas of that variant.")] = None
    goal_clock_mhz: Annotated[Clock | None, Field(description="SM clock at the planned peak, in MHz.")] = None
    variants: Annotated[
        tuple[VariantMemory, ...],
        Field(max_length=16, description="What was last set, by variant.", json_schema_extra=atomic_list()),
    ] = ()
    reinforcement: Annotated[
        Reinforcement | None, Field(description="Replicas beyond the profile. Default: none.")
    ] = None


class InferencePoolStatus(ApiModel):
    """What the operator saw and decided."""

    observed_generation: Annotated[
        int | None, Field(ge=0, description="metadata.generation this status belongs to.")
    ] = None
    plan_id: Annotated[PlanId | None, Field(description="Plan in force, as in logs and Events.")] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(max_length=32, description=CONDITIONS_DESCRIPTION, json_schema_extra=map_list("type")),
    ] = ()
    summary: Annotated[Summary | None, Field(description="Short texts for the printed columns.")] = None
    variants: Annotated[
        tuple[VariantStatus, ...],
        Field(max_length=16, description="Replicas by variant.", json_schema_extra=atomic_list()),
    ] = ()
    predicted_watts: Annotated[
        Watts | None, Field(description="Watts of all GPUs of the pool's instances as planned.")
    ] = None
    measured_watts: Annotated[
        Watts | None, Field(description="Watts of all GPUs of the pool's instances as agents measure them.")
    ] = None
    requests_per_minute: Annotated[
        int | None, Field(ge=0, le=1_000_000_000, description="Measured arrivals, in requests per minute.")
    ] = None
    attainment_percent: Annotated[
        str | None,
        Field(
            max_length=8,
            pattern=r"^[0-9]{1,3}(\.[0-9]{1,2})?$",
            description="Share of requests within their objective over the last ten minutes, in percent.",
        ),
    ] = None
    recommendation: Annotated[
        Recommendation | None, Field(description="What Act would do; only in Recommend.")
    ] = None
    decisions: Annotated[
        tuple[Decision, ...],
        Field(max_length=5, description="The last decisions, newest first.", json_schema_extra=atomic_list()),
    ] = ()
    memory: Annotated[Memory | None, Field(description="What a restarted operator needs.")] = None
