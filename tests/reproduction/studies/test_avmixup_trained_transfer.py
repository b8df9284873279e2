"""Table 2: every net judged by the examples of every other."""

import pytest

from tfadv import attacks
from tfadv.reproduction.studies import avmixup_trained as av
from tfadv.reproduction.studies import avmixup_trained_transfer as transfer
from tfadv.reproduction.studies.avmixup_trained_transfer import STUDY, TRANSFER, transfer_all
from tfadv.reproduction.study import Context

NETS = (av.STANDARD, av.PGD, av.LS08, av.LS09, av.AVMIXUP)


def share(value):
    return {"accuracy": value, "interval": [value - 0.02, value + 0.02]}


def matrix():
    """Of source number i and target number j: (10 i + j)%; itself 5%."""
    accuracy = {
        source: {target: share(0.05 if i == j else (10 * i + j) / 100) for j, target in enumerate(NETS)}
        for i, source in enumerate(NETS)
    }
    return {"count": 2_000, "steps": dict.fromkeys(NETS, 2_000), "accuracy": accuracy}


def test_rows_are_judged_and_columns_are_sources():
    """Printed: PGD against examples of LS0.8 65.70; LS0.8 against those of PGD 63.60."""
    lines = {line.what: line for line in STUDY.render({TRANSFER: matrix()}).compared}
    assert len(lines) == 13
    assert (lines["PGD against LS0.8"].paper, lines["PGD against LS0.8"].ours) == (65.70, pytest.approx(21))
    assert (lines["LS0.8 against PGD"].paper, lines["LS0.8 against PGD"].ours) == (63.60, pytest.approx(12))
    assert "2.5% of the schedule" in lines["PGD against LS0.8"].note


def test_the_conclusion_of_the_paper_depends():
    strong = {"standard": {"accuracy": 0.02}}
    (claim,) = STUDY.render({TRANSFER: matrix(), av.AVMIXUP: strong}).claims
    assert (claim.key, claim.mark) == ("AV-5", "depends")
    assert "PGD: 1.0% against the strongest of the others, 5.0% against its own PGD20;" in claim.evidence
    assert "AVmixup: 4.0% against the strongest of the others, 5.0% against its own PGD20, 2.0% under" in claim.evidence


def test_nothing_without_the_job():
    assert STUDY.render({}).compared == ()
    assert [job.key for job in STUDY.jobs("short")] == [*NETS, TRANSFER]


def test_own_examples_are_the_worst(tmp_path):
    """Two linear nets on the digits, of two seeds: what fools one fools the other less often."""
    runs = {
        name: {"experiment": "avmixup_small/standard", "changes": {**av.SMOKE, "validation": None, **own}}
        for name, own in (("a", {"steps": 60}), ("b", {"steps": 60, "seed": 1}))
    }
    settings = {
        "runs": runs,
        "attack": attacks.to_dict(attacks.Pgd(0.1, 0.03, 5, keep="last")),
        "limit": 60,
        "precision": "float32",
    }
    found = transfer_all(settings, Context(tmp_path / "work", tmp_path / "runs", None, lambda line: None))
    accuracy = {source: {target: each["accuracy"] for target, each in by.items()} for source, by in
                found["accuracy"].items()}  # fmt: skip
    assert found["count"] == 60
    assert found["steps"] == {"a": 60, "b": 60}
    assert accuracy["a"]["a"] < accuracy["a"]["b"]
    assert accuracy["b"]["b"] < accuracy["b"]["a"]


def test_the_jobs_of_table_1_are_shared():
    assert transfer.jobs("short")[1].identity == av.job("short", av.PGD).identity
