"""Smoothing toward any q': the core, what every loss of the family shares, and a variant written by its q' alone."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.losses import (
    AdversarialLabelSmoothing,
    BoltzmannLabelSmoothing,
    LabelSmoothing,
    LabelSmoothingToward,
    SecondBestLabelSmoothing,
    SmoothedCrossEntropy,
    other_classes,
    second_best_class,
    smoothed_cross_entropy,
    worst_class,
)
from tfadv.objectives import cross_entropy
from tfadv.validation import UserError

CLASSES = 10
RNG = np.random.default_rng(0)
LOGITS = tf.constant(3 * RNG.normal(size=[12, CLASSES]), tf.float32)
LABELS = tf.constant(RNG.integers(0, CLASSES, 12), tf.int32)
DENSE = tf.one_hot(LABELS, CLASSES)
MIXED = 0.7 * DENSE + 0.3 * tf.one_hot((LABELS + 3) % CLASSES, CLASSES)


@keras.saving.register_keras_serializable("tests")
def toward_the_prediction(y, logits):
    """Bootstrapping: q' is what the network says."""
    return tf.nn.softmax(logits)


@keras.saving.register_keras_serializable("tests")
class Prior:
    """A q' with parameters: fixed class frequencies."""

    def __init__(self, frequencies):
        self.frequencies = [float(frequency) for frequency in frequencies]

    def __call__(self, y, logits):
        return tf.ones_like(logits) * tf.constant(self.frequencies)

    def get_config(self):
        return {"frequencies": self.frequencies}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


LOSSES = [
    LabelSmoothing(0.3),
    AdversarialLabelSmoothing(0.3),
    BoltzmannLabelSmoothing(0.3, temperature=0.5),
    SecondBestLabelSmoothing(0.3),
    LabelSmoothingToward(0.3, toward_the_prediction),
]
every = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)


def each(loss, labels, logits):
    return type(loss).from_config({**loss.get_config(), "reduction": None})(labels, logits)


def test_the_table_holds_every_loss_of_the_family():
    def below(kind):
        return {kind}.union(*map(below, kind.__subclasses__()))

    ours = {kind for kind in below(SmoothedCrossEntropy) if kind.__module__.startswith("tfadv.")}
    assert ours == {SmoothedCrossEntropy, *map(type, LOSSES)}


def test_worked_by_hand():
    """K = 3, p = (1/2, 1/4, 1/4), label 0, mass 0.2 toward (1/2, 1/2, 0): q = (0.9, 0.1, 0), loss 0.9 log 2 + 0.1 log 4
    = 1.1 log 2."""
    logits = tf.constant([[np.log(2), 0.0, 0.0]], tf.float32)
    loss = smoothed_cross_entropy([0], logits, q_prime=lambda y, z: tf.constant([[0.5, 0.5, 0.0]]), mass=0.2)
    np.testing.assert_allclose(loss, [1.1 * np.log(2)], rtol=1e-6)


def test_q_prime_is_given_the_labels_as_rows_and_the_logits_in_float32():
    def see(y, logits):
        assert (y.dtype, logits.dtype) == (tf.float32, tf.float32)
        np.testing.assert_array_equal(y, DENSE)
        np.testing.assert_array_equal(logits, LOGITS)
        return y

    np.testing.assert_allclose(
        smoothed_cross_entropy(LABELS, tf.cast(LOGITS, tf.float64), q_prime=see, mass=0.3),
        cross_entropy(LABELS, LOGITS),
        rtol=1e-6,
    )


@every
def test_the_gradient_treats_q_prime_as_constant(loss):
    """Against labels frozen by hand, and the closed form p - q; BLS and the prediction's q' would tell."""
    frozen = tf.constant((0.7 * DENSE + 0.3 * loss.target(DENSE, LOGITS)).numpy())
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(LOGITS)
        live = each(loss, LABELS, LOGITS)
        fixed = cross_entropy(frozen, LOGITS)
    np.testing.assert_allclose(live, fixed, rtol=1e-6)
    gradient = tape.gradient(live, LOGITS)
    np.testing.assert_allclose(gradient, tape.gradient(fixed, LOGITS), atol=1e-6)
    np.testing.assert_allclose(gradient, tf.nn.softmax(LOGITS) - frozen, atol=1e-6)


