"""Nets whose robustness is known, sound and broken, each with the verdict that an evaluation must reach.

The sound ones must not be suspected, and what hinders attacks must not be believed: scaled logits, squeezed logits,
quantization, layers without a gradient. A forward pass that is no function of the image is refused.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import data, models
from tfadv.attacks import Fgm
from tfadv.evaluation import evaluate
from tfadv.validation import UserError

RADIUS = 0.1  # that the robust nets were trained for
LIMITS = {"quick": 200, "standard": 100}
slow = pytest.mark.slow
both_suites = pytest.mark.parametrize("suite", ["quick", pytest.param("standard", marks=slow)])


def judge(model, examples, epsilon, suite, **options):
    return evaluate(model, examples, epsilon, suite=suite, **{"limit": LIMITS[suite], **options})


def outcomes(report):
    return {check.name: check.outcome for check in report.checks}


def evidence(report, name):
    return next(check.evidence for check in report.checks if check.name == name)


def not_passed(report):
    return {name: outcome for name, outcome in outcomes(report).items() if outcome in ("failed", "not run", "warning")}


@pytest.fixture(scope="module")
def sound(trained, unseen_digits):
    """`sound("pgd", "quick")`: the report on a robust net, made once."""
    return functools.cache(lambda defense, suite: judge(trained(defense), unseen_digits, RADIUS, suite))


# Sound nets.


@slow
@pytest.mark.parametrize("suite", LIMITS)
@pytest.mark.parametrize("defense", ["pgd", "trades"])
def test_a_robust_net_is_trusted(sound, defense, suite):
    report = sound(defense, suite)
    assert report.verdict.word == "trusted", not_passed(report)
    assert 0.6 < report.robust_accuracy < report.clean_accuracy - 0.05


@slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("defense", ["pgd", "trades"])
def test_no_subset_of_the_examples_raises_a_false_alarm(trained, unseen_digits, defense, seed):
    report = judge(trained(defense), unseen_digits, RADIUS, "quick", seed=seed)
    assert report.verdict.word == "trusted", not_passed(report)


@slow
@pytest.mark.parametrize("suite", LIMITS)
def test_an_undefended_net_at_zero_is_trusted(trained, unseen_digits, suite):
    report = judge(trained("none"), unseen_digits, 2 * RADIUS, suite)
    assert (report.robust_accuracy, report.verdict.word) == (0.0, "trusted"), not_passed(report)
    assert report.clean_accuracy > 0.9


def linear(examples, classes, count):
    """A linear classifier of the first `classes` digits and its robust accuracy on `count` images in closed form.

    Least squares on images moved to [1/4, 3/4], so that a radius of up to 1/4 nowhere meets the box: then the margin
    w.x + b of two classes falls by exactly epsilon |w|_1.

    Returns: model, images, labels, and epsilon -> share that no attack can break.
    """

    def moved(examples):
        x, y = examples
        return 0.25 + x[y < classes] / 2, y[y < classes]

    (x_train, y_train), (x, y) = moved(data.arrays("digits", "train")), moved(examples)
    x, y = x[:count], y[:count]

    def flat(images):
        return np.concatenate([images.reshape(len(images), -1), np.ones([len(images), 1])], axis=1)

    a = flat(x_train)
    weights = np.linalg.solve(a.T @ a + 10.0 * np.eye(a.shape[1]), a.T @ np.eye(classes)[y_train])
    w, b = weights[:-1].astype(np.float32), weights[-1].astype(np.float32)

    def model(images):
        return 5.0 * (tf.reshape(images, [-1, len(w)]) @ w + b)

    def robust(epsilon):
        logits = flat(x) @ weights
        margins = logits[np.arange(len(y)), y][:, None] - logits
        reach = epsilon * np.abs(w.T[y][:, None] - w.T[None]).sum(axis=2)
        margins[np.arange(len(y)), y] = np.inf
        return float((margins - reach > 0).all(axis=1).mean())

    return model, x, y, robust


@pytest.mark.parametrize("classes", [2, 10])
@both_suites
def test_a_linear_model_is_trusted_at_its_closed_form(unseen_digits, classes, suite):
    epsilon = {2: 0.06, 10: 0.02}[classes]
    model, x, y, robust = linear(unseen_digits, classes, {"quick": 500, "standard": 100}[suite])
    report = judge(model, (x, y), epsilon, suite, limit=None)
    assert report.verdict.word == "trusted", not_passed(report)
    assert 0.5 < robust(epsilon) < report.clean_accuracy - 0.1
    assert report.verdict.worst >= robust(epsilon) - 1e-6
    if suite == "standard":
        assert report.robust_accuracy == pytest.approx(robust(epsilon), abs=1e-6)


@slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("epsilon", [0.01, 0.02])
def test_no_subset_raises_a_false_alarm_of_a_linear_model(unseen_digits, epsilon, seed):
    model, x, y, _ = linear(unseen_digits, 10, 500)
    report = judge(model, (x, y), epsilon, "quick", limit=300, seed=seed)
    assert report.verdict.word == "trusted", not_passed(report)


# Scaled logits: the same predictions, so the same robust accuracy.


def scaled(net, factor):
    return lambda x: factor * net(x, training=False)


@slow
def test_large_logits_deceive_the_quick_suite_and_its_checks_say_so(trained, unseen_digits, sound):
    report = judge(scaled(trained("pgd"), 1_000.0), unseen_digits, RADIUS, "quick")
    plain = sound("pgd", "quick")
    assert report.suite_accuracy > plain.robust_accuracy + 0.1
    assert report.verdict.word == "overestimated"
    assert report.robust_accuracy == report.verdict.worst == pytest.approx(plain.robust_accuracy, abs=0.02)
    assert outcomes(report)["cross-entropy finds what scale-free losses find"] == "failed"


@slow
def test_large_logits_do_not_deceive_the_standard_suite(trained, unseen_digits, sound):
    report = judge(scaled(trained("pgd"), 1_000.0), unseen_digits, RADIUS, "standard")
    assert report.verdict.word != "overestimated"
    assert report.robust_accuracy == pytest.approx(sound("pgd", "standard").robust_accuracy, abs=0.005)
    name = "cross-entropy finds what scale-free losses find"
    assert outcomes(report)[name] == "warning"
    assert "cross-entropy saturates" in evidence(report, name)


@slow
def test_small_logits_do_not_change_the_quick_number(trained, unseen_digits, sound):
    """Plain cross-entropy of logits near zero ascends the mean of all wrong classes: a weaker path, 8 points here."""
    report, plain = judge(scaled(trained("pgd"), 0.001), unseen_digits, RADIUS, "quick"), sound("pgd", "quick")
    assert report.verdict.word == "trusted", not_passed(report)
    assert report.suite_accuracy == pytest.approx(plain.suite_accuracy, abs=0.011)  # two of 200 images
    assert report.verdict.worst == pytest.approx(plain.verdict.worst, abs=0.011)


@slow
def test_small_logits_do_not_change_the_standard_number(trained, unseen_digits, sound):
    report = judge(scaled(trained("pgd"), 0.001), unseen_digits, RADIUS, "standard")
    assert report.verdict.word != "overestimated"
    assert report.robust_accuracy == pytest.approx(sound("pgd", "standard").robust_accuracy, abs=0.005)


# Robust to one step of FGSM, and to nothing else.


@slow
@pytest.mark.parametrize("suite", LIMITS)
@pytest.mark.parametrize(("defense", "epsilon"), [("logit squeezing", RADIUS), ("fgsm", 2 * RADIUS)])
def test_what_fgsm_alone_leaves_is_overestimated(trained, unseen_digits, defense, epsilon, suite):
    net = trained(defense)
    by_fgsm = evaluate(net, unseen_digits, epsilon, suite=[Fgm(epsilon)], check=False, limit=LIMITS[suite])
    claimed = by_fgsm.robust_accuracy
    report = judge(net, unseen_digits, epsilon, suite, claimed=claimed)
    assert report.verdict.word == "overestimated"
    assert report.verdict.claimed == claimed
    assert report.robust_accuracy < claimed - 0.1
    assert "the claimed" in report.verdict.reason


@slow
@pytest.mark.parametrize(("defense", "epsilon"), [("logit squeezing", RADIUS), ("fgsm", 2 * RADIUS)])
def test_the_standard_suite_finds_it_alone_and_is_not_suspected(trained, unseen_digits, defense, epsilon):
    report = judge(trained(defense), unseen_digits, epsilon, "standard")
    assert report.verdict.word != "overestimated"
    assert report.robust_accuracy < 0.15


# No gradient to follow.


def eight_levels(x):
    return tf.round(7 * x) / 7


def median(x):
    """Of every pixel and its neighbors left and right, computed by NumPy."""
    left, right = np.roll(x, 1, axis=2), np.roll(x, -1, axis=2)
    return np.maximum(np.minimum(left, x), np.minimum(np.maximum(left, x), right))


def through_numpy(x):
    return tf.ensure_shape(tf.numpy_function(median, [x], tf.float32), x.shape)


# What is in front of a net, and the same with the gradient of the identity.
HIDING = {
    "8 levels": ("pgd", eight_levels, models.bpda(eight_levels)),
    "a filter in NumPy": ("none", through_numpy, models.bpda(median, numpy=True)),
}


@pytest.fixture(params=HIDING)
def hidden(request, trained):
    """(a net behind something without a gradient, a stand-in for it)"""
    defense, forward, approximation = HIDING[request.param]
    net = trained(defense)
    return tuple(lambda x, before=before: net(before(x), training=False) for before in (forward, approximation))


@slow
@pytest.mark.parametrize("suite", LIMITS)
def test_without_a_gradient_nothing_is_trusted(hidden, unseen_digits, suite):
    """Black-box attacks may find enough to say more; that the gradient is missing is said in any case."""
    report = judge(hidden[0], unseen_digits, RADIUS, suite)
    assert report.verdict.word in ("unverified", "overestimated")
    assert outcomes(report)["the input has a gradient, and it is finite"] == "failed"
    assert len(report.settings["not run, for want of a gradient"]) == {"quick": 2, "standard": 3}[suite]


@slow
@pytest.mark.parametrize("suite", LIMITS)
def test_a_stand_in_finds_what_the_missing_gradient_hides(hidden, unseen_digits, suite):
    model, stand_in = hidden
    report = judge(model, unseen_digits, RADIUS, suite, stand_in=stand_in)
    through_it = stand_in_number(stand_in, unseen_digits, suite)
    assert report.verdict.worst <= through_it + 0.05
    name = "a differentiable stand-in opens no hole"
    if suite == "quick":
        assert (report.verdict.word, outcomes(report)[name]) == ("overestimated", "failed")
        assert report.suite_accuracy == report.clean_accuracy  # no attack of the suite could run
    else:
        # Square, which needs no gradient, found nearly all of them before.
        assert report.verdict.word in ("unverified", "overestimated")


def stand_in_number(stand_in, examples, suite):
    """What PGD leaves of the stand-in itself, which is the same function."""
    return judge(stand_in, examples, RADIUS, "quick", limit=LIMITS[suite], check=False).robust_accuracy


# What is no function of the image, or gives no logits.


class TrainMode(keras.layers.Layer):
    """Batch normalization that always takes the statistics of the batch, as a net called with training=True does."""

    def __init__(self):
        super().__init__()
        self.normalization = keras.layers.BatchNormalization()

    def call(self, inputs):
        return self.normalization(inputs, training=True)


def with_layer(layer):
    flat = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    return keras.Sequential([*flat, layer])


def of_the_batch(x):
    """The same in a function, which has no variables that could show it."""
    logits = tf.reshape(x, [-1, 784])[:, 300:310]
    return (logits - tf.reduce_mean(logits, axis=0)) / (tf.math.reduce_std(logits, axis=0) + 1e-3)


def noisy(x):
    return tf.reshape(x + tf.random.normal(tf.shape(x), stddev=0.1), [-1, 784])[:, 300:310]


@pytest.mark.parametrize("suite", LIMITS)
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: with_layer(TrainMode()), r"changed its variables, as batch normalisation in training mode.*=False"),
        (lambda: of_the_batch, r"alone and in a batch differ .* as with batch normalisation .* training=False"),
        (lambda: with_layer(keras.layers.Softmax(name="head")), r"ends in softmax \(layer 'head'\).*without_softmax"),
        (lambda: lambda x: tf.nn.softmax(of_the_batch(x)), r"gives probabilities .* remove the final softmax"),
        (lambda: noisy, r"must be deterministic .* use suite='rand'.* or switch its noise off"),
    ],
    ids=["train-mode layer", "train-mode function", "softmax layer", "softmax function", "noise"],
)
def test_these_are_refused_with_the_remedy(unseen_digits, model, message, suite):
    with pytest.raises(UserError, match=message):
        judge(model(), unseen_digits, RADIUS, suite)


# The same on MNIST, where it is at hand.


@pytest.fixture(scope="module")
def mnist(mnist_dir):
    return {split: data.arrays("mnist", split, mnist_dir, limit=n) for split, n in (("train", 2_000), ("test", 400))}


@slow
@pytest.mark.parametrize(
    ("defense", "factor", "epsilon", "word"),
    [("none", 1.0, 0.3, "trusted"), ("none", 1_000.0, 0.3, "overestimated"), ("pgd", 1.0, RADIUS, "trusted")],
    ids=["undefended", "undefended, large logits", "pgd"],
)
def test_mnist(trained, mnist, defense, factor, epsilon, word):
    net = trained(defense, mnist["train"])
    report = judge(scaled(net, factor), mnist["test"], epsilon, "quick", limit=None)
    assert report.verdict.word == word, not_passed(report)
    assert report.robust_accuracy > 0.6 if defense == "pgd" else report.robust_accuracy < 0.01
