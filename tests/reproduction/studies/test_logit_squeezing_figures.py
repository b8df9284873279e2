"""Figures 1 to 9: what is drawn in which panel, the rules by which claims are marked, and real ones at scale smoke."""

import numpy as np
import pytest

from tfadv.report.values import pack, unpack
from tfadv.reproduction import plan
from tfadv.reproduction.studies import logit_squeezing_figures as figures
from tfadv.reproduction.studies.logit_squeezing_jobs import look_job, net, ordered

STUDIES = {study.key.rpartition("/")[2]: study for study in figures.STUDIES}
SMALL = "small_cnn"


def look(scale=1.0, inactive=0, units=1024, step=400_000, network="madry_mnist", seconds=1.0):
    """A classifier whose logits and gradients are of size `scale`, and with so many inactive units."""
    draw = np.random.RandomState(0)
    gap, gradient = scale * draw.uniform(1, 2, 5_000), 10 * scale * draw.uniform(1, 2, 5_000)
    quantities = {
        "logit": gap,
        "logit_gap": gap,
        "gradient_gap": gradient,
        "step": gap / gradient,
        "coherence": draw.uniform(-0.5, 0.5, 5_000),
        "gradient_norm": gradient,
    }
    mean = draw.uniform(1, 2, units)
    mean[:inactive] = 0
    layers = {"penultimate": mean, "logits": np.ones(10)}
    return {
        "step": step,
        "seconds_of_training": seconds,
        "network": network,
        "count": 500,
        "images": 10_000,
        "values": {name: pack(ordered(values)) for name, values in quantities.items()},
        "median": {name: float(np.median(values)) for name, values in quantities.items()},
        "activations": {name: {"mean": pack(each), "largest": pack(each)} for name, each in layers.items()},
    }


def results(study, **given):
    """A result for every look of a study, those of figure legends in `given` by their first word."""
    return {job.key: look() for job in study.jobs("paper") if "attacked" not in job.key} | given


def claims(study, found):
    return {claim.key: claim.mark for claim in study.render(found).claims}


def test_the_figures_of_the_mnist_half():
    assert list(STUDIES) == ["fig1", "fig2", "fig3", "fig4", "fig6", "fig7", "fig8", "fig9"]


def test_the_classifiers_of_the_legends():
    assert len(STUDIES["fig4"].jobs("short")) == 5
    squeezed = next(job for job in STUDIES["fig4"].jobs("paper") if "squeeze (2.0)" in job.key)
    assert squeezed == look_job("paper", squeezed.key, net("paper", 0, 2, 0.5))
    assert {job.identity for job in STUDIES["fig4"].jobs("short")} == {
        job.identity for job in STUDIES["fig6"].jobs("short")
    }
    assert {job.identity for job in STUDIES["fig8"].jobs("short")} == {
        job.identity for job in STUDIES["fig9"].jobs("short")
    }


@pytest.mark.parametrize("key", ["fig1", "fig3", "fig4", "fig7"])
def test_four_panels_in_the_order_of_the_paper(key):
    """Left-top logit gap, right-top L, left-bottom gradient gap, right-bottom cosine."""
    rendering = STUDIES[key].render(results(STUDIES[key]))
    assert [chart.x_label for chart in rendering.figures.values()] == [
        "|z_y − z_k|",
        "L (linf, input units)",
        "||∇z_y − ∇z_k||_1",
        "cos(∇z_y, ∇z_k)",
    ]
    assert (list(rendering.figures), rendering.columns) == (["a", "b", "c", "d"], 2)
    cosine = next(iter(rendering.figures["d"].series.values()))
    assert (cosine.x[0], cosine.x[-1]) == (-1, 1)
    for chart in rendering.figures.values():
        for name, series in chart.series.items():
            assert sum(series.y) > 0.97, name


def test_adversarial_training_that_shrinks_everything_carries_the_claim():
    study = STUDIES["fig1"]
    found = results(study) | {figures.STRONG: look(0.5, step=100_000), figures.NATURAL: look(step=100_000)}
    assert claims(study, found) == {"LSQ-1": "reproduced"}
    assert claims(study, found | {figures.STRONG: look(1.5, step=100_000)}) == {"LSQ-1": "depends"}
    assert claims(study, found | {figures.STRONG: look(0.5, step=1_500)}) == {"LSQ-1": "not comparable"}
    small = {
        name: look(size, step=100_000, network=SMALL) for name, size in ((figures.STRONG, 0.5), (figures.NATURAL, 1))
    }
    assert claims(study, small) == {"LSQ-1": "not comparable"}


