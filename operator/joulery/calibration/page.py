"""docs/serving-model.md: the latency law, its parameters and its errors, tables only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from joulery.calibration.claims import Claim, Found

INTRODUCTION = """\
# The serving model and its errors

<!-- Written by `make calibrate`: change operator/joulery/calibration. -->

An iteration at the highest clock, with nd decoding requests that hold ctx tokens, P prefill tokens, M = nd + P:

    t = h + max(W, c M) + b nd + k ctx
    h = host_base + host_per_doubling log2 TP,  c = compute_token/TP + compute_token_undivided,  k = context_token/TP
    W = weight_streaming/TP + step(TP) [16 < M <= 32] + step(TP)/2 [M > 32]
    TTFT adds client_base + client_per_gpu TP

| given, not fitted | |
| --- | --- |
| rows | Llama-3.1-70B FP8, one model, measured 2025-10-29 (`operator/joulery/data/measurements/`) |
| client | closed loop, all at once, ten requests per client, lengths uniform in 0.8-1.0 of nominal, \
`max_num_seqs` = clients, budget 8192: the public InferenceMAX client, inferred from the match |
| weight_streaming | 70.6 GB over the bandwidth at 85 % |
| KV cache | 16 bit on H100, 8 bit on H200: in no column, told by which rows queue |
| out of KV memory | rows whose mean demand is over 75 % of the cache: scored apart, in no fit; those of \
TensorRT-LLM not replayed (it admits by whole answers) |
| weights | log TPOT + 0.3 log TTFT, soft L1 at 5 %; TensorRT-LLM by TPOT alone \
(its TTFT holds 0.2-0.5 s that the prompt does not) |
| clock | default; how times follow it is not in these rows |

## Errors

Percent of the measured value, mean / max over rows; *published* is an independent prototype of the same law.

![Modelled against measured TPOT and TTFT, each shape by the law of the others](figures/times-not-fitted.svg)

"""

PARAMETERS = """
## Parameters

Value and range over the fits with one shape held out. What ships for H100 is the prototype's fit, for H200 this one.
"""


def page(found: Found) -> str:
    """The whole page."""
    lines = [
        INTRODUCTION,
        *error_table(found.claims),
        PARAMETERS,
        *_parameters(found),
        "",
    ]
    return "\n".join(lines)


def error_table(claims: Sequence[Claim]) -> Iterator[str]:
    """Claims as lines of a table."""
    yield "| | accelerator | rows | points | error % | at most % | published % | |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for claim in claims:
        yield f"| {' | '.join(claim_cells(claim))} |"


def claim_cells(claim: Claim) -> tuple[str, ...]:
    """A claim as the cells of a table."""
    verdict = {True: "met", False: "MISSED", None: "printed"}[claim.is_met]
    if claim.outlier:
        verdict += f", but for {claim.outlier}"
    return (
        claim.quantity,
        claim.accelerator,
        claim.rows,
        str(claim.errors.rows),
        f"{claim.errors.mean_percent:.1f} / {claim.errors.max_percent:.1f}",
        _bound(claim),
        claim.published,
        verdict,
    )


def _bound(claim: Claim) -> str:
    if claim.bound is None:
        return ""
    mean = "-" if claim.bound.mean_percent is None else f"{claim.bound.mean_percent:g}"
    return f"{mean} / {claim.bound.max_percent:g}"


def _parameters(found: Found) -> Iterator[str]:
    heads = [f"{j.lane.accelerator} {j.lane.engine}" for j in found.lanes]
    yield f"| | {' | '.join(heads)} |"
    yield f"| --- |{' --- |' * len(heads)}"
    columns = [(j.parameters(), j.ranges()) for j in found.lanes]
    for name in dict.fromkeys(name for values, _ in columns for name in values):
        cells = [_range(values[name], *ranges[name]) if name in values else "" for values, ranges in columns]
        yield f"| `{name}` | {' | '.join(cells)} |"


def _range(value: float, low: float, high: float) -> str:
    shown, least, most = (f"{round(number, 2):.3g}" for number in (value, low, high))
    return shown if low == high else f"{shown} ({least} to {most})"
