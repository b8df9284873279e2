"""Tables 5 and 6: AVmixup on Feature Scatter beside the attacks that broke it."""

import pytest

from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import avmixup_trained as av
from tfadv.reproduction.studies import avmixup_trained_scatter as scatter

TABLE5, TABLE6 = scatter.STUDIES


def share(value):
    return {"accuracy": value, "interval": [value - 0.02, value + 0.02]}


def found(pgd20, cw20, standard=None):
    attacks = {"FGSM": 0.5, "PGD10": 0.45, "PGD20": pgd20, "PGD100": pgd20 - 0.01, "CW20": cw20, "CW100": cw20}
    result = {"step": 4_266, "clean": share(0.6), "attacks": {name: share(value) for name, value in attacks.items()}}
    if standard is not None:
        result["standard"] = {**share(standard), "count": 1_000, "verdict": "trusted"}
    return result


def turned(value):
    return {**share(value), "count": 500, "targets": 50}


def test_table_5():
    made = {
        av.PGD: found(0.27, 0.25, 0.24),
        av.SCATTER: found(0.30, 0.24, 0.15),
        av.MIXED: found(0.40, 0.30, 0.12),
        av.turned_key(av.SCATTER): turned(0.16),
        av.turned_key(av.MIXED): turned(0.14),
    }
    rendering = TABLE5.render(made)
    # Three nets, six columns, and FeatureAttack of two.
    assert len(rendering.compared) == 20
    last = rendering.compared[-1]
    assert (last.paper, last.ours, last.note) == (
        None,
        pytest.approx(14),
        "50 targets, 500 images; not in the paper",
    )
    # Printed: 82.31 - 69.74 and 71.88 - 60.77.
    assert rendering.findings[0] == (
        "AVmixup above Feature Scatter alone, in points: PGD20 +10.0 (printed +12.6), CW20 +6.0 (printed +11.1), "
        "AutoAttack -3.0."
    )
    assert "Feature Scatter from 30.0 under PGD20 to 16.0" in rendering.findings[2]
    assert [(line.attack, line.claimed) for line in rendering.beside] == [("PGD100", 67.35), ("PGD100", 81.88)]
    assert set(rendering.figures[""].series) == {"PGD20", "CW20", "AutoAttack", "FeatureAttack"}


def test_table_6_names_the_best_by_each_attack():
    made = {
        av.MIXED_01_05: found(0.35, 0.30, 0.13),
        av.MIXED_05_03: found(0.28, 0.27, 0.17),
        av.MIXED: found(0.40, 0.31, 0.12),
        av.MIXED_10_05: found(0.27, 0.26, 0.16),
    }
    rendering = TABLE6.render(made)
    assert rendering.findings[0] == (
        "The best lambda1 / lambda2 by PGD20 0.5 / 0.7; CW20 0.5 / 0.7; AutoAttack 0.5 / 0.3 (printed, by PGD20: "
        "0.5 / 0.7)."
    )
    assert "Over the four choices AutoAttack ranges from 12.0 to 17.0." in rendering.findings
    assert len(rendering.compared) == 16
    assert [line.defense for line in rendering.beside] == [
        f"Feature Scatter + AVmixup, {each}" for each in ("0.1 / 0.5", "0.5 / 0.3", "1.0 / 0.5")
    ]
    del made[av.MIXED]
    assert "The best" not in " ".join(TABLE6.render(made).findings)


def test_the_net_of_both_tables_is_one_job():
    jobs = [{job.key: job.identity for job in study.jobs("short")} for study in scatter.STUDIES]
    assert jobs[0][av.MIXED] == jobs[1][av.MIXED]
    assert jobs[0][av.turned_key(av.MIXED)] == jobs[1][av.turned_key(av.MIXED)]


@pytest.mark.parametrize("study", scatter.STUDIES, ids=lambda study: study.key)
def test_missing_jobs_are_left_out(study):
    assert study.render({}).compared == ()
    assert study.render({}).figures == {}
    assert len(study.render({av.MIXED: found(0.4, 0.3)}).compared) in (4, 6)


@pytest.mark.slow
def test_smoke(tmp_path):
    done = plan.carry_out(scatter.STUDIES, tmp_path, scale="smoke", report=lambda line: None)
    for study in scatter.STUDIES:
        rendering = study.render({key: each["result"] for key, each in done[study.key].items()})
        gallery.write(study, rendering, done[study.key], "smoke", tmp_path / study.key.replace("/", "_"))
        assert (tmp_path / study.key.replace("/", "_") / "figure.svg").stat().st_size > 1_000
