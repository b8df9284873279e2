"""Theorems 2 and 3: the exact weights, their limits, drawn examples; and adversarial training by its closed form."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from tfadv.analysis.gaussian_linear import accuracy
from tfadv.data.simulated import robust_and_weak
from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import avmixup_features as features
from tfadv.reproduction.studies.avmixup_features import (
    TRAINING,
    VARIANCES,
    least_variance,
    measure_variances,
    most_robust_weight,
    printed_weight,
    sample_weight,
    train_adversarially,
    true_weight,
    weights,
)
from tfadv.reproduction.study import Context

SAMPLE, TRUE = features.STUDIES


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, tmp_path, None, lambda line: None)


@pytest.mark.parametrize(("d", "c"), [(3, 1), (20, 10), (7, 6)])
@pytest.mark.parametrize("ratio", [0.05, 0.5, 0.99])
def test_the_exact_weights_have_the_least_variance(d, c, ratio):
    """Against a search over w_B, and a quadratic form; weights sum to one."""
    for exact, insufficient in ((sample_weight, c), (true_weight, 0)):
        _, deviation = robust_and_weak(d, eta=0.2, sigma_a=ratio, sigma_b=1.0, insufficient=insufficient)

        def variance(w_b, deviation=deviation):
            return ((weights(w_b, d, c) * deviation) ** 2).sum()

        expected = minimize_scalar(variance, (0, 1 / (d - c)), tol=1e-12).x
        assert exact(ratio, d, c) == pytest.approx(expected, abs=1e-7)
        assert least_variance(np.diag(deviation**2), d, c) == pytest.approx(exact(ratio, d, c))
        assert weights(exact(ratio, d, c), d, c).sum() == pytest.approx(1)


def test_the_printed_weights_are_the_limits():
    """d = 3, c = 1: 1 / (3 + 2 + 1)."""
    assert printed_weight(3, 1) == 1 / 6
    assert true_weight(1e-6, 3, 1) == pytest.approx(1 / 6)
    assert sample_weight(1e-6, 3, 1) == pytest.approx(0, abs=1e-9)
    assert sample_weight(0.1, 3, 1) == pytest.approx(0.01 / 2.02)


def test_drawn_examples_agree_given_y_and_not_over_both_labels(context):
    settings = {"d": 4, "c": 1, "eta": 0.3, "ratios": [0.3], "samples": 4000, "repetitions": 4, "seed": 0}
    found = measure_variances(settings, context)
    for name, exact in (("sample", sample_weight), ("true", true_weight)):
        assert np.mean(found[name]["given"]) == pytest.approx(exact(0.3, 4, 1), abs=0.01)
        assert np.mean(found[name]["whole"]) > exact(0.3, 4, 1) + 0.05


def test_adversarial_training_ends_at_lemma_1_and_starts_at_the_means(context):
    """First step: w proportional to (mean - epsilon)_+; last: w_B / w_A nears (eta - epsilon) r / (1 - epsilon).

    At epsilon above eta the sufficient features get nothing.
    """
    settings = {"d": 4, "c": 1, "eta": 0.3, "sigma_a": 0.8, "sigma_b": 1.0, "epsilons": [0.1, 0.4]}
    found = train_adversarially({**settings, "samples": 20_000, "rate": 0.5, "steps": 4000, "seed": 0}, context)
    below, above = found["share"]
    assert found["steps"][0] == 1
    assert found["steps"][-1] == 4000
    # Three features of 0.2 beside two of 0.9.
    assert below[0] == pytest.approx(0.6 / (0.6 + 1.8), abs=0.03)
    last = 3 * 0.2 / (3 * 0.2 + 2 * 0.9 / 0.64)
    assert below[-1] == pytest.approx(last, abs=0.02)
    assert max(above) < 0.005
    sample = robust_and_weak(4, eta=0.3, sigma_a=0.8, sigma_b=1.0, insufficient=1)
    assert found["sample"][0][-1] == pytest.approx(float(accuracy(weights(last / 3, 4, 1), *sample, 0.1)), abs=0.01)


def test_the_most_robust_weight_in_closed_form():
    """w_B / w_A = (eta - e) / sigma_B^2 times (sigma_A^2 + c sigma_B^2) / (1 + c eta - (c + 1) e); 0 above eta."""
    assert most_robust_weight(0.35) == 0
    quotient = 0.1 * (0.09 + 10) / (1 + 3 - 11 * 0.2)
    assert most_robust_weight(0.2) == pytest.approx(quotient / (11 + 10 * quotient), abs=1e-4)


def results():
    curves = {"share": [[0.2, 0.1], [0.1, 0.05]], "sample": [[1, 1], [1, 1]], "true": [[0.8, 0.78], [0.7, 0.69]]}
    drawn = {"given": [[0.01, 0.02, 0.03]], "whole": [[0.1, 0.1, 0.1]]}
    return {
        VARIANCES: {"ratios": [0.1], "sample": drawn, "true": drawn},
        TRAINING: {"epsilons": [0.1, 0.2], "steps": [1, 100], **curves},
    }


def test_the_rendering():
    rendering = TRUE.render(results())
    assert list(rendering.figures) == ["a", "b", "c"]
    assert rendering.figures["c"].series["epsilon = 0.1"].y == pytest.approx((0, -2))
    exact, drawn = rendering.compared
    assert exact.paper == drawn.paper == printed_weight()
    assert exact.ours == true_weight(0.1)
    assert drawn.ours == pytest.approx(0.02)
    assert drawn.interval[0] < 0.02 < drawn.interval[1]
    (claim,) = rendering.claims
    assert (claim.key, claim.mark) == ("AV-6", "depends")
    assert "epsilon 0.1: weight 0.200 at first, 0.100 after 100 steps" in claim.evidence
    assert SAMPLE.render(results()).compared[0].paper == 0


@pytest.mark.parametrize("study", features.STUDIES, ids=lambda study: study.key)
def test_the_closed_forms_need_no_job(study):
    rendering = study.render({})
    assert not rendering.compared
    assert not rendering.claims
    assert rendering.findings
    assert len(rendering.figures) == 1


def test_smoke(tmp_path):
    found = plan.carry_out(features.STUDIES, tmp_path, scale="smoke", report=lambda line: None)
    for study in features.STUDIES:
        rendering = study.render({key: each["result"] for key, each in found[study.key].items()})
        folder = tmp_path / study.key.replace("/", "_")
        gallery.write(study, rendering, found[study.key], "smoke", folder)
        assert list(folder.glob("figure*.svg"))
