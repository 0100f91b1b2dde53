"""What Prometheus is told to scrape."""

from __future__ import annotations

import json
from pathlib import Path

from joulery.domain.keys import ObjectKey
from joulery.emulator.targets import ScrapeTarget, TargetsFile


def target(name: str, address: str) -> ScrapeTarget:
    return ScrapeTarget(ObjectKey("llm", name), address, 8000, "node-a", "vllm")


def test_the_file_holds_the_pods_that_answer_with_the_labels_of_a_pod_monitor(tmp_path: Path) -> None:
    file = TargetsFile(tmp_path / "sd" / "targets.json")
    file.add("u2", target("b", "127.9.0.2"))
    file.add("u1", target("a", "127.9.0.1"))
    file.remove("u2")
    assert json.loads((tmp_path / "sd" / "targets.json").read_text()) == [
        {
            "targets": ["127.9.0.1:8000"],
            "labels": {
                "namespace": "llm",
                "pod": "a",
                "container": "vllm",
                "node": "node-a",
                "job": "llm/engines",
            },
        }
    ]


def test_a_new_file_is_empty_whatever_an_earlier_run_left(tmp_path: Path) -> None:
    path = tmp_path / "targets.json"
    path.write_text('[{"targets": ["stale:1"]}]')
    TargetsFile(path)
    assert json.loads(path.read_text()) == []
