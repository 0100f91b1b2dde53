"""`joulery profile fit`: replay the points, fit, hold out, print the errors, write the profile or refuse to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from joulery.calibration.lanes import law_of
from joulery.calibration.progress import progress
from joulery.errors import ConfigError
from joulery.profiling.assembly import Evidence, assembled, scaled_like
from joulery.profiling.checks import problems_in
from joulery.profiling.document import manifest_text, spec_of
from joulery.profiling.files import Manifest, profile_at, write_whole
from joulery.profiling.latency_fit import fit_latency
from joulery.profiling.plausibility import check_order, check_units, check_watts
from joulery.profiling.points import MeasuredPoint, range_in_words, read_points
from joulery.profiling.power_fit import fit_power
from joulery.profiling.replay import Client, Run, run_of
from joulery.serving.instance import kv_capacity_tokens
from joulery.serving.parameters import (
    AcceleratorProfile,
    EngineProfile,
    HeldOutError,
    KvCache,
    ModelParameters,
    worst_mean_error,
)

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What the points do not say, declared by whoever measured; None takes it from the first profile `like`."""

    name: str
    model: str
    like: Sequence[str]
    client: Client
    engine_version: str | None = None
    precision: str | None = None
    kv_cache_type: str | None = None
    weight_bytes: int | None = None
    streamed_weight_bytes: int | None = None
    kv_bytes_per_token: int | None = None
    max_model_length: int | None = None


def name_of(given: str | None, out: Path) -> str:
    """The object's name, by default that of its file. Raises ConfigError for one that Kubernetes refuses."""
    name = re.sub(r"[^a-z0-9.]+", "-", out.stem.lower()).strip("-.") if given is None else given
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--name {name!r}: lower-case letters, digits, '-' and '.' make a name")
    return name


def run(file: Path, request: FitRequest, out: Path, *, limit_percent: float, accept: bool) -> None:
    """The command. Raises ConfigError for bad points, or for errors above the limit; nothing is written then."""
    told = Console(stderr=True)
    profile = fitted_profile(read_points(file), request, file=file.name, told=told)
    for name, accelerator in profile.accelerators.items():
        told.print(_error_table(name, accelerator, limit_percent))
    if problems := problems_in(Manifest(str(out), profile.name, spec_of(profile))):
        raise ConfigError(
            f"the fit of {file} is no profile that can be used: {problems[0]}; nothing is written"
        )
    excess = [e for a in profile.accelerators.values() if (e := _above(a, limit_percent))]
    if excess and not accept:
        raise ConfigError(
            f"{file}: {_in_words(excess[0])}, above the limit of {limit_percent:g} %: measure more points, declare the "
            "load generator as it was, or write it with --accept; nothing is written"
        )
    write_whole(out, manifest_text(profile, comments=tuple(_comments(file, request, excess, limit_percent))))
    told.print(f"{out}: EnergyProfile {profile.name}", markup=False, soft_wrap=True)


def fitted_profile(
    points: Sequence[MeasuredPoint], request: FitRequest, *, file: str, told: Console
) -> EngineProfile:
    """A profile of all accelerators in the points. Raises ConfigError for points that cannot be used."""
    likes = [profile_at(reference) for reference in request.like]
    by_device = {name: like for like in reversed(likes) for name in like.accelerators}
    _check_devices(points, by_device, file)
    first = by_device[points[0].accelerator]
    cache = _cache(request, first, points[0].accelerator)
    model = replace(_model(request, first, likes), kv_bytes_per_token=cache.bytes_per_token)
    shell = EngineProfile(
        name=request.name,
        model=request.model,
        engine=first.engine,
        engine_version=request.engine_version or first.engine_version,
        token_budget=request.client.token_budget,
        precision=request.precision or first.precision,
        kv_cache_type=cache.type,
        parameters=model,
        accelerators={},
    )
    names = dict.fromkeys(p.accelerator for p in points)
    with progress(told, "replaying and fitting", len(points) + 3 * len(names)) as done:
        fitted = {
            name: _fitted(
                [p for p in points if p.accelerator == name], by_device[name], shell, request, file, done
            )
            for name in names
        }
    return replace(shell, accelerators=fitted)


