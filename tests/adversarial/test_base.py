"""What holds for every method: crafting touches nothing, a step follows from its number, and a saved run goes on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import adversarial, attacks
from tfadv.adversarial.base import training_form
from tfadv.attacks import Fgm, Pgd
from tfadv.balls import BALLS
from tfadv.losses import LabelSmoothing
from tfadv.validation import UserError

ROOT = Path(__file__).resolve().parents[2]


def same(first, second, atol=0.0):
    for one, two in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=atol, rtol=0)


def moved(first, second):
    return max(np.abs(a - b).max() for a, b in zip(first.get_weights(), second.get_weights(), strict=True))


# Crafting.


def test_examples_lie_in_ball_and_box_and_carry_no_gradient(method, net, images, labels):
    model = method(net())
    with tf.GradientTape() as tape:
        x_adv = model.craft(tf.constant(images), tf.constant(labels), tf.constant(2))
        total = tf.reduce_sum(x_adv)
    assert tape.gradient(total, model.classifier.trainable_weights) == [None] * 4
    norm = (model.method if isinstance(model, adversarial.AdversarialWrapper) else model).attack.norm
    size = BALLS[norm].size(x_adv - images).numpy()
    assert size.max() <= 0.1 + 1e-6
    assert size.min() > 1e-4
    assert x_adv.numpy().min() >= 0
    assert x_adv.numpy().max() <= 1


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_crafting_changes_no_variable_and_training_mode_takes_the_statistics_of_the_batch(mode, net, images, labels):
    """The statistics that the net gathered are wrong on purpose: only "inference" sees them."""
    norm = keras.layers.BatchNormalization(momentum=0.5)
    classifier = net(extra=[norm, keras.layers.Dropout(0.5, seed=1)])
    norm.moving_mean.assign([9.0, -9.0, 9.0, -9.0, 9.0])
    model = adversarial.AdversarialTraining(classifier, Pgd(0.1, 0.05, 2, random_start=False), crafting_mode=mode)
    before = [variable.numpy() for variable in classifier.variables]
    craft = tf.function(model.craft)
    first = craft(tf.constant(images), tf.constant(labels), 0).numpy()
    np.testing.assert_array_equal(craft(tf.constant(images), tf.constant(labels), 0), first)
    for variable, value in zip(classifier.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    norm.moving_mean.assign(np.zeros(5))
    changed = np.abs(craft(tf.constant(images), tf.constant(labels), 0) - first).max()
    assert (changed > 1e-3) == (mode == "inference")


def test_before_the_first_step_the_examples_are_the_images_and_then_the_ramp_begins(net, images, labels):
    """Steps 0 to 2 craft nothing; step 3 attacks with (3 - 3 + 1) / 4 of the strength, step 6 with all of it."""
    attack = Pgd(epsilon=0.2, step_size=0.02, steps=2, random_start=False)
    model = adversarial.AdversarialTraining(net(), attack, start_step=3, ramp_steps=4)
    craft = tf.function(model.craft)
    for step, share in ((0, 0.0), (2, 0.0), (3, 0.25), (4, 0.5), (6, 1.0), (9, 1.0)):
        weaker = Pgd(epsilon=0.2 * share, step_size=0.02 * share, steps=2, random_start=False)
        expected = adversarial.AdversarialTraining(net(), weaker).craft(tf.constant(images), tf.constant(labels), 0)
        np.testing.assert_allclose(craft(tf.constant(images), tf.constant(labels), step), expected, atol=1e-6)


def test_the_random_start_of_a_step_is_the_draw_of_its_seed(net, images, labels):
    """The numbers that runs of earlier versions were trained with: fold_in([seed, 0], step)."""
    classifier, attack, x = net(), Pgd(epsilon=0.1, step_size=0.05, steps=2), tf.constant(images)
    model = adversarial.AdversarialTraining(classifier, attack, seed=7)
    seed = tf.random.experimental.stateless_fold_in(tf.constant([7, 0], tf.int32), tf.constant(5))
    start = x + 0.1 * tf.random.stateless_uniform(x.shape, seed, -1.0, 1.0)
    expected = attacks.pgd(classifier, x, tf.constant(labels), start, config=training_form(attack))
    np.testing.assert_array_equal(model.craft(x, tf.constant(labels), tf.constant(5)), expected)


# Steps.


def test_a_run_that_was_saved_goes_on_as_the_one_that_was_not(method, net, compiled, images, labels, tmp_path):
    """In Keras' safe mode; the file holds the method with all its settings, the weights, and the number of the step."""
    model = compiled(method(net()))
    schedule = {"batch_size": 5, "shuffle": False, "verbose": 0}
    model.fit(images, labels, epochs=1, **schedule)
    model.save(tmp_path / "half.keras")
    model.fit(images, labels, epochs=1, **schedule)
    resumed = keras.models.load_model(tmp_path / "half.keras", safe_mode=True)
    assert type(resumed) is type(model)
    assert json.dumps(resumed.get_config(), sort_keys=True) == json.dumps(model.get_config(), sort_keys=True)
    assert int(resumed.optimizer.iterations) == 2
    resumed.run_eagerly = True  # the same numbers, sooner than another graph is traced
    resumed.fit(images, labels, epochs=1, **schedule)
    same(resumed.classifier, model.classifier, atol=1e-6)
    assert moved(model.classifier, net()) > 1e-3


