"""TensorFlow Lite: whole numbers only, the float model's answers up to rounding, and a model that attacks can ask."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks, data, export
from tfadv.export import TfliteClassifier
from tfadv.export.tflite import _interpreter
from tfadv.models import load, predictor
from tfadv.validation import UserError


@pytest.fixture(scope="module")
def representative():
    return data.arrays("digits", "train", limit=100)[0]


@pytest.fixture(scope="module")
def file(trained, representative, tmp_path_factory):
    return export.export_tflite(trained, tmp_path_factory.mktemp("lite") / "model.tflite", representative)


def test_every_tensor_is_in_whole_numbers(file):
    interpreter = _interpreter(model_content=file.read_bytes())
    kinds = {np.dtype(tensor["dtype"]).name for tensor in interpreter.get_tensor_details() if tensor["name"]}
    assert "int8" in kinds
    assert kinds <= {"int8", "int32"}  # biases and shapes have 32 bits
    for tensor in (*interpreter.get_input_details(), *interpreter.get_output_details()):
        assert tensor["dtype"] == np.int8


def test_it_answers_as_the_float_model_up_to_rounding(trained, file, digits):
    x, y = digits
    expected, logits = trained(x).numpy(), TfliteClassifier(file)(tf.constant(x)).numpy()
    assert logits.dtype == np.float32
    assert np.abs(logits - expected).mean() < 0.03 * np.ptp(expected)
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.95
    assert len(np.unique(logits)) <= 256  # an int8 has no more values
    assert (logits.argmax(axis=1) == y).mean() > 0.8


def test_a_saved_model_gives_the_same_file_as_the_live_one(trained, file, representative, digits, tmp_path):
    saved = load(export.export_classifier(trained, tmp_path / "saved"))
    again = export.export_tflite(saved, tmp_path / "model.tflite", representative)
    np.testing.assert_array_equal(TfliteClassifier(again).logits(digits[0]), TfliteClassifier(file).logits(digits[0]))


def test_the_same_in_any_batch_eagerly_and_in_a_graph(file, digits):
    x, model = digits[0], TfliteClassifier(file)
    whole = model.logits(x)
    np.testing.assert_array_equal(np.concatenate([model.logits(x[at : at + 1]) for at in range(8)]), whole[:8])
    np.testing.assert_array_equal(model(x[5:12]), whole[5:12])
    in_graph = tf.function(predictor(model), autograph=False)(tf.constant(x))
    np.testing.assert_array_equal(in_graph, whole)


def converted(function, shape, **settings):
    """A file of TensorFlow Lite as others make them."""
    concrete = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32)]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
    for name, value in settings.items():
        setattr(converter, name, value)
    return converter.convert()


@pytest.mark.parametrize("batch", [1, 3, None])
def test_files_of_real_numbers_and_of_a_fixed_batch_are_read_too(tmp_path, batch):
    kernel = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
    path = tmp_path / "model.tflite"
    path.write_bytes(converted(lambda x: tf.reshape(x, [batch or -1, 4]) @ kernel, [batch, 2, 2, 1]))
    x = np.random.default_rng(0).random([7, 2, 2, 1], np.float32)
    np.testing.assert_allclose(TfliteClassifier(path)(x), x.reshape(7, 4) @ kernel, atol=1e-5)


def test_gradient_free_attacks_and_transfer_take_it_and_gradients_are_refused(trained, file, digits):
    x, y = digits
    quantized = TfliteClassifier(file)
    square = attacks.Square(epsilon=0.1, queries=50)
    searched = attacks.compiled(quantized, square, jit="off").run(x, y)
    assert ((quantized.logits(searched.x_adv).argmax(axis=1) != y) == searched.adversarial).all()
    assert np.abs(searched.x_adv - x).max() <= 0.1 + 1e-6
    clean = quantized.logits(x).argmax(axis=1) != y
    assert searched.adversarial.mean() > clean.mean() + 0.1
    pgd = attacks.Pgd(epsilon=0.1, step_size=0.02, steps=5, keep="last")
    crafted = attacks.transfer(trained, quantized, pgd, x, y, precision="float32")
    assert ((quantized.logits(crafted.x_adv).argmax(axis=1) != y) == crafted.adversarial).all()
    with pytest.raises(UserError, match="the model has no gradient with respect to its input"):
        attacks.compiled(quantized, pgd, jit="off", precision="float32").run(x, y)


def numpy_inside(x):
    return tf.ensure_shape(tf.numpy_function(lambda a: a.reshape(len(a), 4), [x], tf.float32), [None, 4])


def real_numbers_inside(x):
    return 3 * tf.math.cumsum(tf.reshape(x, [-1, 4]), axis=1) - 2


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (numpy_inside, r"cannot convert the model \(operation PyFunc\); export a SavedModel"),
        (real_numbers_inside, "an operation of the model has no form in whole numbers"),
        (lambda x: tf.nn.softmax(tf.reshape(x, [-1, 4])), "gives probabilities"),
    ],
    ids=["numpy", "real", "softmax"],
)
def test_a_model_that_cannot_be_converted_is_refused_and_nothing_is_written(tmp_path, model, message):
    images = np.random.default_rng(0).random([20, 2, 2, 1], np.float32)
    with pytest.raises(UserError, match=message):
        export.export_tflite(model, tmp_path / "model.tflite", images, image_shape=(2, 2, 1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros([5, 28, 28, 1], np.uint8), "representative must be floating-point images"),
        (np.zeros([5, 28, 28], np.float32), r"model's shape \[N, 28, 28, 1\], got \[5, 28, 28\]"),
        (np.zeros([0, 28, 28, 1], np.float32), r"model's shape \[N, 28, 28, 1\], got \[0, 28, 28, 1\]"),
    ],
    ids=["bytes", "shape", "none"],
)
def test_other_representative_images_are_refused(trained, tmp_path, images, message):
    with pytest.raises(UserError, match=message):
        export.export_tflite(trained, tmp_path / "model.tflite", images)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_classifier_is_refused(tmp_path):
    for content in (None, b"no model"):
        if content:
            (tmp_path / "model.tflite").write_bytes(content)
        with pytest.raises(UserError, match=r"is not a TensorFlow Lite file .*; name one, or export it"):
            TfliteClassifier(tmp_path / "model.tflite")
    (tmp_path / "images.tflite").write_bytes(converted(lambda x: 2 * x, [1, 2, 2, 1]))
    with pytest.raises(UserError, match=r"must have one input and one output \[batch, classes\]"):
        TfliteClassifier(tmp_path / "images.tflite")


def test_a_model_of_features_is_quantized_too(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])
    x = np.random.default_rng(0).random([50, 2], np.float32)
    path = export.export_tflite(model, tmp_path / "model.tflite", x)
    np.testing.assert_allclose(TfliteClassifier(path)(x), model(x), atol=0.03)
