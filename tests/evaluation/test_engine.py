"""`evaluate` on models whose answer is known in closed form; what it accepts, counts, checks and refuses."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks, export, models
from tfadv.attacks import Fgm, Pgd
from tfadv.evaluation import evaluate
from tfadv.validation import UserError

# Two classes: the attack on x of class 0 moves along w1 - w0 = DIRECTION and back for class 1.
DIRECTION = np.array([1.0, -2.0, 0.5, 0.25], np.float32)
EPSILON = 0.1
DUAL = {"linf": 1, "l2": 2}  # the norm of DIRECTION that tells how far epsilon moves the logits


def two_classes(x):
    """Logits (0, <DIRECTION, x - 1/2>)."""
    score = tf.linalg.matvec(tf.reshape(x, [-1, 4]) - 0.5, DIRECTION)
    return tf.stack([tf.zeros_like(score), score], axis=1)


def points_at(shares, norm):
    """Images and labels whose distance from the boundary is `shares` times what epsilon reaches in `norm`."""
    reach = EPSILON * np.linalg.norm(DIRECTION, DUAL[norm])
    x = 0.5 + np.outer(np.array(shares) * reach / (DIRECTION @ DIRECTION), DIRECTION)
    return x.reshape(-1, 2, 2, 1).astype(np.float32), (np.array(shares) > 0).astype(np.int32)


@pytest.fixture
def three_classes(linear_model):
    """The linear model of `x - 1/2`: about a third of the box belongs to each class."""
    return keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Rescaling(1.0, -0.5), linear_model], name="three")


def data_of(model, count=120):
    """Random images and the labels that `model` gives them, so that its clean accuracy is 1."""
    x = np.random.default_rng(1).uniform(0.2, 0.8, [count, 2, 2, 1]).astype(np.float32)
    return x, np.argmax(model(x), axis=1).astype(np.int32)


bare = functools.partial(evaluate, check=False)


def failed(report):
    return [check.name for check in report.checks if check.outcome == "failed"]


# Numbers.


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
@pytest.mark.parametrize("norm", ["linf", pytest.param("l2", marks=pytest.mark.slow)])
def test_accuracies_of_a_linear_model_are_the_closed_forms(norm, precision):
    """Robust is exactly what lies farther from the boundary than epsilon times the dual norm; 6 and 4 of 10 here."""
    shares = [0.3, -0.5, 0.9, -0.95, 1.05, -1.1, 1.3, -1.5, 1.4, 1.2]
    x, y = points_at(shares, norm)
    report = evaluate(two_classes, (x, y), EPSILON, norm, suite="gradient", precision=precision)
    assert report.clean_accuracy == 1.0
    assert [row.accuracy for row in report.rows] == [0.6] * 3
    assert report.robust_accuracy == 0.6
    np.testing.assert_array_equal(report.broken, np.abs(shares) < 1)
    assert [row.new_successes for row in report.rows] == [4, 0, 0]
    assert all(row.distances[report.broken].max() <= EPSILON + 1e-6 for row in report.rows)
    assert (report.threat.norm, report.threat.epsilon) == (norm, EPSILON)
    assert failed(report) == []
    assert report.verdict.word == "trusted"


def test_misclassified_images_count_as_broken_and_are_not_attacked():
    x, y = points_at([0.3, 1.5, 1.5, -1.5], "linf")
    report = bare(two_classes, (x, [1, 1, 0, 0]), EPSILON, suite=[Fgm(EPSILON)])
    assert report.clean_accuracy == 0.75
    assert report.rows[0].adversarial.tolist() == [True, False, True, False]
    assert report.rows[0].new_successes == 1
    assert np.isfinite(report.rows[0].distances).tolist() == [True, False, False, False]
    assert report.rows[0].gradient_evaluations == 3
    assert y.tolist() == [1, 1, 1, 0]


def test_the_worst_case_is_the_union_of_what_each_attack_breaks_alone():
    """A model that errs only where the mean of an image lies in (0.54, 0.56) or above 0.68; attacks push it upward.

    A step of 0.1 takes 0.45 to 0.55 (wrong) and 0.50 to 0.60 (right), a step of 0.2 to 0.65 (right) and 0.70 (wrong);
    neither breaks 0.30.
    """

    def bands(x):
        mean = tf.reduce_mean(x, axis=[1, 2, 3])
        wrong = (tf.abs(mean - 0.55) < 0.01) | (mean > 0.68)
        score = mean + tf.stop_gradient(tf.where(wrong, 1.0, -1.0) - mean)
        return tf.stack([-score, score], axis=1)

    x = np.broadcast_to(np.float32([0.45, 0.5, 0.3])[:, None, None, None], [3, 2, 2, 1])
    suite = [Pgd(0.2, step, 1, random_start=False) for step in (0.2, 0.1)]
    report = bare(bands, (x, [0, 0, 0]), 0.2, suite=suite)
    assert [row.adversarial.tolist() for row in report.rows] == [[False, True, False], [True, False, False]]
    assert [row.new_successes for row in report.rows] == [1, 1]
    assert report.broken.tolist() == [True, True, False]
    assert report.robust_accuracy == pytest.approx(1 / 3)


def test_every_attack_is_run_alone_on_all_that_is_classified_correctly(three_classes):
    x, y = data_of(three_classes)
    suite = [Fgm(0.15), Pgd(0.15, 0.05, 5, keep="last")]
    report = bare(three_classes, (x, y), 0.15, suite=suite)
    for config, row in zip(suite, report.rows, strict=True):
        alone = attacks.compiled(three_classes, config).run(x, y)
        np.testing.assert_array_equal(row.adversarial, alone.adversarial)
        assert row.gradient_evaluations == alone.gradient_evaluations
        assert 0 < row.adversarial.sum() < 120


def test_epsilon_0_leaves_the_clean_accuracy(three_classes):
    x, y = data_of(three_classes)
    y[:30] = (y[:30] + 1) % 3
    report = bare(three_classes, (x, y), 0.0)
    assert report.clean_accuracy == 0.75
    assert [row.accuracy for row in report.rows] == [0.75] * 3
    assert report.robust_accuracy == 0.75


def test_a_source_adds_a_row_of_its_own_examples_against_the_model():
    """FGSM on a source with weights V moves x by epsilon * sign(V), which moves the model's score by W sign(V)."""
    towards = np.array([1.0, 2.0, 0.5, -0.25], np.float32)
    x, y = points_at([0.1, 0.2, 0.5, 0.9, -0.2, -0.6, 1.2], "linf")
    report = bare(
        two_classes,
        (x, y),
        EPSILON,
        suite=[Pgd(EPSILON, EPSILON, 1, random_start=False), Fgm(EPSILON)],
        sources={"twin": lambda images: two_classes(images) * [0.0, 1.0] + source_score(images, towards)},
    )
    row = report.rows[2]
    assert row.name == "transfer from twin, BIM-1 cross-entropy"
    assert row.config["source"] == "twin"
    assert row.gradient_evaluations == 0
    side = np.where(y == 1, 1, -1)
    moved = x.reshape(-1, 4) - EPSILON * side[:, None] * np.sign(DIRECTION + towards)
    expected = (((moved - 0.5) @ DIRECTION) * side) < 0
    np.testing.assert_array_equal(row.adversarial, expected)
    assert 0 < expected.sum() < 6
    assert report.settings["sources"] == ["twin"]


