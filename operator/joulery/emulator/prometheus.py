"""A Prometheus of our own on loopback, scraping what a targets file names."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from joulery.emulator.processes import ProcessGroup, free_port

READY_TIMEOUT_S = 30.0
STOP_PATIENCE_S = 5.0


class Prometheus:
    """Starts on entry, stops on exit; blocking, so use a thread from asyncio."""

    def __init__(
        self,
        assets: Path,
        data: Path,
        *,
        scrape_interval_s: float = 5.0,
        job: str = "engines",
        relabelings: Sequence[Mapping[str, Any]] = (),
        flags: Sequence[str] = (),
    ) -> None:
        """Prepare only; nothing is written or started.

        Args:
            assets: folder with the program prometheus.
            data: folder of this Prometheus alone; its owner removes it.
            scrape_interval_s: seconds between scrapes of a target; the scrape timeout is the same.
            job: value of the label `job`.
            relabelings: `relabel_configs` of the job, for `__meta_*` labels of the targets file.
            flags: further command line flags.
        """
        self.data = data.resolve()
        self.targets = self.data / "targets.json"
        self._program = assets / "prometheus"
        self._port = free_port()
        self._flags = tuple(flags)
        self._group: ProcessGroup | None = None
        self._config = _config(scrape_interval_s, job, self.targets, relabelings)

    @property
    def url(self) -> str:
        """Address of its API; stays the same over a restart."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start, or start again after `kill` with the data there was, and wait until ready.

        Raises:
            ProcessError: it failed; the message holds the end of its log.
        """
        self.data.mkdir(parents=True, exist_ok=True)
        if not self.targets.exists():
            self.write_targets([])
        config = self.data / "prometheus.yml"
        config.write_text(json.dumps(self._config, indent=1))
        self._group = self._group or ProcessGroup(self.data / "logs")
        try:
            child = self._group.start("prometheus", [self._program, *self._arguments(config)])
            child.wait_until(lambda: self._answers("/-/ready"), READY_TIMEOUT_S)
        except BaseException:
            self._group.kill()
            self._group = None
            raise

    def stop(self) -> None:
        """End it; a second call does nothing."""
        group, self._group = self._group, None
        if group is not None:
            group.stop(STOP_PATIENCE_S)

    def kill(self) -> None:
        """SIGKILL, as a crash would; `start` brings it back."""
        if self._group is not None:
            self._group.children["prometheus"].kill()

    def reload(self) -> None:
        """Have it read its configuration again. Changes of the targets file need no reload."""
        urllib.request.urlopen(
            urllib.request.Request(f"{self.url}/-/reload", method="POST"), timeout=5
        ).close()

    def write_targets(self, groups: Sequence[Mapping[str, Any]]) -> None:
        """Replace what is scraped, at once as a whole.

        Args:
            groups: `{"targets": ["127.0.1.1:8000"], "labels": {...}}` each; `__metrics_path__` and
                `__scheme__` may be among the labels.
        """
        fresh = self.targets.with_suffix(".json.new")
        fresh.write_text(json.dumps(list(groups)))
        os.replace(fresh, self.targets)

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The result of an instant query, as the HTTP API gives it; an empty list means no series."""
        parameters = urllib.parse.urlencode({"query": promql})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{parameters}", timeout=5) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def _arguments(self, config: Path) -> list[str]:
        return [
            f"--config.file={config}",
            f"--storage.tsdb.path={self.data}/tsdb",
            "--storage.tsdb.retention.time=2d",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-lifecycle",
            "--log.level=warn",
            *self._flags,
        ]

    def _answers(self, path: str) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.url}{path}", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False


def _config(
    scrape_interval_s: float, job: str, targets: Path, relabelings: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The configuration, written as JSON, which is YAML too."""
    interval = f"{round(scrape_interval_s * 1000)}ms"
    scrape = {
        "job_name": job,
        # The file is watched; the interval only covers a lost notification (default 5 min). Prometheus hands
        # changes on every 5 s at most.
        "file_sd_configs": [{"files": [str(targets)], "refresh_interval": "5s"}],
        "relabel_configs": list(relabelings),
    }
    timing = {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    return {"global": timing, "scrape_configs": [scrape]}
