"""The demo's shortened times, all declared in its summary; requests and engines keep their true times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from joulery.domain.policy import Cadence, Guardrails
from joulery.simulator.replay import Timing

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class DemoTiming:
    """A day's curve in `live_s` seconds. Epochs, start-up and dwell shrink with it, engines do not."""

    live_s: float = 210.0
    # Load at the day's first rate that is served before, so that the day begins with a planner at work: it sees
    # its pools from the given second on, when rates span their whole window.
    lead_s: float = 30.0
    planner_from_s: float = 8.0
    plan_epoch_s: float = 10.0
    demand_poll_s: float = 2.0
    clock_epoch_s: float = 1.0
    startup_s: float = 6.0
    dwell_s: float = 20.0
    scrape_interval_s: float = 1.0
    load_window_s: float = 6.0
    # Requests that came last may take this long to be answered.
    settle_s: float = 20.0

    @property
    def squeeze(self) -> float:
        """How many times faster the day's curve runs."""
        return DAY_S / self.live_s

    @property
    def cadence(self) -> Cadence:
        """For the EnergyPolicy of the demo."""
        return Cadence(self.plan_epoch_s, self.demand_poll_s, self.clock_epoch_s, lease_timeout_s=60.0)

    @property
    def guardrails(self) -> Guardrails:
        """For the EnergyPolicy of the demo."""
        return Guardrails(dwell_s=self.dwell_s)

    @property
    def replay_timing(self) -> Timing:
        """The same cadences for the replay of the squeezed day."""
        return Timing(
            duration_s=self.live_s,
            lead_s=self.lead_s,
            policy_from_s=self.planner_from_s,
            demand_poll_s=self.demand_poll_s,
            clock_epoch_s=self.clock_epoch_s,
            rate_window_s=4 * self.scrape_interval_s,
            load_window_s=self.load_window_s,
        )

    def declared(self, day: date) -> dict[str, object]:
        """What a reader of the summary must know."""
        return {
            "day": day.isoformat(),
            "squeeze": round(self.squeeze, 1),
            "liveSeconds": self.live_s,
            "leadSeconds": self.lead_s,
            "planEpochSeconds": self.plan_epoch_s,
            "demandPollSeconds": self.demand_poll_s,
            "clockEpochSeconds": self.clock_epoch_s,
            "startupSeconds": self.startup_s,
            "dwellSeconds": self.dwell_s,
            "scrapeIntervalSeconds": self.scrape_interval_s,
        }
