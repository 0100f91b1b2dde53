"""InferencePool, request classes: ranges of request lengths and their latency objectives."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from joulery.api.v1alpha1.common import ApiModel, rule, with_rules

TokenCount = Annotated[int, Field(ge=1, le=10_000_000)]
ObjectiveMs = Annotated[int, Field(ge=1, le=3_600_000)]


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
    objective: Annotated[
        Objective,
        Field(
            description="Latency objective of the class, in milliseconds. In a pool it holds for all requests where "
            "no class has larger inputs; requests of smaller classes get that of the largest."
        ),
    ]


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

CLASS_RULES = with_rules(
    rule(_NO_OVERLAP, "request classes overlap: give every pair disjoint inputTokens or outputTokens"),
    rule(
        _NO_HOLES,
        "request classes leave a hole (or overlap): together they must cover every length from the smallest "
        "minimum to the largest maximum",
    ),
)
