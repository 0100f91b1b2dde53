"""A policy that cannot be understood is told, and does not lift the ceiling that it set."""

from __future__ import annotations

from typing import Any

from joulery.adapters.kube_fleet import policies_of
from joulery.domain.pool import Mode

BOUNDS = {"accelerator": "H100-SXM-80GB", "floorMHz": 990, "ceilingMHz": 1980}


def manifest(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "night"}, "spec": spec}


def test_problem_names_policy_field_cure_and_whom_it_touches() -> None:
    broken = manifest(namespaces=["llm"], clockBounds=[{**BOUNDS, "floorMHz": 1990}])
    policies, problems = policies_of([broken], {})
    assert policies == ()
    for part in ("EnergyPolicy night", "spec.clockBounds[0].floorMHz", "lower floorMHz", "ignored"):
        assert part in problems["night"].message
    assert problems["night"].touches("llm")
    assert not problems["night"].touches("other")


def test_last_good_content_holds() -> None:
    good, _ = policies_of([manifest(maxMode="Observe")], {})
    broken = manifest(maxMode="Observe", clockBounds=[{**BOUNDS, "floorMHz": 1990}])
    policies, problems = policies_of([broken], {"night": good[0]})
    assert [p.max_mode for p in policies] == [Mode.OBSERVE]
    assert "last good content holds" in problems["night"].message


def test_policy_whose_namespaces_are_unreadable_touches_all() -> None:
    _, problems = policies_of([manifest(namespaces="llm")], {})
    assert problems["night"].touches("anything")
