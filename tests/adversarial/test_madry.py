"""Adversarial training: one step worked by hand, starts that follow the step's number, clean evaluation, saving."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.adversarial import AdversarialTraining
from tfadv.attacks import Fgm, Mim, Pgd
from tfadv.losses import LabelSmoothing
from tfadv.validation import UserError

LAYERS = keras.layers
RNG = np.random.default_rng(0)
X = RNG.random((10, 2, 2, 1), np.float32)
Y = RNG.integers(0, 3, 10).astype(np.int32)
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
PGD = Pgd(epsilon=0.1, step_size=0.05, steps=2)


def compiled(classifier, attack=PGD, *, rate=0.1, loss=SPARSE, metrics=("accuracy",), seed=0, **options):
    model = AdversarialTraining(classifier, attack, seed=seed)
    model.compile(keras.optimizers.SGD(rate), loss, metrics=list(metrics), **{"jit_compile": False, **options})
    return model


def net(seed=0):
    """A classifier of X with a hidden layer."""
    glorot = [keras.initializers.GlorotUniform(seed=2 * seed + number) for number in range(2)]
    return keras.Sequential(
        [
            LAYERS.Input((2, 2, 1)),
            LAYERS.Flatten(),
            LAYERS.Dense(5, activation="tanh", kernel_initializer=glorot[0]),
            LAYERS.Dense(3, kernel_initializer=glorot[1]),
        ]
    )


def same(first, second, **tolerance):
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **({"atol": 0, "rtol": 0} | tolerance))


def probabilities(flat, kernel):
    logits = flat @ kernel
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def worked_by_hand(kernel, epsilon, weights=1.0):
    """(x_adv [B, 4], loss [B], gradient [4, 3]) of softmax regression under FGSM.

    The loss of an example has the input gradient kernel (p - y) and the kernel gradient x (p - y)^T.
    """
    flat, truth = X.reshape(10, 4).astype(np.float64), np.eye(3)[Y]
    corner = np.clip(flat + epsilon * np.sign((probabilities(flat, kernel) - truth) @ kernel.T), 0, 1)
    p = probabilities(corner, kernel)
    loss = -np.log((p * truth).sum(axis=1))
    return corner, loss, corner.T @ ((p - truth) * np.reshape(weights, [-1, 1])) / 10


def test_a_step_on_a_linear_model_is_the_update_worked_by_hand(linear_model):
    """kernel - rate x mean over the batch of x_adv (p - y)^T, at the corner x_adv = x + epsilon sign(gradient)."""
    kernel = linear_model.get_weights()[0].astype(np.float64)
    corner, loss, gradient = worked_by_hand(kernel, 0.1)
    model = compiled(linear_model, Fgm(epsilon=0.1), rate=0.5)
    np.testing.assert_allclose(model.craft(tf.constant(X), tf.constant(Y), 0), corner.reshape(X.shape), atol=1e-6)
    logs = model.train_on_batch(X, Y, return_dict=True)
    np.testing.assert_allclose(linear_model.get_weights()[0], kernel - 0.5 * gradient, atol=1e-6)
    assert float(logs["loss"]) == pytest.approx(loss.mean(), rel=1e-5)
    assert float(logs["accuracy"]) == pytest.approx((probabilities(corner, kernel).argmax(axis=1) == Y).mean())


def test_sample_weights_weigh_the_loss_of_each_example(linear_model):
    kernel = linear_model.get_weights()[0].astype(np.float64)
    weights = np.linspace(0, 2, 10)
    *_, gradient = worked_by_hand(kernel, 0.1, weights)
    compiled(linear_model, Fgm(epsilon=0.1), rate=0.5).train_on_batch(X, Y, sample_weight=weights)
    np.testing.assert_allclose(linear_model.get_weights()[0], kernel - 0.5 * gradient, atol=1e-6)


def test_penalties_of_the_classifiers_layers_are_part_of_the_loss(linear_model):
    linear_model.layers[-1].kernel.regularizer = keras.regularizers.L2(0.25)
    kernel = linear_model.get_weights()[0].astype(np.float64)
    _, loss, gradient = worked_by_hand(kernel, 0.1)
    logs = compiled(linear_model, Fgm(epsilon=0.1)).train_on_batch(X, Y, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(loss.mean() + 0.25 * (kernel**2).sum(), rel=1e-5)
    np.testing.assert_allclose(linear_model.get_weights()[0], kernel - 0.1 * (gradient + 0.5 * kernel), atol=1e-6)


def test_the_history_shows_the_adversarial_loss_averaged_over_examples(linear_model):
    """At rate 0 the weights stand still; batches of 4, 4 and 2 count by their examples. (A custom train_step that
    forgets the loss tracker shows 0.0.)"""
    kernel = linear_model.get_weights()[0].astype(np.float64)
    corner, loss, _ = worked_by_hand(kernel, 0.1)
    history = compiled(linear_model, Fgm(epsilon=0.1), rate=0.0).fit(X, Y, batch_size=4, verbose=0).history
    assert history["loss"] == pytest.approx([loss.mean()], rel=1e-5)
    assert history["accuracy"] == pytest.approx([(probabilities(corner, kernel).argmax(axis=1) == Y).mean()])


def test_evaluate_and_predict_are_clean_and_the_classifiers_own(linear_model):
    model = compiled(linear_model, Fgm(epsilon=0.3))
    kernel = linear_model.get_weights()[0].astype(np.float64)
    _, loss, _ = worked_by_hand(kernel, 0.0)
    logs = model.evaluate(X, Y, return_dict=True, verbose=0)
    assert logs["loss"] == pytest.approx(loss.mean(), rel=1e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), X.reshape(10, 4) @ kernel, rtol=1e-5)
    np.testing.assert_array_equal(model(X), linear_model(X))


class TestCraft:
    def crafted(self, attack=PGD, *, step=0, seed=0, y=Y, classifier=None):
        model = AdversarialTraining(classifier or net(), attack, seed=seed)
        return model.craft(tf.constant(X), tf.constant(y), tf.constant(step)).numpy()

    def test_examples_lie_in_ball_and_box_and_lose_more(self):
        classifier = net()
        x_adv = self.crafted(classifier=classifier)
        assert np.abs(x_adv - X).max() <= 0.1 + 1e-6
        assert x_adv.min() >= 0
        assert x_adv.max() <= 1
        assert SPARSE(Y, classifier(x_adv)) > SPARSE(Y, classifier(X)) + 0.01

    def test_the_start_follows_from_the_seed_and_the_number_of_the_step(self):
        np.testing.assert_array_equal(self.crafted(step=3), self.crafted(step=3))
        assert np.abs(self.crafted(step=3) - self.crafted(step=4)).max() > 1e-3
        assert np.abs(self.crafted(step=3) - self.crafted(step=3, seed=1)).max() > 1e-3

    def test_every_form_of_the_labels_gives_the_same_examples(self):
        """A smoothed or mixed label counts as its largest class."""
        expected = self.crafted()
        for labels in (Y[:, None], Y.astype(np.int64), np.eye(3, dtype=np.float32)[Y] * 0.7 + 0.1):
            np.testing.assert_array_equal(self.crafted(y=labels), expected)

    def test_what_fools_on_the_way_is_not_kept_because_the_loss_is_ascended_to_the_end(self):
        """keep="best" would stop at the first success; crafting is the same with both."""
        longer = {"epsilon": 0.5, "step_size": 0.1, "steps": 5}
        best, last = (self.crafted(Pgd(keep=keep, **longer)) for keep in ("best", "last"))
        np.testing.assert_array_equal(best, last)

    def test_the_radius_and_the_step_grow_linearly_over_the_ramp(self):
        """Step t of a ramp of 4 attacks with (t + 1) / 4 of the strength; from step 3 on with all of it."""
        attack = Pgd(epsilon=0.2, step_size=0.02, steps=2, random_start=False)
        model = AdversarialTraining(net(), attack, ramp_steps=4)
        for step, share in ((0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)):
            weaker = Pgd(epsilon=0.2 * share, step_size=0.02 * share, steps=2, random_start=False)
            expected = self.crafted(weaker, step=step)
            np.testing.assert_allclose(model.craft(tf.constant(X), tf.constant(Y), step), expected, atol=1e-6)

    def test_random_starts_keep_to_the_ramp_and_no_ramp_is_full_strength_from_the_first_step(self):
        ramped = AdversarialTraining(net(), PGD, ramp_steps=10).craft(tf.constant(X), tf.constant(Y), 0)
        assert np.abs(ramped - X).max() <= 0.01 + 1e-6
        assert np.abs(self.crafted(step=0) - X).max() > 0.09

    def test_no_gradient_flows_through_the_examples(self):
        classifier = net()
        model = AdversarialTraining(classifier, PGD)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model.craft(tf.constant(X), tf.constant(Y), 0))
        assert tape.gradient(total, classifier.trainable_weights) == [None] * 4


@pytest.mark.parametrize("attack", [PGD, Pgd(epsilon=0.3, step_size=0.1, steps=2, norm="l2", objective="margin")])
def test_integer_and_one_hot_labels_train_the_same_weights(attack):
    first, second, third = net(), net(), net()
    dense = keras.losses.CategoricalCrossentropy(from_logits=True)
    for classifier, labels, loss in ((first, Y, SPARSE), (second, Y[:, None], SPARSE), (third, np.eye(3)[Y], dense)):
        model = compiled(classifier, attack, loss=loss, run_eagerly=True)
        model.fit(X, labels, batch_size=5, epochs=2, shuffle=False, verbose=0)
    same(first, second, atol=1e-6)
    same(first, third, atol=1e-6)
    assert np.abs(first.get_weights()[0] - net().get_weights()[0]).max() > 1e-3


def test_two_runs_are_identical_and_another_seed_is_another_run():
    first, second, other = net(), net(), net()
    for classifier, seed in ((first, 0), (second, 0), (other, 1)):
        model = compiled(classifier, seed=seed, run_eagerly=True)
        model.fit(X, Y, batch_size=5, epochs=3, shuffle=False, verbose=0)
    same(first, second)
    assert np.abs(first.get_weights()[0] - other.get_weights()[0]).max() > 1e-6


@pytest.mark.filterwarnings("error:You are saving a model that has not yet been built")
def test_a_resumed_run_repeats_the_uninterrupted_one(tmp_path):
    """The start depends on the optimizer's count of steps, which is saved with the model."""
    whole, half = net(), net()
    schedule = {"batch_size": 5, "shuffle": False, "verbose": 0}
    compiled(whole).fit(X, Y, epochs=4, **schedule)
    interrupted = compiled(half)
    interrupted.fit(X, Y, epochs=2, **schedule)
    interrupted.save(tmp_path / "half.keras")
    resumed = keras.models.load_model(tmp_path / "half.keras")
    assert int(resumed.optimizer.iterations) == 4
    resumed.fit(X, Y, epochs=2, **schedule)
    same(resumed.classifier, whole, atol=1e-7)


