"""The API server's time counts where this machine's is wrong, and slow answers do not make it so."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.adapters.cluster_clock import ClusterClock

START_S = 1.75e9


class Machine:
    """A machine's clock, so many seconds ahead of the cluster's."""

    def __init__(self, ahead_s: float) -> None:
        self.cluster_s = START_S
        self.ahead_s = ahead_s
        self.clock = ClusterClock(lambda: self.cluster_s + self.ahead_s)

    def answered(self, before_s: float = 0.05, after_s: float = 0.05) -> None:
        """A request whose answer was stamped so long after it was sent and before it was read."""
        sent_s = self.clock.unix_s()
        self.cluster_s += before_s
        date = formatdate(self.cluster_s, usegmt=True)
        self.cluster_s += after_s
        self.clock.heard(date, sent_s)

    @property
    def error_s(self) -> float:
        return abs(self.clock.now_s() - self.cluster_s)


@given(ahead_s=st.floats(-1e7, 1e7), answers=st.integers(1, 5))
def test_time_is_the_clusters_within_what_is_tolerated(ahead_s: float, answers: int) -> None:
    machine = Machine(ahead_s)
    for _ in range(answers):
        machine.answered()
    assert machine.error_s <= 12.0


@given(before_s=st.floats(0.0, 600.0), after_s=st.floats(0.0, 600.0))
def test_slow_answers_move_no_clock(before_s: float, after_s: float) -> None:
    machine = Machine(0.0)
    machine.answered(before_s, after_s)
    assert machine.error_s < 1e-6


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0])
def test_clock_that_is_put_right_is_believed_again(ahead_s: float) -> None:
    machine = Machine(ahead_s)
    machine.answered()
    assert machine.error_s < 2.0
    machine.ahead_s = 0.0
    machine.answered()
    assert machine.error_s < 1e-6


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_answer_without_a_date_tells_nothing(date: str | None) -> None:
    machine = Machine(5000.0)
    machine.clock.heard(date, machine.clock.unix_s())
    assert machine.clock.now_s() == START_S + 5000.0
