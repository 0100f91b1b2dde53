"""The figures of a calibration as a dictionary, units in the names; merged into a file beside what is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from joulery.calibration.claims import Claim, Found
from joulery.calibration.client import REQUESTS_PER_CLIENT, SHORTEST_SHARE, TOKEN_BUDGET
from joulery.calibration.fit import SOFT_ERROR, TTFT_WEIGHT
from joulery.calibration.holdout import Judged
from joulery.calibration.lanes import FULL_SHARE, SEEDS, shipped_profile
from joulery.errors import ConfigError

SCHEMA_VERSION = 1


def latency_figures(found: Found) -> dict[str, object]:
    """All figures about latency."""
    bounded = [c.is_met for c in found.claims if c.bound]
    return {
        "assumed": _assumed(),
        "claimsMet": sum(bool(met) for met in bounded),
        "claimsBounded": len(bounded),
        "claims": [claim_figures(c) for c in found.claims],
        "parameters": {f"{j.lane.accelerator} {j.lane.engine}": _parameters(j) for j in found.lanes},
    }


def merge_into(file: Path, figures: Mapping[str, object]) -> None:
    """Write figures under their keys, all others staying. Raises ConfigError for a file of another schema."""
    document: dict[str, object] = json.loads(file.read_text()) if file.exists() else {}
    known = document.setdefault("schemaVersion", SCHEMA_VERSION)
    if known != SCHEMA_VERSION:
        raise ConfigError(f"{file} has schemaVersion {known!r}, not {SCHEMA_VERSION}: move it away first")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document | dict(figures), indent=1) + "\n")


def _assumed() -> dict[str, object]:
    profile = shipped_profile()
    return {
        "requestsPerClient": REQUESTS_PER_CLIENT,
        "shortestLengthShareOfNominal": SHORTEST_SHARE,
        "tokenBudget": TOKEN_BUDGET,
        "seeds": list(SEEDS),
        "kvBytesPerToken": {name: profile.kv_cache(name).bytes_per_token for name in profile.accelerators},
        "outOfMemoryAboveShareOfKvCache": FULL_SHARE,
        "ttftWeight": TTFT_WEIGHT,
        "softErrorShare": SOFT_ERROR,
    }


def claim_figures(claim: Claim) -> dict[str, object]:
    """A claim as it is written to a file."""
    bound = claim.bound
    return {
        "quantity": claim.quantity,
        "accelerator": claim.accelerator,
        "rows": claim.rows,
        "points": claim.errors.rows,
        "errorPercentMean": round(claim.errors.mean_percent, 2),
        "errorPercentMax": round(claim.errors.max_percent, 2),
        "errorPercentBias": round(claim.errors.bias_percent, 2),
        "worstRow": claim.errors.worst[0],
        "namedOutlier": claim.outlier,
        "atMostPercentMean": bound.mean_percent if bound else None,
        "atMostPercentMax": bound.max_percent if bound else None,
        "publishedPercent": claim.published,
        "isMet": claim.is_met,
    }


def _parameters(judged: Judged) -> dict[str, object]:
    values = judged.parameters()
    return {
        name: {"value": round(values[name], 4), "low": round(low, 4), "high": round(high, 4)}
        for name, (low, high) in judged.ranges().items()
    }
