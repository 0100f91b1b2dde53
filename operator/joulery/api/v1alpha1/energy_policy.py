"""EnergyPolicy: what the administrator allows. Only the policy named `default` holds what one joint solve
needs once.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from joulery.api.v1alpha1.common import (
    DNS_LABEL,
    STORED,
    Accelerator,
    ApiModel,
    ClockMHz,
    map_list,
    rule,
    set_list,
    with_rules,
)


class ClockBounds(ApiModel):
    """SM clocks allowed on one accelerator; node agents read and enforce them themselves."""

    model_config = ConfigDict(
        json_schema_extra=with_rules(
            rule(
                "self.floorMHz <= self.ceilingMHz",
                "floorMHz must not exceed ceilingMHz: lower floorMHz or raise ceilingMHz",
            )
        )
    )

    accelerator: Annotated[
        Accelerator, Field(description="Accelerator as profiles name it, such as H100-SXM-80GB.")
    ]
    floor_mhz: Annotated[
        ClockMHz, Field(description="Lowest SM clock, in MHz: it bounds what a lost node is left with.")
    ]
    ceiling_mhz: Annotated[ClockMHz, Field(description="Highest SM clock, in MHz.")]


class Guardrails(ApiModel):
    """Limits on how fast and for how little a plan may change."""

    dwell_seconds: Annotated[
        int,
        Field(ge=0, le=86_400, description="Time after a step up in which nothing steps down, in seconds."),
    ] = 600
    max_step_down_percent: Annotated[
        int, Field(ge=1, le=100, description="Largest step down per plan epoch, in percent of the replicas.")
    ] = 50
    minimum_gain_percent: Annotated[
        int,
        Field(
            ge=0, le=100, description="Saving that a change must promise, in percent of the watts in force."
        ),
    ] = 3


class Cadence(ApiModel):
    """How often each layer runs."""

    model_config = ConfigDict(
        json_schema_extra=with_rules(
            rule(
                "self.demandPollSeconds <= self.planEpochSeconds",
                "demandPollSeconds must not exceed planEpochSeconds: poll at least once per plan epoch",
            ),
            rule(
                "2 * self.clockEpochSeconds <= self.leaseTimeoutSeconds",
                "leaseTimeoutSeconds must be at least twice clockEpochSeconds: raise leaseTimeoutSeconds",
            ),
        )
    )

    plan_epoch_seconds: Annotated[
        int,
        Field(
            ge=1, le=86_400, description="Time between regular plans, in seconds.", json_schema_extra=STORED
        ),
    ] = 300
    demand_poll_seconds: Annotated[
        int,
        Field(
            ge=1, le=3600, description="Time between polls of demand, in seconds.", json_schema_extra=STORED
        ),
    ] = 15
    clock_epoch_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=60,
            description="Time between looks of an agent at its clocks, in seconds.",
            json_schema_extra=STORED,
        ),
    ] = 5
    lease_timeout_seconds: Annotated[
        int,
        Field(
            ge=2,
            le=86_400,
            description="Age of the operator's Lease at which agents reset their clocks, in seconds.",
            json_schema_extra=STORED,
        ),
    ] = 300


class Solver(ApiModel):
    """Limits of the optimizer."""

    time_limit_milliseconds: Annotated[
        int,
        Field(
            ge=10,
            le=600_000,
            description="Deadline of the solves of one plan, in milliseconds; what is best by then is taken.",
        ),
    ] = 5000
    max_starts_per_plan: Annotated[
        int | None,
        Field(
            ge=0,
            le=1_000_000,
            description="Instances that one plan may start over all pools, beyond it only what the load needs; plans "
            "made because demand left its envelope are not bound. Default: no limit.",
        ),
    ] = None


_NAMESPACE_RULES = with_rules(
    rule(
        f"self.all(n, n.matches('^{DNS_LABEL}$'))",
        "namespaces are exact names, not patterns: list each one, or leave the list empty for all",
    )
)


class EnergyPolicySpec(ApiModel):
    """Bounds on the pools of some namespaces."""

    namespaces: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=63)], ...],
        Field(
            max_length=256,
            description="Namespaces whose pools the policy governs. Default: all.",
            json_schema_extra=set_list() | _NAMESPACE_RULES,
        ),
    ] = ()
    priority: Annotated[
        int,
        Field(
            ge=-1_000_000,
            le=1_000_000,
            description="Where several policies match a pool the highest priority wins, then the first name.",
            json_schema_extra=STORED,
        ),
    ] = 0
    max_mode: Annotated[
        Literal["Observe", "Recommend", "Act"],
        Field(
            description="Ceiling on the pools' mode, and the brake: lowering it resets clocks only.",
            json_schema_extra=STORED,
        ),
    ] = "Recommend"
    clock_bounds: Annotated[
        tuple[ClockBounds, ...],
        Field(
            max_length=32,
            description="SM clocks allowed, by accelerator, in MHz. Default: what the accelerator supports.",
            json_schema_extra=map_list("accelerator"),
        ),
    ] = ()
    guardrails: Annotated[
        Guardrails,
        Field(description="Limits on how fast and for how little a plan may change. Default: as below."),
    ] = Field(default_factory=Guardrails)
    cadence: Annotated[
        Cadence | None,
        Field(description="How often each layer runs; only on the policy named default. Default: as below."),
    ] = None
    solver: Annotated[
        Solver | None,
        Field(description="Limits of the optimizer; only on the policy named default. Default: as below."),
    ] = None


ROOT_RULES = (
    rule(
        "self.metadata.name == 'default' || !has(self.spec.cadence)",
        "cadence holds for the whole cluster: set it on the EnergyPolicy named default",
    ),
    rule(
        "self.metadata.name == 'default' || !has(self.spec.solver)",
        "solver holds for the whole cluster: set it on the EnergyPolicy named default",
    ),
)
