"""Capacity under uneven shares and with instances lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulery.planner.sharing import Sharing


def test_even_shares_carry_what_the_weakest_does_times_all() -> None:
    assert Sharing().capacity_rps([(3, 4.5), (2, 2.0)]) == 10.0


def test_capacity_is_the_busiest_instance_s_rate_by_its_share() -> None:
    # Four instances, the busiest gets half of the load: twice the even share.
    assert Sharing(unevenness=2.0).capacity_rps([(4, 4.5)]) == pytest.approx(4.5 / 0.5)


def test_no_share_is_larger_than_all() -> None:
    assert Sharing(unevenness=2.0).capacity_rps([(1, 4.5)]) == 4.5


@pytest.mark.parametrize(("instances", "carried"), [(0, 0.0), (1, 0.0), (2, 4.5), (4, 13.5)])
def test_a_spare_carries_nothing(instances: int, carried: float) -> None:
    assert Sharing(spares=1).capacity_rps([(instances, 4.5)]) == carried


@given(st.floats(0.0, 50.0), st.floats(1.0, 2.0), st.integers(0, 3))
def test_needed_is_the_fewest_that_carry_the_load(load: float, unevenness: float, spares: int) -> None:
    sharing = Sharing(unevenness, spares)
    needed = sharing.needed(load)
    assert sharing.capacity_rps([(needed, 1.0)]) >= load * (1.0 - 1e-6)
    assert sharing.capacity_rps([(needed - 1, 1.0)]) <= max(load, 1e-9)
