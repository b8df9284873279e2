"""Adapters: gradients by hand through what has none, and logits out of probabilities, exact or with a known loss."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import data
from tfadv.attacks import Fgm, Pgd, Square, compiled
from tfadv.models import adapters, load, predictor
from tfadv.models.adapters import Bpda, bpda, from_probabilities, without_softmax
from tfadv.validation import UserError

LAYERS = keras.layers
IMAGES = np.random.default_rng(0).random([4, 2, 2, 1], np.float32)
LABELS = np.array([0, 1, 2, 0], np.int32)
WEIGHTS = np.array([[1.0, -1.0, 0.0], [2.0, 0.0, -2.0], [-1.0, 3.0, -2.0], [0.5, -1.5, 1.0]], np.float32)


@keras.saving.register_keras_serializable("test_adapters")
def eight_levels(x):
    """The middle of the eighth of [0, 1] that x lies in; exact in float32, and without a gradient."""
    return (keras.ops.floor(8 * keras.ops.minimum(x, 0.999)) + 0.5) / 8


def eight_levels_numpy(x):
    return (np.floor(8 * np.minimum(x.astype(np.float64), 0.999)) + 0.5) / 8


def linear(x):
    return tf.reshape(x, [-1, 4]) @ WEIGHTS


def value_and_gradient(function, x):
    """function(x), and the gradient of sum(2 function(x)^2)."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
        total = tf.reduce_sum(2 * value**2)
    return value, tape.gradient(total, x)


# A gradient where there is none.


@pytest.mark.parametrize("kind", ["eager", "graph", "xla", "layer"])
def test_the_value_is_that_of_forward_to_the_bit_and_the_gradient_that_of_the_identity(kind):
    """d/dx sum 2 q(x)^2 = 4 q(x) q'(x), where q' is replaced by 1."""
    x = tf.constant(np.random.default_rng(1).random([50, 3, 3, 1], np.float32))
    wrapped = Bpda(eight_levels) if kind == "layer" else bpda(eight_levels)

    def both(x):
        return value_and_gradient(wrapped, x)

    value, gradient = (both if kind in ("eager", "layer") else tf.function(both, jit_compile=kind == "xla"))(x)
    expected = eight_levels(x)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(gradient, 4 * expected)
    assert value_and_gradient(eight_levels, x)[1] is None


def test_the_gradient_is_that_of_the_stand_in_at_the_image_and_not_at_its_quantization():
    """With b(x) = x^3 the chain gives 4 q(x) 3 x^2."""
    x = tf.constant([[0.1, 0.4], [0.75, 1.0]])
    value, gradient = value_and_gradient(bpda(eight_levels, lambda x: x**3), x)
    np.testing.assert_array_equal(value, eight_levels(x))
    np.testing.assert_allclose(gradient, 12 * eight_levels(x) * x**2, rtol=1e-6)


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_numpy_is_run_as_it_is(graph):
    wrapped = bpda(eight_levels_numpy, numpy=True)
    run = tf.function(lambda x: value_and_gradient(wrapped, x)) if graph else lambda x: value_and_gradient(wrapped, x)
    value, gradient = run(tf.constant(IMAGES))
    np.testing.assert_array_equal(value, eight_levels_numpy(IMAGES).astype(np.float32))
    np.testing.assert_array_equal(gradient, 4 * value)
    assert value.shape == IMAGES.shape


