"""The figures of this half as a dictionary, units in the names."""

from __future__ import annotations

import math

from joulery.calibration.claims import Claim
from joulery.calibration.dynamollm.claims import Count, Section
from joulery.calibration.dynamollm.fits import Fits
from joulery.calibration.dynamollm.savings import Banded, Saving, Savings
from joulery.calibration.dynamollm.workload import MEAN_LENGTHS, MEDIAN_LENGTHS, Reading


def dynamollm_figures(fits: Fits, found: tuple[Section, ...], savings: Savings) -> dict[str, object]:
    """Everything that `make calibrate` finds about the tables and about the clock."""
    bounded = [met for section in found for met in section.bounded]
    return {
        "assumed": {
            "inputTokens": dict(MEAN_LENGTHS.inputs),
            "outputTokens": dict(MEAN_LENGTHS.outputs),
            "fittedInputTokens": dict(MEDIAN_LENGTHS.inputs),
            "fittedOutputTokens": dict(MEDIAN_LENGTHS.outputs),
            "reading": Reading.SAME_RATE.value,
        },
        "claimsMet": sum(bounded),
        "claimsBounded": len(bounded),
        "sections": [{"basis": s.title, "claims": [_claim(c) for c in s.claims]} for s in found],
        "terms": _terms(fits),
        "clockSavings": _savings(savings),
    }


def _claim(claim: Claim | Count) -> dict[str, object]:
    known: dict[str, object] = {"quantity": claim.quantity, "rows": claim.rows}
    if isinstance(claim, Count):
        known |= {"right": claim.right, "of": claim.of, "atLeast": claim.at_least}
    else:
        known |= {
            "points": claim.errors.rows,
            "errorPercentMean": round(claim.errors.mean_percent, 2),
            "errorPercentMax": round(claim.errors.max_percent, 2),
            "errorPercentBias": round(claim.errors.bias_percent, 2),
            "worstRow": claim.errors.worst[0],
            "atMostPercentMean": claim.bound.mean_percent if claim.bound else None,
            "atMostPercentMax": _finite(claim.bound.max_percent) if claim.bound else None,
        }
    return known | {"published": claim.published, "isMet": claim.is_met}


def _finite(percent: float) -> float | None:
    return percent if math.isfinite(percent) else None


def _terms(fits: Fits) -> dict[str, object]:
    return {
        name: {"value": float(f"{value:.5g}"), "low": float(f"{low:.5g}"), "high": float(f"{high:.5g}")}
        for name, value in fits.shipping.values.items()
        for low, high in (fits.ranges[name],)
    }


def _savings(savings: Savings) -> dict[str, object]:
    return {
        "highestRateRps": round(savings.highest_rate_rps, 3),
        "draws": savings.draws,
        "byLoad": [_banded(b) for b in savings.by_load],
    }


def _banded(banded: Banded) -> dict[str, object]:
    return _saving(banded.shipped) | {
        "bestClockBandMHz": list(banded.clock_band_mhz),
        "gpuSavingBandPercent": [round(100 * x, 2) for x in banded.gpu_band],
        "withAssumedClocks": _saving(banded.with_assumed_clocks),
    }


def _saving(saving: Saving) -> dict[str, object]:
    return {
        "load": saving.load,
        "wattsPerGPU": round(saving.watts_per_gpu, 1),
        "joulesPerOutputToken": round(saving.joules_per_token, 3),
        "bestJoulesPerOutputToken": round(saving.best_joules_per_token, 3),
        "bestClockMHz": saving.best_clock_mhz,
        "gpuSavingPercent": round(100 * saving.gpu_share, 2),
        "wallSavingPercent": round(100 * saving.wall_share, 2),
    }
