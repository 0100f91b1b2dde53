"""InferencePool, spec: one model served under latency objectives, and the variants that may serve it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from joulery.api.v1alpha1.common import (
    STORED,
    Accelerator,
    ApiModel,
    MetricsPath,
    Name,
    ObjectName,
    Port,
    map_list,
    rule,
    set_list,
    with_rules,
)

MODES = ("Observe", "Recommend", "Act")
KNOBS = ("Clocks", "Replicas", "Shards")

TokenCount = Annotated[int, Field(ge=1, le=10_000_000)]
ObjectiveMs = Annotated[int, Field(ge=1, le=3_600_000)]


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


class TokenRange(ApiModel):
    """An inclusive range of token counts."""

    model_config = ConfigDict(
        json_schema_extra=with_rules(
            rule(
                "self.minimum <= self.maximum",
                "minimum must not exceed maximum: lower minimum or raise maximum",
            )
        )
    )

    minimum: Annotated[TokenCount, Field(description="Smallest count, in tokens, included.")]
    maximum: Annotated[TokenCount, Field(description="Largest count, in tokens, included.")]


class Objective(ApiModel):
    """A request attains its objective when every limit given here holds."""

    time_to_first_token_milliseconds: Annotated[
        ObjectiveMs,
        Field(description="Longest time from arrival to the first output token, in milliseconds."),
    ]
    time_per_output_token_milliseconds: Annotated[
        ObjectiveMs,
        Field(description="Largest mean interval between a request's output tokens, in milliseconds."),
    ]
    inter_token_latency_p99_milliseconds: Annotated[
        ObjectiveMs | None,
        Field(description="Limit of the 99th percentile over all token intervals, in ms. Default: no limit."),
    ] = None


class RequestClass(ApiModel):
    """Requests of a range of lengths under one objective."""

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=32,
            pattern="^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$",
            description="Name of the class, shown in reports.",
        ),
    ]
    input_tokens: Annotated[TokenRange, Field(description="Prompt lengths of the class, in tokens.")]
    output_tokens: Annotated[TokenRange, Field(description="Answer lengths of the class, in tokens.")]
    objective: Annotated[Objective, Field(description="Latency objective of the class, in milliseconds.")]


class ScaleTarget(ApiModel):
    """A workload with a /scale subresource in the pool's namespace."""

    api_version: Annotated[
        str,
        Field(
            min_length=1,
            max_length=253,
            pattern=r"^([-a-z0-9.]+/)?v[0-9][a-z0-9]*$",
            description="API version of the workload, such as apps/v1.",
        ),
    ]
    kind: Annotated[
        str,
        Field(
            min_length=1,
            max_length=63,
            pattern="^[A-Z][A-Za-z0-9]*$",
            description="Kind of the workload, such as Deployment.",
        ),
    ]
    name: Annotated[ObjectName, Field(description="Name of the workload.")]


class Variant(ApiModel):
    """One way to serve the model: accelerator, tensor-parallel size and engine options of one workload."""

    model_config = ConfigDict(
        json_schema_extra=with_rules(
            rule(
                "self.minReplicas <= self.maxReplicas",
                "minReplicas must not exceed maxReplicas: lower minReplicas or raise maxReplicas",
            )
        )
    )

    name: Annotated[Name, Field(description="Name of the variant, unique in the pool.")]
    accelerator: Annotated[
        Accelerator, Field(description="Accelerator as the profile names it, such as H100-SXM-80GB.")
    ]
    tensor_parallel_size: Annotated[
        int, Field(ge=1, le=64, description="GPUs per replica: the engine's --tensor-parallel-size.")
    ]
    max_num_batched_tokens: Annotated[
        int,
        Field(
            ge=1,
            le=1_048_576,
            description="Tokens per engine iteration: the engine's --max-num-batched-tokens. It bounds how "
            "long a prefill may delay the next output token.",
        ),
    ]
    max_num_seqs: Annotated[
        int, Field(ge=1, le=65_536, description="Requests in one batch: the engine's --max-num-seqs.")
    ]
    scale_target_ref: Annotated[
        ScaleTarget,
        Field(description="Workload whose replicas serve the variant; each has one variant only."),
    ]
    min_replicas: Annotated[
        int, Field(ge=0, le=10_000, description="Fewest replicas to keep.", json_schema_extra=STORED)
    ] = 0
    max_replicas: Annotated[int, Field(ge=0, le=10_000, description="Most replicas to ask for.")]
    startup_seconds: Annotated[
        int,
        Field(
            ge=0,
            le=86_400,
            description="Expected time from a new pod to Ready, in seconds, until starts were seen.",
        ),
    ] = 300


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


_NO_OVERLAP = (
    "self.all(a, self.all(b, a.name == b.name"
    " || a.inputTokens.maximum < b.inputTokens.minimum || b.inputTokens.maximum < a.inputTokens.minimum"
    " || a.outputTokens.maximum < b.outputTokens.minimum || b.outputTokens.maximum < a.outputTokens.minimum))"
)


def _extent(part: str) -> str:
    return f"(self.map(c, c.{part}.maximum).max() - self.map(c, c.{part}.minimum).min() + 1)"


# Without overlap the classes fill their bounding box exactly when their areas add up to its area.
_NO_HOLES = (
    "self.map(c, (c.inputTokens.maximum - c.inputTokens.minimum + 1)"
    " * (c.outputTokens.maximum - c.outputTokens.minimum + 1)).sum()"
    f" == {_extent('inputTokens')} * {_extent('outputTokens')}"
)

_CLASS_RULES = with_rules(
    rule(_NO_OVERLAP, "request classes overlap: give every pair disjoint inputTokens or outputTokens"),
    rule(
        _NO_HOLES,
        "request classes leave a hole (or overlap): together they must cover every length from the smallest "
        "minimum to the largest maximum",
    ),
)

_VARIANT_RULES = with_rules(
    rule(
        "self.all(v, self.exists_one(w, w.scaleTargetRef.kind == v.scaleTargetRef.kind"
        " && w.scaleTargetRef.name == v.scaleTargetRef.name"
        " && w.scaleTargetRef.apiVersion == v.scaleTargetRef.apiVersion))",
        "two variants name the same scaleTargetRef: give each variant a workload of its own",
    )
)


class InferencePoolSpec(ApiModel):
    """What the pool's owner wants."""

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
            "TPOT 100 ms.",
            json_schema_extra=map_list("name") | _CLASS_RULES,
        ),
    ] = None
    variants: Annotated[
        tuple[Variant, ...],
        Field(
            min_length=1,
            max_length=16,
            description="Ways to serve the model, one workload each.",
            json_schema_extra=map_list("name") | _VARIANT_RULES,
        ),
    ]
    demand: Annotated[
        Demand, Field(description="Which Prometheus series belong to the pool. Default: by model name alone.")
    ] = Field(default_factory=Demand)
