"""Which classifier a scale trains, what stands for a distribution, and the real work on a handful of images."""

import json

import numpy as np
import pytest

import tfadv.data
from tfadv import analysis
from tfadv.attacks import Fgm, Pgd, from_dict
from tfadv.experiments.logit_squeezing_mnist import STRONG, WEAK
from tfadv.models import load
from tfadv.report.values import unpack
from tfadv.reproduction.jobs import experiment_of, trained_run
from tfadv.reproduction.studies import logit_squeezing_jobs as lsq
from tfadv.reproduction.study import Context

FULL = {"step": 100_000, "network": "madry_mnist"}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lsq")
    (folder / "work").mkdir()
    return Context(folder / "work", folder / "runs", None, print)


def test_the_paper_scale_is_the_experiment_as_it_stands_and_the_short_one_has_fewer_steps():
    experiment = experiment_of(lsq.net("paper", 0.95, 0, 0.3, 2_000_000))
    assert (experiment.steps, experiment.model, experiment.learning_rate) == (2_000_000, "madry_mnist", 1e-4)
    short = experiment_of(lsq.net("short", 0.95, 0, 0.3, 2_000_000, seed=1))
    assert (short.steps, short.model, short.learning_rate, short.seed) == (10_000, "madry_mnist", 1e-4, 1)
    assert short.loss.mass == pytest.approx(0.855)


def test_adversarial_training_of_the_footnotes():
    for kind, steps, size in (("strong", 40, 0.01), ("weak", 2, 0.2)):
        experiment = experiment_of(lsq.adversarial("paper", kind))
        attack = experiment.train_attack
        assert (attack.epsilon, attack.steps, attack.step_size, attack.random_start) == (0.3, steps, size, True)
        assert (experiment.steps, experiment.ramp_steps, experiment.model) == (100_000, 0, "madry_mnist")
    assert experiment_of(lsq.adversarial("paper", "natural")).train_attack is None


def test_the_three_of_a_short_schedule_differ_in_the_adversary_alone():
    strong, weak, natural = (experiment_of(lsq.adversarial("short", kind)) for kind in ("strong", "weak", "natural"))
    for field in ("model", "steps", "learning_rate", "batch_size", "precision", "seed"):
        assert getattr(strong, field) == getattr(weak, field) == getattr(natural, field)
    assert strong.ramp_steps == weak.ramp_steps > 0
    assert strong.loss.get_config() == weak.loss.get_config() == natural.loss.get_config()


def test_the_attacks_of_a_row():
    job = lsq.row_job("short", "a", lsq.net("short", 0, 2, 0.5))
    assert json.loads(json.dumps(job.settings)) == job.settings
    white = {name: from_dict(values) for name, values in job.settings["attacks"].items()}
    pgd = {"epsilon": 0.3, "step_size": 0.01, "steps": 40, "keep": "last"}
    assert white == {"X-ent": Pgd(**pgd), "CW": Pgd(**pgd, objective="margin"), "FGSM": Fgm(0.3)}
    black = {name: from_dict(values) for name, values in job.settings["black_box"].items()}
    assert black == {
        "FGSM": Fgm(0.3, objective="margin"),
        "PGD": Pgd(**pgd, objective="margin", random_start=False),
    }
    assert experiment_of(job.settings["source"]).seed == 1
    assert (job.settings["limit"], job.settings["standard"]) == (1_000, 1_000)


def test_the_paper_scale_attacks_every_image():
    settings = lsq.row_job("paper", "a", lsq.net("paper", 0, 2, 0.5)).settings
    assert (settings["limit"], settings["train_limit"], settings["standard"]) == (None, None, 1_000)


def test_longer_training_and_stronger_adversaries_cost_more():
    costs = [lsq.training_seconds("short", lsq.adversarial("short", kind)) for kind in ("natural", "weak", "strong")]
    assert costs == sorted(costs)
    row = lsq.net("short", 0, 0, 0)
    assert lsq.training_seconds("paper", lsq.net("paper", 0, 0, 0)) == 40 * lsq.training_seconds("short", row)
    assert {STRONG, WEAK} == {lsq.adversarial("paper", kind)["experiment"] for kind in ("strong", "weak")}


