"""One job for each net: its name, its settings, and what it measures of a net of digits."""

import json

import pytest

from tfadv.reproduction.studies import label_smoothing_trained_jobs as jobs
from tfadv.reproduction.studies.label_smoothing_trained_numbers import printed
from tfadv.reproduction.study import Context


@pytest.mark.parametrize(
    ("experiment", "name"),
    [
        ("natural", "natural"),
        ("pgd", "PGD training"),
        ("als_0.005", "ALS 0.005"),
        ("sbls_0.4", "SBLS 0.4"),
        ("bls_0.1_temperature_1", "BLS 0.1, T = 1"),
    ],
)
def test_a_defense_is_called_as_in_the_tables(experiment, name):
    assert jobs.defense(experiment) == name


def test_mnist_has_an_experiment_for_every_printed_column():
    for setup in (jobs.MNIST_LINEAR, jobs.MNIST_LENET):
        columns = {name for where, name, _ in printed(6) if where == setup.name}
        assert len(columns) == 14
        assert columns <= setup.experiments().keys()


def test_settings_are_json_and_name_the_epsilons_of_the_tables():
    job = jobs.job(jobs.MNIST_LENET, "ALS 0.1", "short")
    assert json.loads(json.dumps(job.settings)) == job.settings
    assert job.key == "MNIST LeNet, ALS 0.1"
    assert job.settings["experiment"] == "label_smoothing_variants/mnist_lenet_als_0.1"
    for attack in ("FGSM", "BIM"):
        for epsilon in ("0.05", "0.2", "0.4"):
            assert f"{attack} {epsilon}" in job.settings["attacks"]
    assert job.settings["own_labels"]["BIM 0.2"] == [0.2, 10]
    assert job.settings["own_labels"].keys() == job.settings["attacks"].keys()
    assert job.settings["closest_count"] == 500


def test_cifar_has_half_of_every_epsilon_too():
    attacks = jobs.job(jobs.CIFAR_LENET, "natural", "short").settings["attacks"]
    assert {"FGSM 0.025", "FGSM 0.1", "BIM 0.025", "BIM 0.1", "BIM 0.2"} <= attacks.keys()


def test_paper_is_fifty_epochs():
    assert jobs.MNIST_LENET.steps["paper"] == 50 * 60_000 // 100
    assert jobs.CIFAR_LENET.steps["paper"] == 50 * 50_000 // 100
    assert jobs.MNIST_LENET.schedule(3_000) == "10% of 50 epochs"


@pytest.mark.slow
def test_a_net_is_measured_under_everything(tmp_path):
    (tmp_path / "work").mkdir()
    lines = []
    context = Context(tmp_path / "work", tmp_path / "runs", None, lines.append)
    settings = jobs.job(jobs.MNIST_LINEAR, "ALS 0.1", "smoke").settings
    found = jobs.measure_smoothing(settings, context)
    assert found["step"] == 5
    assert 0 <= found["clean"]["accuracy"] <= 1
    assert found["own_labels"].keys() == found["attacks"].keys() == {"FGSM 0.2", "BIM 0.2"}
    assert found["closest"].keys() == found["program"].keys() == {"DeepFool", "C&W"}
    # Of a net that is nearly random both find points close by.
    assert found["closest"]["DeepFool"]["accuracy"] == 0
    assert 0 < found["closest"]["DeepFool"]["distance"] < 3
    said = len(lines)
    assert jobs.measure_smoothing(settings, context) == found
    assert not [line for line in lines[said:] if "DeepFool" in line or "own labels" in line]
