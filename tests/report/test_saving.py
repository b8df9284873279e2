"""Saving is all or nothing, in every form that a report has."""

import errno
import itertools
import json
import os
import pathlib
import tempfile

import numpy as np
import pyarrow.parquet
import pytest

from tfadv.files import sealed
from tfadv.report import outputs, saving, themes
from tfadv.report.charts import Chart, Series
from tfadv.report.collection import Collection
from tfadv.report.records import Check
from tfadv.report.report import Report
from tfadv.report.section import Section
from tfadv.validation import UserError


@pytest.mark.usefixtures("unrendered")
def test_the_saved_json_keeps_each_array_on_one_line(make_report, tmp_path):
    make_report().save(tmp_path)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert '"labels": [3, 1, 4, 1],\n' in text
    assert json.loads(text) == sealed(make_report().to_json())


@pytest.mark.usefixtures("unrendered")
def test_a_report_that_was_changed_after_it_was_written_is_refused(make_report, tmp_path):
    make_report().save(tmp_path)
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    for changed in (text.replace('"labels": [3, 1,', '"labels": [3, 2,'), text.replace('"name": "', '"name": "x')):
        assert changed != text
        with pytest.raises(UserError, match="damaged or changed after it was written"):
            Report.from_json(json.loads(changed))
    without = {key: value for key, value in json.loads(text).items() if key != "sha256"}
    assert Report.from_json({**without, "name": "mine"}).name == "mine"


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("failing_write", [1, 2, 4, 6])
@pytest.mark.usefixtures("unrendered")
def test_a_full_disk_leaves_the_earlier_report_whole(make_report, tmp_path, monkeypatch, failing_write):
    make_report().save(tmp_path)
    before, calls, write = contents(tmp_path), itertools.count(1), pathlib.Path.write_bytes

    def full(self, data):
        if next(calls) == failing_write:
            write(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(pathlib.Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left on device"):
        make_report(name="later").save(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("unrendered")
def test_a_failing_plot_leaves_the_earlier_report_whole(make_report, tmp_path, monkeypatch):
    make_report().save(tmp_path)
    before = contents(tmp_path)
    monkeypatch.setattr(themes, "to_png", lambda figure: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_report(name="later").save(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.usefixtures("unrendered")
def test_a_later_report_replaces_the_earlier_one_and_its_plots_and_nothing_else(make_report, tmp_path):
    make_report().save(tmp_path)
    for name in ("notes.txt", "examples.csv", "my-attacks.png"):
        (tmp_path / name).write_text("mine")
    make_report(name="later", examples=None).save(tmp_path)
    assert set(contents(tmp_path)) == {*TEXTS, *plots("attacks"), "notes.txt", "examples.csv", "my-attacks.png"}
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["name"] == "later"


def test_a_folder_that_cannot_be_made_is_a_user_error(make_report, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="folder that you may write to"):
        make_report().save(tmp_path / "file" / "report")
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_read_only_folder_is_a_user_error_before_anything_is_drawn(make_report, tmp_path, monkeypatch):
    def refuse(**_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(saving, "files", lambda *_: pytest.fail("drawn before the folder was tried"))
    with pytest.raises(UserError, match=r"cannot write .*report\.json: Read-only file system; name a folder"):
        make_report().save(tmp_path)
    assert contents(tmp_path) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write to read-only folders")
def test_a_folder_without_write_permission_is_a_user_error(make_report, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        make_report().save(tmp_path)


@pytest.mark.usefixtures("unrendered")
def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_changes(make_report, tmp_path):
    make_report().save(tmp_path)
    (tmp_path / "attacks.svg").unlink()
    (tmp_path / "attacks.svg").mkdir()
    before = (tmp_path / "report.json").read_bytes()
    with pytest.raises(UserError, match="it is a folder"):
        make_report(name="later").save(tmp_path)
    assert (tmp_path / "report.json").read_bytes() == before


TEXTS = {
    "report.json",
    "report.html",
    "table.md",
    "table.tex",
    "images.parquet",
    "robustbench.json",
    "log.txt",
}


def plots(*names):
    return {f"{name}.{kind}" for name in names for kind in ("png", "svg")}


def test_save_writes_every_form_of_the_report(make_report, tmp_path):
    folder = tmp_path / "new" / "folder"
    report = make_report()
    report.save(folder)
    assert set(contents(folder)) == TEXTS | plots("attacks", "examples")
    assert Report.from_json(json.loads((folder / "report.json").read_text(encoding="utf-8"))).robust_accuracy == 0.25
    assert (folder / "table.md").read_text(encoding="utf-8") == report.markdown()
    assert (folder / "table.tex").read_text(encoding="utf-8") == report.latex()
    assert json.loads((folder / "robustbench.json").read_text(encoding="utf-8")) == outputs.robustbench(report)
    assert (folder / "log.txt").read_text(encoding="utf-8") == outputs.autoattack_log(report)
    assert pyarrow.parquet.read_table(folder / "images.parquet").num_rows == 4
    assert (folder / "attacks.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("unrendered")
def test_the_charts_of_the_sections_are_saved_and_those_of_the_checks_are_on_the_page_alone(make_report, tmp_path):
    chart = Chart("Loss.", "step", "loss", {"PGD": Series((0, 1), (1, 2))})
    sections = (Section("One", charts=(chart,)), Section("Two", charts=(chart, chart)))
    make_report(sections=sections, checks=(Check("a", "passed", "", "", chart=chart),)).save(tmp_path)
    assert set(contents(tmp_path)) - TEXTS == plots("attacks", "examples", "charts-1-1", "charts-2-1", "charts-2-2")
    assert (tmp_path / "report.html").read_text(encoding="utf-8").count("<figure>") == 6


@pytest.mark.usefixtures("unrendered")
def test_the_images_are_written_on_request_and_do_not_outlive_their_report(make_report, tmp_path):
    make_report().save(tmp_path, adversarial=np.zeros((4, 2, 2, 1), np.float32))
    assert set(contents(tmp_path)) == {*TEXTS, *plots("attacks", "examples"), "adversarial.npz"}
    assert "nan in tensor: 0" in (tmp_path / "log.txt").read_text(encoding="utf-8")
    make_report().save(tmp_path)
    assert "adversarial.npz" not in contents(tmp_path)


@pytest.mark.usefixtures("unrendered")
def test_images_that_do_not_fit_are_refused_before_anything_changes(make_report, tmp_path):
    with pytest.raises(UserError, match="one image for each of the 4"):
        make_report().save(tmp_path, adversarial=np.zeros((3, 2, 2, 1), np.float32))
    assert contents(tmp_path) == {}


@pytest.mark.usefixtures("unrendered")
def test_images_of_somebody_else_stay_in_a_folder_that_had_no_report(make_report, tmp_path):
    (tmp_path / "adversarial.npz").write_text("mine")
    make_report().save(tmp_path)
    assert contents(tmp_path)["adversarial.npz"] == b"mine"


@pytest.mark.usefixtures("unrendered")
def test_a_collection_in_the_folder_of_a_report_leaves_no_file_of_it(make_report, tmp_path):
    make_report().save(tmp_path)
    Collection("Two", (make_report(), make_report(name="b"))).save(tmp_path)
    texts = {"report.json", "report.html", "table.md", "table.tex"}
    assert set(contents(tmp_path)) == texts | plots("attacks", "examples-1", "examples-2")