def source_score(x, weights):
    """What makes the source another model: logits (0, <weights, x - 1/2>), to be added."""
    score = tf.linalg.matvec(tf.reshape(x, [-1, 4]) - 0.5, weights)
    return tf.stack([tf.zeros_like(score), score], axis=1)


def test_two_attacks_of_one_name_are_told_apart():
    """Step sizes are no part of a name, and two of them are a legitimate suite."""
    data = points_at([0.3, 1.5], "linf")
    suite = [Pgd(EPSILON, step, 3) for step in (0.05, 0.1, 0.02)]
    names = [row.name for row in bare(two_classes, data, EPSILON, suite=suite).rows]
    assert names == ["PGD-3 cross-entropy", "PGD-3 cross-entropy (2)", "PGD-3 cross-entropy (3)"]


def test_an_exported_model_gives_the_numbers_of_the_live_one(three_classes, tmp_path):
    data = data_of(three_classes)
    exported = models.load(export.export_classifier(three_classes, tmp_path / "export"))
    live, loaded = (bare(model, data, 0.15, suite="quick") for model in (three_classes, exported))
    assert 0 < live.robust_accuracy < 1
    for one, two in zip(live.rows, loaded.rows, strict=True):
        np.testing.assert_array_equal(one.adversarial, two.adversarial)


