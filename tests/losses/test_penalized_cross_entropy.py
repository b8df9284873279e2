"""What every loss with a penalty on the logits shares: labels, compilers, `.keras`, and a penalty of one's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.losses import (
    CleanLogitPairing,
    ConfidencePenalty,
    LogitSqueezing,
    PenalizedCrossEntropy,
    penalized_cross_entropy,
)
from tfadv.objectives import cross_entropy
from tfadv.validation import UserError

CLASSES = 10
RNG = np.random.default_rng(0)
LOGITS = tf.constant(3 * RNG.normal(size=[12, CLASSES]), tf.float32)
LABELS = tf.constant(RNG.integers(0, CLASSES, 12), tf.int32)
DENSE = tf.one_hot(LABELS, CLASSES)
MIXED = 0.7 * DENSE + 0.3 * tf.one_hot((LABELS + 3) % CLASSES, CLASSES)

LOSSES = [LogitSqueezing(0.3), LogitSqueezing(0.3, extent="batch", p=3), CleanLogitPairing(0.3), ConfidencePenalty(0.3)]
every = pytest.mark.parametrize("loss", LOSSES, ids=["squeezing", "squeezing of the batch", "pairing", "confidence"])


@keras.saving.register_keras_serializable("tests")
class LargestLogit(PenalizedCrossEntropy):
    """A penalty of one's own: max_k z_k."""

    def penalty(self, logits):
        return tf.reduce_max(logits, axis=-1)


def each(loss, labels, logits):
    return type(loss).from_config({**loss.get_config(), "reduction": None})(labels, logits)


def test_the_table_holds_every_loss_of_the_family():
    ours = {kind for kind in PenalizedCrossEntropy.__subclasses__() if kind.__module__.startswith("tfadv.")}
    assert ours == set(map(type, LOSSES))


def test_worked_by_hand():
    """p = (1/2, 1/4, 1/4), label 1, penalty ||z||_1 = log 2: log 4 + 0.5 log 2 = 2.5 log 2."""
    logits = tf.constant([[np.log(2), 0.0, 0.0]], tf.float32)
    loss = penalized_cross_entropy([1], logits, penalty=lambda z: tf.reduce_sum(tf.abs(z), -1), weight=0.5)
    np.testing.assert_allclose(loss, [2.5 * np.log(2)], rtol=1e-6)


@every
@pytest.mark.parametrize("labels", [LABELS, MIXED], ids=["sparse", "mixed"])
def test_it_is_cross_entropy_plus_the_weighted_penalty(loss, labels):
    expected = cross_entropy(labels, LOGITS).numpy() + 0.3 * loss.penalty(LOGITS).numpy()
    np.testing.assert_allclose(each(loss, labels, LOGITS), expected, rtol=1e-6)
    np.testing.assert_allclose(loss(labels, LOGITS), expected.mean(), rtol=1e-6)


@every
def test_weight_zero_is_cross_entropy(loss):
    plain = type(loss).from_config({**loss.get_config(), "weight": 0.0, "reduction": None})
    np.testing.assert_allclose(plain(LABELS, LOGITS), cross_entropy(LABELS, LOGITS), rtol=1e-6)


@every
def test_every_form_of_the_labels_gives_the_same_loss(loss):
    expected = each(loss, LABELS, LOGITS)
    assert expected.shape == [12]
    for y_true in (LABELS[:, None], DENSE, tf.cast(LABELS, tf.int64), LABELS.numpy().astype(np.float32)):
        np.testing.assert_allclose(each(loss, y_true, LOGITS), expected, rtol=1e-6, atol=1e-6)


@every
def test_half_precision_logits_are_taken_in_float32(loss):
    half = tf.cast(LOGITS, tf.bfloat16)
    assert loss(LABELS, half).dtype == tf.float32
    np.testing.assert_allclose(loss(LABELS, half), loss(LABELS, tf.cast(half, tf.float32)), rtol=1e-6)


@every
def test_an_empty_batch_has_an_empty_loss(loss):
    assert each(loss, LABELS[:0], LOGITS[:0]).shape == [0]


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_compiled_every_loss_is_the_same_with_the_same_gradient(jit):
    """Also at z = 0, where norms have no slope."""

    def values_and_gradients(labels, logits):
        results = []
        for loss in LOSSES:
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = loss(labels, logits)
            results += [value, tape.gradient(value, logits)]
        return results

    compiled = tf.function(values_and_gradients, jit_compile=jit)
    for logits in (LOGITS, tf.zeros([12, CLASSES])):
        for ours, eager in zip(compiled(LABELS, logits), values_and_gradients(LABELS, logits), strict=True):
            np.testing.assert_allclose(ours, eager, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [*LOSSES, LargestLogit(0.1)], ids=lambda loss: loss.name)
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
    assert [loss.name for loss in LOSSES[1:]] == ["logit_squeezing", "clean_logit_pairing", "confidence_penalty"]
    assert ConfidencePenalty(0.1, name="beta", reduction="sum").get_config() == {
        "name": "beta",
        "reduction": "sum",
        "weight": 0.1,
    }


def test_a_subclass_without_a_penalty_says_so():
    with pytest.raises(NotImplementedError, match=r"PenalizedCrossEntropy must implement penalty"):
        PenalizedCrossEntropy(0.1)(LABELS, LOGITS)


@every
@pytest.mark.parametrize("weight", [-0.1, float("inf"), "0.5"])
def test_a_bad_weight_is_refused_at_construction(loss, weight):
    with pytest.raises(UserError, match=r"weight must be a finite number >= 0, got .*; 0 is plain cross-entropy"):
        type(loss).from_config({**loss.get_config(), "weight": weight})


@every
def test_a_model_without_logits_for_each_class_is_refused(loss):
    with pytest.raises(UserError, match=r"y_pred must be logits"):
        loss(tf.zeros([2]), tf.zeros([2, 1]))
