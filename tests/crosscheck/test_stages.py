"""AutoAttack by two programs, stage by stage: the rules of agreement, and that runs are kept and continued."""

import dataclasses

import numpy as np
import pytest

from tfadv.crosscheck import stages
from tfadv.crosscheck.stages import Run, compare, markdown, stored
from tfadv.validation import UserError


def run(*broken_by):
    return Run(np.array(broken_by), (1.0, 2.0, 3.0, 4.0))


# Ten examples: one misclassified, two fall to APGD-CE, one each to APGD-T and Square, five stand.
OURS = run(-2, 0, 0, 1, 3, -1, -1, -1, -1, -1)


def test_robust_accuracy_is_what_no_stage_up_to_this_one_fooled():
    assert OURS.robust() == pytest.approx((90.0, 70.0, 60.0, 60.0, 50.0))


def test_equal_runs_agree():
    found = compare(OURS, {0: OURS, 1: OURS}, range(10))
    assert found["agreed"]
    assert found["final_difference"] == 0
    assert [stage["stage"] for stage in found["stages"]] == ["clean", *stages.STAGES]
    assert found["stages"][1]["published"] == {"0": 70.0, "1": 70.0}
    assert found["fooled_by_us_only"] == found["fooled_by_every_published_seed_but_not_by_us"] == []


def test_a_stage_may_lie_half_a_point_outside_the_spread_of_the_seeds_and_no_more():
    """Of 1,000 examples the seeds leave 900 and 890 after the first stage: ours may leave 885 to 905."""

    def left(count):
        return Run(np.array([-1] * 880 + [1] * (count - 880) + [0] * (1000 - count)), (0.0,) * 4)

    references = {0: left(900), 1: left(890)}
    for count, agreed in ((905, True), (906, False), (885, True), (884, False)):
        found = compare(left(count), references, range(1000))
        assert found["stages"][1]["agreed"] == agreed
        assert found["final_agreed"]
        assert found["agreed"] == agreed


def test_the_end_must_lie_within_three_tenths_of_a_point_of_the_mean():
    def left(count):
        return Run(np.array([-1] * count + [3] * (1000 - count)), (0.0,) * 4)

    for count, agreed in ((903, True), (904, False), (897, True), (896, False)):
        assert compare(left(count), {0: left(900)}, range(1000))["final_agreed"] == agreed


def test_examples_on_which_they_disagree_are_listed_by_their_numbers():
    first, second = run(-2, 0, 0, 1, -1, 3, -1, -1, -1, -1), run(-2, 0, 0, 1, -1, 3, 3, -1, -1, -1)
    found = compare(OURS, {0: first, 1: second}, range(100, 110))
    assert found["fooled_by_us_only"] == [104]
    assert found["fooled_by_every_published_seed_but_not_by_us"] == [105]
    assert found["published_seeds_differ_on"] == [106]


def test_the_table_shows_every_run_and_what_was_found():
    text = markdown("net", {"ours": OURS, "published, seed 0": OURS}, {"ours": compare(OURS, {0: OURS}, range(10))})
    assert "| ours | 90.00 | 70.00 | 60.00 | 60.00 | 50.00 | 10 |" in text
    assert "ours agrees with the published program: final robust accuracy +0.00 points" in text


def test_a_run_is_kept_and_not_made_again(tmp_path):
    made = []

    def make():
        made.append(1)
        return OURS

    for _ in range(2):
        got = stored(tmp_path / "run.npz", make)
        np.testing.assert_array_equal(got.broken_by, OURS.broken_by)
        assert got.seconds == OURS.seconds
    assert made == [1]


def test_ours_is_autoattack_on_the_survivors(linear_model, tmp_path):
    x = np.random.default_rng(0).random((12, 2, 2, 1), np.float32)
    y = linear_model(x).numpy().argmax(axis=1).astype(np.int32)
    lines = []
    got = stages.ours(
        linear_model,
        x,
        y,
        epsilon=0.2,
        norm="linf",
        seed=0,
        precision="float32",
        index=np.arange(12),
        state=tmp_path / "state",
        report=lines.append,
    )
    assert len(got.seconds) == len(lines) == 4
    assert got.robust()[0] == 100.0
    assert got.robust()[-1] < 100.0


def test_the_published_program_is_continued_where_it_stopped(tmp_path, monkeypatch):
    """Three batches of a stand-in for it: killed in the second, the first is not run again."""
    torch = pytest.importorskip("torch", reason="the published program runs on PyTorch")
    calls = []

    class Suite:
        def __init__(self, *arguments, **settings):
            self.attacks_to_run = []

        def run_standard_evaluation(self, x, y, bs):
            calls.append((self.attacks_to_run[0], len(x)))
            if len(calls) == 2:
                raise KeyboardInterrupt
            return 1.0 - x  # Another class for half of the images.

    def logits(x):
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([mean, 1 - mean], dim=1)

    monkeypatch.setattr(stages, "_BATCH_SIZE", 4)
    module = type("Modules", (), {"AutoAttack": Suite})
    monkeypatch.setattr(stages.published_autoattack, "load", lambda source: {"autoattack": module})
    monkeypatch.setattr(stages, "classifier", lambda model: dataclasses.make_dataclass("C", ["module"])(logits))
    x = np.linspace(0.51, 0.9, 10, dtype=np.float32)[:, None, None, None] * np.ones((10, 2, 2, 1), np.float32)
    options = {"epsilon": 0.3, "norm": "linf", "seed": 0, "path": tmp_path / "run.npz", "report": lambda line: None}
    with pytest.raises(KeyboardInterrupt):
        stages.published("", None, x, np.zeros(10, int), **options)
    got = stages.published("", None, x, np.zeros(10, int), **options)
    assert calls == [("apgd-ce", 4), ("apgd-ce", 4), ("apgd-ce", 4), ("apgd-ce", 2)]
    assert (got.broken_by == 0).all()


def test_a_folder_without_the_published_program_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"must be a folder with autoattack/autoattack\.py"):
        stages.published(
            tmp_path, None, np.zeros((1, 2, 2, 1)), [0], epsilon=0.1, norm="linf", seed=0, path=tmp_path / "a.npz"
        )
