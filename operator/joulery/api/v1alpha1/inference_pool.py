"""InferencePool, spec: one model served under latency objectives, and the variants that may serve it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from joulery.api.v1alpha1.common import (
    STORED,
    ApiModel,
    MetricsPath,
    ObjectName,
    Port,
    map_list,
    rule,
    set_list,
    with_rules,
)
from joulery.api.v1alpha1.request_classes import CLASS_RULES, RequestClass
from joulery.api.v1alpha1.variants import VARIANT_RULES, Variant


class Engine(ApiModel):
    """The serving engine of all variants."""

    type: Annotated[
        Literal["VLLM"], Field(description="Which engine serves; only VLLM is known to this version.")
    ]
    version: Annotated[
        str,
        Field(
            min_length=3,
            max_length=64,
            pattern=r"^v?[0-9]+\.[0-9]+[-+.A-Za-z0-9]*$",
            description="Version of the engine, such as 0.11.0; metrics and bucket edges follow from it.",
        ),
    ]
    metrics_port: Annotated[
        Port, Field(description="TCP port of the engine's metrics page on the pod's address.")
    ] = 8000
    metrics_path: Annotated[MetricsPath, Field(description="Path of the engine's metrics page.")] = "/metrics"


class Model(ApiModel):
    """The model that is served."""

    served_model_name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            description="Name under which engines serve the model: the label model_name of their metrics.",
        ),
    ]


class ProfileReference(ApiModel):
    """Which EnergyProfile describes the pool."""

    name: Annotated[
        ObjectName, Field(description="Name of an EnergyProfile of this model, engine and precision.")
    ]


class Demand(ApiModel):
    """Which Prometheus series belong to the pool, besides the served model's name."""

    match_labels: Annotated[
        dict[str, Annotated[str, Field(max_length=253)]],
        Field(
            max_length=16,
            description="Prometheus labels and their exact values. Default: none.",
            json_schema_extra=with_rules(
                rule(
                    "self.all(name, name.matches('^[a-zA-Z_][a-zA-Z0-9_]{0,127}$'))",
                    "matchLabels names Prometheus labels: letters, digits and underscores, at most 128",
                )
            ),
        ),
    ] = Field(default_factory=dict)


class Redundancy(ApiModel):
    """How many instances may be lost without the rest falling short."""

    instances: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description="Instances that may be lost at once while the others still carry the planned peak within "
            "the objective: 1 is N+1. They run and serve with the others; where GPUs are short, every "
            "pool's load comes before any pool's redundancy.",
        ),
    ] = 0


class Scaling(ApiModel):
    """How Joulery deals with the replicas of the variants' workloads."""

    actuator: Annotated[
        Literal["Scale", "Metric"],
        Field(
            description="Who sets replicas: Scale lets Joulery write /scale of the workloads; with Metric it writes "
            "nothing and publishes joulery_desired_replicas, one series per variant, for an HPA or a KEDA "
            "ScaledObject to follow.",
        ),
    ] = "Scale"
    adopt: Annotated[
        Literal["Undeclared", "Declared"],
        Field(
            description="Which replicas Joulery may take over: Undeclared those that no manifest is known to "
            "declare, Declared also those that an applier declares. With Declared, a later apply of a manifest "
            "that still has replicas fails or sets them back, by applier.",
        ),
    ] = "Undeclared"


class InferencePoolSpec(ApiModel):
    """What the pool's owner wants."""

    model_config = ConfigDict(
        json_schema_extra=with_rules(
            rule(
                "!has(self.redundancy) || !has(self.redundancy.instances) || self.redundancy.instances == 0"
                " || self.variants.exists(v, v.maxReplicas > self.redundancy.instances)",
                "redundancy.instances leaves no instance to serve: "
                "raise a variant's maxReplicas above it or lower redundancy.instances",
            )
        )
    )

    mode: Annotated[
        Literal["Observe", "Recommend", "Act"],
        Field(
            description="How far Joulery may go: Observe measures and reports, Recommend also plans, Act "
            "also changes what knobs allow. The EnergyPolicy's maxMode is a ceiling.",
            json_schema_extra=STORED,
        ),
    ] = "Observe"
    knobs: Annotated[
        tuple[Literal["Clocks", "Replicas", "Shards"], ...],
        Field(
            max_length=3,
            description="What may be moved in Act: Clocks (GPU clocks), Replicas (count within a variant), "
            "Shards (replicas between variants).",
            json_schema_extra=set_list(),
        ),
    ] = ("Clocks",)
    shedding_weight: Annotated[
        int,
        Field(
            ge=1,
            le=1000,
            description="Relative weight when GPUs are short: the pool with the greater weight is shed last.",
        ),
    ] = 1
    engine: Annotated[Engine, Field(description="The serving engine of all variants.")]
    model: Annotated[Model, Field(description="The model that is served.")]
    profile_ref: Annotated[ProfileReference, Field(description="The EnergyProfile that describes the pool.")]
    request_classes: Annotated[
        tuple[RequestClass, ...] | None,
        Field(
            min_length=1,
            max_length=16,
            description="Request classes and their objectives; they must not overlap and leave no hole. "
            "Default: the nine of DynamoLLM, SS to LL: 1-8192 tokens in and out, TTFT 250, 400 and 2000 ms, "
            "TPOT 100 ms. The pool is one queue, in which short prompts wait behind long ones: all requests are "
            "planned for and judged by the objective of the class with the largest inputs.",
            json_schema_extra=map_list("name") | CLASS_RULES,
        ),
    ] = None
    variants: Annotated[
        tuple[Variant, ...],
        Field(
            min_length=1,
            max_length=16,
            description="Ways to serve the model, one workload each.",
            json_schema_extra=map_list("name") | VARIANT_RULES,
        ),
    ]
    redundancy: Annotated[
        Redundancy,
        Field(description="What may be lost without the objective being missed. Default: nothing."),
    ] = Field(default_factory=Redundancy)
    scaling: Annotated[
        Scaling,
        Field(
            description="How Joulery deals with the replicas of the workloads. Default: it takes over only "
            "what no manifest declares."
        ),
    ] = Field(default_factory=Scaling)
    demand: Annotated[
        Demand, Field(description="Which Prometheus series belong to the pool. Default: by model name alone.")
    ] = Field(default_factory=Demand)
