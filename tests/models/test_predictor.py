"""The predictor: every kind of model gives float32 logits in inference mode; what cannot is refused with the remedy."""

import gc
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Fgm, Square, compiled
from tfadv.models import predictor
from tfadv.models.adapters import bpda
from tfadv.validation import UserError

LAYERS = keras.layers
IMAGES = np.random.default_rng(0).random([4, 2, 2, 1], np.float32)
LABELS = np.array([0, 1, 2, 0], np.int32)


def functional(head, *tail):
    """A functional model: flatten, `head`, `tail`."""
    inputs = keras.Input((2, 2, 1))
    outputs = head(LAYERS.Flatten()(inputs))
    for layer in tail:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


class Subclassed(keras.Model):
    """A model whose layers do not say in which order they run; `call` takes no `training`."""

    def __init__(self, activation=None):
        super().__init__()
        self.flatten, self.head = LAYERS.Flatten(), LAYERS.Dense(3, activation=activation)

    def call(self, x):
        return self.head(self.flatten(x))


class Attentive(keras.Model):
    """A softmax that weights features, not the head, in the layer that was made last."""

    def __init__(self):
        super().__init__()
        self.head, self.flatten, self.softmax = LAYERS.Dense(3), LAYERS.Flatten(), LAYERS.Softmax()

    def call(self, x):
        features = self.flatten(x)
        return self.head(features * self.softmax(features))


def test_a_keras_model_runs_in_inference_mode_and_is_not_changed():
    """Dropout does nothing, batch normalization uses its moving averages and keeps them."""
    model = functional(LAYERS.Dense(8), LAYERS.BatchNormalization(), LAYERS.Dropout(0.5), LAYERS.Dense(3))
    before = [weight.copy() for weight in model.get_weights()]
    predict = predictor(model)
    np.testing.assert_array_equal(predict(IMAGES), model(IMAGES, training=False))
    np.testing.assert_array_equal(predict(IMAGES), predict(IMAGES))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_logits_of_a_lower_precision_come_back_as_float32():
    assert predictor(functional(LAYERS.Dense(3, dtype="bfloat16")))(IMAGES).dtype == tf.float32
    assert predictor(lambda x: tf.cast(tf.reshape(x, [4, 4]), tf.bfloat16))(IMAGES).dtype == tf.float32


@pytest.mark.parametrize("build", [Subclassed, Attentive])
def test_a_subclassed_model_is_called_as_it_is(build):
    model = build()
    np.testing.assert_array_equal(predictor(model)(IMAGES), model(IMAGES))


@pytest.mark.parametrize(
    "model",
    [
        lambda: functional(LAYERS.Dense(3, activation="softmax")),
        lambda: functional(LAYERS.Dense(3, activation=keras.activations.softmax)),
        lambda: functional(LAYERS.Dense(3), LAYERS.Activation("softmax")),
        lambda: functional(LAYERS.Dense(3), LAYERS.Softmax()),
        lambda: functional(LAYERS.Dense(3), keras.ops.softmax),
        lambda: functional(keras.Sequential([LAYERS.Input((4,)), LAYERS.Dense(3, activation="softmax")])),
        lambda: keras.Sequential([LAYERS.Input((2, 2, 1)), LAYERS.Flatten(), LAYERS.Dense(3, activation="softmax")]),
        lambda: keras.Sequential([LAYERS.Flatten(), LAYERS.Dense(3, activation="softmax")]),
    ],
    ids=["dense", "dense-function", "activation", "layer", "operation", "nested", "sequential", "unbuilt"],
)
def test_a_softmax_head_is_refused_with_the_remedy(model):
    with pytest.raises(
        UserError, match=r"ends in softmax.*need logits: build it without the last .*as tfadv.models.without_softmax"
    ):
        predictor(model())


def test_a_softmax_inside_the_model_is_no_head():
    predictor(functional(LAYERS.Dense(4, activation="softmax"), LAYERS.Dense(3)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: Subclassed(activation="softmax"), "gives probabilities"),
        (lambda: lambda x: tf.nn.softmax(tf.reshape(x, [-1, 4])), "gives probabilities"),
        (lambda: lambda x: tf.reshape(x, [-1, 4]) + float("nan"), "NaN or infinite logits"),
        (lambda: functional(LAYERS.Dense(1, activation="sigmoid")), r"shape \[batch, classes >= 2\]"),
    ],
    ids=["subclassed-softmax", "function-softmax", "nan", "one-output"],
)
def test_what_the_layers_do_not_show_is_refused_by_the_attack(model, message):
    with pytest.raises(UserError, match=message):
        compiled(model(), Fgm(epsilon=0.1))(IMAGES, LABELS)


def test_a_dict_or_list_of_outputs_gives_its_logits():
    flat = tf.reshape(IMAGES, [4, 4])
    np.testing.assert_array_equal(predictor(lambda x: {"logits": flat, "class": x})(IMAGES), flat)
    np.testing.assert_array_equal(predictor(lambda x: {"output_0": flat})(IMAGES), flat)
    np.testing.assert_array_equal(predictor(lambda x: [flat])(IMAGES), flat)
    with pytest.raises(UserError, match=r"\['a', 'b'\], none called 'logits'; pass a function"):
        predictor(lambda x: {"a": flat, "b": flat})(IMAGES)
    with pytest.raises(UserError, match="2 outputs; pass a function"):
        predictor(lambda x: (flat, flat))(IMAGES)