@pytest.mark.parametrize("attack", [PGD, Fgm(epsilon=0.2, norm="l2", bounds=(-1.0, 1.0))], ids=["pgd", "fgm"])
def test_a_saved_model_keeps_its_attack_its_seed_and_its_weights(tmp_path, attack):
    """In Keras' safe mode, which runs no code from the file."""
    model = AdversarialTraining(net(seed=7), attack, seed=5, ramp_steps=3)
    model(X)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert isinstance(loaded, AdversarialTraining)
    assert loaded.attack == attack
    assert (loaded.seed, loaded.ramp_steps) == (5, 3)
    same(loaded.classifier, model.classifier)
    np.testing.assert_array_equal(
        loaded.craft(tf.constant(X), tf.constant(Y), 2), model.craft(tf.constant(X), tf.constant(Y), 2)
    )


def test_the_config_names_exactly_the_arguments_of_the_constructor():
    config = AdversarialTraining(net(), PGD, seed=5, ramp_steps=2, name="robust").get_config()
    assert {"classifier", "attack", "seed", "ramp_steps", "name"} <= set(config)
    rebuilt = AdversarialTraining.from_config(config)
    assert (rebuilt.attack, rebuilt.seed, rebuilt.ramp_steps, rebuilt.name) == (PGD, 5, 2, "robust")


