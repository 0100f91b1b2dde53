"""The models of the public power rows: what an iteration reads and computes, from their published configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_BYTES = MappingProxyType({"BF16": 2.0, "FP8": 1.0})
# Of keys and values; the cache of these runs is 16 bit.
_KV_BYTES = 2 * 2


@dataclass(frozen=True, slots=True)
class ServedModel:
    """Parameters that an iteration reads (all but an input embedding of its own), and the shape of the KV cache."""

    streamed_parameters: float
    precision: str
    layers: int
    kv_heads: int
    head_size: int

    @property
    def streamed_bytes(self) -> float:
        """Weights read once per iteration, over all GPUs."""
        return self.streamed_parameters * _BYTES[self.precision]

    @property
    def kv_bytes_per_token(self) -> float:
        """KV cache of a token of context, over all GPUs; windows of local attention are not told apart."""
        return float(_KV_BYTES * self.layers * self.kv_heads * self.head_size)


MODELS: Mapping[str, ServedModel] = MappingProxyType(
    {
        "Qwen/Qwen3-8B": ServedModel(7.57e9, "BF16", 36, 8, 128),
        "Qwen/Qwen3-14B": ServedModel(13.99e9, "BF16", 40, 8, 128),
        "google/gemma-3-12b-it": ServedModel(11.77e9, "BF16", 48, 8, 256),
        "google/gemma-3-27b-it": ServedModel(27.0e9, "BF16", 62, 16, 128),
        "meta-llama/Llama-3.1-8B-Instruct": ServedModel(7.505e9, "BF16", 32, 8, 128),
        "meta-llama/Llama-3.1-70B-Instruct": ServedModel(69.5e9, "BF16", 80, 8, 128),
        "meta-llama/Llama-3.1-405B-Instruct-FP8": ServedModel(403.7e9, "FP8", 126, 8, 128),
    }
)
