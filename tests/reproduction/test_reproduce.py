"""`run` knows its targets, renders studies from their jobs, and publishes them with an index."""

import dataclasses

import pytest

from tfadv import reproduction
from tfadv.reproduction import reproduce
from tfadv.reproduction.study import Compared, Job, Rendering, Study
from tfadv.validation import UserError


def double(settings, context):
    return {"value": 2 * settings["value"]}


STUDY = Study(
    "paper/fig1",
    "A figure",
    lambda scale: (Job("j", double, {"value": {"smoke": 1, "short": 5, "paper": 10}[scale]}, 1.0),),
    lambda results: Rendering((Compared("value", 9.0, results["j"]["value"], ""),), findings=("It doubled.",)),
)


@pytest.fixture
def one_study(monkeypatch):
    monkeypatch.setattr(reproduce, "STUDIES", {STUDY.key: STUDY})


@pytest.mark.usefixtures("one_study")
def test_a_study_is_done_shown_and_published(tmp_path):
    lines = []
    reproduction.run(["paper/fig1"], tmp_path / "out", scale="short", publish=tmp_path / "results", report=lines.append)
    text = "\n".join(lines)
    assert "A figure" in text
    assert "- It doubled." in text
    for folder in (tmp_path / "out" / "paper_fig1", tmp_path / "results" / "paper_fig1"):
        assert "| value | 9 | 10 | +1 |" in (folder / "study.md").read_text()
    assert "A figure (short)" in (tmp_path / "results" / "RESULTS.md").read_text()


@pytest.mark.usefixtures("one_study")
def test_what_is_finished_is_shown_without_further_work(tmp_path, monkeypatch):
    shown = []
    partial = dataclasses.replace(STUDY, render=lambda results: shown.append(dict(results)) or Rendering())
    monkeypatch.setattr(reproduce, "STUDIES", {STUDY.key: partial})
    for number in range(2):
        reproduction.run(["paper/fig1"], tmp_path, only_finished=True, report=str)
        assert shown.pop() == ({"j": {"value": 10}} if number else {})
        page = (tmp_path / "paper_fig1" / "study.md").read_text()
        assert ("**1 of 1 jobs are not done yet" in page) == (number == 0)
        reproduction.run(["paper/fig1"], tmp_path, report=str)
        shown.clear()


@pytest.mark.usefixtures("one_study")
@pytest.mark.parametrize("targets", [["paper/fig9"], [], ["paper/fig1", "all"]])
def test_an_unknown_target_is_refused_with_the_known_ones(tmp_path, targets):
    with pytest.raises(UserError, match=r"target must be one of feature_smoothing/table1, paper/fig1; got"):
        reproduction.run(targets, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_keys_of_all_targets_are_the_papers():
    papers = {"feature_smoothing", "logit_squeezing", "label_smoothing_variants", "weight_decay", "avmixup"}
    keys = [*reproduction.TARGETS, *reproduction.STUDIES]
    assert len(set(keys)) == len(keys)
    assert {key.partition("/")[0] for key in keys} <= papers
    assert all(study.key == key for key, study in reproduction.STUDIES.items())
