"""The cluster that end-to-end tests run against: JOULERY_KUBECONFIG's, else a control plane of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from joulery.emulator.cluster_access import Cluster, external_cluster
from joulery.emulator.controlplane import ControlPlane, assets_from_environment

REPOSITORY = Path(__file__).resolve().parents[2]
# A first build takes 8 to 15 minutes on two cores.
BUILD_TIMEOUT_S = 1500


def find_assets() -> Path:
    """The folder with the control plane's programs: the Makefile's, else found or built now."""
    if os.environ.get("KUBEBUILDER_ASSETS"):
        return assets_from_environment()
    command = [sys.executable, str(REPOSITORY / "hack" / "tools.py"), "assets"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=BUILD_TIMEOUT_S)
    return Path(done.stdout.strip())


@contextmanager
def external_or_embedded(data: Path) -> Iterator[Cluster]:
    """A cluster to test against; an embedded one is started now and stopped on exit."""
    assets = find_assets()
    external = external_cluster(assets / "kubectl", data)
    if external is not None:
        yield external
        return
    with ControlPlane(assets, data) as plane:
        yield plane


def cluster_fixture() -> Callable[..., Iterator[Cluster]]:
    """The session's cluster as a fixture: `cluster = cluster_fixture()` in a conftest."""

    @pytest.fixture(scope="session")
    def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
        with external_or_embedded(tmp_path_factory.mktemp("cluster")) as found:
            yield found

    return cluster