def test_crafting_uses_the_moving_statistics_and_only_the_training_pass_changes_them():
    """moving <- 0.9 moving + 0.1 batch, once, with the statistics of the adversarial batch: mean starts at 0."""
    norm = LAYERS.BatchNormalization(momentum=0.9)
    classifier = keras.Sequential([LAYERS.Input((2, 2, 1)), LAYERS.Flatten(), norm, LAYERS.Dense(3)])
    model = compiled(classifier)
    x_adv = model.craft(tf.constant(X), tf.constant(Y), 0).numpy().reshape(10, 4)
    np.testing.assert_array_equal(norm.moving_mean.numpy(), np.zeros(4))
    np.testing.assert_array_equal(norm.moving_variance.numpy(), np.ones(4))
    model.train_on_batch(X, Y)
    np.testing.assert_allclose(norm.moving_mean.numpy(), 0.1 * x_adv.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance.numpy(), 0.9 + 0.1 * x_adv.var(axis=0), rtol=1e-5)


def test_dropout_is_off_while_crafting():
    classifier = keras.Sequential([LAYERS.Input((2, 2, 1)), LAYERS.Flatten(), LAYERS.Dropout(0.5), LAYERS.Dense(3)])
    model = AdversarialTraining(classifier, PGD)
    crafted = [model.craft(tf.constant(X), tf.constant(Y), 0).numpy() for _ in range(2)]
    np.testing.assert_array_equal(*crafted)


