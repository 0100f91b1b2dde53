"""One evaluated case: Joulery and its baselines on the same requests, truth and start-up times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from joulery.domain.keys import ObjectKey
from joulery.domain.policy import Guardrails
from joulery.domain.pool import Knob, Pool
from joulery.planner.settings import PlannerSettings
from joulery.serving.catalog import PointCatalog
from joulery.simulator.baselines import Constant
from joulery.simulator.joulery_policy import JouleryPolicy
from joulery.simulator.replay import Replay, ScalingPolicy, Timing
from joulery.simulator.result import lowest_attainment_percent, saving_percent, summarise
from joulery.simulator.scenario import Scenario, default_policy
from joulery.simulator.traces import Requests
from joulery.simulator.truth import hidden_truth, shipped_profile
from joulery.simulator.tuning import best_static, reactive, single_pool

BASELINES = ("SinglePool", "BestStatic", "Reactive")
BOUNDARIES = ("gpu", "fleet", "server")
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Case:
    """What one evaluation runs on; `seed` draws traffic, truth and start-up jitter.

    `time_factor` forces how much slower than the profile the truth is, in place of a draw.
    """

    day: date
    seed: int
    startup_s: float
    timing: Timing = field(default_factory=Timing)
    squeeze: float = 1.0
    guardrails: Guardrails = field(default_factory=Guardrails)
    plan_epoch_s: float = 300.0
    time_factor: float | None = None

    @property
    def name(self) -> str:
        """A short name for progress lines and files."""
        return f"{self.day.isoformat()} seed {self.seed} start-up {self.startup_s:g} s"


def silent(stage: str, share: float) -> None:
    """No progress shown."""
    del stage, share


class Evaluation:
    """Runs policies of one case; streams, baselines and operating points are made once."""

    def __init__(
        self, case: Case, progress: Progress = silent, *, catalog: PointCatalog | None = None
    ) -> None:
        self.case = case
        self.catalog = catalog or PointCatalog()
        self.profile = shipped_profile()
        self.truth = hidden_truth(self.profile, case.seed, time_factor=case.time_factor)
        self.scenario = Scenario(self.profile, self.truth.profile, case.startup_s, case.seed)
        self.streams: Mapping[ObjectKey, Requests] = self.scenario.streams(
            case.day, squeeze=case.squeeze, duration_s=case.timing.duration_s, lead_s=case.timing.lead_s
        )
        self.single_pool: Constant = single_pool(self.scenario, self.streams, case.timing)
        self._progress = progress

    def joulery(
        self, knobs: frozenset[Knob] = frozenset(Knob), name: str = "Joulery", *, loop: bool = True
    ) -> JouleryPolicy:
        """The planner of production, starting from SinglePool's fleet as found.

        Without `loop` it believes the profile whatever is measured.
        """
        cadence = replace(
            default_policy().cadence,
            plan_epoch_s=self.case.plan_epoch_s,
            demand_poll_s=self.case.timing.demand_poll_s,
            clock_epoch_s=self.case.timing.clock_epoch_s,
        )
        settings = PlannerSettings(rate_window_s=self.case.timing.rate_window_s)
        return JouleryPolicy(
            policies=(default_policy(cadence, self.case.guardrails),),
            profiles={self.profile.name: self.profile},
            catalog=self.catalog,
            start=self.single_pool.settings,
            settings=settings if loop else believing(settings),
            name=name,
            constants={"knobs": sorted(k.value for k in knobs)},
        )

    def run(self, policy: ScalingPolicy, pools: tuple[Pool, ...] | None = None) -> dict[str, object]:
        """One policy's entry of the result."""
        replay = Replay(
            self.scenario.world(pools),
            policy,
            self.streams,
            self.case.timing,
            dwell_s=self.case.guardrails.dwell_s,
            progress=lambda share: self._progress(policy.name, share),
        )
        return summarise(replay.run())

    def static_runs(self) -> dict[str, dict[str, object]]:
        """SinglePool and BestStatic, the latter tuned to the truth."""
        best = best_static(self.scenario, self.streams, self.case.timing, self.scenario.hardware.gpus)
        return {"SinglePool": self.run(self.single_pool), "BestStatic": self.run(best)}

    def reactive_run(self) -> dict[str, object]:
        """Reactive scaling, tuned to the truth."""
        return self.run(reactive(self.scenario, self.streams, self.case.timing))

    def knob_runs(self) -> dict[str, dict[str, object]]:
        """Joulery with one knob at a time taken away."""
        runs = {}
        for knob in Knob:
            kept = frozenset(Knob) - {knob}
            name = f"Without{knob.value}"
            runs[name] = self.run(self.joulery(kept, name), self.scenario.with_knobs(kept))
        return runs


def believing(settings: PlannerSettings) -> PlannerSettings:
    """Settings under which measured latency changes nothing."""
    return replace(
        settings,
        derate=replace(settings.derate, lowest=1.0),
        reinforcement=replace(settings.reinforcement, most=0),
    )


def savings(policies: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, float]]:
    """Joulery's saving in percent against each baseline that attains, at each boundary."""
    ours = policies["Joulery"]
    return {
        name: {boundary: round(saving_percent(ours, policies[name], boundary), 3) for boundary in BOUNDARIES}
        for name in BASELINES
        if name in policies
    }


def evaluate(
    case: Case,
    *,
    knobs: bool = False,
    static: Mapping[str, dict[str, object]] | None = None,
    progress: Progress = silent,
) -> dict[str, object]:
    """All policies of one case, savings, the hidden truth's factors, and each knob's share where asked for.

    Args:
        case: what to run.
        knobs: whether to measure each knob's share as well.
        static: SinglePool's and BestStatic's entries of the same day and seed, which no start-up time changes.
        progress: told a policy's name and the share of its run that is done.
    """
    evaluation = Evaluation(case, progress)
    policies = {**(static or evaluation.static_runs())}
    policies["Reactive"] = evaluation.reactive_run()
    policies["Joulery"] = evaluation.run(evaluation.joulery())
    result: dict[str, object] = {
        "day": case.day.isoformat(),
        "seed": case.seed,
        "startupSeconds": case.startup_s,
        "truth": {
            "timeFactor": round(evaluation.truth.time_factor, 4),
            "powerFactor": round(evaluation.truth.power_factor, 4),
            "noSlowerThanProfile": evaluation.truth.time_factor <= 1.0,
        },
        "policies": policies,
        "savingPercent": savings(policies),
        "lowestAttainmentPercent": {
            name: lowest_attainment_percent(entry) for name, entry in policies.items()
        },
    }
    if knobs:
        result["knobs"] = knob_shares(policies["Joulery"], evaluation.knob_runs())
    return result


def knob_shares(
    all_knobs: Mapping[str, object], without: Mapping[str, Mapping[str, object]]
) -> dict[str, object]:
    """What switching one knob off costs, in percent of energy with all of them."""
    return {
        name: {
            **{f"{b}ExtraPercent": round(-saving_percent(entry, all_knobs, b), 3) for b in BOUNDARIES},
            "lowestAttainmentPercent": lowest_attainment_percent(entry),
        }
        for name, entry in without.items()
    }
