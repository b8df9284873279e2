"""An experiment: what it refuses, what tells it apart, and the trainee and the classifier that are made of it."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv import adversarial, models, training
from tfadv.attacks import Mim, Pgd
from tfadv.augment import FeatureSmoothing, GaussianNoise
from tfadv.losses import LabelSmoothing
from tfadv.training import Experiment, Validation
from tfadv.validation import UserError

ATTACK = Pgd(epsilon=0.1, step_size=0.05, steps=2)
X = np.random.default_rng(0).random([6, 28, 28, 1], np.float32)
Y = np.array([0, 3, 1, 9, 3, 7], np.int32)


def small(**fields):
    """An experiment with a linear net, which is built at once."""
    return Experiment(**{"dataset": "digits", "model": "linear", "optimizer": "sgd", "learning_rate": 0.2, **fields})


def weights_of(trainee):
    return [np.array(weight) for weight in trainee.classifier.get_weights()]


def gradients_of(trainee):
    """Of the cross-entropy on (X, Y) at the weights as they are."""
    with tf.GradientTape() as tape:
        logits = trainee.classifier(X)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(Y, logits))
    return [np.array(each) for each in tape.gradient(loss, trainee.classifier.trainable_weights)]


# Refusals.


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": "mnst"}, r"dataset must be one of \['cifar10', 'cifar100', 'digits', .* got 'mnst'"),
        ({"model": "resnet"}, r"model must be one of \['lenet_cifar10', .*'small_cnn', .*\], got 'resnet'"),
        ({"optimizer": "lion"}, r"optimizer must be one of \['adam', 'sgd'\], got 'lion'"),
        ({"precision": "float16"}, r"precision must be one of \['float32', 'mixed_bfl.*\], got 'float16'"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"batch_size": -1}, "batch_size must be at least 1, got -1"),
        ({"learning_rate": -1e-3}, "learning_rate must be > 0, got -0.001"),
        ({"learning_rate": math.nan}, "learning_rate must be > 0, got nan"),
        ({"seed": -1}, r"seed must be a whole number in \[0, 2\^31\), got -1"),
        ({"seed": 2**31}, r"seed must be a whole number in \[0, 2\^31\), got 2147483648"),
        ({"average": 0.0}, r"average must be a momentum in \(0, 1\), such as 0.999, or None, got 0.0"),
        ({"average": 1}, r"average must be a momentum in \(0, 1\), .* got 1"),
        ({"momentum": 0.9}, "momentum and nesterov belong to optimizer='sgd', got 'adam'; leave them out"),
        ({"nesterov": True}, "momentum and nesterov belong to optimizer='sgd', got 'adam'"),
        ({"optimizer": "sgd", "momentum": 1}, r"momentum must lie in \[0, 1\), got 1"),
        ({"optimizer": "sgd", "momentum": -0.5}, r"momentum must lie in \[0, 1\), got -0.5"),
        ({"decay": ((20, 0.1), (10, 0.01))}, r"decay must be \(step, factor\) pairs of growing steps .*\(20, 0.1\)"),
        ({"decay": ((10, 0.1), (10, 0.01))}, "of growing steps >= 1 and factors > 0"),
        ({"decay": ((0, 0.1),)}, r"growing steps >= 1 .* got \(\(0, 0.1\),\)"),
        ({"decay": ((10, 0.0),)}, r"factors > 0, such as \(\(50_000, 0.1\),\), got \(\(10, 0.0\),\)"),
        ({"decay": ((10, math.nan),)}, "factors > 0"),
        ({"decay": (10, 0.1)}, r"decay must be \(step, factor\) pairs .* got \(10, 0.1\)"),
        ({"decay": ((10, "half"),)}, r"decay must be \(step, factor\) pairs"),
        ({"train_attack": ATTACK, "method": (("trades", {"attack": ATTACK}),)}, "train_attack must be None where meth"),
        ({"ramp_steps": 5}, "ramp_steps belongs to train_attack; give it in the settings of the method"),
        ({"method": (("trade", {}),)}, r"method 0 must be one of \['feature_scatter', .*'trades'\], got 'trade'"),
        ({"method": (("awp", {}),)}, r"method 0 must be one of \[.*'madry', .*\], got 'awp'"),
        ({"method": (("trades", {}), ("mart", {}))}, r"method 1 must be one of \['avmixup', 'awp'\], got 'mart'"),
        ({"method": ("trades", {"attack": ATTACK})}, r"method must be \(name, settings\) pairs, such as \(\(\"trades"),
        ({"method": "trades"}, r"method must be \(name, settings\) pairs, .* got 'trades'"),
        ({"method": (("trades", ATTACK),)}, r"method must be \(name, settings\) pairs"),
        ({"validation": ATTACK}, r"validation must be a Validation, such as Validation\(Pgd\(0.3\)\), got Pgd\("),
    ],
)
def test_a_bad_field_is_refused_by_name(fields, message):
    with pytest.raises(UserError, match=message):
        Experiment(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attack": "pgd"}, r"attack must be a config of tfadv.attacks, such as Pgd\(0.3\), got 'pgd'"),
        ({"attack": ATTACK, "every": 0}, "every must be at least 1 step, got 0"),
    ],
)
def test_a_bad_field_of_a_validation_is_refused_by_name(fields, message):
    with pytest.raises(UserError, match=message):
        Validation(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train_attack": "pgd"}, "attack must be one of"),
        ({"train_attack": ATTACK, "ramp_steps": -1}, "ramp_steps must be >= 0, got -1"),
        ({"method": (("trades", {"attack": ATTACK, "beta": -1.0}),)}, "beta must be .* got -1"),
        (
            {"method": (("trades", {"attack": ATTACK, "betta": 6.0}),)},
            r"settings of Trades must be among \['attack', .*'beta'\], got \['attack', 'betta'\]: \['betta'\] unknown",
        ),
        ({"method": (("trades", {}),)}, r"settings of Trades .* got \[\]: \['attack'\] missing"),
        ({"method": (("madry", {"attack": ATTACK, "seed": 1}),)}, r"AdversarialTraining must .*: \['seed'\] unknown"),
        (
            {"method": (("madry", {"attack": ATTACK}), ("awp", {"gama": 0.1}))},
            r"settings of WeightPerturbation must be among \['gamma', 'start_step'\], got \['gama'\]: \['gama'\] unk",
        ),
        ({"l2": -1.0}, "l2 must be"),
        ({"dataset": "moons", "model": "small_cnn"}, r"shape must be .* got \(2,\)"),
    ],
)
def test_settings_that_model_or_method_refuse_are_a_user_error(fields, message):
    with pytest.raises(UserError, match=message):
        training.build(small(**fields))
    assert keras.config.dtype_policy().name == "float32"


# Descriptions.


def test_a_description_is_json_and_names_every_field_and_config():
    experiment = Experiment(
        loss=LabelSmoothing(0.1),
        augment=(GaussianNoise(0.5),),
        method=(("trades", {"attack": Mim(0.3, 0.1, 2), "beta": 2.0}), ("awp", {"gamma": 0.01})),
        optimizer="sgd",
        decay=((10, 0.1), (20, 0.01)),
        validation=Validation(ATTACK, every=5, limit=None),
    )
    described = training.describe(experiment)
    assert json.loads(json.dumps(described)) == described
    assert {"class", *(field.name for field in dataclasses.fields(Experiment))} == set(described)
    assert described["loss"]["class"] == "LabelSmoothing"
    assert described["loss"]["mass"] == 0.1
    assert described["augment"] == [{"class": "GaussianNoise", "stddev": 0.5, "seed": 0, "bounds": [0.0, 1.0]}]
    (name, settings), wrapper = described["method"]
    assert (name, settings["beta"], wrapper) == ("trades", 2.0, ["awp", {"gamma": 0.01}])
    assert (settings["attack"]["class"], settings["attack"]["epsilon"]) == ("Mim", 0.3)
    assert described["decay"] == [[10, 0.1], [20, 0.01]]
    validation = described["validation"]
    assert (validation["every"], validation["limit"], validation["attack"]["step_size"]) == (5, None, 0.05)


CHANGES = {
    "dataset": "digits",
    "model": "small_cnn",
    "loss": LabelSmoothing(0.2),
    "augment": (GaussianNoise(0.5), FeatureSmoothing()),
    "train_attack": Pgd(0.3, 0.1, 3),
    "ramp_steps": 7,
    "optimizer": "adam",
    "momentum": 0.8,
    "nesterov": True,
    "learning_rate": 0.3,
    "decay": ((10, 0.2),),
    "average": 0.99,
    "batch_size": 51,
    "steps": 41,
    "l1": 0.1,
    "l2": 0.1,
    "validation": Validation(ATTACK, every=6),
    "precision": "mixed_bfloat16",
    "seed": 1,
    "limit": 100,
}


def test_the_changes_below_touch_every_field_but_the_method():
    assert {*CHANGES, "method"} == {field.name for field in dataclasses.fields(Experiment)}


@pytest.mark.parametrize("field", CHANGES)
def test_a_description_tells_experiments_apart_in_every_field(field):
    one = Experiment(
        loss=LabelSmoothing(0.1),
        augment=(FeatureSmoothing(), GaussianNoise(0.5)),
        train_attack=Pgd(0.3, 0.1, 2),
        optimizer="sgd",
        decay=((10, 0.1),),
        validation=Validation(ATTACK, every=5),
    )
    other = dataclasses.replace(one, **{field: CHANGES[field]})
    described, differing = training.describe(one), training.describe(other)
    assert {key for key in described if described[key] != differing[key]} == {field}


def test_a_description_tells_methods_apart_by_name_order_and_every_setting():
    chains = (
        (),
        (("trades", {"attack": ATTACK}),),
        (("mart", {"attack": ATTACK}),),
        (("trades", {"attack": ATTACK, "beta": 5.0}),),
        (("trades", {"attack": dataclasses.replace(ATTACK, steps=3)}),),
        (("trades", {"attack": ATTACK}), ("awp", {})),
        (("trades", {"attack": ATTACK}), ("awp", {"gamma": 0.01})),
        (("trades", {"attack": ATTACK}), ("awp", {}), ("avmixup", {})),
        (("trades", {"attack": ATTACK}), ("avmixup", {}), ("awp", {})),
    )
    assert len({json.dumps(training.describe(Experiment(method=chain))) for chain in chains}) == len(chains)


# What is built.


@pytest.mark.parametrize(
    ("dataset", "shape", "classes"), [("digits", (28, 28, 1), 10), ("moons", (2,), 2), ("cifar100", (32, 32, 3), 100)]
)
def test_the_model_gets_the_shape_and_the_classes_of_its_data_set(dataset, shape, classes):
    classifier = training.build(small(dataset=dataset)).classifier
    assert (classifier.input_shape, classifier.output_shape) == ((None, *shape), (None, classes))


def test_the_seed_is_that_of_the_initial_weights():
    first, again, other = (weights_of(training.build(small(seed=seed)))[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


@pytest.mark.parametrize(("momentum", "nesterov"), [(0, False), (0.5, False), (0.5, True)])
def test_momentum_and_nesterov_are_those_of_their_equations(momentum, nesterov):
    """v <- m v - rate g and w <- w + v, with nesterov w <- w + m v - rate g, from v = 0."""
    trainee = training.build(small(momentum=momentum, nesterov=nesterov))
    velocity = [np.zeros_like(weight) for weight in weights_of(trainee)]
    for _ in range(3):
        before, gradients = weights_of(trainee), gradients_of(trainee)
        trainee.update(tf.constant(X), tf.constant(Y))
        velocity = [momentum * v - 0.2 * g for v, g in zip(velocity, gradients, strict=True)]
        steps = [momentum * v - 0.2 * g if nesterov else v for v, g in zip(velocity, gradients, strict=True)]
        for found, start, step in zip(weights_of(trainee), before, steps, strict=True):
            np.testing.assert_allclose(found - start, step, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_the_rate_changes_exactly_at_the_steps_of_the_decay(precision):
    """Counted from 0: after three updates, at step 3, half the rate; at step 5 a tenth of the first."""
    trainee = training.build(small(decay=((3, 0.5), (5, 0.1)), precision=precision))
    rates = []
    for _ in range(7):
        before, gradients = weights_of(trainee), gradients_of(trainee)
        trainee.update(tf.constant(X), tf.constant(Y))
        step, gradient = weights_of(trainee)[0] - before[0], gradients[0]
        rates.append(-float((step * gradient).sum() / (gradient**2).sum()))
    assert rates == pytest.approx([0.2, 0.2, 0.2, 0.1, 0.1, 0.02, 0.02], rel=1e-3)


def test_a_decay_at_the_first_step_leaves_the_first_update_alone():
    trainee = training.build(small(decay=((1, 0.1),)))
    rates = [float(trainee.optimizer.learning_rate)]
    trainee.update(tf.constant(X), tf.constant(Y))
    assert [*rates, float(trainee.optimizer.learning_rate)] == pytest.approx([0.2, 0.02])


def test_weight_decay_is_that_of_the_kernels():
    trainee = training.build(small(l1=0.5, l2=0.25))
    kernel = weights_of(trainee)[0]
    expected = 0.5 * np.abs(kernel).sum() + 0.25 * (kernel**2).sum()
    assert float(sum(trainee.classifier.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", sorted(adversarial.METHODS))
def test_a_method_is_built_by_its_name_with_its_settings_and_the_seed(name):
    trainee = training.build(small(method=((name, {"attack": ATTACK, "ramp_steps": 7}),), seed=5))
    assert type(trainee) is adversarial.METHODS[name]
    assert (trainee.attack, trainee.ramp_steps, trainee.seed) == (ATTACK, 7, 5)


def test_wrappers_are_built_by_their_names_from_the_inside_out():
    chain = (("trades", {"attack": ATTACK, "beta": 2.0}), ("avmixup", {"gamma": 1.5}), ("awp", {"gamma": 0.01}))
    trainee = training.build(small(method=chain, seed=5))
    assert {"avmixup", "awp"} == set(adversarial.WRAPPERS)
    assert type(trainee) is adversarial.WeightPerturbation
    assert type(trainee.inner) is adversarial.AVmixup
    assert type(trainee.inner.inner) is adversarial.Trades
    assert (trainee.gamma, trainee.inner.gamma, trainee.method.beta, trainee.method.seed) == (0.01, 1.5, 2.0, 5)
    assert trainee.classifier is trainee.inner.inner.classifier


def test_without_a_method_it_is_natural_training_and_an_attack_alone_is_madry():
    assert type(training.build(small())) is adversarial.NaturalTraining
    trainee = training.build(small(train_attack=ATTACK, ramp_steps=9, seed=5))
    assert type(trainee) is adversarial.AdversarialTraining
    assert (trainee.attack, trainee.ramp_steps, trainee.seed) == (ATTACK, 9, 5)


@pytest.mark.parametrize("method", [(), (("madry", {"attack": ATTACK}), ("awp", {}))], ids=["natural", "awp"])
def test_the_loss_is_scaled_for_float16_alone_whatever_the_method(method):
    for precision in training.PRECISIONS:
        trainee = training.build(small(method=method, precision=precision))
        scaled = isinstance(trainee.optimizer, keras.optimizers.LossScaleOptimizer)
        assert scaled == (precision == "mixed_float16")
        assert keras.config.dtype_policy().name == "float32"


# The classifier that is kept.


@pytest.fixture
def normalized(monkeypatch):
    """Name of a model with batch normalization: variables that are not trained."""

    def build(classes, seed, shape):
        start = keras.initializers.GlorotUniform(seed=seed)
        layers = [keras.layers.Flatten(), keras.layers.BatchNormalization(momentum=0.5)]
        dense = keras.layers.Dense(classes, dtype="float32", kernel_initializer=start)
        return keras.Sequential([keras.Input(shape), *layers, dense])

    monkeypatch.setitem(models.MODELS, "normalized", build)
    return "normalized"


@pytest.mark.parametrize(
    ("method", "precision"),
    [
        ((), "float32"),
        ((), "mixed_float16"),
        ((("madry", {"attack": ATTACK}), ("awp", {"gamma": 0.01})), "float32"),
    ],
    ids=["natural", "float16", "awp"],
)
def test_the_classifier_has_the_moving_average_of_its_trained_weights(normalized, method, precision):
    """a_1 = w_1 and a_t = 0.75 a_(t-1) + 0.25 w_t; what is not trained is that of the last step."""
    experiment = small(model=normalized, method=method, precision=precision, average=0.75, learning_rate=1e-3)
    trainee = training.build(experiment)
    trained = []
    for _ in range(3):
        trainee.update(tf.constant(X), tf.constant(Y))
        trained.append([np.array(weight) for weight in trainee.classifier.trainable_weights])
    # 0.75 (0.75 w_1 + 0.25 w_2) + 0.25 w_3
    expected = [(9 * one + 3 * two + 4 * three) / 16 for one, two, three in zip(*trained, strict=True)]
    kept = training.classifier_of(experiment, trainee)
    for found, average, last in zip(kept.trainable_weights, expected, trained[-1], strict=True):
        np.testing.assert_allclose(found, average, atol=2e-7)
        assert np.abs(found - last).max() > 1e-5
    for found, last in zip(kept.non_trainable_weights, trainee.classifier.non_trainable_weights, strict=True):
        np.testing.assert_array_equal(found, last)
    assert {weight.dtype for weight in kept.weights} == {"float32"}
    for weight, last in zip(trainee.classifier.trainable_weights, trained[-1], strict=True):
        np.testing.assert_array_equal(weight, last)  # training goes on from its own weights


def test_without_an_average_the_classifier_is_that_of_the_last_step():
    trainee = training.build(small(precision="mixed_bfloat16"))
    trainee.update(tf.constant(X), tf.constant(Y))
    kept = training.classifier_of(small(precision="mixed_bfloat16"), trainee)
    for found, last in zip(kept.get_weights(), weights_of(trainee), strict=True):
        np.testing.assert_array_equal(found, last)
    assert {layer.compute_dtype for layer in kept.layers} == {"float32"}