@pytest.mark.parametrize("model", [None, "model.keras", 3])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(UserError, match=r"got (NoneType|str|int); a path is loaded by tfadv.models.load"):
        predictor(model)


def save(folder, **signatures):
    """A SavedModel of 3 x flat(image) with these input specifications, by signature name."""
    module = tf.Module()
    module.factor = tf.Variable(3.0)

    def function(specification):
        return tf.function(
            lambda *inputs: {"scores": module.factor * tf.reshape(tf.cast(inputs[0], tf.float32), [-1, 4])},
            input_signature=specification,
        )

    functions = {name: function(specification) for name, specification in signatures.items()}
    tf.saved_model.save(module, str(folder), signatures=functions)
    return tf.saved_model.load(str(folder))


def test_a_saved_model_with_signatures_only_outlives_the_name_that_held_it(tmp_path):
    """Its functions hold variables weakly: a predictor that kept only the function would fail after collection."""
    predict = predictor(save(tmp_path, serving_default=[tf.TensorSpec([None, 2, 2, 1], tf.float32, name="images")]))
    gc.collect()
    np.testing.assert_allclose(predict(tf.constant(IMAGES)), 3 * IMAGES.reshape(4, 4), rtol=1e-6)


def test_a_saved_model_by_keras_export_gives_the_logits_of_the_model(tmp_path):
    model = functional(LAYERS.Dense(3))
    model.export(str(tmp_path / "exported"))
    predict = predictor(tf.saved_model.load(str(tmp_path / "exported")))
    gc.collect()
    np.testing.assert_allclose(predict(tf.constant(IMAGES)), model(IMAGES), atol=1e-6)


def one_batch(dtype=tf.float32, name="x"):
    return [tf.TensorSpec([None, 4], dtype, name=name)]


def test_a_signature_is_the_one_named_or_else_serve_or_serving_default_or_the_only_one(tmp_path):
    """Named: what the caller says. Otherwise the usual names first, and no guess among several others."""
    images = IMAGES.reshape(4, 4)
    for number, (names, named, message) in enumerate(
        [
            (["classify"], None, None),
            (["classify", "embed"], "classify", None),
            (["classify", "serving_default"], "classify", None),
            (["classify", "embed"], None, r"classify\(x: float32 \[None, 4\]\) -> scores; embed\(.* name the one that"),
            (["classify"], "clasify", r"signature must be one .* got 'clasify'; it has classify\(x: float32"),
        ]
    ):
        model = save(tmp_path / str(number), **{name: one_batch() for name in names})
        if message is None:
            np.testing.assert_allclose(predictor(model, named)(tf.constant(images)), 3 * images, rtol=1e-6)
        else:
            with pytest.raises(UserError, match=message):
                predictor(model, named)


def test_a_signature_gets_images_of_its_own_precision(tmp_path):
    model = save(tmp_path, serving_default=one_batch(tf.float64))
    images = tf.constant(IMAGES.reshape(4, 4))
    np.testing.assert_allclose(predictor(model)(images), 3 * images, rtol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(predictor(model)(images))
    np.testing.assert_array_equal(tape.gradient(total, images), np.full([4, 4], 3, np.float32))


@pytest.mark.parametrize("model", [lambda x: x, functional(LAYERS.Dense(3))], ids=["function", "keras"])
def test_what_has_no_signatures_refuses_one(model):
    with pytest.raises(UserError, match=r"signature .*(has none: leave it out|is for SavedModels.*leave it out)"):
        predictor(model, "serve")


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        ({"serving_default": one_batch(tf.uint8, "bytes")}, r"floating-point.*\(bytes: uint8 \[None, 4\]\); integers"),
        (
            {"serve": one_batch(tf.uint8), "floats": one_batch()},
            r"uint8.* names another: floats\(x: float32 \[None, 4\]",
        ),
        (
            {"serve": one_batch(tf.uint8), "text": one_batch(tf.string)},
            r"uint8 \[None, 4\]\); integers have no gradient",
        ),
        ({"serve": one_batch(tf.string)}, r"it takes \(x: string \[None, 4\]\); pass a function from float images"),
        ({"serve": [tf.TensorSpec([None, 4], name=name) for name in "ab"]}, r"one batch.*a: float32 \[None, 4\], b:"),
        (
            {"serve": [tf.TensorSpec([1, 4], name="x")]},
            r"takes 1 images at a time.* export it with a batch axis of None",
        ),
    ],
    ids=["uint8", "uint8 beside floats", "uint8 beside text", "text", "two inputs", "one image"],
)
def test_a_saved_model_without_a_fitting_signature_is_refused(tmp_path, signatures, message):
    with pytest.raises(UserError, match=message):
        predictor(save(tmp_path, **signatures))


