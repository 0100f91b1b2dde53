"""The layouts that are known: aiconfigurator's `silicon_sample`, and ML.ENERGY's leaderboard of two years."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from joulery.profiling.layouts import Layout, Selection, SourceRow
from joulery.profiling.points import MeasuredPoint

# ML.ENERGY does not record prompt lengths: those that its tasks have on average, assumed.
_PROMPT_TOKENS: Mapping[str, int] = MappingProxyType({"lm-arena-chat": 250, "gpqa": 300, "chat": 250})


def _aiconfigurator_unusable(row: SourceRow) -> str | None:
    if row.cells["mode"] != "agg":
        return "with prefill and decode apart"
    if not all(row.is_one(c) for c in ("pp_size", "attention_dp_size", "moe_ep_size")):
        return "with pipeline, data or expert parallelism"
    return None


def _aiconfigurator_point(row: SourceRow, device: str, _: Selection) -> MeasuredPoint:
    return MeasuredPoint(
        accelerator=device,
        tensor_parallel_size=row.count("tp_size"),
        concurrency=row.count("batch_size"),
        input_tokens=row.count("isl"),
        output_tokens=row.count("osl"),
        ttft_ms=row.measure("silicon_ttft_ms"),
        tpot_ms=row.measure("silicon_tpot_ms"),
        row=row.number,
    )


def _prompt_tokens(row: SourceRow, selection: Selection) -> int:
    known = selection.input_tokens or _PROMPT_TOKENS.get(row.cells["task"])
    if known is None:
        raise row.refused("task", "prompt lengths are known of chat and gpqa: state --input-tokens")
    return known


def _mlenergy_v3_unusable(row: SourceRow) -> str | None:
    if row.is_one("data_parallel") and row.is_one("expert_parallel"):
        return None
    return "with data or expert parallelism"


def _mlenergy_v3_point(row: SourceRow, device: str, selection: Selection) -> MeasuredPoint:
    """Time per token is batch over throughput, which holds what prefills take; a median interval would not."""
    tokens_per_s = row.measure("output_throughput_tokens_per_sec")
    return MeasuredPoint(
        accelerator=device,
        tensor_parallel_size=row.count("tensor_parallel"),
        concurrency=row.count("avg_batch_size"),
        input_tokens=_prompt_tokens(row, selection),
        output_tokens=row.count("avg_output_len"),
        ttft_ms=None,
        tpot_ms=1000.0 * row.measure("avg_batch_size") / tokens_per_s,
        watts_per_gpu=row.measure("avg_power_watts") / row.count("num_gpus"),
        row=row.number,
    )


def _mlenergy_v2_unusable(row: SourceRow) -> str | None:
    return None if row.is_one("pipeline_parallel") else "with pipeline parallelism"


def _mlenergy_v2_point(row: SourceRow, device: str, selection: Selection) -> MeasuredPoint:
    """Watts are joules of a request times requests per second."""
    requests_per_s = row.measure("output_tokens_per_s") / row.measure("avg_output_tokens")
    size = row.count("tensor_parallel")
    return MeasuredPoint(
        accelerator=device,
        tensor_parallel_size=size,
        concurrency=row.count("avg_batch_size"),
        input_tokens=_prompt_tokens(row, selection),
        output_tokens=row.count("avg_output_tokens"),
        ttft_ms=None,
        tpot_ms=1000.0 * row.measure("avg_tpot_s"),
        watts_per_gpu=row.measure("energy_per_request_j") * requests_per_s / size,
        row=row.number,
    )


LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "aiconfigurator": Layout(
            columns=(
                "backend", "backend_version", "model_path", "system", "precision", "mode", "isl", "osl",
                "batch_size", "tp_size", "pp_size", "attention_dp_size", "moe_ep_size", "silicon_ttft_ms",
                "silicon_tpot_ms",
            ),
            keys=MappingProxyType({
                "model": "model_path", "engine": "backend", "version": "backend_version", "precision": "precision",
            }),
            device="system",
            devices=MappingProxyType({
                "a100_sxm": "A100-SXM-80GB", "h100_sxm": "H100-SXM-80GB", "h200_sxm": "H200-SXM-141GB",
                "b200_sxm": "B200-SXM-180GB",
            }),
            unusable=_aiconfigurator_unusable,
            point=_aiconfigurator_point,
        ),
        "mlenergy-v3": Layout(
            columns=(
                "task", "model_id", "gpu_model", "num_gpus", "tensor_parallel", "data_parallel", "expert_parallel",
                "weight_precision", "avg_batch_size", "avg_output_len", "output_throughput_tokens_per_sec",
                "avg_power_watts",
            ),
            keys=MappingProxyType({"model": "model_id", "precision": "weight_precision", "task": "task"}),
            device="gpu_model",
            devices=MappingProxyType({"H100": "H100-SXM-80GB", "B200": "B200-SXM-180GB"}),
            unusable=_mlenergy_v3_unusable,
            point=_mlenergy_v3_point,
        ),
        "mlenergy-v2": Layout(
            columns=(
                "task", "model", "gpu", "tensor_parallel", "pipeline_parallel", "avg_batch_size",
                "avg_output_tokens", "output_tokens_per_s", "avg_tpot_s", "energy_per_request_j",
            ),
            keys=MappingProxyType({"model": "model", "task": "task"}),
            device="gpu",
            devices=MappingProxyType({
                "NVIDIA A100-SXM4-40GB": "A100-SXM-40GB", "NVIDIA H100 80GB HBM3": "H100-SXM-80GB",
            }),
            unusable=_mlenergy_v2_unusable,
            point=_mlenergy_v2_point,
        ),
    }
)  # fmt: skip
