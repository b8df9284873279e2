"""Weight decay: the penalty's value, which variables it reaches, and that `fit` and a `.keras` file feel it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.losses import L2Norm, MeanL1, add_weight_decay, regularize_kernels
from tfadv.validation import UserError

RNG = np.random.default_rng(0)


def linear_model(kernel=((3.0,), (-4.0,)), **options):
    """Two inputs, one output, no hidden layer; kernel (3, -4) has ||w||_1 = 7 and ||w||_2 = 5."""
    model = keras.Sequential([keras.layers.Input([2]), keras.layers.Dense(1)])
    model.layers[-1].set_weights([np.array(kernel), np.array([10.0])])
    model.compile(keras.optimizers.SGD(0.5), "mse", **options)
    return model


def many_kinds():
    """One layer of every kind that owns a kernel, among layers that own none."""
    inner = keras.Sequential([keras.layers.Input([4]), keras.layers.Dense(4), keras.layers.Dense(3)], name="inner")
    inputs = keras.layers.Input([8, 8, 2])
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = keras.layers.SeparableConv2D(4, 3, name="separable")(x)
    x = keras.layers.Reshape([4, 4])(x)
    x = keras.layers.MultiHeadAttention(1, 2, name="attention")(x, x)
    x = keras.layers.LSTM(4, name="recurrent")(x)
    return keras.Model(inputs, inner(x))


def kernels(model):
    return [weight for weight in model.weights if weight.name.endswith("kernel")]


def total_square(model):
    return sum(float(np.square(kernel.numpy()).sum()) for kernel in kernels(model))


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"l2": 0.1}, 0.1 * 25), ({"l1": 0.1}, 0.1 * 7), ({"l1": 0.2, "l2": 0.01}, 0.2 * 7 + 0.01 * 25)],
    ids=repr,
)
def test_the_penalty_of_a_3_4_kernel(options, expected):
    """FS/eq-L_wd: lambda ||w||_2^2 = 25 lambda, without a half; WD/eq8: lambda ||w||_1 = 7 lambda; the bias is free."""
    model = linear_model()
    assert add_weight_decay(model, **options) is model
    np.testing.assert_allclose(sum(model.losses), expected, rtol=1e-6)


def test_the_unsquared_norm_of_a_3_4_kernel():
    """WD/eq4: lambda ||w||_2 = 5 lambda."""
    np.testing.assert_allclose(sum(regularize_kernels(linear_model(), L2Norm(0.1)).losses), 0.5, rtol=1e-6)


def test_the_released_programs_l1_is_the_mean_of_the_absolute_weights():
    """WD's logistic.py: lambda mean |w| = 3.5 lambda, and lambda / n in eq. 8; its L2 is tf.nn.l2_loss, with a half."""
    np.testing.assert_allclose(sum(regularize_kernels(linear_model(), MeanL1(0.1)).losses), 0.35, rtol=1e-6)
    w = tf.constant(RNG.normal(size=[784, 1]), tf.float32)
    np.testing.assert_allclose(MeanL1(3.25)(w), keras.regularizers.L1(3.25 / 784)(w), rtol=1e-5)
    np.testing.assert_allclose(MeanL1(3.25)(w), 3.25 * np.abs(w).mean(), rtol=1e-5)
    theirs = 0.05 * tf.nn.l2_loss(linear_model().layers[-1].kernel)
    np.testing.assert_allclose(sum(add_weight_decay(linear_model(), l2=0.05 / 2).losses), theirs, rtol=1e-6)


def test_each_kernel_has_its_own_mean():
    """Kernels (3, -4) and (0, 0, 6): 3.5 + 2, not 13 / 5."""
    model = keras.Sequential([keras.layers.Input([2]), keras.layers.Dense(1), keras.layers.Dense(3)])
    model.layers[0].set_weights([np.array([[3.0], [-4.0]]), np.zeros(1)])
    model.layers[1].set_weights([np.array([[0.0, 0.0, 6.0]]), np.zeros(3)])
    np.testing.assert_allclose(sum(regularize_kernels(model, MeanL1(1.0)).losses), 5.5, rtol=1e-6)


def test_the_unsquared_norm_pulls_with_constant_strength_and_not_at_zero():
    """d(lambda ||w||) = lambda w / ||w|| = 0.1 (0.6, -0.8); at w = 0 it is 0, not NaN."""
    for value, expected in [([3.0, -4.0], [0.06, -0.08]), ([3e-3, -4e-3], [0.06, -0.08]), ([0.0, 0.0], [0.0, 0.0])]:
        w = tf.Variable(value)
        with tf.GradientTape() as tape:
            penalty = L2Norm(0.1)(w)
        np.testing.assert_allclose(tape.gradient(penalty, w), expected, rtol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("regularizer", "gradient"),
    [
        (keras.regularizers.L1L2(l1=0.0, l2=0.1), [0.6, -0.8]),  # 2 * 0.1 w
        (keras.regularizers.L1L2(l1=0.1, l2=0.0), [0.1, -0.1]),  # 0.1 sign(w)
        (L2Norm(0.1), [0.06, -0.08]),  # 0.1 w / 5
        (MeanL1(0.1), [0.05, -0.05]),  # 0.1 sign(w) / 2
    ],
    ids=["l2", "l1", "norm", "mean l1"],
)
def test_fit_moves_the_kernel_by_the_penaltys_gradient(regularizer, gradient, jit):
    """Zero input and target 10 = the bias: the data's gradient is zero, and lr 0.5 leaves w - 0.5 gradient."""
    model = regularize_kernels(linear_model(jit_compile=jit), regularizer)
    history = model.fit(np.zeros([2, 2]), np.full([2, 1], 10.0), batch_size=2, verbose=0)
    np.testing.assert_allclose(model.layers[-1].kernel[:, 0], [3, -4] - 0.5 * np.array(gradient), rtol=1e-5)
    np.testing.assert_allclose(model.layers[-1].bias, [10.0])
    np.testing.assert_allclose(history.history["loss"], [regularizer(np.array([3.0, -4.0]))], rtol=1e-5)


