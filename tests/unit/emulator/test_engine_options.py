"""Engine options from the command lines people write."""

from __future__ import annotations

import pytest

from joulery.emulator.engine_options import read_options
from joulery.errors import ConfigError


def test_flags_are_read_with_an_equals_sign_a_space_or_underscores() -> None:
    options = read_options(
        ["--model=org/m", "--served-model-name", "m", "--tensor_parallel_size=4", "--max-num-seqs", "64"]
    )
    assert (options.served_model_name, options.tensor_parallel_size, options.max_num_seqs) == ("m", 4, 64)


def test_what_is_not_given_is_vllms_default() -> None:
    options = read_options(["--model", "m"])
    assert (options.tensor_parallel_size, options.token_budget, options.max_num_seqs) == (1, 8192, 1024)
    assert (options.port, options.max_model_length) == (8000, None)


def test_vllm_serve_names_its_model_without_a_flag() -> None:
    assert read_options(["vllm", "serve", "m", "-tp", "2"]).served_model_name == "m"
    assert read_options(["vllm", "serve", "m", "-tp", "2"]).tensor_parallel_size == 2


def test_a_switch_before_another_flag_takes_no_value() -> None:
    options = read_options(["--enable-chunked-prefill", "--model", "m", "--max-model-len=4096"])
    assert (options.served_model_name, options.max_model_length) == ("m", 4096)


def test_a_number_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="--max-num-seqs is 'many', want a whole number"):
        read_options(["--model=m", "--max-num-seqs=many"])


def test_an_engine_without_a_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="neither --served-model-name nor --model"):
        read_options(["--tensor-parallel-size=2"])
