"""Write docs/ownership.md: the tables are those that the end-to-end tests play cell by cell."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "operator"), str(ROOT / "tests" / "support")]

from external_metrics import autoscaler  # noqa: E402
from joulery.domain import reasons  # noqa: E402
from joulery.domain.ownership import Owner  # noqa: E402
from joulery.planner.cures import cure_of  # noqa: E402
from ownership_cells import (  # noqa: E402
    AUTOSCALED,
    BY_HAND,
    CELLS,
    DECLARED,
    NEEDED,
    WANTED,
    Applier,
    Cell,
    Outcome,
    Says,
)

# Who holds replicas by each applier's declaration, as the API server records it.
OWNERS: Mapping[Applier, Owner] = {
    Applier.KUBECTL: Owner("kubectl-client-side-apply", "Update"),
    Applier.KUBECTL_SERVER: Owner("kubectl", "Apply"),
    Applier.KUBECTL_REPLACE: Owner("kubectl-replace", "Update"),
    Applier.HELM_3: Owner("helm", "Update"),
    Applier.HELM_4: Owner("helm", "Apply"),
    Applier.ARGO: Owner("argocd-controller", "Update"),
    Applier.ARGO_SERVER: Owner("argocd-controller", "Apply"),
    Applier.FLUX: Owner("kustomize-controller", "Apply"),
}
MANAGERS = {applier: f"`{owner.manager}`, {owner.operation}" for applier, owner in OWNERS.items()}

INTRODUCTION = f"""\
# Whose replicas they are

<!-- Written by `make generate` from tests/support/ownership_cells.py: change it there. -->

Joulery sets replicas through `/scale`, as field manager `joulery`. Before each write it decides from `managedFields`,
kubectl's last-applied annotation and the autoscalers of the cluster whether the replicas are its own to set:

| evidence | what Joulery does | condition `Actuated` |
| --- | --- | --- |
| an HPA or a KEDA ScaledObject targets the workload | writes nothing there, ever | `{reasons.FOREIGN_SCALER}` |
| no manifest declares replicas | sets them, also after others have moved them | |
| a manifest declares them | holds them, unless the pool says `spec.scaling.adopt: Declared` | \
`{reasons.REPLICAS_DECLARED}` |
| it cannot be told (Helm 3, `kubectl create`) | sets them once, with the Event `{reasons.REPLICAS_ADOPTED}`; \
set back, they count as declared | |
| a person scaled it | holds them until the pool's spec changes | `{reasons.REPLICAS_HELD}` |
| set back three times within an hour | writes nothing until the pool's spec changes | \
`{reasons.REPLICAS_CONTESTED}` |

A hold never sinks capacity: held replicas below what the load needs now are raised to it, up only, with the Event
`{reasons.REPLICAS_RAISED}`. Targets of autoscalers are the exception: they are never written at all.

## Every case

Each line is an end-to-end test on a real API server (`tests/e2e/test_ownership_matrix.py`). In all of them the
plan wants {WANTED} replicas, the load needs {NEEDED}, a manifest that declares any says {DECLARED}, a person scales to
{BY_HAND} (or to 1), and an HPA that must move the workload sets {AUTOSCALED}. *Next run* is what the applier would meet
if it applied its manifest once more.
"""

LEAVING = """
## Leaving

Leaving `Act`, deleting the pool or its policy, and uninstalling change no replicas: values stay as they are, clocks go
back to their defaults, and no finalizer keeps anything (`tests/e2e/test_exit.py`). `joulery` stays in `managedFields`
as the owner of the last value. To give the field back to an applier that works server-side, apply once with
`kubectl apply --server-side --force-conflicts` or `helm upgrade --force-conflicts`; others take it with their next
apply. Never apply a manifest without `spec.replicas` as field manager `joulery`: its owner's apply without the field
scales the workload to 0.

## Replicas set by an autoscaler

With `spec.scaling.actuator: Metric` Joulery writes nothing. It publishes `joulery_desired_replicas` with the labels
`namespace`, `pool` and `variant` for an HPA or a ScaledObject to follow (`tests/e2e/test_metric_actuator.py`). An HPA
ignores steps below a tenth and waits five minutes on the way down unless told otherwise:

```yaml
"""


MISSING = """```

The last value stays asked for while metrics are missing. Outside `Act`, and while the controller is down, there is no
series, and an HPA keeps the replicas that are there.
"""


def main() -> None:
    """Write the page."""
    example = yaml.safe_dump(autoscaler("llm", "chat", "tp4", "chat-tp4"), sort_keys=False)
    page = "\n".join((INTRODUCTION, *_sections())) + LEAVING + example + MISSING
    (ROOT / "docs").mkdir(exist_ok=True)
    (ROOT / "docs" / "ownership.md").write_text(page)


def _sections() -> Iterator[str]:
    for applier in Applier:
        yield f"### {applier}\n"
        yield f"Recorded as {MANAGERS[applier]}. To let Joulery scale what it declares: {cure_of(OWNERS[applier])}.\n"
        yield "| manifest has | then | replicas | Joulery set | `Actuated` | next run |"
        yield "| --- | --- | --- | --- | --- | --- |"
        for (says, outcome), cells in _grouped(applier).items():
            then = "; ".join(cell.then for cell in cells)
            writes = ", ".join(map(str, outcome.writes)) or "nothing"
            yield f"| {says} | {then} | {outcome.replicas} | {writes} | `{outcome.reason}` | {outcome.sees} |"
        yield ""


def _grouped(applier: Applier) -> dict[tuple[Says, Outcome], list[Cell]]:
    """Cells of one applier with the same manifest and outcome, in the order of manifests."""
    found: dict[tuple[Says, Outcome], list[Cell]] = {}
    own = (c for c in CELLS if c.applier is applier)
    for cell in sorted(own, key=lambda c: list(Says).index(c.says)):
        found.setdefault((cell.says, cell.outcome), []).append(cell)
    return found


if __name__ == "__main__":
    main()