def test_findings_compare_with_the_naturally_trained_net():
    study = STUDIES["fig7"]
    rendering = study.render(results(study) | {figures.SQUEEZE_RAND: look(0.5)})
    assert any(
        text.startswith("logit squeeze + rand: the logit gap is 0.5 times") and "gap 0.5 times" in text
        for text in rendering.findings
    )
    assert rendering.claims == ()


def test_figure_2_orders_the_medians_and_counts_the_cost_of_a_step():
    study = STUDIES["fig2"]
    found = {
        figures.STRONG: look(0.5, step=100, seconds=41.0),
        figures.WEAK: look(0.7, step=100, seconds=3.0),
        figures.NATURAL: look(1.0, step=100, seconds=1.0),
    }
    rendering = study.render(found)
    assert any("are in the paper's order" in text for text in rendering.findings)
    (claim,) = rendering.claims
    assert (claim.key, claim.mark) == ("LSQ-5", "not comparable")
    assert "3.0 times a natural one, against 40 steps 41.0 times" in claim.evidence
    swapped = found | {figures.WEAK: look(1.2, step=100)}
    assert any("are not in the paper's order" in text for text in study.render(swapped).findings)


def test_the_weak_net_has_its_true_robustness():
    white = {"accuracy": 0.2, "interval": [0.1, 0.3]}
    standard = {"accuracy": 0.01, "interval": [0.0, 0.02], "count": 1_000, "verdict": "trusted"}
    found = {"step": 1_500, "network": SMALL, "attacks": {"X-ent": white, "CW": white}, "standard": standard}
    (line,) = STUDIES["fig2"].render({f"{figures.WEAK}, attacked": found, figures.WEAK: look()}).beside
    assert (line.ours, line.strong, line.claimed) == (20.0, 1.0, None)
    assert line.schedule == f"1.5% of the schedule, network {SMALL}"


def test_sums_of_activations_fall_and_inactive_units_are_counted():
    study = STUDIES["fig8"]
    rendering = study.render(results(study) | {figures.RAND: look(inactive=24)})
    assert list(rendering.figures) == ["a", "b"]
    rand = rendering.figures["a"].series[figures.RAND]
    assert list(rand.y) == sorted(rand.y, reverse=True)
    assert rand.y[-24:] == (0,) * 24
    assert rand.y[0] == pytest.approx(10_000 * unpack(look()["activations"]["penultimate"]["mean"]).max(), rel=1e-2)
    assert "rand 24 of 1024 (2%; 24 units" in rendering.findings[0]


def test_quiet_units_are_those_below_a_hundredth_of_the_mean():
    from tfadv.analysis import Activations

    mean = np.array([1.0, 1.0, 0.0199, 0.001, 0.0])
    assert mean.mean() == pytest.approx(0.404, abs=1e-3)
    assert figures.quiet(Activations("penultimate", mean, mean)) == 2


def test_about_400_inactive_units_carry_the_claim():
    study = STUDIES["fig8"]
    three = (figures.STRONG, figures.SQUEEZE_RAND, figures.SMOOTH_RAND)
    found = results(study) | {name: look(inactive=410) for name in three}
    assert claims(study, found) == {"LSQ-7": "reproduced"}
    assert claims(study, found | {figures.STRONG: look(inactive=100)}) == {"LSQ-7": "depends"}
    assert claims(study, found | {figures.STRONG: look(inactive=410, step=10)}) == {"LSQ-7": "not comparable"}
    share = {line.what: line for line in study.render(found).compared}[f"{figures.STRONG}: inactive units"]
    assert (share.paper, share.ours) == (pytest.approx(39.06, abs=0.01), pytest.approx(40.04, abs=0.01))


def test_figure_9_shows_the_logits_and_no_claim():
    rendering = STUDIES["fig9"].render(results(STUDIES["fig9"]))
    assert len(next(iter(rendering.figures["a"].series.values())).y) == 10
    assert rendering.claims == ()


@pytest.mark.parametrize("study", figures.STUDIES, ids=lambda study: study.key)
def test_missing_jobs_leave_their_part_out(study):
    empty = study.render({})
    assert (empty.figures, empty.findings, empty.claims) == ({}, (), ())
    for key, found in results(study).items():
        study.render({key: found})


@pytest.mark.slow
def test_smoke(tmp_path):
    """The classifiers of figure 2 stand in figures 1, 8 and 9 as well."""
    study = STUDIES["fig2"]
    found = plan.carry_out([study], tmp_path, scale="smoke", report=lambda line: None)[study.key]
    for key in ("fig1", "fig2", "fig8", "fig9"):
        rendering = STUDIES[key].render({name: each["result"] for name, each in found.items()})
        assert rendering.figures
        assert any("Not the paper's training" in text for text in rendering.findings)
