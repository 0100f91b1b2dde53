"""Joulery as a policy of the replay: the `decide` of production behind the baselines' interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from joulery.domain.demand import Demand
from joulery.domain.fleet import Fleet
from joulery.domain.keys import ObjectKey
from joulery.domain.plan import PlanKind
from joulery.domain.policy import Policy
from joulery.domain.pool import Pool
from joulery.planner.decide import decide
from joulery.planner.history import History
from joulery.planner.settings import PlannerSettings
from joulery.serving.catalog import PointCatalog
from joulery.serving.parameters import EngineProfile
from joulery.simulator.baselines import Setting
from joulery.simulator.replay import Actions


@dataclass(slots=True)
class JouleryPolicy:
    """The planner of production, fed with the profile and never with the truth."""

    policies: Sequence[Policy]
    profiles: Mapping[str, EngineProfile]
    catalog: PointCatalog
    start: Mapping[ObjectKey, Setting]
    settings: PlannerSettings
    name: str = "Joulery"
    constants: Mapping[str, object] = field(default_factory=dict)
    history: History = field(default_factory=History.empty)

    def initial(self, pool: Pool) -> tuple[str, int, int]:
        """As found: what ran before Joulery came."""
        setting = self.start[pool.key]
        return setting.variant, setting.replicas, setting.clock_mhz

    def step(self, fleet: Fleet, demand: Mapping[ObjectKey, Demand]) -> Actions:
        """One call of `decide`, as the controller makes it once per poll."""
        decision = decide(
            fleet,
            demand,
            self.policies,
            self.profiles,
            self.history,
            catalog=self.catalog,
            settings=self.settings,
        )
        self.history = decision.history
        tables = {}
        for directive in decision.directives:
            by_name = {t.name: t for t in directive.tables}
            tables.update({b.pod_uid: by_name[b.table] for b in directive.bindings})
        new_plan = decision.plan.made_at_s == fleet.observed_at_s
        return Actions(
            changes=decision.changes,
            tables=tables,
            made_plan=new_plan and decision.plan.kind is not PlanKind.HOLD,
            up_only=new_plan and decision.plan.kind is PlanKind.UP_ONLY,
        )