# Data.


def test_every_form_of_the_data_gives_the_same_report(three_classes):
    x, y = data_of(three_classes, 50)
    dataset = tf.data.Dataset.from_tensor_slices((x, y))
    forms = {
        "lists": (x.tolist(), y.tolist()),
        "one-hot": (x, np.eye(3, dtype=np.float32)[y]),
        "single examples": dataset,
        "batches": dataset.batch(16),
        "a column of labels": dataset.map(lambda image, label: (image, label[None])).batch(50),
        "labels of 64 bits": (x, y.astype(np.int64)),
    }
    suite = [Pgd(0.15, 0.05, 5)]
    expected = bare(three_classes, (x, y), 0.15, suite=suite)
    for name, data in forms.items():
        report = bare(three_classes, data, 0.15, suite=suite)
        assert report.labels.tolist() == y.tolist(), name
        np.testing.assert_array_equal(report.rows[0].adversarial, expected.rows[0].adversarial, err_msg=name)


def test_a_limit_is_seeded_and_stratified_and_each_example_starts_where_it_would_in_the_whole(three_classes):
    x, y = data_of(three_classes, 200)
    suite = [Pgd(0.15, 0.02, 4, keep="last")]
    whole = bare(three_classes, (x, y), 0.15, suite=suite)
    one, same = (bare(three_classes, (x, y), 0.15, suite=suite, limit=50, seed=3) for _ in range(2))
    other = bare(three_classes, (x, y), 0.15, suite=suite, limit=50, seed=4)
    assert one.count == 50
    assert (one.settings["limit"], one.settings["seed"]) == (50, 3)
    np.testing.assert_array_equal(one.labels, same.labels)
    np.testing.assert_array_equal(one.rows[0].distances, same.rows[0].distances)
    assert one.labels.tolist() != other.labels.tolist()
    assert np.abs(np.bincount(one.labels) - np.bincount(y) / 4).max() < 1
    # The distance of a broken example depends on its random start alone, so it tells which example it was.
    found = one.rows[0].distances[np.isfinite(one.rows[0].distances)]
    assert len(found) > 0
    assert set(found) <= set(whole.rows[0].distances[np.isfinite(whole.rows[0].distances)])


def test_bounds_other_than_0_to_1_move_the_box(three_classes):
    x, y = data_of(three_classes)
    shifted = bare(lambda v: three_classes(v + 0.5), (x - 0.5, y), 0.15, suite="quick", bounds=(-0.5, 0.5))
    plain = bare(three_classes, (x, y), 0.15, suite="quick")
    assert shifted.threat.bounds == (-0.5, 0.5)
    np.testing.assert_array_equal(shifted.rows[0].adversarial, plain.rows[0].adversarial)
    assert shifted.checks == ()
    assert shifted.verdict is None


# Checks and examples.


def test_a_model_that_draws_at_inference_is_refused_and_sent_to_rand(three_classes):
    data = data_of(three_classes, 30)

    def noisy(x):
        logits = three_classes(x)
        return logits + 0.01 * tf.random.normal(tf.shape(logits))

    with pytest.raises(UserError, match=r"must be deterministic for this suite.*suite='rand'"):
        evaluate(noisy, data, 0.1, suite="quick")
    assert evaluate(noisy, data, 0.1, suite="rand", check=False).rows[0].name == "APGD-CE, EOT 20"


@pytest.mark.slow
def test_bounds_reach_the_checks(three_classes):
    x, y = data_of(three_classes)
    report = evaluate(lambda v: three_classes(v + 0.5), (x - 0.5, y), 0.15, suite="quick", bounds=(-0.5, 0.5))
    outcomes = {check.name: check.outcome for check in report.checks}
    assert outcomes["adversarial images survive rounding to 8 bits"] == "not applicable"
    assert outcomes["at half the range nothing is left"] == "passed"
    assert failed(report) == []


