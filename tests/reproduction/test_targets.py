"""The index lists every study file once, each with work at every scale that can be handed to another process."""

import pathlib
import pickle
import re

import pytest

from tfadv.reproduction import STUDIES, TARGETS
from tfadv.reproduction.study import SCALES

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tfadv" / "reproduction" / "studies"


def test_every_study_file_is_in_the_index():
    index = (FOLDER.parent / "targets.py").read_text(encoding="utf-8")
    for path in FOLDER.glob("*.py"):
        names = re.findall(r"^(STUDY|STUDIES)\b", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert all(f"{path.stem}.{name}" in index for name in names), path
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