def test_a_model_that_was_trained_before_feels_it_too():
    """The training function has been traced without the penalty; it must be made anew."""
    model = linear_model()
    x, y = np.zeros([2, 2]), np.full([2, 1], 10.0)
    model.fit(x, y, batch_size=2, verbose=0)
    np.testing.assert_allclose(model.layers[-1].kernel[:, 0], [3, -4])
    assert model.evaluate(x, y, verbose=0) == 0.0
    add_weight_decay(model, l2=0.1)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(2.5)
    model.fit(x, y, batch_size=2, verbose=0)
    np.testing.assert_allclose(model.layers[-1].kernel[:, 0], [2.7, -3.6], rtol=1e-5)


def test_every_kernel_is_reached_and_nothing_else():
    model = many_kinds()
    add_weight_decay(model, l2=0.1)
    # convolution 1, depthwise 1, separable 2, attention 4, LSTM 2, inner model 2
    assert len(kernels(model)) == 12
    np.testing.assert_allclose(sum(model.losses), 0.1 * total_square(model), rtol=1e-5)
    others = [weight for weight in model.weights if not weight.name.endswith("kernel")]
    assert others
    assert all(weight.regularizer is None for weight in others)


def test_a_keras_file_carries_it_for_every_kind_of_layer(tmp_path):
    model = add_weight_decay(many_kinds(), l1=0.01, l2=0.1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert len(loaded.losses) == len(model.losses) == len(kernels(model))
    np.testing.assert_allclose(sum(loaded.losses), sum(model.losses), rtol=1e-6)


@pytest.mark.parametrize("kind", [L2Norm, MeanL1])
def test_a_keras_file_carries_the_papers_own_forms_with_the_compiled_loss(tmp_path, kind):
    model = regularize_kernels(linear_model(), kind(0.25))
    x, y = RNG.normal(size=[6, 2]), RNG.normal(size=[6, 1])
    model.fit(x, y, verbose=0)
    before = model.evaluate(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1].kernel_regularizer) is kind
    assert loaded.layers[-1].kernel_regularizer.get_config() == {"weight": 0.25}
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(before, rel=1e-6)


def test_a_model_that_is_not_built_yet_feels_it_once_it_is():
    model = add_weight_decay(keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(2)]), l2=0.1)
    model.build([None, 4])
    np.testing.assert_allclose(sum(model.losses), 0.1 * total_square(model), rtol=1e-5)
    assert len(model.losses) == 2


def test_a_shared_layer_pays_once():
    layer = keras.layers.Dense(4)
    inputs = keras.layers.Input([4])
    model = add_weight_decay(keras.Model(inputs, layer(layer(inputs))), l2=0.1)
    np.testing.assert_allclose(sum(model.losses), 0.1 * total_square(model), rtol=1e-5)


def test_a_kernel_that_has_a_regularizer_is_refused_and_the_model_left_as_it_was():
    model = keras.Sequential(
        [
            keras.layers.Input([2]),
            keras.layers.Dense(2, name="free"),
            keras.layers.Dense(2, kernel_regularizer="l2", name="taken"),
        ]
    )
    before = float(sum(model.losses))
    with pytest.raises(UserError, match=r"got one already in layers \['taken'\]"):
        add_weight_decay(model, l2=0.1)
    assert model.get_layer("free").kernel_regularizer is None
    assert float(sum(model.losses)) == before


def test_a_second_call_is_refused():
    model = add_weight_decay(linear_model(), l1=0.1)
    with pytest.raises(UserError, match="both strengths in a single call"):
        add_weight_decay(model, l2=0.1)


class Homemade(keras.layers.Layer):
    """A layer that owns a kernel and nowhere to save a regularizer."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=[shape[-1], 2], name="kernel")

    def call(self, x):
        return x @ self.kernel


def test_a_kernel_whose_layer_cannot_save_a_regularizer_is_refused_and_the_model_left_as_it_was():
    model = keras.Sequential([keras.layers.Input([3]), keras.layers.Dense(3), Homemade(name="homemade")])
    with pytest.raises(UserError, match=r"got none for \[.*homemade/kernel'\].*get_config"):
        add_weight_decay(model, l2=0.1)
    assert model.losses == []


def test_a_model_without_kernels_is_refused():
    model = keras.Sequential([keras.layers.Input([2]), keras.layers.BatchNormalization()], name="bare")
    with pytest.raises(UserError, match=r"layers with kernels .* got 'bare' with none"):
        add_weight_decay(model, l2=0.1)


def test_what_is_no_model_is_refused():
    with pytest.raises(UserError, match=r"model must be a keras\.Model, got Dense"):
        add_weight_decay(keras.layers.Dense(2), l2=0.1)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "0.1", None])
@pytest.mark.parametrize("name", ["l1", "l2"])
def test_bad_strengths_are_refused_by_name(name, value):
    with pytest.raises(UserError, match=f"{name} must be a finite number >= 0"):
        add_weight_decay(linear_model(), **{name: value})


def test_no_strength_at_all_is_refused():
    with pytest.raises(UserError, match="l1 or l2 must be positive"):
        add_weight_decay(linear_model())


@pytest.mark.parametrize("kind", [L2Norm, MeanL1])
def test_the_papers_own_forms_check_their_weight(kind):
    with pytest.raises(UserError, match="weight must be a finite number >= 0, got -1; it multiplies the penalty"):
        kind(-1)
