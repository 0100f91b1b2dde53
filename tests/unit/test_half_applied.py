"""The judge of half-applied plans: a plan on its way is none, one that stays applied in part is."""

from __future__ import annotations

from half_applied import half_applied


def test_plan_that_is_told_before_it_is_asked_is_not_half_applied() -> None:
    looks = iter((["tp4: 2 asked, 3 planned"], []))
    assert half_applied(lambda: next(looks)) == []


def test_plan_that_stays_applied_in_part_is_told() -> None:
    assert half_applied(lambda: ["tp4: 2 asked, 3 planned"], within_s=0.2) == ["tp4: 2 asked, 3 planned"]


def test_what_differs_last_is_told() -> None:
    looks = iter((["tp4: 2 asked, 3 planned"], ["tp2: 1 asked, 0 planned"]))
    told: list[list[str]] = []

    def differing() -> list[str]:
        told.append(next(looks, told[-1] if told else []))
        return told[-1]

    assert half_applied(differing, within_s=0.3) == ["tp2: 1 asked, 0 planned"]
