"""Power rows played by the engine with a shipped profile: what is calibrated is what is planned with."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import yaml

from joulery.calibration.claims import H100
from joulery.calibration.client import Load, engine_of, play
from joulery.calibration.holdout import Errors
from joulery.calibration.lanes import MEAN_LENGTH_SHARE
from joulery.calibration.power.rows import PowerRow
from joulery.serving.instance import InstanceModel, instance_model
from joulery.serving.parameters import EngineProfile
from joulery.serving.profile_spec import profile_from_spec

# The profile whose latency and offset come from the power rows.
PROFILE = "llama-3.1-8b"


def small_model_profile() -> EngineProfile:
    """The profile that ships for the small model."""
    text = files("joulery.data").joinpath(f"profiles/{PROFILE}.yaml").read_text(encoding="utf-8")
    return profile_from_spec(yaml.safe_load(text)["spec"], name=PROFILE)


def played_errors(profile: EngineProfile, rows: Sequence[PowerRow]) -> tuple[Errors, Errors]:
    """Errors of the time of an iteration and of watts, as many closed-loop clients as the mean batch of a row."""
    times, watts = [], []
    for row in rows:
        model = instance_model(profile, H100, row.tensor_parallel_size)
        tpot_s, gpu_w = _played(row, model)
        times.append((row.name, 100.0 * (tpot_s / row.iteration_s - 1.0)))
        watts.append((row.name, 100.0 * (gpu_w / row.watts_per_gpu - 1.0)))
    return Errors(tuple(times)), Errors(tuple(watts))


def _played(row: PowerRow, model: InstanceModel) -> tuple[float, float]:
    """Mean time per output token in seconds, and mean watts per GPU, over the whole run."""
    inputs, outputs = (round(t / MEAN_LENGTH_SHARE) for t in (row.input_tokens, row.output_tokens))
    load = Load(round(row.batch), inputs, outputs)
    engine = engine_of(model, load)
    tpot_ms = play(engine, load).tpot_ms
    return 1e-3 * tpot_ms, 1e9 * engine.energy_j / engine.now_ns / model.tensor_parallel_size