def test_order_statistics_have_the_distribution_of_all_values():
    values = np.random.RandomState(0).standard_normal((500, 9))
    kept = lsq.ordered(values, 100)
    assert len(kept) == 100
    np.testing.assert_array_equal(np.sort(kept), kept)
    for level in (0.1, 0.5, 0.9):
        assert (kept <= np.quantile(values, level)).mean() == pytest.approx(level, abs=0.01)
    np.testing.assert_array_equal(lsq.ordered(np.array([4.0, 1.0, 3.0, 2.0]), 2), [2, 4])


def test_infinite_and_undefined_values_keep_their_share():
    kept = lsq.ordered(np.array([1.0] * 50 + [np.inf] * 25 + [np.nan] * 25), 8)
    np.testing.assert_array_equal(kept, [1, 1, 1, 1, np.inf, np.inf, np.nan, np.nan])


def test_schedules_in_words():
    assert lsq.schedule(FULL, 100_000) == ""
    assert lsq.schedule(FULL, 2_000_000) == "5% of the schedule"
    assert lsq.schedule({"step": 10_000, "network": "madry_mnist"}, 400_000) == "2.5% of the schedule"
    assert lsq.schedule({"step": 10, "network": "small_cnn"}, 10) == "network small_cnn"


def test_a_claim_is_comparable_at_the_paper_schedule_alone():
    assert lsq.mark(True, ["", ""]) == "reproduced"
    assert lsq.mark(False, ["", ""]) == "depends"
    assert lsq.mark(True, ["", "10% of the schedule"]) == "not comparable"


@pytest.mark.slow
def test_a_row_is_measured_on_both_splits_in_the_white_and_in_the_black_box(context):
    job = lsq.row_job("smoke", "a", lsq.net("smoke", 0, 0.5, 0.5))
    found = lsq.row(job.settings, context)
    assert json.loads(json.dumps(found)) == found
    assert (found["step"], found["network"], found["count"]) == (4, "small_cnn", 40)
    assert set(found["attacks"]) == {"X-ent", "CW", "FGSM"}
    assert set(found["black_box"]) == {"FGSM", "PGD"}
    model = load(trained_run(job.settings, context) / "model.keras")
    x, y = tfadv.data.arrays("digits", "test")
    logits = model.predict(x, verbose=0)
    assert found["test"]["accuracy"] == pytest.approx((logits.argmax(axis=1) == y).mean(), abs=1e-6)
    assert found["logit_norm"] == pytest.approx(np.linalg.norm(logits, axis=1).mean(), rel=1e-4)
    assert "standard" not in found


@pytest.mark.slow
def test_a_look_is_that_of_the_analysis(context):
    job = lsq.look_job("smoke", "a", lsq.net("smoke", 0, 0.5, 0.5))
    found = lsq.look(job.settings, context)
    assert json.loads(json.dumps(found)) == found
    model = load(trained_run(job.settings, context) / "model.keras")
    x, y = tfadv.data.arrays("digits", "test", limit=40)
    gaps = analysis.gaps(model, x, y)
    assert found["median"]["gradient_gap"] == pytest.approx(np.median(gaps.gradient_gap), rel=1e-4)
    assert found["median"]["step"] == pytest.approx(np.median(gaps.steps), rel=1e-3)
    np.testing.assert_allclose(unpack(found["values"]["logit"]), lsq.ordered(np.abs(gaps.logits)), rtol=1e-4, atol=1e-6)
    units = lsq.activations_of(found, "penultimate")
    whole = analysis.activations(model, tfadv.data.arrays("digits", "test")[0])
    np.testing.assert_allclose(units.mean, whole.mean, rtol=1e-4, atol=1e-6)
    assert units.inactive == whole.inactive
    assert found["seconds_of_training"] > 0


@pytest.mark.slow
def test_the_prediction_is_that_of_the_analysis(context):
    settings = {**lsq.net("smoke", 0, 0.5, 0.5), "epsilons": [0.0, 0.1], "limit": 40}
    found = lsq.linear(settings, context)
    assert json.loads(json.dumps(found)) == found
    model = load(trained_run(settings, context) / "model.keras")
    x, y = tfadv.data.arrays("digits", "test", limit=40)
    smallest = analysis.linearized(model, x, y)
    assert found["predicted"] == [smallest.accuracy(0.0), smallest.accuracy(0.1)]
    assert found["cross_entropy"][0] == found["margin"][0] == found["predicted"][0]