def test_a_model_without_gradient_gets_that_of_another_model():
    """forward and backward may both be models; what they take and what they give need not be alike."""
    x = tf.constant(IMAGES)
    value, gradient = value_and_gradient(bpda(lambda x: linear(eight_levels(x)), lambda x: 3 * linear(x)), x)
    np.testing.assert_array_equal(value, linear(eight_levels(x)))
    np.testing.assert_allclose(gradient, tf.reshape(4 * value @ (3 * WEIGHTS.T), x.shape), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def digits_net():
    """A small net on the digits, trained on what its 8-level quantizer leaves: (model, x, y)."""
    x, y = data.arrays("digits", "test", limit=200)
    train = data.arrays("digits", "train")
    model = keras.Sequential(
        [
            LAYERS.Input((28, 28, 1)),
            LAYERS.AveragePooling2D(2),
            LAYERS.Flatten(),
            LAYERS.Dense(32, activation="relu", kernel_initializer=keras.initializers.GlorotUniform(seed=0)),
            LAYERS.Dense(10, kernel_initializer=keras.initializers.GlorotUniform(seed=1)),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(eight_levels(train[0]).numpy(), train[1], batch_size=50, epochs=8, shuffle=False, verbose=0)
    return model, x, y


@pytest.mark.parametrize("numpy", [False, True], ids=["tensorflow", "numpy"])
def test_pgd_breaks_through_bpda_what_stands_behind_a_quantizer(digits_net, numpy):
    """Without it PGD is refused, or, where the gradient is 0 and not absent, finds next to nothing."""
    model, x, y = digits_net
    config = Pgd(0.15, 0.02, 20)

    def accuracy(images):
        return np.mean(model(eight_levels(images)).numpy().argmax(axis=1) == y)

    assert accuracy(x) > 0.9
    with pytest.raises(UserError, match="no gradient with respect to its input"):
        compiled(lambda x: model(eight_levels(x)), config)(x, y)
    flat = compiled(lambda x: model(eight_levels(x) + 0 * x), config, precision="float32").run(x, y)
    assert accuracy(flat.x_adv) > 0.7
    wrapped = bpda(eight_levels_numpy, numpy=True) if numpy else bpda(eight_levels)
    attacked = compiled(lambda x: model(wrapped(x)), config, precision="float32", jit="off").run(x, y)
    assert accuracy(attacked.x_adv) < 0.2
    # What fools the wrapped model fools the model itself.
    assert accuracy(attacked.x_adv) == np.mean(~attacked.adversarial)


def test_the_layer_is_saved_with_the_model_and_its_gradient_with_an_export(tmp_path):
    model = keras.Sequential([LAYERS.Input((2, 2, 1)), Bpda(eight_levels), LAYERS.Flatten(), LAYERS.Dense(3)])
    model.save(tmp_path / "model.keras")
    model.export(str(tmp_path / "exported"), verbose=False)
    expected = compiled(model, Fgm(0.1), precision="float32")(IMAGES, LABELS).numpy()
    assert np.abs(expected - IMAGES).max() > 0.09
    for path in ("model.keras", "exported"):
        found = compiled(load(tmp_path / path), Fgm(0.1), precision="float32")(IMAGES, LABELS)
        np.testing.assert_array_equal(found, expected)


def test_an_image_keeps_its_digits_in_the_layer_under_a_mixed_policy():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = Bpda(eight_levels)
    finally:
        keras.config.set_dtype_policy(before)
    np.testing.assert_array_equal(layer(IMAGES), eight_levels(IMAGES))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bpda(3), "forward must be a function of images, got int"),
        (lambda: bpda(eight_levels, 3), "backward must be a function of images, got int"),
        (lambda: bpda(lambda x: x[:, :1])(IMAGES), r"same shape, got \(4, 1, 2, 1\) and \(4, 2, 2, 1\); without a"),
        (lambda: bpda(linear, eight_levels)(IMAGES), r"same shape, got \(4, 3\) and \(4, 2, 2, 1\)"),
        (lambda: bpda(eight_levels)(np.uint8([[1, 2]])), "backward must give floating point, .* got .*uint8"),
        (
            lambda: tf.function(bpda(eight_levels_numpy), autograph=False)(IMAGES),
            r"forward cannot take a tensor .* say numpy=True",
        ),
    ],
    ids=["forward", "backward", "shape", "rank", "integers", "numpy in a graph"],
)
def test_what_bpda_cannot_wrap_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


# Logits out of probabilities.


def functional(*layers):
    inputs = keras.Input((2, 2, 1))
    x = LAYERS.Flatten()(inputs)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, name="third_party")


SOFTMAX_HEADS = {
    "dense": lambda: functional(LAYERS.Dense(5, activation="relu"), LAYERS.Dense(3, activation="softmax")),
    "activation": lambda: functional(LAYERS.Dense(3), LAYERS.Activation("softmax")),
    "layer": lambda: functional(LAYERS.Dense(3), LAYERS.Softmax()),
    "operation": lambda: functional(LAYERS.Dense(3), keras.ops.softmax),
    "nested": lambda: functional(
        LAYERS.Dense(4), keras.Sequential([LAYERS.Input((4,)), LAYERS.Dense(3, activation="softmax")])
    ),
    "sequential": lambda: keras.Sequential(
        [LAYERS.Input((2, 2, 1)), LAYERS.Flatten(), LAYERS.BatchNormalization(), LAYERS.Dense(3, activation="softmax")]
    ),
    "called": lambda: keras.Sequential([LAYERS.Flatten(), LAYERS.Dense(3, activation="softmax")]),
    "convolution": lambda: functional(
        LAYERS.Reshape((2, 2, 1)), LAYERS.Conv2D(3, 2), LAYERS.GlobalMaxPooling2D(), LAYERS.Softmax(axis=1)
    ),
}


