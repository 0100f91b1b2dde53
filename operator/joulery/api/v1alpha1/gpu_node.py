"""GPUNode: what one node's agent is told (spec) and what it reports (status)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from joulery.api.v1alpha1.common import (
    CONDITIONS_DESCRIPTION,
    ApiModel,
    ClockMHz,
    Condition,
    Message,
    MetricsPath,
    ObjectName,
    PlanId,
    Port,
    Reason,
    atomic_list,
    map_list,
    rule,
    with_rules,
)

# Tables are named `namespace/pool/variant`.
TableName = Annotated[str, Field(min_length=1, max_length=253)]
Rate = Annotated[int, Field(ge=0, le=1_000_000_000)]
ReportedClock = Annotated[int, Field(ge=0, le=10_000)]


class Guards(ApiModel):
    """Signals that send an instance to its highest clock at once."""

    max_running_requests: Annotated[
        int, Field(ge=0, le=1_000_000, description="Running requests above which the highest clock holds.")
    ] = 192
    max_kv_usage_percent: Annotated[
        int, Field(ge=0, le=100, description="KV-cache use above which it holds, in percent.")
    ] = 85
    max_queue_age_milliseconds: Annotated[
        int, Field(ge=0, le=3_600_000, description="Age of the queue above which it holds, in milliseconds.")
    ] = 500


class Row(ApiModel):
    """The clock that suffices up to these loads of one instance."""

    prompt_tokens_per_second: Annotated[Rate, Field(description="Prompt load, in tokens per second.")]
    generation_tokens_per_second: Annotated[Rate, Field(description="Output load, in tokens per second.")]
    clock_mhz: Annotated[ClockMHz, Field(description="SM clock, in MHz.")]


class Table(ApiModel):
    """One clock table; beyond its last row the highest clock holds."""

    model_config = ConfigDict(
        json_schema_extra=with_rules(
            rule(
                "self.lowestMHz <= self.highestMHz",
                "lowestMHz must not exceed highestMHz: lower lowestMHz or raise highestMHz",
            )
        )
    )

    name: Annotated[TableName, Field(description="Name by which bindings refer to the table.")]
    lowest_mhz: Annotated[ClockMHz, Field(description="Lowest SM clock to set, in MHz.")]
    highest_mhz: Annotated[ClockMHz, Field(description="Highest SM clock to set, in MHz.")]
    dwell_milliseconds: Annotated[
        int,
        Field(ge=0, le=3_600_000, description="Lower load must last this long, in ms, before a step down."),
    ] = 15_000
    prompt_weight_percent: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description="Weight of the prompt rate in a row's load, in percent; the rest is the generation rate's.",
        ),
    ] = 50
    guards: Annotated[Guards, Field(description="Signals that override the rows. Default: as below.")] = (
        Field(default_factory=Guards)
    )
    rows: Annotated[
        tuple[Row, ...],
        Field(
            max_length=64,
            description="Rows by rising load, the first that fits holds. Default: none, highest clock.",
            json_schema_extra=atomic_list(),
        ),
    ] = ()


class Binding(ApiModel):
    """One instance on the node and the table that clocks its GPUs."""

    pod_uid: Annotated[str, Field(min_length=1, max_length=63, description="metadata.uid of the pod.")]
    namespace: Annotated[ObjectName, Field(description="Namespace of the pod.")]
    pod_name: Annotated[ObjectName, Field(description="Name of the pod.")]
    address: Annotated[
        str,
        Field(min_length=1, max_length=45, pattern="^[0-9a-fA-F:.]+$", description="IP address of the pod."),
    ]
    metrics_port: Annotated[Port, Field(description="TCP port of the engine's metrics page.")]
    metrics_path: Annotated[MetricsPath, Field(description="Path of the engine's metrics page.")]
    table: Annotated[TableName, Field(description="Name of the table to follow.")]


class GPUNodeSpec(ApiModel):
    """Clock tables and which instance follows which."""

    model_config = ConfigDict(
        json_schema_extra=with_rules(
            rule(
                "!has(self.bindings) || self.bindings.all(b, has(self.tables)"
                " && self.tables.exists(t, t.name == b.table))",
                "a binding names a table that is not in tables: add the table or change the binding",
            )
        )
    )

    plan_id: Annotated[
        PlanId | None, Field(description="Plan the tables belong to. Default: none, set by hand.")
    ] = None
    tables: Annotated[
        tuple[Table, ...],
        Field(max_length=64, description="Clock tables. Default: none.", json_schema_extra=map_list("name")),
    ] = ()
    bindings: Annotated[
        tuple[Binding, ...],
        Field(
            max_length=64,
            description="Instances on the node, by pod. Default: none.",
            json_schema_extra=map_list("podUID"),
        ),
    ] = ()


class GPUStatus(ApiModel):
    """One GPU as its node's agent sees it."""

    uuid: Annotated[str, Field(min_length=1, max_length=96, description="UUID of the GPU, as NVML gives it.")]
    index: Annotated[int, Field(ge=0, le=255, description="Index of the GPU on the node.")]
    product_name: Annotated[str, Field(max_length=96, description="Product name, as NVML gives it.")]
    requested_mhz: Annotated[
        ReportedClock | None,
        Field(description="SM clock the table asks for, in MHz; absent: driver default."),
    ] = None
    applied_mhz: Annotated[
        ReportedClock | None, Field(description="Upper end of the locked range last set, in MHz.")
    ] = None
    observed_mhz: Annotated[ReportedClock | None, Field(description="SM clock read back, in MHz.")] = None
    power_milliwatts: Annotated[
        int | None, Field(ge=0, le=100_000_000, description="Power draw, in milliwatts.")
    ] = None
    energy_millijoules: Annotated[
        int | None, Field(ge=0, description="Energy counter of the driver, in millijoules.")
    ] = None
    reason: Annotated[Reason | None, Field(description="Why the clock is as it is.")] = None
    message: Annotated[Message | None, Field(description="The same in words.")] = None
    owner_namespace: Annotated[
        ObjectName | None, Field(description="Namespace of the pod that holds the GPU.")
    ] = None
    owner_pod: Annotated[ObjectName | None, Field(description="Name of the pod that holds the GPU.")] = None
    highest_clock_since_time: Annotated[
        AwareDatetime | None,
        Field(
            description="Since when load has held the pod at the highest clock of its table, by the node's clock; "
            "absent: it has not. After a minute the operator looks for capacity without waiting for an epoch."
        ),
    ] = None


class GPUNodeStatus(ApiModel):
    """What the node's agent reports."""

    observed_generation: Annotated[
        int | None, Field(ge=0, description="metadata.generation the agent acts on.")
    ] = None
    agent_version: Annotated[str | None, Field(max_length=64, description="Version of the agent.")] = None
    boot_id: Annotated[str | None, Field(max_length=64, description="Boot id of the node's kernel.")] = None
    plan_id: Annotated[PlanId | None, Field(description="Plan the agent acts on.")] = None
    report_time: Annotated[
        AwareDatetime | None,
        Field(description="When the agent wrote this; the operator watches it change, every 30 s or sooner."),
    ] = None
    lease_seen_time: Annotated[
        AwareDatetime | None, Field(description="When the agent last saw the operator's Lease change.")
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(max_length=16, description=CONDITIONS_DESCRIPTION, json_schema_extra=map_list("type")),
    ] = ()
    gpus: Annotated[
        tuple[GPUStatus, ...],
        Field(max_length=64, description="The node's GPUs.", json_schema_extra=atomic_list()),
    ] = ()
