"""Losses, augmentations and data sets: finite and of the documented shape, or one error of the documented kind."""

import re

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings

from tfadv import augment, data, losses, objectives, soft_labels
from tfadv.validation import UserError

LOGITS = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
LABELS = st.one_of(
    st.lists(st.integers(-1, 3), max_size=4),
    st.lists(st.lists(st.sampled_from([0.0, 1.0, 0.5]), min_size=1, max_size=4), min_size=1, max_size=4),
    st.just([0.0, 1.0, 2.0]),
).filter(lambda rows: len({np.size(row) for row in rows}) <= 1)
LOSSES = {
    "smoothing": lambda y, z: losses.label_smoothing(y, z, mass=0.1),
    "squeezing": lambda y, z: losses.logit_squeezing(y, z, weight=0.5),
    "pairing": lambda y, z: losses.clean_logit_pairing(y, z, weight=0.5),
    "confidence": lambda y, z: losses.confidence_penalty(y, z, weight=0.1),
}


@pytest.mark.parametrize("name", LOSSES)
@given(y=LABELS, rows=st.integers(0, 3), scale=st.sampled_from([0.0, 1.0, 1e10, -1e10]))
@example(y=[0, 1, 2], rows=3, scale=1.0)
@example(y=[0, 1, 2, 0], rows=3, scale=1.0)
@example(y=[[0.0, 1.0, 0.0]], rows=3, scale=1.0)
@example(y=[[0.0, 1.0]] * 3, rows=3, scale=1.0)
def test_a_loss_is_one_finite_number_for_each_example_or_says_what_is_wrong(name, y, rows, scale):
    """Of a class that does not exist TensorFlow's own assertion is documented, which graphs have too."""
    y = np.asarray(y, np.float32 if np.asarray(y).dtype.kind == "f" else np.int32)
    try:
        loss = LOSSES[name](tf.constant(y), tf.constant(LOGITS[:rows] * scale)).numpy()
    except UserError:
        return
    except tf.errors.InvalidArgumentError as error:
        if re.search(r"labels must lie in|label value of", str(error)):
            return
        raise
    assert loss.shape == (rows,) == (len(y),)
    assert np.isfinite(loss).all()


OTHER_BATCHES = {"more": [0, 1, 2, 0], "fewer": [0, 1], "column": [[0], [1]], "rows": np.eye(3)[[0, 1]], "none": []}


@pytest.mark.parametrize("labels", OTHER_BATCHES.values(), ids=OTHER_BATCHES)
def test_labels_of_another_batch_are_refused_by_name_eagerly_and_while_a_graph_is_traced(labels):
    labels = np.asarray(labels, np.int32)
    for loss in LOSSES.values():
        for call in (loss, tf.function(loss, autograph=False)):
            with pytest.raises(UserError, match=r"^labels must be one for each row of logits \[B, K\], got labels of"):
                call(tf.constant(labels), tf.constant(LOGITS))
    for loss in (losses.LabelSmoothing(0.1), losses.LogitSqueezing(0.5)):
        with pytest.raises(UserError, match=r"^y_true must have shape \[B\], .* for logits of shape \(3, 3\), got \("):
            loss(labels, LOGITS)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("batch", [3, None])
def test_the_check_of_lengths_leaves_no_operation_in_a_graph(loss, batch, monkeypatch):
    def operations():
        specs = tf.TensorSpec([batch], tf.int32), tf.TensorSpec([batch, 3], tf.float32)
        return [op.type for op in tf.function(loss).get_concrete_function(*specs).graph.get_operations()]

    checked = operations()
    for module in (objectives, soft_labels):
        monkeypatch.setattr(module, "check_pairs", lambda labels, logits: None)
    assert operations() == checked


SHAPES = st.lists(st.integers(0, 3), max_size=4)
AUGMENTATIONS = {
    "mixup": lambda x, y: augment.mixup(x, y, config=augment.Mixup(new_points=2, classes=3), seed=[1, 2]),
    "smoothing": lambda x, y: augment.feature_smoothing(
        x, y, config=augment.FeatureSmoothing(new_points=2), seed=[1, 2]
    ),
    "noise": lambda x, y: augment.gaussian_noise(x, y, config=augment.GaussianNoise(), seed=[1, 2]),
    "crop": lambda x, y: augment.pad_crop_flip(x, y, config=augment.PadCropFlip(pad=1), seed=[1, 2]),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
@settings(max_examples=25)
@given(shape=SHAPES.filter(lambda shape: 0 not in shape), dtype=st.sampled_from(["f2", "f4", "f8", "u1", "i4"]))
def test_an_augmentation_keeps_type_and_shape_or_says_what_is_wrong(refusal, name, shape, dtype):
    x = np.full(shape, 0.5).astype(dtype)
    y = np.zeros(shape[:1], np.int32)
    got = []
    if refusal(("x ", "y ", "images"), AUGMENTATIONS[name], x, y, into=got) is None:
        images, _ = got[0]
        assert images.dtype.as_numpy_dtype == x.dtype
        assert tuple(images.shape[1:]) == x.shape[1:]
        assert np.isfinite(images.numpy()).all()


@given(
    name=st.one_of(st.sampled_from(["digits", "moons", "", "DIGITS", "../digits"]), st.text(max_size=5)),
    split=st.one_of(st.sampled_from(["test", "train", "validation", "", "TEST", "test[:10]"]), st.text(max_size=5)),
    limit=st.sampled_from([None, 1, 0, -1, 10**9, 1.5, "3", True, float("nan")]),
)
def test_a_split_of_a_data_set_or_what_there_is(refusal, name, split, limit):
    got = []
    if refusal(("name", "split", "limit"), data.arrays, name, split, limit=limit, into=got) is None:
        ((x, y),) = got
        assert (x.dtype, y.dtype) == (np.float32, np.int32)
        assert len(x) == len(y) == (limit or len(x)) > 0
        assert ((x >= 0) & (x <= 1)).all()
