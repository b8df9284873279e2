"""A job's identity follows from what it computes; printed numbers are at hand; marks and scales are the known ones."""

import dataclasses

import pytest

from tfadv.reproduction.study import MARKS, Claim, Job, reference
from tfadv.validation import UserError


def work(settings, context):
    return {}


def other(settings, context):
    return {}


JOB = Job("a", work, {"steps": 10, "seed": 0}, 1.0)


def test_the_identity_is_that_of_the_work_and_its_settings_alone():
    assert dataclasses.replace(JOB, key="b", seconds=9.0).identity == JOB.identity
    assert dataclasses.replace(JOB, settings={"seed": 0, "steps": 10}).identity == JOB.identity
    assert dataclasses.replace(JOB, settings={"steps": 11, "seed": 0}).identity != JOB.identity
    assert dataclasses.replace(JOB, work=other).identity != JOB.identity


def test_the_printed_numbers_of_every_paper_are_at_hand():
    rows = reference("feature_smoothing_table1")
    (pgd,) = [
        row
        for row in rows
        if (row["row_label"], row["threat"]) == ("LoS + noise", "white-box") and "loss=xent" in row["attack_params"]
    ]
    assert float(pgd["value"]) == 71.49
    assert len(reference("claims")) == 32
    with pytest.raises(UserError, match="no printed numbers called 'table9'"):
        reference("table9")


def test_a_claim_has_a_known_mark():
    assert [Claim("FS-1", mark, "").mark for mark in MARKS] == list(MARKS)
    with pytest.raises(ValueError, match="mark must be one of"):
        Claim("FS-1", "confirmed", "")
