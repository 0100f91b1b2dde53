"""Which findings are news: a condition that changed its status or reason is worth an Event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from joulery.domain.keys import ObjectKey
from joulery.domain.report import PoolReport
from joulery.domain.verdict import Finding
from joulery.ports import PolicyProblem, Rejected

Stand = tuple[str, str]


class Transitions:
    """Remembers how each condition stood after the last cycle; the first cycle of a process is no news."""

    def __init__(self) -> None:
        self._stands: dict[ObjectKey, dict[str, Stand]] = {}
        self._policy_problems: Mapping[str, PolicyProblem] = {}

    def new_policy_problems(self, problems: Mapping[str, PolicyProblem]) -> list[str]:
        """Messages on policies that the last cycle did not have."""
        new = [p.message for name, p in problems.items() if self._policy_problems.get(name) != p]
        self._policy_problems = problems
        return new

    def news(
        self, reports: Iterable[PoolReport], rejected: Iterable[Rejected]
    ) -> list[tuple[ObjectKey, Finding]]:
        """Findings that differ from the last cycle's."""
        found = {r.pool: tuple(r.findings) for r in reports} | {r.pool: r.findings for r in rejected}
        changed = [
            (pool, finding) for pool, findings in found.items() for finding in self._changed(pool, findings)
        ]
        self._stands = {
            pool: {f.condition.value: _stand(f) for f in findings} for pool, findings in found.items()
        }
        return changed

    def _changed(self, pool: ObjectKey, findings: Sequence[Finding]) -> list[Finding]:
        before = self._stands.get(pool)
        if before is None:
            return [f for f in findings if f.status.value == "False"]
        return [f for f in findings if before.get(f.condition.value) != _stand(f)]


def _stand(finding: Finding) -> Stand:
    return (finding.status.value, finding.verdict.reason)
