"""`joulery lanes`: predictors read and made, and the table that it prints."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from joulery.errors import ConfigError
from joulery.optimizer.lanes.request import LanePolicy, Promise, confusion_fault
from joulery.simulator.lane_app import run
from joulery.simulator.lane_table import conversation_classes
from joulery.simulator.predictors import of_csv, of_output_accuracy

NAMES = [each.name for each in conversation_classes(1.0)]


def test_the_conversation_has_nine_classes_with_their_published_shares() -> None:
    shares = {each.name: each.rate_rps for each in conversation_classes(1.0)}
    assert math.fsum(shares.values()) == pytest.approx(1.0)
    # DynamoLLM's classes over the public conversation hour: LL 25.6, MS 19.0, SL 0.1 %.
    assert (shares["LL"], shares["MS"]) == (pytest.approx(0.256, abs=2e-3), pytest.approx(0.190, abs=2e-3))
    assert shares["SL"] < 0.002


def test_one_objective_for_all_takes_the_place_of_their_own_and_moves_nothing_else() -> None:
    own, same = conversation_classes(3.0), conversation_classes(3.0, 2000)
    assert {each.request_class.objective.time_to_first_token_ms for each in own} == {250, 400, 2000}
    assert {each.request_class.objective.time_to_first_token_ms for each in same} == {2000}
    assert [(each.name, each.rate_rps, each.mix) for each in own] == [
        (each.name, each.rate_rps, each.mix) for each in same
    ]


def test_a_predictor_of_outputs_never_mistakes_the_prompt() -> None:
    confusion = of_output_accuracy(0.81)
    assert confusion_fault(confusion, NAMES) is None
    assert confusion.share("ML", "ML") == 0.81 and confusion.share("ML", "MS") == pytest.approx(0.095)
    assert confusion.share("ML", "LL") == 0.0


def test_a_measured_confusion_is_read_as_written() -> None:
    confusion = of_csv("class,SS,SM\nSM,0.25,0.75\nSS, 0.9,0.1\n")
    assert confusion.share("SM", "SS") == 0.25 and confusion.share("SS", "SS") == 0.9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1 must be"),
        ("name,SS\nSS,1\n", "line 1 must be"),
        ("class,SS\nSS,one\n", "line 2: 'SS,one'"),
        ("class,SS,SM\nSS,1,0\n", "are not the classes"),
        ("class,SS\nSS,1\n\n", "line 3"),
    ],
)
def test_a_table_that_is_none_is_refused_by_line(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        of_csv(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv cannot be read"):
        run([1.0], promise=Promise.LARGEST_INPUT, confusion=tmp_path / "none.csv", most_priced=0, out=None)


def test_every_policy_is_printed_beside_the_others_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "lanes.json"
    code = run(
        [1.0, 20.0], promise=Promise.LARGEST_INPUT, confusion=None, most_priced=0, requests=1500, out=out
    )
    printed = capsys.readouterr().out
    tables = json.loads(out.read_text())["tables"]
    assert code == 0 and len(tables) == 4
    for table in tables:
        watts = {policy: row["watts"] for policy, row in table["policies"].items()}
        assert set(watts) == {policy.value for policy in LanePolicy}
        assert watts["Auto"] <= min(watts.values())
        assert f"{watts['PerClass']:,.0f} W" in printed
    assert tables[0]["policies"]["Single"]["lanes"] == 1 and tables[0]["policies"]["PerClass"]["lanes"] == 9
