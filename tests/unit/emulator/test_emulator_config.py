"""The emulator's configuration file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from joulery.emulator.config import EmulatorConfig, read_config
from joulery.errors import ConfigError
from joulery.serving.instance import instance_model

POOL = {
    "namespace": "llm",
    "name": "chat",
    "servedModelName": "m",
    "profile": "llama-3.1-70b-fp8",
    "accelerator": "H100-SXM-80GB",
}


def read(folder: Path, **changes: Any) -> EmulatorConfig:
    document = {"kubeconfig": "k", "data": str(folder / "d"), "pools": [POOL], "seed": 7, **changes}
    path = folder / "emulator.json"
    path.write_text(json.dumps({k: v for k, v in document.items() if v != "absent"}))
    return read_config(path)


def test_the_truth_is_drawn_by_seed_and_differs_from_the_profile(tmp_path: Path) -> None:
    drawn = read(tmp_path).world.pools[0].truth
    shipped = read(tmp_path, truthSeed=None).world.pools[0].truth
    assert drawn.content_hash == read(tmp_path).world.pools[0].truth.content_hash
    assert drawn.content_hash != shipped.content_hash
    assert drawn.content_hash != read(tmp_path, truthSeed=8).world.pools[0].truth.content_hash


def test_what_is_not_given_has_a_default(tmp_path: Path) -> None:
    config = read(tmp_path)
    assert (config.world.nodes, config.world.gpus_per_node) == (6, 8)
    assert config.world.targets_file == tmp_path / "d" / "targets.json"
    assert config.outcomes == tmp_path / "d" / "outcomes"


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key 'kubeconfig' is missing"):
        read(tmp_path, kubeconfig="absent")


def test_a_profile_that_does_not_ship_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no profile 'gpt-9' ships"):
        read(tmp_path, pools=[{**POOL, "profile": "gpt-9"}])


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"broken\.json"):
        read_config(path)


def test_engines_slower_than_their_profile_are_a_factor_on_all_times(tmp_path: Path) -> None:
    slow = read(tmp_path, truthSeed=None, pools=[{**POOL, "timeFactor": 1.15}]).world.pools[0].truth
    as_said = read(tmp_path, truthSeed=None).world.pools[0].truth
    models = [instance_model(truth, POOL["accelerator"], 4).at_clock(1980) for truth in (slow, as_said)]
    slow_ns, said_ns = (m.iteration_ns(decodes=12, context_tokens=15_000, prefill_tokens=500) for m in models)
    assert slow_ns / said_ns == pytest.approx(1.15, rel=1e-3)


@pytest.mark.parametrize("factor", [0, -1, "inf", "nan"])
def test_time_factor_that_is_none_is_refused(tmp_path: Path, factor: object) -> None:
    with pytest.raises(ConfigError, match="timeFactor"):
        read(tmp_path, pools=[{**POOL, "timeFactor": factor}])
