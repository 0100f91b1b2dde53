"""Request classes and their latency objectives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenRange:
    """Inclusive range of token counts."""

    minimum: int
    maximum: int

    def __contains__(self, tokens: object) -> bool:
        return isinstance(tokens, int) and self.minimum <= tokens <= self.maximum


@dataclass(frozen=True, slots=True)
class Objective:
    """Latency objective of one request: it attains when TTFT **and** TPOT are within it.

    `inter_token_latency_p99_ms`, where set, bounds the P99 over all token intervals as well.
    """

    time_to_first_token_ms: int
    time_per_output_token_ms: int
    inter_token_latency_p99_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RequestClass:
    """Requests of a range of input and output lengths under one objective."""

    name: str
    input_tokens: TokenRange
    output_tokens: TokenRange
    objective: Objective


# DynamoLLM (HPCA 2025), Table IV: bounds at the 33rd/66th/100th percentile of the conversation traces.
_INPUT = {
    "S": (TokenRange(1, 255), 250),
    "M": (TokenRange(256, 1023), 400),
    "L": (TokenRange(1024, 8192), 2000),
}
_OUTPUT = {"S": TokenRange(1, 99), "M": TokenRange(100, 349), "L": TokenRange(350, 8192)}
_TPOT_MS = 100

DEFAULT_CLASSES: tuple[RequestClass, ...] = tuple(
    RequestClass(i + o, input_range, output_range, Objective(ttft_ms, _TPOT_MS))
    for i, (input_range, ttft_ms) in _INPUT.items()
    for o, output_range in _OUTPUT.items()
)


def lane_objective(classes: Sequence[RequestClass]) -> Objective:
    """Objective of all classes served in one lane: that of the largest input class.

    Under FIFO a short prompt waits behind long ones, so a lane has one TTFT objective (design §2, §5).
    """
    return max(classes, key=lambda c: (c.input_tokens.maximum, c.output_tokens.maximum)).objective


def class_of(classes: Sequence[RequestClass], input_tokens: int, output_tokens: int) -> RequestClass | None:
    """The class a request belongs to; None where no class covers it."""
    for candidate in classes:
        if input_tokens in candidate.input_tokens and output_tokens in candidate.output_tokens:
            return candidate
    return None