@pytest.mark.slow
def test_an_attack_that_leaves_the_ball_is_flagged_and_its_images_do_not_count(three_classes, monkeypatch):
    """The audit measures the images themselves: here the engine returns steps twice as long as it may."""
    x, y = data_of(three_classes)
    honest = attacks.CompiledAttack.run

    def cheating(self, x, y, *args, **options):
        outcome = honest(self, x, y, *args, **options)
        doubled = np.clip(x + 2 * (outcome.x_adv - x), 0, 1)
        return dataclasses.replace(outcome, x_adv=doubled)

    monkeypatch.setattr(attacks.CompiledAttack, "run", cheating)
    report = evaluate(three_classes, (x, y), 0.15, suite=[Fgm(0.15)])
    assert "every adversarial image is inside the threat model" in failed(report)
    assert report.suite_accuracy == 1.0


@pytest.mark.slow
def test_gradients_masked_by_a_saturated_loss_make_transfer_stronger_and_are_flagged(three_classes):
    """Logits x 1e4 leave no cross-entropy gradient in float32, though the classes are those of the plain model."""
    x, y = data_of(three_classes)
    masked = evaluate(lambda v: 1e4 * three_classes(v), (x, y), 0.2, suite=[Fgm(0.2)], sources={"plain": three_classes})
    outcomes = {check.name: check.outcome for check in masked.checks}
    assert outcomes["cross-entropy finds what scale-free losses find"] == "warning"  # the transfer made up for it
    assert masked.robust_accuracy < masked.rows[0].accuracy
    alone = evaluate(lambda v: 1e4 * three_classes(v), (x, y), 0.2, suite=[Fgm(0.2)])
    assert alone.verdict.word == "overestimated"
    assert alone.robust_accuracy < alone.suite_accuracy == alone.rows[0].accuracy
    assert alone.found_by_checks.sum() == round(120 * (alone.suite_accuracy - alone.robust_accuracy))


@pytest.mark.slow
def test_a_claim_is_judged_in_place_of_the_suites_number(three_classes):
    data = data_of(three_classes)
    honest = evaluate(three_classes, data, 0.15, suite="quick")
    claimed = evaluate(three_classes, data, 0.15, suite="quick", claimed=honest.robust_accuracy + 0.1)
    assert honest.verdict.word == "trusted"
    assert claimed.verdict.word == "overestimated"
    assert claimed.suite_accuracy == honest.suite_accuracy >= claimed.robust_accuracy


def test_a_budget_leaves_a_sample_and_says_what_it_left_out(three_classes):
    report = evaluate(three_classes, data_of(three_classes, 500), 0.15, suite="quick", budget="0.01 s")
    assert report.count < 500
    assert report.verdict.word == "unverified"
    assert {check.outcome for check in report.checks} == {"not run"}


def test_examples_are_the_fooled_images_one_of_each_class_first(three_classes):
    x, y = data_of(three_classes)
    report = evaluate(three_classes, (x, y), 0.2, suite="quick", check=False)
    examples = report.examples
    assert set(examples.labels[:3]) == {0, 1, 2}
    assert len(examples.labels) == 10
    assert (examples.predictions != examples.labels).all()
    assert 0 < np.abs(examples.adversarial - examples.clean).max() <= 0.2 + 1e-6
    np.testing.assert_array_equal(np.argmax(three_classes(examples.adversarial), axis=1), examples.predictions)
    assert bare(two_classes, points_at([2.0, -2.0], "linf"), EPSILON, suite="quick").examples.labels.tolist() == [
        1,
        0,
    ]


def test_inputs_that_are_no_images_are_evaluated_without_examples():
    x, y = points_at([0.5, 1.5], "linf")
    report = bare(two_classes, (x.reshape(-1, 4), y), EPSILON, suite="quick")
    assert report.examples is None
    assert report.robust_accuracy == 0.5


# Refusals.