class Subclassed(keras.Model):
    """Its softmax cannot be seen."""

    def __init__(self):
        super().__init__()
        self.flatten, self.head = LAYERS.Flatten(), LAYERS.Dense(3, activation="softmax")

    def call(self, x):
        return self.head(self.flatten(x))


@pytest.mark.parametrize("kind", SOFTMAX_HEADS)
def test_without_its_softmax_a_model_gives_what_the_softmax_normalized(kind, tmp_path):
    model = SOFTMAX_HEADS[kind]()
    probabilities = model(IMAGES)
    for rebuilt in (without_softmax(model), from_probabilities(model)):
        np.testing.assert_allclose(tf.nn.softmax(rebuilt(IMAGES)), probabilities, rtol=1e-5)
        assert rebuilt.name == model.name
        np.testing.assert_array_equal(predictor(rebuilt)(IMAGES), rebuilt(IMAGES))
    rebuilt.save(tmp_path / "rebuilt.keras")
    np.testing.assert_array_equal(load(tmp_path / "rebuilt.keras")(IMAGES), rebuilt(IMAGES))
    np.testing.assert_array_equal(model(IMAGES), probabilities)


def test_the_rebuilt_model_is_exact_where_its_softmax_saturates():
    """Logits 1000 z: softmax gives one-hot rows in float32, the rebuilt model gives 1000 z."""
    model = SOFTMAX_HEADS["dense"]()
    model.layers[-1].set_weights([1000 * weight for weight in model.layers[-1].get_weights()])
    hidden = keras.Model(model.inputs[0], model.layers[-1].input)(IMAGES)
    np.testing.assert_array_equal(without_softmax(model)(IMAGES), hidden @ model.layers[-1].kernel)
    assert np.max(model(IMAGES)) == 1


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: functional(LAYERS.Dense(3)), "ends in softmax, got the model 'third_party'; one that gives logits"),
        (Subclassed, "Sequential or functional .* got the model 'subclassed.*'; .*for tfadv.models.from_probabilities"),
        (lambda: linear, "got function"),
        (lambda: keras.Sequential([LAYERS.Flatten(), LAYERS.Dense(3, "softmax")]), "has no weights yet; load them, or"),
    ],
    ids=["logits", "subclassed", "function", "unbuilt"],
)
def test_what_cannot_be_rebuilt_is_refused(model, message):
    with pytest.raises(UserError, match=message):
        without_softmax(model())


def softmax_of(scale):
    return lambda x: tf.nn.softmax(scale * linear(x))


def test_log_p_has_the_objectives_and_gradients_of_the_logits():
    """Cross-entropy, margin and DLR do not see a constant added to all logits, so FGM takes the same step."""
    model = from_probabilities(softmax_of(1.0))
    np.testing.assert_allclose(model(IMAGES), tf.nn.log_softmax(linear(IMAGES)), rtol=1e-5)
    for objective in ("cross_entropy", "margin", "dlr"):
        config = Fgm(0.1, objective=objective)
        one, other = (compiled(each, config, precision="float32")(IMAGES, LABELS) for each in (model, linear))
        np.testing.assert_array_equal(one, other)


def gradient_of_margin(model, x, y):
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = model(x)
        truth = tf.one_hot(y, 3)
        margin = tf.reduce_sum(truth * z, 1) - tf.reduce_max(z - 1e9 * truth, 1)
    return tape.gradient(margin, x)


def test_a_saturated_softmax_keeps_the_margin_to_a_lead_of_87_and_nothing_beyond():
    """p of the runner-up is exp(-lead): 1e-30 at 69 is a float32 with a gradient, exp(-104) is 0."""
    x = tf.constant(np.tile(np.float32([1, 0.5, 0, 0]), [2, 1]).reshape(2, 2, 2, 1))  # z = (2, -1, -1)
    y = tf.argmax(linear(x), 1)
    lead = 3.0
    for scale, alive in ((69 / lead, True), (104 / lead, False), (1e4, False)):
        model = from_probabilities(softmax_of(scale))
        assert np.isfinite(model(x)).all()
        gradient = gradient_of_margin(model, x, y)
        if alive:
            np.testing.assert_allclose(gradient, gradient_of_margin(lambda x, s=scale: s * linear(x), x, y), rtol=1e-4)
        else:
            assert not np.any(gradient)
    # The class does not depend on it, so attacks that ask for predictions alone still work.
    np.testing.assert_array_equal(tf.argmax(model(x), 1), y)


