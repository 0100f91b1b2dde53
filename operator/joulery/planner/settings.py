"""Constants of the planner, each default with its reason. Users set none: they are for calibration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from joulery.domain.policy import Cadence
from joulery.planner.derate import DerateRules
from joulery.planner.reinforcement import ReinforcementRules


@dataclass(frozen=True, slots=True)
class PlannerSettings:
    """How far the planner looks, how wide its margins are, and how long it waits.

    Attributes:
        trend_window_s: samples the level, trend and spread are fitted to. 30 min: long enough that the
            trend's own noise over one horizon stays near a tenth of the spread, short enough to follow a
            working day.
        level_window_s: the newest samples whose mean may overrule the fitted line upwards, so that a step is
            believed within two minutes and not after half a window.
        peak_deviations: standard deviations of the samples above the level that the peak holds. Operating
            points hold bursts already, so this covers the level's own error: 1.5 is the 93rd percentile of a
            sample. In replays of 12, 14 and 16 May 2.0 drew 0.2 to 0.6 % more than 1.0, which had up to nine
            times its ups after downs.
        newest_deviations: standard deviations by which the newest sample must exceed the level to raise it;
            1.5 makes a doubled load count at the poll that first shows it, and common noise not.
        prior_dispersion: index of dispersion assumed before samples tell: 1 is Poisson, public chat and code
            traces thinned to a pool are 1.1 and 2.5.
        prior_weight: samples, or rate windows, that this assumption counts for.
        rate_window_s: window behind one rate sample (what Prometheus' `rate()` spans), which turns an
            index of dispersion into a spread.
        envelope_percent: how far the peak may exceed the plan's capacity before an up-only plan: the half
            per cent of operating points and the noise of the spread itself are no reason for another
            instance.
        envelope_polls: polls in a row outside the envelope before an up-only plan; one sample is noise.
        look_share: share of a rate window that one look at what is new takes at least. A fifth: a poll of 15 s is one
            look, of polls that come faster several are; in less, chance and late scrapes tell more than load does.
        jump_deviations: standard deviations by which one sample must exceed capacity to be believed at once.
            3 is one in 700 samples of a steady load at its limit, and far less than a doubling.
        held_highest_s: how long one instance may be held at its highest clock before an up-only plan looks for
            more at once. A minute: the agent's load window, after which its load is all of the time that needed
            that clock; a queue that a minute at the highest clock clears asks for no instance.
        catch_up_share: of a start-up, within which what waits is to be worked off once an instance could have come.
            A half leaves the rest of two start-ups for noticing. In 20 simulated doublings of the load of one pool
            1.0 took 265 s to keep the promise again, 0.5 took 244 s at 0.2 % more energy.
        least_catch_up_s: and no faster than this: a queue of one burst is gone before an instance could come.
        up_only_margin_percent: capacity that an up-only plan adds above the peak, so that a rise under way
            does not need one plan per poll.
        mix_window_s: time constant over which lengths and burstiness are averaged; operating points follow the
            day, not the minute.
        mix_drift: distance at which another mix or dispersion is accepted; below it operating points stay
            cached and the clock tables that agents hold stay valid.
        settle_s: after first seeing a pool nothing is taken away for this long: one plan epoch of samples.
        unschedulable_s: a pod without a node for longer counts as absent. Two minutes: a terminating pod's
            grace period and a scheduler's back-off are over by then.
        least_share_requests: requests per pod and window below which shares are not judged: among even shares of
            20 none is empty by chance (one in 5e8).
        share_deviations: standard deviations that the largest share is lowered by before it counts.
        share_drift: change of the spread that is accepted; what differs less from even counts as even.
        most_uneven: largest factor that capacity is divided by for uneven traffic: more instances are a poor
            cure for it, so it may at most double them.
        blocked_s: how long a variant whose pods found no node, though there was room, is not asked for more.
        overdue_factor: a starting replica counts as coming until this multiple of its start-up time.
        warm_answers: answers after which a ready replica is as fast as it will be. Kernels are compiled and graphs
            captured per shape of a batch, and twenty requests have met the common ones.
        warm_up_s: a ready replica counts as warm after this long whatever it answered: with fewer answers than that
            in a minute it is a lack of requests, and nobody waits for an engine.
        startup_decay: weight of a shorter start against a longer one remembered; longer ones count at once,
            so the memory stays near the 90th percentile.
        startup_credible_factor: starts longer than this multiple of the declared time are crashes or waits.
        clock_headroom: share of an operating point's rate that clock tables leave free; below 0 a row lasts that
            much beyond it. Points hold 99.5 % if a load lasts; a minute's mean above it does not, and guards
            send a queue to the highest clock. Chosen by replay of 12 to 16 May with seeds 10 to 17: at -0.18 chat
            kept 99.87 % and code 99.46 % or more on 13 and 14 May, each 0.05 saving about 2 % of energy.
        clock_dwell_s: how long samples must want less before an agent lowers a clock. One clock epoch: the load
            window is a minute already; 15 s drew 1.5 % more in replays of 12, 14 and 16 May and bought 0.1 point.
        replan_s: how long an up-only plan is not tried again after one that found nothing more.
        loading_utilisation: power of a loading GPU relative to its idle power with the model loaded.
        longest_count: instances of one variant that are ever enumerated, a bound on the problem's size.
        derate: how measured latency corrects the profile.
        reinforcement: when an instance is added beyond the profile.
    """

    trend_window_s: float = 1800.0
    level_window_s: float = 120.0
    peak_deviations: float = 1.5
    newest_deviations: float = 1.5
    prior_dispersion: float = 2.0
    prior_weight: float = 8.0
    rate_window_s: float = 60.0
    envelope_percent: float = 5.0
    envelope_polls: int = 2
    look_share: float = 0.2
    jump_deviations: float = 3.0
    held_highest_s: float = 60.0
    catch_up_share: float = 0.5
    least_catch_up_s: float = 60.0
    up_only_margin_percent: float = 5.0
    mix_window_s: float = 3600.0
    mix_drift: float = 0.15
    settle_s: float = 300.0
    unschedulable_s: float = 120.0
    least_share_requests: float = 20.0
    share_deviations: float = 3.0
    share_drift: float = 0.1
    most_uneven: float = 2.0
    blocked_s: float = 1800.0
    overdue_factor: float = 2.0
    warm_answers: int = 20
    warm_up_s: float = 60.0
    startup_decay: float = 0.1
    startup_credible_factor: float = 4.0
    clock_headroom: float = -0.18
    clock_dwell_s: float = 5.0
    replan_s: float = 60.0
    loading_utilisation: float = 1.0
    longest_count: int = 256
    derate: DerateRules = field(default_factory=DerateRules)
    reinforcement: ReinforcementRules = field(default_factory=ReinforcementRules)

    def at(self, cadence: Cadence) -> PlannerSettings:
        """The same at another cadence: windows stay the same count of polls, and in proportion to the plan epoch.

        The larger of both factors: polling more often sees more, not less far, and a trend fitted over two minutes must
        not be drawn out over an epoch of five. The rate window is Prometheus' own and stays.
        """
        usual = Cadence()
        factor = max(cadence.demand_poll_s / usual.demand_poll_s, cadence.plan_epoch_s / usual.plan_epoch_s)
        if factor == 1.0:
            return self
        return replace(self, **{name: getattr(self, name) * factor for name in _COUNTED_IN_POLLS})


_COUNTED_IN_POLLS = (
    "trend_window_s",
    "level_window_s",
    "mix_window_s",
    "settle_s",
    "unschedulable_s",
    "blocked_s",
    "clock_dwell_s",
    "replan_s",
    "held_highest_s",
    "warm_up_s",
    "least_catch_up_s",
)