GOOD = points_at([0.5, 1.5], "linf")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 8}, r"epsilon 8 is wider than .*write 8/255, not 8"),
        ({"epsilon": -0.1}, r"epsilon must be a finite number >= 0.* got -0\.1"),
        ({"norm": "l7"}, r"norm must be one of \['l1', 'l2', 'linf'\], got 'l7'"),
        ({"suite": "strong"}, r"suite must be one of \['full', 'gradient', 'papers', .*\].* got 'strong'"),
        ({"suite": []}, r"non-empty list of attack configs, got \[\]"),
        ({"suite": [Fgm(0.2)]}, r"must keep to the threat model norm='linf', epsilon=0\.1, got Fgm\(epsilon=0\.2"),
        ({"suite": [Fgm(0.1, "l2")]}, r"must keep to the threat model norm='linf'"),
        ({"limit": 3}, r"limit must be a whole number from 1 to 2 \(the size of data\).* got 3"),
        ({"limit": 0}, r"limit must be a whole number"),
        ({"data": (GOOD[0] * np.nan, GOOD[1])}, r"x must be finite, got NaN or infinity in 2 of 2 images"),
        ({"data": (GOOD[0] * 255, GOOD[1])}, r"x must lie in \[0, 1\].* divide by 255"),
        ({"data": ((GOOD[0] * 255).astype(np.uint8), GOOD[1])}, r"divide 8-bit images by 255"),
        ({"data": (GOOD[0], [0, 2])}, r"y must lie in 0\.\.1, got labels from 0 to 2"),
        ({"data": (GOOD[0], [-1, 0])}, r"y must lie in 0\.\..* got labels from -1"),
        ({"data": (GOOD[0], [0])}, r"y must be one integer label for each of the 2 images"),
        ({"data": (GOOD[0][:0], GOOD[1][:0])}, r"data must hold at least one image"),
        ({"data": (*GOOD, GOOD[1])}, r"data must be arrays \(x, y\) or a tf\.data\.Dataset"),
        ({"data": GOOD[0]}, r"data must be arrays \(x, y\) .* got ndarray"),
        ({"model": lambda x: tf.nn.softmax(two_classes(x))}, r"gives probabilities .* logits are needed"),
        ({"model": "model.keras"}, r"model must be a Keras model.* got str; a path is loaded by"),
        ({"model": lambda x: tf.zeros([2, 2]) + float("nan")}, r"NaN or infinite logits"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_input_is_refused_with_argument_and_remedy(options, message):
    arguments = {"model": two_classes, "data": GOOD, "epsilon": EPSILON, "suite": "quick", **options}
    with pytest.raises(UserError, match=message):
        evaluate(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda dataset: dataset.repeat(), "data must be finite, got a dataset that repeats forever"),
        (lambda dataset: dataset.take(0), "data must hold at least one image, got an empty dataset"),
        (lambda dataset: dataset.map(lambda x, y: {"x": x, "y": y}), r"data must yield \(image, label\) pairs"),
        (lambda dataset: dataset.map(lambda x, y: (x, y, y)), r"data must yield \(image, label\) pairs"),
    ],
    ids=["infinite", "empty", "dictionary", "triple"],
)
def test_a_dataset_that_cannot_be_read_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        evaluate(two_classes, change(tf.data.Dataset.from_tensor_slices(GOOD)), EPSILON)


def test_a_softmax_layer_is_refused_by_its_name(three_classes):
    model = keras.Sequential([keras.Input((2, 2, 1)), three_classes, keras.layers.Softmax(name="head")])
    with pytest.raises(UserError, match=r"ends in softmax \(layer 'head'\)"):
        evaluate(model, GOOD, EPSILON)


def test_a_model_without_gradient_is_attacked_without_one_and_is_not_trusted():
    def rounded(x):
        return tf.ensure_shape(tf.numpy_function(lambda v: two_classes(v).numpy(), [x], tf.float32), [None, 2])

    report = evaluate(rounded, points_at([0.3, 1.05, -1.5, 1.4] * 5, "linf"), EPSILON)
    assert report.rows == ()
    assert report.settings["not run, for want of a gradient"][0] == "FGSM"
    assert "the input has a gradient, and it is finite" in failed(report)
    # Square found what no gradient attack could look for.
    assert report.found_by_checks.tolist() == [True, False, False, False] * 5
    assert report.verdict.word == "overestimated"
