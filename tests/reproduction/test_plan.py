"""Every job is done once, a plan that was cut off continues, a failure spares the others; also on Ray's workers."""

import json
import os
import pathlib

import pytest

from tfadv import files
from tfadv.reproduction.plan import carry_out
from tfadv.reproduction.study import Job, Rendering, Study
from tfadv.validation import UserError


def square(settings, context):
    """Leaves a trace of each time it runs in the folder that jobs share."""
    context.runs.mkdir(parents=True, exist_ok=True)
    with (context.runs / "trace.txt").open("a") as trace:
        trace.write(f"{settings['number']}\n")
    return {"square": settings["number"] ** 2, "process": os.getpid()}


def fails(settings, context):
    raise RuntimeError("no luck\nsecond line")


def continues(settings, context):
    """Fails the first time, and finds then what it left in its folder."""
    left = context.folder / "left"
    if not left.exists():
        left.write_text("here")
        raise RuntimeError("cut off")
    return {"found": left.read_text()}


def study(key, *numbers):
    jobs = tuple(Job(f"job {n}", square, {"number": n}, 1.0) for n in numbers)
    return Study(key, key, lambda scale: jobs, lambda results: Rendering())


def trace(output):
    return sorted(map(int, (output / "runs" / "trace.txt").read_text().split()))


def test_jobs_are_done_once_also_across_studies_and_plans(tmp_path):
    lines = []
    both = [study("p/fig1", 1, 2), study("p/fig2", 2, 3)]
    found = carry_out(both, tmp_path, scale="smoke", report=lines.append)
    assert {key: {k: v["result"]["square"] for k, v in each.items()} for key, each in found.items()} == {
        "p/fig1": {"job 1": 1, "job 2": 4},
        "p/fig2": {"job 2": 4, "job 3": 9},
    }
    assert trace(tmp_path) == [1, 2, 3]
    assert lines[0] == "2 targets at scale smoke: 3 jobs, 0 finished; about 3.00 s for the others on two cores"
    assert len(lines) == 4
    again = carry_out([*both, study("p/fig3", 3, 4)], tmp_path, scale="smoke", report=lines.append)
    assert trace(tmp_path) == [1, 2, 3, 4]
    assert lines[4].startswith("3 targets at scale smoke: 4 jobs, 3 finished")
    assert again["p/fig1"] == found["p/fig1"]


def test_a_result_says_what_it_depends_on_and_where_it_was_made(tmp_path):
    values = carry_out([study("p/fig1", 7)], tmp_path, scale="smoke", report=lambda line: None)["p/fig1"]["job 7"]
    assert values["settings"] == {"number": 7}
    assert values["work"].endswith("test_plan.square")
    assert values["seconds"] >= 0
    assert "tensorflow" in values["environment"]
    (stored,) = (tmp_path / "jobs").iterdir()
    assert json.loads(stored.read_text()) == files.sealed(values)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("change", [{"result": 50}, {"settings": {"number": 8}, "sha256": None}])
def test_a_result_that_was_damaged_or_is_another_jobs_is_made_again(tmp_path, change):
    expected = carry_out([study("p/fig1", 7)], tmp_path, scale="smoke", report=lambda line: None)
    (stored,) = (tmp_path / "jobs").iterdir()
    changed = {**json.loads(stored.read_text()), **change}
    if "sha256" in change:
        changed = files.sealed({key: value for key, value in changed.items() if key != "sha256"})
    stored.write_text(json.dumps(changed))
    again = carry_out([study("p/fig1", 7)], tmp_path, scale="smoke", report=lambda line: None)
    assert again["p/fig1"]["job 7"]["result"] == expected["p/fig1"]["job 7"]["result"]
    assert again["p/fig1"]["job 7"]["settings"] == {"number": 7}


def test_a_failure_is_raised_after_the_other_jobs_are_done(tmp_path):
    bad = Study("p/fig1", "", lambda scale: (Job("bad", fails, {}, 1.0), *study("", 5).jobs(scale)), Rendering)
    lines = []
    with pytest.raises(UserError, match=r"1 of 2 jobs failed.*bad: RuntimeError: no luck \("):
        carry_out([bad], tmp_path, scale="smoke", report=lines.append)
    assert trace(tmp_path) == [5]
    assert any("FAILED" in line for line in lines)
    (story,) = (tmp_path / "work").glob("*/error.txt")
    assert "second line" in story.read_text()


def test_a_job_that_was_cut_off_finds_what_it_left(tmp_path):
    only = Study("p/fig1", "", lambda scale: (Job("long", continues, {}, 1.0),), Rendering)
    with pytest.raises(UserError, match="cut off"):
        carry_out([only], tmp_path, scale="smoke", report=lambda line: None)
    found = carry_out([only], tmp_path, scale="smoke", report=lambda line: None)
    assert found["p/fig1"]["long"]["result"] == {"found": "here"}


@pytest.mark.parametrize("changes", [{"scale": "huge"}, {"executor": "threads"}])
def test_what_does_not_exist_is_refused(tmp_path, changes):
    with pytest.raises(UserError, match="must be one of"):
        carry_out([study("p/fig1", 1)], tmp_path, **{"scale": "smoke", **changes})


@pytest.mark.slow
def test_two_workers_of_ray_share_the_jobs(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is optional")
    # The workers import this file by the name under which it was loaded here.
    monkeypatch.setenv("PYTHONPATH", str(pathlib.Path(__file__).resolve().parents[2]))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        found = carry_out(
            [study("p/fig1", *range(8))], tmp_path, scale="smoke", executor="ray", report=lambda line: None
        )
    finally:
        ray.shutdown()
    results = [values["result"] for values in found["p/fig1"].values()]
    assert [each["square"] for each in results] == [n**2 for n in range(8)]
    assert trace(tmp_path) == list(range(8))
    processes = {each["process"] for each in results}
    assert os.getpid() not in processes
    assert len(processes) == 2