def test_what_is_no_attack_is_refused():
    with pytest.raises(UserError, match=r"attack must be one of \['Fgm', 'Mim', 'Pgd'\] in training, got float"):
        AdversarialTraining(net(), 0.3)


def test_a_negative_ramp_is_refused():
    with pytest.raises(UserError, match="ramp_steps must be >= 0, got -1"):
        AdversarialTraining(net(), PGD, ramp_steps=-1)


# The mixture, the labels that are attacked, and the attacks.


@pytest.mark.parametrize("kappa", [0.0, 0.25, 1.0])
def test_clean_and_adversarial_losses_are_mixed_by_equation_1(linear_model, kappa):
    """kappa L(x) + (1 - kappa) L(x_adv), whose gradient is mixed alike; penalties of the layers count once."""
    kernel = linear_model.get_weights()[0].astype(np.float64)
    linear_model.layers[-1].kernel.regularizer = keras.regularizers.L2(0.25)
    (_, clean, clean_gradient), (_, loss, gradient) = worked_by_hand(kernel, 0.0), worked_by_hand(kernel, 0.1)
    model = AdversarialTraining(linear_model, Fgm(epsilon=0.1), clean_weight=kappa)
    model.compile(keras.optimizers.SGD(0.1), SPARSE, run_eagerly=True)
    logs = model.train_on_batch(X, Y, return_dict=True)
    expected = kappa * clean.mean() + (1 - kappa) * loss.mean() + 0.25 * (kernel**2).sum()
    assert float(logs["loss"]) == pytest.approx(expected, rel=1e-5)
    mixed = kappa * clean_gradient + (1 - kappa) * gradient + 0.5 * kernel
    np.testing.assert_allclose(linear_model.get_weights()[0], kernel - 0.1 * mixed, atol=1e-6)


def test_kappa_1_is_what_fit_does_with_the_classifier_itself():
    plain, mixture = net(), net()
    model = AdversarialTraining(mixture, PGD, clean_weight=1.0)
    for each in (plain, model):
        each.compile(keras.optimizers.Adam(0.01), SPARSE, jit_compile=False)
        each.fit(X, Y, batch_size=5, epochs=2, shuffle=False, verbose=0)
    same(mixture, plain, atol=1e-7)


