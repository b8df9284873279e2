"""The main job from end to end, on a small network and for seconds: what it writes, reuses, and refuses."""

import dataclasses
import json

import numpy as np
import pytest

from tfadv import export, models, quickstart, training
from tfadv.attacks import Pgd
from tfadv.experiments import EXPERIMENTS
from tfadv.files import sealed
from tfadv.report import Collection
from tfadv.validation import UserError

KEYS = ("natural", "cheap", "adversarial", "source")


@pytest.fixture(scope="module")
def short(small_net):
    """The quickstart's experiments at sixty steps of a small network, judged on forty images."""
    with pytest.MonkeyPatch.context() as patch:
        for key in KEYS:
            name = f"quickstart_digits/{key}"
            changes = {"model": small_net, "limit": 200, "steps": 60, "learning_rate": 1e-2, "ramp_steps": 0}
            experiment = dataclasses.replace(EXPERIMENTS[name], **changes)
            if experiment.train_attack is not None:
                experiment = dataclasses.replace(experiment, train_attack=Pgd(0.05, 0.05, 1, keep="last"))
            patch.setitem(EXPERIMENTS, name, experiment)
        patch.setitem(quickstart._LIMITS, "digits", 40)
        yield


@pytest.fixture(scope="module")
def done(short, tmp_path_factory):
    """(collection, folder, lines of progress) of one run."""
    folder, lines = tmp_path_factory.mktemp("quickstart") / "out", []
    return quickstart.run("digits", folder, report=lines.append), folder, lines


def test_it_writes_the_report_the_runs_and_the_exports(done):
    collection, folder, _ = done
    written = json.loads((folder / "report.json").read_text())
    assert sealed(Collection.from_json(written).to_json()) == sealed(collection.to_json()) == written
    page = (folder / "report.html").read_text()
    assert all(name in page for name in quickstart.MODELS)
    for key in KEYS:
        assert json.loads((folder / "runs" / key / "metrics.json").read_text())["step"] == 60
    for key in quickstart.MODELS.values():
        assert callable(models.predictor(models.load(folder / "exports" / key)))
    compared = json.loads((folder / "crosscheck.json").read_text())
    assert {each["model"] for each in compared} == {"natural", "adversarial"}
    assert all(each["agreed"] for each in compared)


def test_three_models_meet_fgsm_pgd_40_on_both_losses_and_transfer(done):
    collection, _, _ = done
    assert [report.name for report in collection.reports] == list(quickstart.MODELS)
    for report in collection.reports:
        assert [row.name for row in report.rows] == [
            "FGSM",
            "PGD-40 cross-entropy, 3 starts",
            "PGD-40 margin, 3 starts",
            "transfer from an independent natural model, PGD-40 margin, 3 starts",
        ]
        assert (report.threat.norm, report.threat.epsilon, report.count) == ("linf", 0.2, 40)
        assert report.clean_accuracy > 0.7  # trained: chance is 0.1
        assert report.robust_accuracy < report.clean_accuracy


def test_the_table_of_exports_says_that_every_verdict_is_the_same(done):
    collection, _, _ = done
    (section,) = (section for section in collection.sections if section.title == "Exported models")
    for row, report in zip(section.table.rows, collection.reports, strict=True):
        assert row == (report.name, *[f"{report.suite_accuracy:.4f}"] * 2, "40 of 40 images")


def test_progress_names_the_four_parts_and_the_page_to_open(done):
    _, folder, lines = done
    heads = [line[:5] for line in lines if line.startswith("[")]
    assert heads == ["[1/4]"] * 4 + ["[2/4]", "[3/4]"] * 3 + ["[4/4]"]
    assert lines[-1].endswith(f"open {folder / 'report.html'}")


def test_run_again_it_trains_nothing(done, monkeypatch):
    """What comes after the training, and takes longer, is cut off here."""
    _, folder, _ = done
    before = {key: models.load(folder / "runs" / key).get_weights() for key in KEYS}
    monkeypatch.setattr(training, "batches", None)  # any training would call it
    monkeypatch.setattr(quickstart, "evaluate", lambda *args, **options: 1 / 0)
    lines = []
    with pytest.raises(ZeroDivisionError):
        quickstart.run("digits", folder, report=lines.append)
    assert [line for line in lines if line.startswith("resumed")] == ["resumed at step 60 of 60"] * 4
    for key, weights in before.items():
        for one, two in zip(models.load(folder / "runs" / key).get_weights(), weights, strict=True):
            np.testing.assert_array_equal(one, two)


def test_an_export_that_is_not_the_model_ends_the_job(done, monkeypatch):
    """The adversarially trained model is exported in the place of every other."""
    _, folder, _ = done
    adversarial, original = models.load(folder / "runs" / "adversarial"), export.export_classifier
    monkeypatch.setattr(export, "export_classifier", lambda model, place: original(adversarial, place))
    with pytest.raises(UserError, match=r"the export of 'natural' is not the model: worst case 0\.\d+ against 0\."):
        quickstart.run("digits", folder, report=lambda line: None)


def test_other_data_sets_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"dataset must be one of \['digits', 'mnist'\], got 'cifar10'"):
        quickstart.run("cifar10", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
