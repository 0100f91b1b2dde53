"""What `joulery profile fit` writes is what the API server takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulery.emulator.cluster_access import Cluster
from joulery.profiling.fitting import FitRequest, run
from joulery.profiling.points import render_points
from made_up_points import CLIENT, made_up
from serving_cases import ACCELERATOR, shipped_profile

pytestmark = pytest.mark.e2e


def test_a_fitted_profile_is_applied_strictly(served: Cluster, tmp_path: Path) -> None:
    points, out = tmp_path / "points.csv", tmp_path / "profile.yaml"
    points.write_text(render_points(made_up(shipped_profile(), ACCELERATOR, sizes=(4,))))
    request = FitRequest("fitted-here", "some/Model 70B", ("llama-3.1-70b-fp8",), CLIENT)
    run(points, request, out, limit_percent=10.0, accept=False)
    done = served.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(out))
    assert "energyprofile.joulery.dev/fitted-here created" in done.stdout
