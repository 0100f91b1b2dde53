"""What the suite must show, beside what it showed: one row per target that was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from joulery.bench.churn import FEWER_PERCENT, MORE_POWER_PERCENT, WITHIN
from joulery.bench.forms import Form
from joulery.bench.plan import DEADLINE_CASES, deadline_name

# Of resident memory, 1.2 GB.
MOST_MEBIBYTES = 1.2e9 / 2**20


@dataclass(frozen=True, slots=True)
class Target:
    """A figure that must not be above `most`, or below `least`; times are CPU time of one thread."""

    figure: str
    most: float | None = None
    least: float | None = None

    def is_met(self, measured: float) -> bool:
        """Whether the figure is within."""
        return (self.most is None or measured <= self.most) and (self.least is None or measured >= self.least)

    def __str__(self) -> str:
        return f"<= {self.most:g}" if self.most is not None else f">= {self.least:g}"


def _times(cold: float, warm: float) -> tuple[Target, ...]:
    return Target("coldP50CpuMilliseconds", cold), Target("warmP50CpuMilliseconds", warm)


_NINE = (*_times(15.0, 10.0), Target("coldP90CpuMilliseconds", 30.0), Target("gapToBoundP90", 2e-3))
# Both engines finish few pools exactly, so that the bound on the exact mode holds for all of them.
_EXACT = (Target("excessOverExactMax", 1e-4),)
_FASTER = Target("timesFasterThanTextbook", least=300.0)
_HUNDRED = (*_times(100.0, 50.0), Target("gapToBoundP50", 3e-4), Target("gapToBoundMax", 1e-3))
_THOUSAND = (*_times(500.0, 250.0), Target("gapToBoundMax", 5e-4))
_LARGE = (*_times(7000.0, 2500.0), Target("gapToBoundMax", 5e-4), Target("residentMebibytes", MOST_MEBIBYTES))
_CASES = {
    "9pools/1types/80clocks/tight": _NINE,
    "9pools/2types/80clocks/tight": _NINE,
    "9pools/1types/12clocks/tight": _EXACT,
    "9pools/2types/12clocks/tight": _EXACT,
    "100pools/2types/80clocks/tight": _HUNDRED,
    "1000pools/2types/80clocks/tight": _THOUSAND,
    "5000pools/4types/80clocks/tight": _LARGE,
}
_GREEDY = (Target("coldP50CpuMilliseconds", 5.0),)
_DEADLINE = (Target("plansRefused", 0.0), Target("overshootMaxCpuMilliseconds", 10.0))
_CHURN = (Target("fewerStartsPercent", least=FEWER_PERCENT), Target("morePowerPercent", MORE_POWER_PERCENT))


def targets() -> Iterator[tuple[str, Target]]:
    """Key of the figures and what is asked of them; of affine power, in both ways to split a load."""
    for form in (Form.FILL, Form.EQUAL):
        for case, asked in _CASES.items():
            also = (_FASTER,) if form is Form.FILL and asked is _EXACT else ()
            yield from ((f"{case}/{form}/columns", target) for target in (*asked, *also))
        for pools in (9, 100):
            key = f"{pools}pools/2types/80clocks/tight/{form}/fallback"
            yield from ((key, target) for target in _GREEDY)
    for fleet, form in DEADLINE_CASES:
        yield from ((deadline_name(fleet, form), target) for target in _DEADLINE)
    for form in (Form.FILL, Form.EQUAL):
        for loads in ("redrawn", "walk5%"):
            key = f"100pools/2types/80clocks/tight/churn/{form}/{loads}/{WITHIN}"
            yield from ((key, target) for target in _CHURN)


def judged(
    figures: Mapping[str, Mapping[str, float | int]],
) -> dict[str, dict[str, float | int | str | bool]]:
    """By `key/figure`: measured, target, whether it is met; without what was not measured."""
    return {
        f"{key}/{target.figure}": {
            "measured": figures[key][target.figure],
            "target": str(target),
            "isMet": target.is_met(figures[key][target.figure]),
        }
        for key, target in targets()
        if target.figure in figures.get(key, {})
    }


def row(name: str, verdict: Mapping[str, float | int | str | bool]) -> str:
    """One line of the table."""
    return f"{'met' if verdict['isMet'] else 'MISSED':<7} {name:<82} {verdict['measured']:>10} {verdict['target']}"