def test_the_remedies_for_8_bit_images_work_as_they_are_written(tmp_path):
    """Queries alone, or the gradient of a stand-in; the logits are those of the rounded image in both."""
    model = save(tmp_path, serve_uint8=[tf.TensorSpec([None, 2, 2, 1], tf.uint8, name="images")])
    with pytest.raises(UserError) as caught:
        predictor(model)
    (remedy,) = re.findall(r"run on (lambda x: model.*\['logits'\]);", str(caught.value))
    asked = eval(remedy.replace("['logits']", "['scores']"), {"model": model, "tf": tf})
    labels = asked(IMAGES).numpy().argmax(axis=1)
    np.testing.assert_allclose(asked(IMAGES), 3 * np.round(255 * IMAGES.reshape(4, 4)), rtol=1e-6)
    assert compiled(asked, Square(1.0, queries=30)).run(IMAGES, labels).adversarial.any()
    with pytest.raises(UserError, match="no gradient"):
        compiled(asked, Fgm(0.5))(IMAGES, labels)
    through = bpda(asked, backward=lambda x: 765 * tf.reshape(x, [-1, 4]))
    np.testing.assert_array_equal(through(IMAGES), asked(IMAGES))
    x_adv = compiled(through, Fgm(0.5, objective="margin"))(IMAGES, labels)
    np.testing.assert_array_less(x_adv.numpy().reshape(4, 4)[np.arange(4), labels], IMAGES.max(axis=(1, 2, 3)))


def test_the_batch_of_a_numpy_function_is_known_in_a_graph():
    predict = predictor(lambda x: tf.numpy_function(lambda v: v[:, :3], [x], tf.float32))
    traced = tf.function(predict).get_concrete_function(tf.TensorSpec([5, 4], tf.float32))
    assert traced.structured_outputs.shape.as_list() == [5, None]


class Callable(tf.Module):
    """A module that is saved with its own `__call__` and a signature that nobody asks for."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2, 2, 1], tf.float32)])
    def __call__(self, x):
        return tf.reshape(x, [-1, 4])


def exported(folder):
    functional(LAYERS.Dense(3)).export(str(folder))
    return tf.saved_model.load(str(folder))


def called(folder):
    module = Callable()
    labels = tf.function(lambda y: y, input_signature=[tf.TensorSpec([None], tf.int32)])
    tf.saved_model.save(module, str(folder), signatures={"labels": labels})
    return tf.saved_model.load(str(folder))


TAKING_2X2 = {
    "functional": lambda folder: functional(LAYERS.Dense(3)),
    "sequential": lambda folder: keras.Sequential([keras.Input((2, 2, 1)), LAYERS.Flatten(), LAYERS.Dense(3)]),
    "exported by Keras": exported,
    "signature": lambda folder: save(folder, serving_default=[tf.TensorSpec([None, 2, 2, 1], tf.float32, name="x")]),
    "callable": called,
}


@pytest.mark.parametrize("make", TAKING_2X2.values(), ids=TAKING_2X2)
def test_images_of_another_shape_are_refused_with_both_shapes(make, tmp_path):
    predict = predictor(make(tmp_path / "model"))
    assert predict(tf.constant(IMAGES)).shape[0] == 4
    for shape in ((4, 3, 3, 1), (4, 2, 2, 3), (4, 5)):
        message = rf"x must have the shape that the model takes, \(None, 2, 2, 1\), got {re.escape(str(shape))}"
        with pytest.raises(UserError, match=message):
            predict(tf.zeros(shape))
        with pytest.raises(UserError, match=message):
            tf.function(predict, autograph=False).get_concrete_function(tf.TensorSpec(shape, tf.float32))


def test_what_a_model_computes_although_its_shape_says_otherwise_is_left_to_it():
    """Keras adds and removes a last axis of 1, and a Sequential convolution takes images of any size."""
    pooled = [LAYERS.Conv2D(3, 1), LAYERS.GlobalAveragePooling2D(), LAYERS.Dense(3)]
    net = predictor(keras.Sequential([keras.Input((2, 2, 1)), *pooled]))
    assert net(tf.zeros([4, 5, 5, 1])).shape == (4, 3)
    assert predictor(functional(LAYERS.Dense(3)))(tf.zeros([4, 2, 2])).shape == (4, 3)


def test_an_error_inside_a_model_of_the_right_shape_stays_what_it_was():
    class Failing(LAYERS.Layer):
        def call(self, x):
            if x.shape[0] == 3:
                raise ValueError("of the layer's own")
            return x

    with pytest.raises(ValueError, match="of the layer's own") as caught:
        predictor(functional(Failing()))(tf.zeros([3, 2, 2, 1]))
    assert not isinstance(caught.value, UserError)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(None, "logits as one tensor, got NoneType"), ("a", "real numbers, got string"), (1j, "got complex128")],
)
def test_an_answer_that_is_no_tensor_of_numbers_is_refused(answer, message):
    with pytest.raises(UserError, match=message):
        predictor(lambda x: answer)(IMAGES)