def test_predicted_labels_are_those_of_the_clean_image_and_the_update_keeps_the_true_ones():
    """On a classifier that errs, the attack leaves from the class that it says; the loss is that of y."""
    wrong = net()(X).numpy().argmax(axis=1).astype(np.int32)
    other = (wrong + 1) % 3
    predicted = AdversarialTraining(net(), PGD, labels="predicted")
    true = AdversarialTraining(net(), PGD)
    found = predicted.craft(tf.constant(X), tf.constant(other), 0)
    np.testing.assert_array_equal(found, true.craft(tf.constant(X), tf.constant(wrong), 0))
    assert np.abs(found - true.craft(tf.constant(X), tf.constant(other), 0)).max() > 0.05
    loss = float(SPARSE(other, predicted.classifier(found)))
    predicted.compile(keras.optimizers.SGD(0.1), SPARSE, run_eagerly=True)
    assert float(predicted.train_on_batch(X, other)) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize(
    ("attack", "size"),
    [
        (Mim(epsilon=0.2, step_size=0.1, steps=3), lambda delta: np.abs(delta).max(axis=1)),
        (Pgd(0.2, 0.1, 3, norm="l2", objective="margin"), lambda delta: np.sqrt((delta**2).sum(axis=1))),
        (Pgd(0.2, 0.1, 3, norm="l1", objective="dlr"), lambda delta: np.abs(delta).sum(axis=1)),
        (Fgm(0.2, norm="l2", label="predicted"), lambda delta: np.sqrt((delta**2).sum(axis=1))),
        (Fgm(0.2, scale=0.5), lambda delta: np.abs(delta).max(axis=1)),
    ],
    ids=["mim", "l2 margin", "l1 dlr", "l2 predicted", "fast grad l2"],
)
def test_every_first_order_attack_stays_in_its_ball_and_follows_the_ramp(attack, size):
    model = AdversarialTraining(net(), attack, ramp_steps=2)
    for step, radius in ((0, 0.1), (1, 0.2)):
        delta = model.craft(tf.constant(X), tf.constant(Y), step).numpy() - X
        sizes = size(delta.reshape(10, 4))
        assert sizes.max() <= radius + 1e-6
        assert sizes.max() > 0.5 * radius


def test_momentum_changes_the_way():
    attack = {"epsilon": 0.3, "step_size": 0.1, "steps": 4}
    craft = [
        AdversarialTraining(net(), kind).craft(tf.constant(X), tf.constant(Y), 0)
        for kind in (Mim(**attack, decay=0.0), Pgd(**attack, random_start=False), Mim(**attack, decay=1.0, norm="l2"))
    ]
    np.testing.assert_allclose(craft[0], craft[1], atol=1e-6)
    assert np.abs(craft[1] - craft[2]).max() > 0.01


def test_fast_grad_l2_is_the_attack_of_its_name():
    """x + clip(scale g / ||g||, +-epsilon), clipped to the box."""
    attack = Fgm(epsilon=0.2, scale=0.3)
    classifier = net()
    with tf.GradientTape() as tape:
        x = tf.Variable(X)
        loss = keras.losses.sparse_categorical_crossentropy(Y, classifier(x), from_logits=True)
    gradient = tape.gradient(loss, x).numpy().reshape(10, 4)
    step = np.clip(0.3 * gradient / np.linalg.norm(gradient, axis=1, keepdims=True), -0.2, 0.2)
    expected = np.clip(X.reshape(10, 4) + step, 0, 1).reshape(X.shape)
    np.testing.assert_allclose(
        AdversarialTraining(classifier, attack).craft(tf.constant(X), tf.constant(Y), 0), expected, atol=1e-6
    )


def test_label_smoothing_is_the_compiled_loss_and_changes_no_example(linear_model):
    """The loss at x_adv against q = mass / 2 (1 - y) + (1 - mass) y; x_adv follows y as before."""
    kernel = linear_model.get_weights()[0].astype(np.float64)
    corner, *_ = worked_by_hand(kernel, 0.1)
    p, q = probabilities(corner, kernel), 0.15 + 0.55 * np.eye(3)[Y]
    model = compiled(linear_model, Fgm(epsilon=0.1), rate=0.5, loss=LabelSmoothing(0.3))
    logs = model.train_on_batch(X, Y, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(-(q * np.log(p)).sum(axis=1).mean(), rel=1e-5)
    np.testing.assert_allclose(linear_model.get_weights()[0], kernel - 0.5 * corner.T @ (p - q) / 10, atol=1e-6)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_mixture_outside_0_to_1_is_refused(value):
    with pytest.raises(UserError, match=r"clean_weight must lie in \[0, 1\], got"):
        AdversarialTraining(net(), PGD, clean_weight=value)


def test_unknown_labels_are_refused():
    with pytest.raises(UserError, match=r"labels must be one of \['predicted', 'true'\], got 'false'"):
        AdversarialTraining(net(), PGD, labels="false")