def test_without_the_stop_the_gradient_would_differ():
    """That the test before can fail: q' = softmax(z) let through adds 0.3 d(-q' log p) / dz."""
    with tf.GradientTape() as tape:
        tape.watch(LOGITS)
        through = cross_entropy(0.7 * DENSE + 0.3 * tf.nn.softmax(LOGITS), LOGITS)
    frozen = 0.7 * DENSE + 0.3 * tf.nn.softmax(LOGITS)
    assert np.abs(tape.gradient(through, LOGITS) - (tf.nn.softmax(LOGITS) - frozen)).max() > 0.01


@every
@pytest.mark.parametrize("labels", [LABELS, DENSE, MIXED], ids=["sparse", "dense", "mixed"])
def test_mass_zero_is_cross_entropy(loss, labels):
    plain = type(loss).from_config({**loss.get_config(), "mass": 0.0, "reduction": None})
    np.testing.assert_allclose(plain(labels, LOGITS), cross_entropy(labels, LOGITS), rtol=1e-6)


@every
def test_every_form_of_the_labels_gives_the_same_loss(loss):
    expected = each(loss, LABELS, LOGITS)
    assert expected.shape == [12]
    for y_true in (LABELS[:, None], DENSE, tf.cast(LABELS, tf.int64), LABELS.numpy().astype(np.float32)):
        np.testing.assert_allclose(each(loss, y_true, LOGITS), expected, rtol=1e-6)
    np.testing.assert_allclose(loss(LABELS, LOGITS), np.mean(expected), rtol=1e-6)


@every
def test_a_network_of_nan_logits_has_a_nan_loss_and_its_neighbors_do_not(loss):
    logits = tf.concat([tf.fill([1, CLASSES], float("nan")), LOGITS[1:]], axis=0)
    result = each(loss, LABELS, logits).numpy()
    assert np.isnan(result[0])
    np.testing.assert_allclose(result[1:], each(loss, LABELS[1:], LOGITS[1:]), rtol=1e-6)


@every
@pytest.mark.parametrize("size", [0, 1])
def test_batches_of_zero_and_one(loss, size):
    result = each(loss, LABELS[:size], LOGITS[:size])
    np.testing.assert_allclose(result, each(loss, LABELS, LOGITS)[:size], rtol=1e-6)


@every
def test_half_precision_logits_are_taken_in_float32(loss):
    half = tf.cast(LOGITS, tf.bfloat16)
    assert loss(LABELS, half).dtype == tf.float32
    np.testing.assert_allclose(loss(LABELS, half), loss(LABELS, tf.cast(half, tf.float32)), rtol=1e-6)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_compiled_every_loss_is_the_same_with_the_same_gradient(jit):
    def values_and_gradients(labels, logits):
        results = []
        for loss in LOSSES:
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = loss(labels, logits)
            results += [value, tape.gradient(value, logits)]
        return results

    compiled = tf.function(values_and_gradients, jit_compile=jit)
    for labels in (LABELS, MIXED):
        for ours, eager in zip(compiled(labels, LOGITS), values_and_gradients(labels, LOGITS), strict=True):
            np.testing.assert_allclose(ours, eager, rtol=1e-5, atol=1e-6)


