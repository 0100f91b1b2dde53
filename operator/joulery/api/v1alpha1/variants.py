"""InferencePool, variants: the workloads that may serve the model."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from joulery.api.v1alpha1.common import STORED, Accelerator, ApiModel, Name, ObjectName, rule, with_rules


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
            ),
            rule(
                "self.maxNumSeqs <= self.maxNumBatchedTokens",
                "maxNumSeqs must not exceed maxNumBatchedTokens, for each request of a batch takes a token of every "
                "iteration: lower maxNumSeqs or raise maxNumBatchedTokens",
            ),
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


VARIANT_RULES = with_rules(
    rule(
        "self.all(v, self.exists_one(w, w.scaleTargetRef.kind == v.scaleTargetRef.kind"
        " && w.scaleTargetRef.name == v.scaleTargetRef.name"
        " && w.scaleTargetRef.apiVersion == v.scaleTargetRef.apiVersion))",
        "two variants name the same scaleTargetRef: give each variant a workload of its own",
    )
)
