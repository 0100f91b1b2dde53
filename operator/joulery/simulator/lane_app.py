"""`joulery lanes`: which classes would share a lane, printed as it is found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from joulery.errors import ConfigError
from joulery.optimizer.lanes.request import Confusion, Promise
from joulery.serving.catalog import PointCatalog
from joulery.serving.points import SAMPLE_REQUESTS
from joulery.simulator.lane_table import conversation_classes, figures_of, table_of, text_of
from joulery.simulator.predictors import PUBLISHED_ACCURACY, of_csv, of_output_accuracy
from joulery.simulator.truth import shipped_profile

SCHEMA_VERSION = 1
# Nine classes are 511 lanes of three variants each.
_POINTS_KEPT = 20_000


def run(
    rates_rps: Sequence[float],
    *,
    promise: Promise,
    ttft_ms: int | None = None,
    confusion: Path | None,
    most_priced: int,
    requests: int = SAMPLE_REQUESTS,
    out: Path | None,
) -> int:
    """Print every load with a perfect and with a confused predictor; write JSON where asked.

    Raises ConfigError where the confusion cannot be read.
    """
    profile, catalog = shipped_profile(), PointCatalog(requests=requests, capacity=_POINTS_KEPT)
    figures = []
    for predictor, shares in _predictors(confusion).items():
        for rate_rps in rates_rps:
            table = table_of(
                profile,
                conversation_classes(rate_rps, ttft_ms),
                predictor,
                shares,
                promise=promise,
                most_priced=most_priced,
                catalog=catalog,
            )
            print(text_of(table), flush=True)
            figures.append(figures_of(table))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        document = {"schemaVersion": SCHEMA_VERSION, "promise": promise.value, "tables": figures}
        out.write_text(json.dumps(document, indent=2) + "\n")
        print(f"wrote {out}")
    return 0


def _predictors(path: Path | None) -> dict[str, Confusion | None]:
    if path is None:
        share = PUBLISHED_ACCURACY
        return {"perfect": None, f"right in {share:.0%}": of_output_accuracy(share)}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return {"perfect": None, f"of {path.name}": of_csv(text)}
