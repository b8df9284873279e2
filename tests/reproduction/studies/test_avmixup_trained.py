"""A net is one job for all tables; printed numbers find their columns; a short schedule decides nothing."""

import json

import pytest

from tfadv.reproduction import plan
from tfadv.reproduction.studies import avmixup_trained as av
from tfadv.reproduction.study import Claim, Job, Rendering, Study, reference
from tfadv.training import Experiment

SHORT = 2_000


def share(value):
    return {"accuracy": value, "interval": [value - 0.02, value + 0.02]}


def found(clean=0.5, step=SHORT, standard=None, **attacks):
    """What `jobs.measure` returns."""
    attacks = {"FGSM": 0.3, "PGD10": 0.28, "PGD20": 0.27, "CW20": 0.26, **attacks}
    result = {"step": step, "clean": share(clean), "attacks": {name: share(value) for name, value in attacks.items()}}
    if standard is not None:
        result["standard"] = {**share(standard), "count": 1_000, "verdict": "trusted"}
    return result


@pytest.mark.parametrize("table", ["table1", "table3", "table4", "table5", "table6"])
def test_every_printed_number_has_a_column(table):
    columns = {"Clean", "FGSM", "PGD10", "PGD20", "CW20", "PGD100", "CW100"}
    assert set(av.COLUMNS) | {"PGD100", "CW100", "Clean"} == columns
    values = av.printed(table)
    assert len(values) == len(reference(f"avmixup_{table}"))
    assert {column for _, column in values} <= columns


def test_the_numbers_of_table_1_are_the_printed_ones():
    values = av.printed("table1")
    assert values["AVmixup", "PGD20"] == 58.23
    assert values["PGD", "CW20"] == 47.35
    assert values["Standard", "Clean"] == 95.48


def test_the_attacks_are_the_printed_ones():
    """PGD and CW: steps of 2 on 0-255, CW on the margin."""
    job = av.job("paper", av.PGD)
    for name, steps, objective in (("PGD20", 20, "cross_entropy"), ("CW100", 100, "margin")):
        attack = job.settings["attacks"][name]
        assert (attack["steps"], attack["objective"], attack["keep"]) == (steps, objective, "last")
        assert (255 * attack["epsilon"], 255 * attack["step_size"]) == pytest.approx((8, 2))
    assert job.settings["limit"] is None
    assert job.settings["standard"] == 1_000


@pytest.mark.parametrize("scale", ["smoke", "short", "paper"])
@pytest.mark.parametrize("net", [av.STANDARD, av.AVMIXUP, av.TRADES_6, av.MIXED, av.MIXED_10_05])
def test_a_net_is_a_known_experiment_at_every_scale(net, scale):
    from tfadv.reproduction.jobs import experiment_of

    settings = json.loads(json.dumps(av.run_of(scale, net)))
    experiment = experiment_of(settings)
    assert isinstance(experiment, Experiment)
    if scale == "paper":
        scattered = net in av.SCATTERED
        assert experiment.model == ("wrn_28_10" if scattered else "wrn_34_10")
        assert experiment.steps == (166_600 if scattered else 80_000)
        assert (experiment.optimizer, experiment.learning_rate, experiment.l2) == ("sgd", 0.1, 1e-4)


def test_a_short_schedule_is_said_and_decides_nothing():
    """2,000 of 80,000 steps are 2.5%; Feature Scatter's 200 epochs of 833 batches are 166,600 steps."""
    assert av.schedule(av.PGD, 2_000) == "2.5% of the schedule"
    assert av.schedule(av.PGD, 80_000) == ""
    assert av.schedule(av.MIXED, 80_000) == "48% of the schedule"
    assert av.schedule("Tiny ImageNet | PGD", 50_000) == ""
    short, whole = {"PGD": found()}, {"PGD": found(step=80_000)}
    for made, holds, mark, words in (
        (short, True, "not comparable", "small nets agree: numbers"),
        (short, False, "not comparable", "small nets disagree: numbers"),
        (whole, True, "reproduced", "numbers"),
        (whole, False, "depends", "numbers"),
    ):
        assert av.claim("AV-2", made, ["PGD"], holds, "numbers") == Claim("AV-2", mark, words)


def test_printed_beside_ours():
    results = {"PGD": found(clean=0.456)}
    lines = av.compare("table1", {"PGD": "PGD", "AVmixup": "AVmixup"}, results)
    assert [line.what for line in lines] == [f"PGD, {each}" for each in ("Clean", "FGSM", "PGD10", "PGD20", "CW20")]
    assert (lines[0].paper, lines[0].ours) == (86.88, pytest.approx(45.6))
    assert lines[0].interval == pytest.approx((43.6, 47.6))
    assert lines[0].note == "not comparable: a small net, 2.5% of the schedule"


def test_claimed_beside_true():
    results = {"PGD": found(standard=0.24), "LS0.8": found()}
    (line,) = av.standings("table1", {"PGD": "PGD", "LS0.8": "LS0.8"}, results, prefix="x ")
    assert (line.defense, line.attack, line.claimed) == ("x PGD", "PGD20", 46.34)
    assert (line.ours, line.strong, line.count) == (pytest.approx(27), pytest.approx(24), 1_000)
    assert "PGD 27.0 and 26.0 against 24.0 (trusted)" in av.overstated(results, ["PGD", "LS0.8"])
    assert av.overstated({}, ["PGD"]) == ""


def test_bars_show_what_is_there():
    results = {"B": found(standard=0.2), av.turned_key("B"): share(0.15)}
    chart = av.bars("t", {"a": "A", "b": "B"}, results, ("PGD20", av.AUTO_ATTACK, av.FEATURE_ATTACK))
    assert {name: (each.x, each.y) for name, each in chart.series.items()} == {
        "PGD20": ((1,), (0.27,)),
        "AutoAttack": ((1,), (0.2,)),
        "FeatureAttack": ((1,), (0.15,)),
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One net through its jobs at scale smoke: result by key."""
    jobs = (
        av.job("smoke", av.MIXED),
        av.turned_job("smoke", av.MIXED),
        Job(av.HISTORY, av.read_histories, {"runs": {av.MIXED: av.run_of("smoke", av.MIXED)}}, 1),
    )
    study = Study("avmixup/table9", "", lambda scale: jobs, lambda results: Rendering())
    folder = tmp_path_factory.mktemp("avmixup")
    found = plan.carry_out([study], folder, scale="smoke", report=lambda line: None)[study.key]
    return {key: each["result"] for key, each in found.items()}


def test_a_net_is_trained_and_measured(done):
    assert done[av.MIXED]["step"] == 2
    assert set(done[av.MIXED]["attacks"]) == {*av.COLUMNS, "PGD100", "CW100"}
    assert "standard" not in done[av.MIXED]


def test_its_features_are_turned(done):
    turned = done[av.turned_key(av.MIXED)]
    assert (turned["count"], turned["targets"]) == (10, 2)
    assert turned["accuracy"] <= 1


def test_a_run_without_a_validation_has_no_history(done):
    assert done[av.HISTORY] == {av.MIXED: {"steps": [], "clean": [], "robust": []}}
