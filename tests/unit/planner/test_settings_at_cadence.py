"""Windows follow the cadence that the policy sets."""

from __future__ import annotations

import pytest

from joulery.domain.policy import Cadence
from joulery.planner.settings import PlannerSettings

SETTINGS = PlannerSettings()


def test_the_usual_cadence_changes_nothing() -> None:
    assert SETTINGS.at(Cadence()) is SETTINGS


def test_polling_more_often_does_not_shorten_what_is_looked_back_on() -> None:
    assert SETTINGS.at(Cadence(demand_poll_s=1.0)) is SETTINGS


def test_a_shorter_epoch_and_poll_shorten_every_window_alike() -> None:
    squeezed = SETTINGS.at(Cadence(plan_epoch_s=10.0, demand_poll_s=1.5))
    assert squeezed.trend_window_s == pytest.approx(SETTINGS.trend_window_s / 10)
    assert squeezed.settle_s == pytest.approx(SETTINGS.settle_s / 10)
    assert squeezed.rate_window_s == SETTINGS.rate_window_s