def _fitted(
    points: Sequence[MeasuredPoint],
    like: EngineProfile,
    shell: EngineProfile,
    request: FitRequest,
    file: str,
    done: Callable[[], None],
) -> AcceleratorProfile:
    name = points[0].accelerator
    cache, sizes = _cache(request, like, name), {p.tensor_parallel_size for p in points}
    base = scaled_like(like, name, shell.parameters, cache, sizes)
    if cache == KvCache(shell.kv_cache_type, shell.parameters.kv_bytes_per_token):
        base = replace(base, device=replace(base.device, kv_cache=None))
    runs = _replayed(points, replace(shell, accelerators={name: base}), request.client, file, done)
    source, law = f"{file}, {name}", law_of(base.latency)
    check_units(runs, law, base.clock, like=like.name, file=file)
    check_order(points, file=file)
    latency = fit_latency(runs, law, base.clock, source=source, done=lambda: None)
    done()
    clean = [r for r in runs if not r.is_full]
    power = fit_power(clean, latency.law, base, done=done)
    with_watts = [r.point for r in clean if r.point.watts_per_gpu is not None]
    top_mhz = base.device.max_clock_mhz
    lowest_mhz = min((p.sm_clock_mhz or top_mhz for p in with_watts), default=top_mhz)
    valid = range_in_words([r.point for r in clean], top_mhz)
    evidence = Evidence(file[:80], len(clean), len(with_watts), lowest_mhz, valid)
    return assembled(base, like.name, latency, power, evidence)


def _replayed(
    points: Sequence[MeasuredPoint],
    profile: EngineProfile,
    client: Client,
    file: str,
    done: Callable[[], None],
) -> list[Run]:
    runs = []
    for point in points:
        device = profile.accelerators[point.accelerator].device
        check_watts(point, profile.accelerators[point.accelerator], file=file)
        capacity = kv_capacity_tokens(profile, point.accelerator, point.tensor_parallel_size)
        runs.append(
            run_of(point, client, kv_capacity=capacity, max_clock_mhz=device.max_clock_mhz, file=file)
        )
        done()
    return runs


def _check_devices(points: Sequence[MeasuredPoint], known: Mapping[str, EngineProfile], file: str) -> None:
    for point in points:
        if point.accelerator not in known:
            raise ConfigError(
                f"{file} row {point.row}, column accelerator: unknown accelerator {point.accelerator!r}: known are "
                f"{', '.join(sorted(known))}, of the profiles given with --like"
            )


def _model(request: FitRequest, first: EngineProfile, likes: Sequence[EngineProfile]) -> ModelParameters:
    """The model's sizes as declared, else those that all profiles given agree on; caches are by accelerator."""
    found = {}
    for name in ModelParameters.__dataclass_fields__:
        declared = getattr(request, name)
        values = {getattr(like.parameters, name) for like in likes}
        if declared is None and len(values) > 1 and name != "kv_bytes_per_token":
            option = "--" + name.replace("_", "-")
            raise ConfigError(f"the profiles given with --like differ in {name}: state {option}")
        found[name] = getattr(first.parameters, name) if declared is None else declared
    return ModelParameters(**found)


def _cache(request: FitRequest, like: EngineProfile, accelerator: str) -> KvCache:
    """The KV cache on an accelerator as declared, else that of the profile it is like."""
    known = like.kv_cache(accelerator)
    return KvCache(request.kv_cache_type or known.type, request.kv_bytes_per_token or known.bytes_per_token)


def _above(accelerator: AcceleratorProfile, limit_percent: float) -> HeldOutError | None:
    worst = worst_mean_error(accelerator)
    return worst if worst is not None and worst.mean_percent > limit_percent else None


def _in_words(error: HeldOutError) -> str:
    return f"held-out error of {error.quantity} on {error.held_out} is {error.mean_percent:.1f} % on average"


def _comments(
    file: Path, request: FitRequest, excess: Sequence[HeldOutError], limit_percent: float
) -> Iterator[str]:
    client = request.client
    yield f"Fitted by `joulery profile fit` to {file.name}; what its points do not tell is from"
    yield f"{', '.join(request.like)}."
    yield f"Declared: closed loop, {client.requests_per_client} requests per client, lengths uniform from"
    yield (
        f"{client.shortest_share:g} of nominal, token budget {client.token_budget}, max_num_seqs "
        f"{client.max_num_seqs or 'as many as clients'}."
    )
    for error in excess:
        yield f"Accepted although the {_in_words(error)}, above the limit of {limit_percent:g} %."


def _error_table(name: str, accelerator: AcceleratorProfile, limit_percent: float) -> Table:
    table = Table(title=f"Errors on points not fitted, {name}")
    for head in ("quantity", "held out"):
        table.add_column(head, no_wrap=True)
    for head in ("points", "mean %", "max %", "limit %"):
        table.add_column(head, justify="right")
    for e in accelerator.held_out_errors:
        numbers = (str(e.points), f"{e.mean_percent:.1f}", f"{e.max_percent:.1f}", f"{limit_percent:g}")
        table.add_row(
            e.quantity, e.held_out, *numbers, style="red" if e.mean_percent > limit_percent else None
        )
    return table
