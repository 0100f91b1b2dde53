"""Engine options as vLLM's command line spells them, read from a pod's arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulery.errors import ConfigError

# vLLM's own defaults for an API server on GPUs of 70 GiB and more (vllm/engine/arg_utils.py).
_DEFAULT_TOKEN_BUDGET = 8192
_DEFAULT_MAX_NUM_SEQS = 1024
_DEFAULT_PORT = 8000
_SHORT_FLAGS = {"-tp": "tensor-parallel-size", "-m": "model"}


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What makes one engine another; `max_model_length` is None where the model's own holds."""

    served_model_name: str
    tensor_parallel_size: int
    token_budget: int
    max_num_seqs: int
    port: int
    max_model_length: int | None = None


def flags(arguments: Sequence[str]) -> Mapping[str, str]:
    """Flag to value, from `--flag value` and `--flag=value`; a flag alone has an empty value."""
    found: dict[str, str] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("-"):
            spelled, _, value = argument.partition("=")
            name = _SHORT_FLAGS.get(spelled, spelled.lstrip("-").replace("_", "-"))
            found[name] = value
        elif name:
            found[name] = found[name] or argument
            name = ""
    return found


def read_options(arguments: Sequence[str]) -> EngineOptions:
    """The options of a vLLM server.

    Raises:
        ConfigError: a flag that should be a number is none, or no model is named.
    """
    given = flags(arguments)
    model = given.get("served-model-name") or given.get("model") or _positional_model(arguments)
    if not model:
        raise ConfigError("neither --served-model-name nor --model is among the engine's arguments")
    longest = _number(given, "max-model-len", 0)
    return EngineOptions(
        served_model_name=model,
        tensor_parallel_size=_number(given, "tensor-parallel-size", 1),
        token_budget=_number(given, "max-num-batched-tokens", _DEFAULT_TOKEN_BUDGET),
        max_num_seqs=_number(given, "max-num-seqs", _DEFAULT_MAX_NUM_SEQS),
        port=_number(given, "port", _DEFAULT_PORT),
        max_model_length=longest or None,
    )


def _positional_model(arguments: Sequence[str]) -> str:
    """The model of `vllm serve MODEL`."""
    if "serve" not in arguments:
        return ""
    following = arguments[arguments.index("serve") + 1 :]
    return following[0] if following and not following[0].startswith("-") else ""


def _number(given: Mapping[str, str], flag: str, default: int) -> int:
    text = given.get(flag)
    if text is None:
        return default
    if not text.isdigit():
        raise ConfigError(f"--{flag} is {text!r}, want a whole number")
    return int(text)
