"""The index lists every study file once, each with work at every scale that can be handed to another process."""

import pathlib
import pickle

import pytest

from tfadv.reproduction import STUDIES, TARGETS
from tfadv.reproduction.study import SCALES

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tfadv" / "reproduction" / "studies"


def test_every_study_file_is_in_the_index():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    listed = {study.render.__module__.rpartition(".")[2] for study in STUDIES.values()}
    with_studies = {name for name in files if "STUD" in (FOLDER / f"{name}.py").read_text(encoding="utf-8")}
    assert with_studies <= listed
    assert not set(STUDIES) & set(TARGETS)


@pytest.mark.parametrize("key", sorted(STUDIES))
def test_a_study_has_work_at_every_scale(key):
    study = STUDIES[key]
    for scale in SCALES:
        jobs = study.jobs(scale)
        assert len({job.key for job in jobs}) == len(jobs)
        for job in jobs:
            assert pickle.loads(pickle.dumps(job)).identity == job.identity
            assert job.seconds > 0
    assert study.title
    study.render({})