@every
def test_a_compiled_model_keeps_its_loss_in_a_keras_file(tmp_path, loss):
    model = keras.Sequential([keras.layers.Input([4]), keras.layers.Dense(3)])
    model.compile(keras.optimizers.SGD(0.5), loss)
    x, y = RNG.normal(size=[6, 4]).astype(np.float32), np.array([0, 1, 2, 0, 1, 2])
    before = model.evaluate(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is type(loss)
    assert loaded.loss.get_config() == loss.get_config()
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(before, rel=1e-6)


def test_names_follow_the_class_and_may_be_given():
    names = [loss.name for loss in LOSSES]
    assert names[:3] == ["label_smoothing", "adversarial_label_smoothing", "boltzmann_label_smoothing"]
    assert AdversarialLabelSmoothing(0.1).name == AdversarialLabelSmoothing(0.1).name
    assert SecondBestLabelSmoothing(0.1, name="sbls", reduction="sum").get_config() == {
        "name": "sbls",
        "reduction": "sum",
        "mass": 0.1,
    }


@pytest.mark.parametrize(
    ("q_prime", "loss"),
    [
        (other_classes, LabelSmoothing(0.3)),
        (worst_class, AdversarialLabelSmoothing(0.3)),
        (second_best_class, SecondBestLabelSmoothing(0.3)),
    ],
    ids=["other", "worst", "second best"],
)
def test_the_papers_own_variants_are_their_q_prime_alone(q_prime, loss):
    custom = LabelSmoothingToward(0.3, q_prime)
    np.testing.assert_allclose(custom(LABELS, LOGITS), loss(LABELS, LOGITS), rtol=1e-6)
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(custom))
    assert restored.q_prime is q_prime


def test_a_variant_may_have_parameters(tmp_path):
    """A registered object: (0.7, 0.2, 0.1) of class frequencies, worked out for z = 0, loss log 3 whatever q is."""
    model = keras.Sequential([keras.layers.Input([4]), keras.layers.Dense(3)])
    model.compile("sgd", LabelSmoothingToward(0.5, Prior([0.7, 0.2, 0.1]), name="prior"))
    model.save(tmp_path / "model.keras")
    loss = keras.models.load_model(tmp_path / "model.keras").loss
    assert (loss.name, loss.q_prime.frequencies) == ("prior", [0.7, 0.2, 0.1])
    np.testing.assert_allclose(loss(tf.constant([2]), tf.zeros([1, 3])), np.log(3), rtol=1e-6)
    # p = (1/2, 1/4, 1/4), q = 0.5 (0, 0, 1) + 0.5 (0.7, 0.2, 0.1) = (0.35, 0.1, 0.55): (0.35 + 1.3) log 2.
    logits = tf.constant([[np.log(2), 0.0, 0.0]], tf.float32)
    np.testing.assert_allclose(loss(tf.constant([2]), logits), 1.65 * np.log(2), rtol=1e-6)


def test_what_is_no_function_is_refused():
    with pytest.raises(UserError, match=r"q_prime must be a function .*got 'worst'; for example"):
        LabelSmoothingToward(0.1, "worst")


@pytest.mark.parametrize("wrong", [lambda y, z: z[:, :3], lambda y, z: z[:, 0]], ids=["columns", "rank"])
def test_a_q_prime_of_another_shape_is_refused(wrong):
    with pytest.raises(UserError, match=r"q_prime must give one distribution for each example, shape \(12, 10\), got"):
        smoothed_cross_entropy(LABELS, LOGITS, q_prime=wrong, mass=0.1)


@pytest.mark.parametrize(
    "wrong", [lambda y, z: z, lambda y, z: 2 * y, lambda y, z: 2 * y - tf.roll(y, 1, 1)], ids=["logits", "sum", "sign"]
)
def test_a_q_prime_that_is_no_distribution_is_refused(wrong):
    loss = LabelSmoothingToward(0.1, wrong)
    for call in (loss, tf.function(loss)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="q_prime must give distributions"):
            call(LABELS, LOGITS)


def test_a_q_prime_that_is_no_distribution_is_nan_under_xla_which_has_no_assertions():
    first_row_only = LabelSmoothingToward(0.1, lambda y, z: tf.concat([2 * y[:1], y[1:]], axis=0), reduction=None)
    result = tf.function(first_row_only, jit_compile=True)(LABELS, LOGITS)
    np.testing.assert_array_equal(np.isnan(result), [True] + 11 * [False])


def test_a_subclass_without_a_target_says_so():
    with pytest.raises(NotImplementedError, match=r"SmoothedCrossEntropy must implement target"):
        SmoothedCrossEntropy(0.1)(LABELS, LOGITS)


@every
@pytest.mark.parametrize("mass", [-0.01, 1.01, float("nan"), None])
def test_a_bad_mass_is_refused_at_construction(loss, mass):
    with pytest.raises(UserError, match=r"mass must lie in \[0, 1\]"):
        type(loss).from_config({**loss.get_config(), "mass": mass})