@pytest.mark.slow
def test_xla_takes_the_same_step(method, net, compiled, images, labels):
    xla, eager = (compiled(method(net()), jit_compile=jit, run_eagerly=not jit) for jit in (True, False))
    for model in (xla, eager):
        model.train_on_batch(images, labels)
    same(xla.classifier, eager.classifier, atol=1e-5)
    assert moved(xla.classifier, net()) > 1e-4


def test_an_example_of_weight_zero_and_its_label_do_not_matter(method, net, compiled, images, labels):
    weights = np.array([1.0, 2.0, 0.0, 1.0, 0.0, 0.5, 1.0, 1.0, 0.0, 1.0], np.float32)
    other = np.where(weights == 0, (labels + 1) % 3, labels)
    results = [compiled(method(net()), rate=1.0, run_eagerly=True) for _ in range(3)]
    results[0].train_on_batch(images, labels, sample_weight=weights)
    results[1].train_on_batch(images, other, sample_weight=weights)
    results[2].train_on_batch(images, other)
    same(results[0].classifier, results[1].classifier, atol=1e-6)
    assert moved(results[0].classifier, results[2].classifier) > 1e-3


@pytest.mark.parametrize("method", ["madry", "awp"], indirect=True)
def test_a_loop_over_strategy_run_is_fit(method, net, compiled, images, labels):
    """Without `fit` and its callbacks, as several workers need it."""
    looped, fitted = (compiled(method(net()), run_eagerly=eager) for eager in (False, True))
    fitted.fit(images, labels, batch_size=5, epochs=2, shuffle=False, verbose=0)
    looped.build(images.shape)
    looped.optimizer.build(looped.trainable_variables)
    strategy = tf.distribute.get_strategy()

    @tf.function
    def step(batch):
        return strategy.run(looped.train_step, args=(batch,))

    for _ in range(2):
        for batch in tf.data.Dataset.from_tensor_slices((images, labels)).batch(5):
            logs = step(batch)
    same(looped.classifier, fitted.classifier, atol=1e-6)
    assert set(logs) == {"loss", "sparse_categorical_accuracy"}


def test_the_clip_norm_of_the_optimizer_bounds_the_update(method, net, compiled, images, labels):
    model = compiled(method(net()), optimizer=keras.optimizers.SGD(1.0, global_clipnorm=0.01), run_eagerly=True)
    model.train_on_batch(images, labels)
    updates = zip(model.classifier.get_weights(), net().get_weights(), strict=True)
    assert np.sqrt(sum(np.square(a - b).sum() for a, b in updates)) == pytest.approx(0.01, rel=1e-3)


def test_float16_is_scaled_and_an_overflow_updates_nothing(method, compiled, images, labels):
    """2^60 overflows every gradient: the step is skipped, also by what looks at gradients on the way, and the scale is
    halved. 2^10 gives the float32 update but for a fifth: an example whose gradient has another sign in float16 is
    another example."""

    def build(policy):
        dense = [keras.layers.Dense(width, dtype=policy, kernel_initializer="ones") for width in (5, 3)]
        norm = keras.layers.BatchNormalization(dtype=policy)
        tilt = [np.linspace(-1, 1, 20).reshape(4, 5), np.cos(np.arange(15)).reshape(5, 3)]
        classifier = keras.Sequential([keras.layers.Input((2, 2, 1)), keras.layers.Flatten(), dense[0], norm, dense[1]])
        for layer, kernel in zip(dense, tilt, strict=True):
            layer.kernel.assign(kernel)
        return classifier

    def step(scale):
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=scale)
        model = compiled(method(build("mixed_float16")), optimizer=optimizer, run_eagerly=True)
        model.train_on_batch(images, labels)
        assert all(np.isfinite(value).all() for value in model.get_weights())
        return [variable.numpy() for variable in model.classifier.trainable_weights], optimizer

    before = [variable.numpy() for variable in build("float32").trainable_weights]
    overflown, optimizer = step(2.0**60)
    assert float(optimizer.dynamic_scale) == 2.0**59
    for one, two in zip(overflown, before, strict=True):
        np.testing.assert_array_equal(one, two)
    exact = compiled(method(build("float32")), run_eagerly=True)
    exact.train_on_batch(images, labels)
    half, single = (
        np.concatenate([(after - start).ravel() for after, start in zip(weights, before, strict=True)])
        for weights in (step(2.0**10)[0], [variable.numpy() for variable in exact.classifier.trainable_weights])
    )
    assert np.linalg.norm(half - single) < 0.2 * np.linalg.norm(single)


def test_the_loss_falls_on_real_digits(method, compiled, digits, small_net):
    from tfadv import models

    x, y = digits
    model = compiled(method(models.MODELS[small_net]()), optimizer=keras.optimizers.Adam(1e-2), run_eagerly=True)
    losses = [float(model.train_on_batch(x, y)[0]) for _ in range(8)]
    assert losses[-1] < losses[0] - 0.1