def test_a_minimum_of_ones_own_bounds_the_logits():
    logits = from_probabilities(softmax_of(1e4), minimum=1e-6)(IMAGES)
    np.testing.assert_allclose(np.min(logits), np.log(1e-6), rtol=1e-6)


def test_one_sigmoid_becomes_two_logits_whose_difference_is_the_score():
    score = tf.linalg.matvec(tf.reshape(IMAGES, [4, 4]) - 0.5, WEIGHTS[:, 0])
    logits = from_probabilities(lambda x: tf.sigmoid((tf.reshape(x, [4, 4]) - 0.5) @ WEIGHTS[:, :1]))(IMAGES)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], score, atol=1e-6)
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(logits), 1), 1, rtol=1e-6)


def save_probabilities(folder, signature="serving_default"):
    """A SavedModel that gives probabilities and classes, without a Keras layer in sight."""
    module = tf.Module()
    module.weights = tf.Variable(WEIGHTS)

    @tf.function(input_signature=[tf.TensorSpec([None, 2, 2, 1], tf.float32, name="images")])
    def classify(images):
        logits = tf.reshape(images, [-1, 4]) @ module.weights
        return {"probabilities": tf.nn.softmax(logits), "classes": tf.argmax(logits, 1)}

    tf.saved_model.save(module, str(folder), signatures={signature: classify})
    return tf.saved_model.load(str(folder))


@pytest.mark.parametrize("signature", [None, "classify"])
def test_a_saved_model_that_gives_probabilities_is_attacked_like_its_logits(tmp_path, signature):
    model = from_probabilities(save_probabilities(tmp_path, signature or "serving_default"), signature=signature)
    gc.collect()
    np.testing.assert_allclose(model(IMAGES), tf.nn.log_softmax(linear(IMAGES)), rtol=1e-5)
    config = Fgm(0.1, objective="margin")
    one, other = (compiled(each, config, precision="float32")(IMAGES, LABELS) for each in (model, linear))
    np.testing.assert_array_equal(one, other)


def test_the_logits_of_a_saved_model_are_exported_again(tmp_path):
    from tfadv import export

    model = from_probabilities(save_probabilities(tmp_path / "third_party"))
    folder = export.export_classifier(model, tmp_path / "logits", image_shape=(2, 2, 1))
    np.testing.assert_allclose(predictor(load(folder))(IMAGES), model(IMAGES), rtol=1e-6)


def test_a_subclassed_model_is_taken_by_its_probabilities_and_a_query_attack_runs_on_it():
    model = Subclassed()
    model(IMAGES)
    logits = from_probabilities(model)
    np.testing.assert_allclose(tf.nn.softmax(logits(IMAGES)), model(IMAGES), rtol=1e-5)
    assert compiled(logits, Square(0.3, queries=20)).run(IMAGES, LABELS).x_adv.shape == IMAGES.shape


def test_logits_taken_for_probabilities_are_refused_eagerly_and_become_nan_in_a_graph():
    wrong = from_probabilities(linear)
    with pytest.raises(UserError, match=r"gives no probabilities .* use the model as it is"):
        wrong(IMAGES)
    assert np.isnan(tf.function(wrong)(IMAGES)).all()
    with pytest.raises(UserError, match="gives no probabilities"):
        compiled(wrong, Fgm(0.1))(IMAGES, LABELS)
    assert np.isfinite(from_probabilities(softmax_of(1.0))(IMAGES)).all()


@pytest.mark.parametrize("minimum", [0.0, -1.0, 1.0, float("nan")])
def test_a_minimum_that_is_no_probability_is_refused(minimum):
    with pytest.raises(UserError, match=r"minimum must be a probability in \(0, 1\)"):
        from_probabilities(linear, minimum)


def test_the_default_minimum_is_the_smallest_normal_float32():
    assert np.log(adapters.SMALLEST) == pytest.approx(-87.34, abs=0.01)
