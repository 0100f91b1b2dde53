"""EnergyPolicy manifests as domain policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from joulery.api.v1alpha1 import energy_policy as api
from joulery.api.validation import problems_of
from joulery.domain.policy import Cadence, ClockBounds, Guardrails, Policy
from joulery.domain.pool import Mode
from joulery.errors import ConfigError


def policy_of(manifest: Mapping[str, Any]) -> Policy:
    """The policy. Raises ConfigError naming each field that is wrong."""
    name = str(manifest["metadata"]["name"])
    try:
        spec = api.EnergyPolicySpec.model_validate(manifest.get("spec") or {})
    except ValidationError as error:
        raise ConfigError(f"EnergyPolicy {name}: {'; '.join(problems_of(error))}") from error
    if problems := _problems(name, spec):
        raise ConfigError(f"EnergyPolicy {name}: {'; '.join(problems)}")
    return _policy(name, spec)


def _problems(name: str, spec: api.EnergyPolicySpec) -> list[str]:
    problems = [
        f"spec.clockBounds[{i}].floorMHz: {b.floor_mhz} exceeds ceilingMHz {b.ceiling_mhz}: "
        "lower floorMHz or raise ceilingMHz"
        for i, b in enumerate(spec.clock_bounds)
        if b.floor_mhz > b.ceiling_mhz
    ]
    if name != "default":
        problems += [
            f"spec.{field} holds for the whole cluster: set it on the EnergyPolicy named default"
            for field, value in (("cadence", spec.cadence), ("solver", spec.solver))
            if value is not None
        ]
    return problems


def _policy(name: str, spec: api.EnergyPolicySpec) -> Policy:
    guardrails, solver = spec.guardrails, spec.solver or api.Solver()
    return Policy(
        name=name,
        priority=spec.priority,
        namespaces=spec.namespaces,
        max_mode=Mode(spec.max_mode),
        clocks=tuple(ClockBounds(b.accelerator, b.floor_mhz, b.ceiling_mhz) for b in spec.clock_bounds),
        guardrails=Guardrails(
            dwell_s=float(guardrails.dwell_seconds),
            max_step_down_percent=guardrails.max_step_down_percent,
            minimum_gain_percent=guardrails.minimum_gain_percent,
        ),
        cadence=_cadence(spec.cadence or api.Cadence()),
        solver_time_limit_s=solver.time_limit_milliseconds / 1000,
        max_starts_per_plan=solver.max_starts_per_plan,
    )


def _cadence(cadence: api.Cadence) -> Cadence:
    return Cadence(
        plan_epoch_s=float(cadence.plan_epoch_seconds),
        demand_poll_s=float(cadence.demand_poll_seconds),
        clock_epoch_s=float(cadence.clock_epoch_seconds),
        lease_timeout_s=float(cadence.lease_timeout_seconds),
    )