TWO_REPLICAS = """
import json, sys
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from tfadv import adversarial
from tfadv.attacks import Pgd
from tfadv.losses import LabelSmoothing

x = np.random.default_rng(0).random((8, 2, 2, 1), np.float32)
y = np.arange(8, dtype=np.int32) % 3

def trained(strategy):
    with strategy.scope():
        glorot = [keras.initializers.GlorotUniform(seed=seed) for seed in range(2)]
        classifier = keras.Sequential([
            keras.layers.Input((2, 2, 1)), keras.layers.Flatten(),
            keras.layers.Dense(5, activation="tanh", kernel_initializer=glorot[0]),
            keras.layers.Dense(3, kernel_initializer=glorot[1], kernel_regularizer=keras.regularizers.L2(0.01)),
        ])
        model = adversarial.AdversarialLogitPairing(
            classifier, Pgd(0.1, 0.05, 2), clean_weight=0.25, weight=3.0
        )
        model = adversarial.WeightPerturbation(model, gamma=0.1)
        model.compile(keras.optimizers.SGD(0.1), LabelSmoothing(0.0), jit_compile=False)
    history = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    return [weight.tolist() for weight in model.get_weights()], history["loss"]

mirrored, single = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), tf.distribute.get_strategy()
starts = []
model = adversarial.Trades(keras.Sequential([keras.layers.Input((2, 2, 1)), keras.layers.Flatten(),
                                             keras.layers.Dense(3)]), Pgd(0.1, 0.0, 1), seed=5)
def craft(count=4):
    return model.craft(tf.fill([count, 2, 2, 1], 0.5), tf.zeros([count], tf.int32), tf.constant(3))
alone = craft(8).numpy().tolist()
both = [each.numpy().tolist() for each in mirrored.experimental_local_results(mirrored.run(tf.function(craft)))]
print(json.dumps({
    "mirrored": trained(mirrored), "single": trained(single), "alone": alone, "both": both,
}))
"""


@pytest.mark.slow
def test_two_replicas_take_the_step_of_one_device_and_draw_its_numbers():
    """Logit pairing on a mixture, with random starts and perturbed weights: the perturbation follows from the whole
    batch, and the logged loss is that of the whole batch and not of a share, penalties included."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    (weights, losses), (expected, expected_losses) = result["mirrored"], result["single"]
    for one, two in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert losses == pytest.approx(expected_losses, rel=1e-5)
    np.testing.assert_array_equal(np.concatenate(result["both"]), result["alone"])
    assert np.ptp(result["alone"], axis=0).min() > 1e-5


# Settings.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ramp_steps": -1}, "ramp_steps must be >= 0, got -1"),
        ({"start_step": -2}, "start_step must be >= 0, got -2"),
        ({"crafting_mode": "eval"}, r"crafting_mode must be one of \['inference', 'training'\], got 'eval'"),
    ],
)
def test_bad_settings_are_refused_by_name(net, options, message):
    with pytest.raises(UserError, match=message):
        adversarial.Trades(net(), Pgd(), **options)


def test_attacks_that_training_cannot_use_are_refused(net):
    for attack, message in (
        (0.3, r"attack must be one of \['Fgm', 'Mim', 'Pgd'\] in training, got float"),
        (Pgd(targeted=True), "attack must have targeted=False"),
        (Fgm(epsilon=(0.1, 0.2), scale=3.0), "epsilon must be one number in training"),
    ):
        with pytest.raises(UserError, match=message):
            adversarial.AdversarialTraining(net(), attack)


def test_a_wrapper_needs_a_method(net):
    with pytest.raises(UserError, match=r"inner must be a training method such as .*, got Sequential"):
        adversarial.WeightPerturbation(net())


def test_a_loss_of_class_numbers_alone_is_refused_where_labels_are_soft(net, compiled, images, labels):
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model = adversarial.FeatureScatter(net(), Pgd(0.1, 0.1, 1))
    for loss in (sparse, "sparse_categorical_crossentropy"):
        with pytest.raises(UserError, match="loss must take distributions, because this method trains on soft labels"):
            compiled(model, loss=loss, run_eagerly=True).train_on_batch(images, labels)


def test_wrappers_may_be_nested_in_either_order(net, compiled, images, labels):
    """Weights are perturbed for the objective of the outermost, wherever the perturbation stands."""
    attack, settings = Pgd(0.1, 0.05, 2, random_start=False), {"gamma": 2.0, "vertex_probability": 0.5}
    training = [adversarial.AdversarialTraining(net(), attack) for _ in range(3)]
    models = [
        adversarial.WeightPerturbation(adversarial.AVmixup(training[0], **settings), gamma=0.1),
        adversarial.AVmixup(adversarial.WeightPerturbation(training[1], gamma=0.1), **settings),
        adversarial.AVmixup(training[2], **settings),
    ]
    for model in models:
        compiled(model, run_eagerly=True, loss=LabelSmoothing(0.1)).train_on_batch(images, labels)
    same(models[0].classifier, models[1].classifier)
    assert moved(models[0].classifier, models[2].classifier) > 1e-4
