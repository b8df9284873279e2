"""The interval in closed form, and what the records accept, derive and refuse."""

import json

import numpy as np
import pytest

from tfadv.report.charts import Chart, Series
from tfadv.report.records import (
    OUTCOMES,
    AttackResult,
    Check,
    Examples,
    ThreatModel,
    Verdict,
    check_schema,
    clopper_pearson,
)
from tfadv.validation import UserError


@pytest.mark.parametrize("count", [1, 2, 10, 360, 10_000])
def test_clopper_pearson_has_its_closed_forms_at_the_ends(count):
    """0 of n: [0, 1 - (a/2)^(1/n)]; n of n: [(a/2)^(1/n), 1]; a = 0.05."""
    edge = 0.025 ** (1 / count)
    np.testing.assert_allclose(clopper_pearson(0, count), [0, 1 - edge], atol=1e-12)
    np.testing.assert_allclose(clopper_pearson(count, count), [edge, 1], atol=1e-12)


def test_clopper_pearson_solves_its_defining_equations():
    """5 of 10: each end p solves P(X >= 5) = 0.025 or P(X <= 5) = 0.025; by symmetry the ends add to 1."""
    low, high = clopper_pearson(5, 10)
    np.testing.assert_allclose([low, high], [0.18709, 0.81291], atol=1e-5)
    coefficients = [252, 210, 120, 45, 10, 1]  # C(10, k), k = 5..10
    tail = sum(c * low**k * (1 - low) ** (10 - k) for k, c in enumerate(coefficients, start=5))
    assert tail == pytest.approx(0.025, abs=1e-9)


def test_clopper_pearson_of_nothing_is_refused():
    with pytest.raises(ValueError):
        clopper_pearson(0, 0)


def row(**changes):
    fields = {
        "name": "PGD",
        "config": {"epsilon": np.float32(0.5), "bounds": (0, 1), "norm": "linf"},
        "adversarial": [True, False, True, True],
        "new_successes": 2,
        "distances": [np.nan, np.nan, 0.1, 0.3],
        "seconds": 2.0,
    }
    return AttackResult(**{**fields, **changes})


def test_an_attack_derives_accuracy_interval_and_median_distance():
    assert row().accuracy == 0.25
    assert row().interval == clopper_pearson(1, 4)
    assert row().median_distance == pytest.approx(0.2)  # of 0.1 and 0.3, not of the NaN


def test_an_attack_that_broke_nothing_has_no_median_distance():
    assert row(distances=[np.nan] * 4).median_distance is None


def test_an_attack_comes_back_from_json_exactly():
    text = json.dumps(row().to_json(), allow_nan=False)
    again = AttackResult.from_json(json.loads(text))
    assert json.dumps(again.to_json()) == text
    np.testing.assert_array_equal(again.distances, row().distances)
    assert json.loads(text)["distances"] == [None, None, 0.1, 0.3]
    assert again.config == {"epsilon": 0.5, "bounds": [0, 1], "norm": "linf"}


def test_queries_are_kept_and_may_be_missing_in_an_older_file():
    data = json.loads(json.dumps(row(queries=np.int64(500)).to_json()))
    assert data["queries"] == 500
    assert AttackResult.from_json(data).queries == 500
    del data["queries"]
    assert AttackResult.from_json(data).queries is None
    del data["precision"]
    with pytest.raises(KeyError, match="precision"):
        AttackResult.from_json(data)


def test_the_arrays_of_a_record_are_copies_that_nobody_can_write():
    flags = np.array([True, False, True, True])
    result = row(adversarial=flags)
    flags[:] = False
    assert result.accuracy == 0.25
    with pytest.raises(ValueError, match="read-only"):
        result.adversarial[0] = False


@pytest.mark.parametrize("value", [np.nan, object(), {1: "a"}])
def test_a_setting_that_json_cannot_hold_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"config\['bad'\] must be a JSON value"):
        row(config={"bad": value})


def test_flags_and_distances_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"'PGD' must both have shape \[n\]"):
        row(distances=[0.1])


@pytest.mark.parametrize(
    ("epsilon", "text"),
    [(0.3, "0.3"), (0.2, "0.2"), (8 / 255, "8/255 (0.0314)"), (1 / 255, "1/255 (0.00392)"), (0.0, "0"), (1.5, "1.5")],
)
def test_epsilon_is_written_as_people_write_it(epsilon, text):
    assert ThreatModel("linf", epsilon).epsilon_text() == text


def test_the_threat_model_is_spelt_out():
    threat = ThreatModel("l2", 0.5, bounds=(-1, 1), knowledge="black box")
    assert threat.describe() == "l2, epsilon 0.5, pixels in [-1, 1], black box, untargeted"


@pytest.mark.parametrize("changes", [{"epsilon": -0.1}, {"epsilon": np.nan}, {"bounds": (1, 0)}])
def test_an_impossible_threat_model_is_refused(changes):
    with pytest.raises(UserError, match="epsilon must" if "epsilon" in changes else "bounds must"):
        ThreatModel(**{"norm": "linf", "epsilon": 0.1, **changes})


def test_examples_come_back_from_json_bit_for_bit():
    clean = np.random.default_rng(0).random((2, 3, 5, 3), np.float32)
    examples = Examples(clean, 1 - clean, [0, 1], [1, 0])
    again = Examples.from_json(json.loads(json.dumps(examples.to_json())))
    np.testing.assert_array_equal(again.clean, clean)
    np.testing.assert_array_equal(again.adversarial, 1 - clean)
    assert (again.labels.tolist(), again.predictions.tolist()) == ([0, 1], [1, 0])


def test_examples_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        Examples(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 3)), [0], [0])
    with pytest.raises(ValueError, match="one for each image"):
        Examples(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)), [0, 1], [0, 1])


CHECK = Check("name", "failed", "evidence", "source", "rule", 0.5, 2, Chart("T.", "x", "y", {"a": Series((0,), (1,))}))


@pytest.mark.parametrize("check", [CHECK, *(Check("name", outcome, "", "") for outcome in OUTCOMES)])
def test_a_check_comes_back_from_json(check):
    assert Check.from_json(json.loads(json.dumps(check.to_json()))) == check


@pytest.mark.parametrize(("passed", "outcome"), [(True, "passed"), (False, "failed"), (None, "not applicable")])
def test_a_check_of_schema_version_1_is_read(passed, outcome):
    """It had no word for a check that did not run because it means nothing, which is what null stood for."""
    data = {"name": "claim", "passed": passed, "evidence": "numbers", "source": "paper"}
    assert Check.from_json(data) == Check("claim", outcome, "numbers", "paper")


def test_an_unknown_outcome_or_verdict_is_refused():
    with pytest.raises(ValueError, match=r"outcome must be one of .*got 'maybe'"):
        Check("name", "maybe", "", "")
    with pytest.raises(ValueError, match=r"word must be one of .*got 'fine'"):
        Verdict("fine", "", 0.5, 0.5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "got 'list'"),
        ({}, "got None"),
        ({"schema": "other"}, "got 'other'"),
        ({"schema": "tfadv.report"}, "schema_version must lie in 1..1, got None"),
    ],
)
def test_a_foreign_json_is_refused(data, message):
    with pytest.raises(UserError, match=message):
        check_schema(data, "tfadv.report", 1)


@pytest.mark.parametrize("version", [0, 2, "1"])
def test_a_report_of_a_later_version_is_refused(version):
    with pytest.raises(UserError, match=r"schema_version must lie in 1\.\.1"):
        check_schema({"schema": "tfadv.report", "schema_version": version}, "tfadv.report", 1)
