"""The engine: what it returns does not depend on how it works (slots, queue, halving), and it costs what it says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import Fgm, Pgd, compiled
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(4, 3)).astype(np.float32)
IMAGES = RNG.random((40, 2, 2, 1), np.float32)
STRIDE = 5  # Steps between two looks at who is fooled.


def linear(x):
    """Images [B, 2, 2, 1] -> logits [B, 3]."""
    return (tf.reshape(x, [-1, 4]) - 0.5) @ WEIGHTS


LABELS = linear(IMAGES).numpy().argmax(axis=1).astype(np.int32)


def blind(x):
    """Class 0 always, with a gradient of zero: an attack ends where it starts."""
    return 0.0 * linear(x) + [2.0, 0.0, 0.0]


def ridge(v):
    """Class 1 leads by 0.03 - |v - 0.48|: steps of 0.08 from 0.31 meet it at 0.47 and leave it at 0.55."""
    return tf.concat([tf.zeros_like(v), 0.03 - tf.abs(v - 0.48)], axis=1)


def valley(v):
    """Class 1 wins beyond 0.8. Left of 0.5 the way up leads to the left end of the ball, where it never wins."""
    return tf.concat([tf.zeros_like(v), tf.where(v > 0.5, v - 0.8, -0.25 - 0.1 * v)], axis=1)


def attack(model, config, **options):
    """Compiled to a graph in float32, unless a test asks for something else."""
    return compiled(model, config, **{"jit": "off", "precision": "float32", **options})


class TestSeedsAndStarts:
    """`blind` leaves every search at its start, so the results are the starts."""

    CONFIG = Pgd(epsilon=0.2, steps=1, keep="last", seed=1)
    GRAY = np.full([40, 2, 2, 1], 0.5, np.float32)
    ZEROS = np.zeros(40, np.int32)

    def starts(self, config=CONFIG, rows=slice(None), batch_size=None, **options):
        x = self.GRAY[rows]
        return attack(blind, config, batch_size=batch_size).run(x, self.ZEROS[rows], **options).x_adv

    def test_starts_follow_from_the_seed_and_differ_between_examples(self):
        starts = self.starts()
        np.testing.assert_array_equal(starts, self.starts())
        assert np.abs(starts - 0.5).max() <= 0.2 + 1e-6
        assert len(np.unique(starts)) == starts.size

    def test_another_seed_starts_elsewhere(self):
        assert not np.isclose(self.starts(), self.starts(Pgd(epsilon=0.2, steps=1, keep="last", seed=2))).any()

    def test_starts_do_not_depend_on_the_batch_size(self):
        np.testing.assert_array_equal(self.starts(), self.starts(batch_size=7))

    def test_a_subset_with_its_index_starts_where_the_whole_would(self):
        rows = np.array([31, 4, 5, 12])
        np.testing.assert_array_equal(self.starts(rows=rows, index=rows), self.starts()[rows])
        assert not np.isclose(self.starts(rows=rows), self.starts()[rows]).any()

    def test_a_start_that_is_passed_in_is_used_and_projected_into_ball_and_box(self):
        start = np.linspace(-0.5, 1.5, self.GRAY.size, dtype=np.float32).reshape(self.GRAY.shape)
        np.testing.assert_allclose(self.starts(start=start), np.clip(start, 0.3, 0.7), atol=1e-6)

    def test_without_a_random_start_the_search_begins_at_the_image(self):
        config = Pgd(epsilon=0.2, steps=1, keep="last", random_start=False)
        np.testing.assert_array_equal(self.starts(config), self.GRAY)

    def test_an_l2_start_lies_in_its_ball(self):
        starts = self.starts(Pgd(epsilon=0.2, steps=1, keep="last", norm="l2"))
        lengths = np.linalg.norm((starts - 0.5).reshape(40, -1), axis=1)
        assert (lengths <= 0.2 + 1e-6).all()
        assert lengths.max() > 0.15


def test_the_same_call_gives_the_same_bits():
    run = attack(linear, Pgd(epsilon=0.1, step_size=0.03, steps=7))
    np.testing.assert_array_equal(run(IMAGES, LABELS), run(IMAGES, LABELS))


@pytest.mark.parametrize("keep", ["best", "last"])
def test_results_do_not_depend_on_how_many_slots_there_are(keep):
    """One slot, 7 with a queue of examples, and all at once; on a linear model to the last pixel."""
    config = Pgd(epsilon=0.1, step_size=0.03, steps=7, keep=keep)
    whole, *others = (attack(linear, config, batch_size=size).run(IMAGES, LABELS) for size in (None, 7, 1))
    assert whole.adversarial.any()
    assert not whole.adversarial.all()
    for other in others:
        np.testing.assert_array_equal(other.adversarial, whole.adversarial)
        np.testing.assert_array_equal(other.ever_adversarial, whole.ever_adversarial)
        np.testing.assert_allclose(other.x_adv, whole.x_adv, atol=1e-5)
        assert other.gradient_evaluations == whole.gradient_evaluations


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_an_epsilon_for_each_example_equals_separate_runs(norm):
    """The step is a quarter of each radius; rows 0, 2, 4, ... have 0.02 and the others 0.1."""

    def run(epsilon, step_size):
        config = Pgd(epsilon=epsilon, step_size=step_size, steps=6, norm=norm, seed=3)
        return attack(linear, config).run(IMAGES, LABELS)

    mixed = run((0.02, 0.1) * 20, (0.005, 0.025) * 20)
    for first, epsilon in ((0, 0.02), (1, 0.1)):
        alone = run(epsilon, epsilon / 4)
        np.testing.assert_array_equal(mixed.adversarial[first::2], alone.adversarial[first::2])
        np.testing.assert_allclose(mixed.x_adv[first::2], alone.x_adv[first::2], atol=1e-5)


class TestWhatIsKept:
    X, Y = np.full([3, 1], 0.31, np.float32), np.array([0, 0, 1], np.int32)

    def run(self, keep):
        config = Pgd(epsilon=0.3, step_size=0.08, steps=3, objective="margin", random_start=False, keep=keep)
        return attack(ridge, config).run(self.X, self.Y)

    def test_best_finds_the_success_that_the_path_leaves_again(self):
        """The third example has label 1 and is misclassified from the beginning: its image is its result."""
        outcome = self.run("best")
        np.testing.assert_allclose(outcome.x_adv, [[0.47], [0.47], [0.31]], atol=1e-6)
        assert outcome.adversarial.tolist() == [True, True, True]
        assert outcome.ever_adversarial.tolist() == [True, True, True]

    def test_last_loses_it_and_says_so(self):
        outcome = self.run("last")
        np.testing.assert_allclose(outcome.x_adv[:2], [[0.55], [0.55]], atol=1e-6)
        assert outcome.adversarial.tolist()[:2] == [False, False]
        assert outcome.ever_adversarial.tolist() == [True, True, True]


class TestRestarts:
    """In `valley` a search from the right half of its ball [0.1, 0.9] succeeds, from the left half never."""

    X, Y = np.full([32, 1], 0.5, np.float32), np.zeros(32, np.int32)

    def run(self, restarts, start=None, **options):
        config = Pgd(epsilon=0.4, step_size=0.1, steps=6, objective="margin", restarts=restarts)
        return attack(valley, config, **options).run(self.X, self.Y, start)

    def test_restarts_find_what_one_start_misses_and_lose_nothing(self):
        """One start fools about half; of 8 all miss with probability 1 / 256."""
        one, many = self.run(1), self.run(8)
        assert 8 <= one.adversarial.sum() <= 24
        assert many.adversarial.sum() >= 30
        assert (many.adversarial >= one.adversarial).all()

    def test_only_the_unfooled_are_restarted(self):
        one, two = self.run(1), self.run(2)
        missed = int((~one.adversarial).sum())
        assert two.gradient_evaluations <= one.gradient_evaluations + missed * 6
        assert two.gradient_evaluations >= one.gradient_evaluations + missed * STRIDE

    def test_restarts_do_not_depend_on_the_slots(self):
        few, many = self.run(3, batch_size=5), self.run(3)
        np.testing.assert_array_equal(few.adversarial, many.adversarial)
        np.testing.assert_allclose(few.x_adv, many.x_adv, atol=1e-6)

    def test_a_given_start_is_the_first_of_them(self):
        right, left = np.full([32, 1], 0.55, np.float32), np.full([32, 1], 0.45, np.float32)
        assert self.run(1, right).adversarial.all()
        assert not self.run(1, left).adversarial.any()
        assert self.run(8, left).adversarial.any()


class TestCost:
    def test_a_search_without_success_costs_every_step_of_every_restart(self):
        config = Pgd(epsilon=0.1, steps=7, restarts=3)
        outcome = attack(blind, config, batch_size=16).run(IMAGES, np.zeros(40, np.int32))
        assert outcome.gradient_evaluations == 40 * 7 * 3
        assert not outcome.ever_adversarial.any()

    def test_a_fooled_example_costs_no_more_than_the_stride_in_which_it_was_fooled(self):
        """Within epsilon 1 the whole box can be reached, and a linear model has another class in one of its corners."""
        outcome = attack(linear, Pgd(epsilon=1.0, step_size=1.0, steps=40)).run(IMAGES, LABELS)
        assert outcome.adversarial.all()
        assert 0 < outcome.gradient_evaluations <= 40 * STRIDE

    def test_with_keep_last_nobody_leaves_early(self):
        outcome = attack(blind, Pgd(epsilon=0.1, steps=7, keep="last")).run(IMAGES, np.ones(40, np.int32))
        assert outcome.gradient_evaluations == 40 * 7


class TestTraces:
    def test_one_program_for_each_batch_shape_and_none_for_other_data(self):
        run = attack(linear, Pgd(epsilon=0.1, step_size=0.03, steps=3))
        assert run.traces == 0
        for x, y in ((IMAGES[:8], LABELS[:8]), (IMAGES[8:16], LABELS[8:16]), (1 - IMAGES[:8], LABELS[:8])):
            run(x, y)
            assert run.traces == 1
        run(IMAGES[:5], LABELS[:5])
        run(IMAGES[:8], LABELS[:8])
        assert run.traces == 2

    def test_a_queue_longer_than_the_slots_is_one_program(self):
        run = attack(linear, Pgd(epsilon=0.1, step_size=0.03, steps=3), batch_size=8)
        run(IMAGES, LABELS)
        assert run.traces == 1

    def test_at_the_end_of_the_queue_the_batch_halves_once_for_what_is_left(self):
        """Of 140 examples 120 are fooled at once; the 20 that cannot be, with epsilon 0, fit into 35 slots."""
        fooled = np.repeat([True, False], [120, 20])
        run = attack(linear, Pgd(epsilon=tuple(np.where(fooled, 1.0, 0.0)), step_size=1.0, steps=12))
        outcome = run.run(np.resize(IMAGES, [140, 2, 2, 1]), np.resize(LABELS, 140))
        np.testing.assert_array_equal(outcome.adversarial, fooled)
        assert outcome.gradient_evaluations == 120 * STRIDE + 20 * 12
        assert run.traces == 2


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_attack_changes_nothing_but_its_result(precision):
    """Neither weights nor moving averages nor dropout's seeds, no global setting, and not its arguments."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [layers.Input((2, 2, 1)), layers.Flatten(), layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(3)]
    )
    variables = [variable.numpy().copy() for variable in model.variables]
    x, y = IMAGES.copy(), LABELS.copy()
    settings = keras.config.dtype_policy().name, tf.config.optimizer.get_experimental_options()
    run = attack(model, Pgd(epsilon=0.1, step_size=0.03, steps=3), precision=precision)
    np.testing.assert_array_equal(run(x, y), run(x, y))  # Dropout does nothing.
    for variable, before in zip(model.variables, variables, strict=True):
        np.testing.assert_array_equal(variable.numpy(), before)
    policy, options = keras.config.dtype_policy().name, tf.config.optimizer.get_experimental_options()
    assert policy == settings[0]
    assert {name for name, value in options.items() if value} == {name for name, value in settings[1].items() if value}
    np.testing.assert_array_equal(x, IMAGES)
    np.testing.assert_array_equal(y, LABELS)


def test_a_keras_model_and_a_function_are_the_same_attack(linear_model):
    config = Pgd(epsilon=0.1, step_size=0.03, steps=3)
    kernel = linear_model.get_weights()[0]
    function = attack(lambda x: tf.reshape(x, [-1, 4]) @ kernel, config)
    np.testing.assert_allclose(attack(linear_model, config)(IMAGES, LABELS), function(IMAGES, LABELS), atol=1e-6)


def test_calling_it_gives_a_tensor_of_the_images_that_run_returns():
    run = attack(linear, Fgm(epsilon=0.1))
    assert tf.is_tensor(run(IMAGES, LABELS))
    np.testing.assert_array_equal(run(IMAGES, LABELS), run.run(IMAGES, LABELS).x_adv)


def test_labels_in_every_form_and_inputs_of_rank_two():
    run = attack(lambda x: linear(tf.reshape(x, [-1, 2, 2, 1])), Pgd(epsilon=0.1, step_size=0.03, steps=3))
    flat, expected = IMAGES.reshape(40, 4), attack(linear, run.config)(IMAGES, LABELS).numpy().reshape(40, 4)
    for labels in (LABELS, LABELS[:, None], tf.constant(LABELS, tf.int64), np.eye(3)[LABELS]):
        np.testing.assert_allclose(run(tf.constant(flat, tf.float64), labels), expected, atol=1e-6)


def test_a_batch_of_one():
    run = attack(linear, Pgd(epsilon=0.1, step_size=0.03, steps=3))
    outcome = run.run(IMAGES[:1], LABELS[:1])
    assert outcome.x_adv.shape == (1, 2, 2, 1)
    assert np.abs(outcome.x_adv - IMAGES[:1]).max() > 0.01


def test_progress_counts_the_finished_up_to_all():
    calls = []
    run = attack(linear, Pgd(epsilon=0.1, step_size=0.03, steps=7), batch_size=8)
    run.run(IMAGES, LABELS, progress=lambda done, total: calls.append((done, total)))
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert calls[-1] == (40, 40)
    assert len(set(done)) > 2


def softmax(x):
    return tf.nn.softmax(linear(x))


REFUSED_CALLS = {
    "8-bit images": ({"x": IMAGES * 255}, "x must lie in .* divide by 255"),
    "an empty batch": ({"x": IMAGES[:0], "y": LABELS[:0]}, "x must hold at least one image, got an empty batch"),
    "a label too many": ({"y": np.full(40, 3)}, r"y must lie in 0\.\.2, got labels from 3 to 3"),
    "too few labels": ({"y": LABELS[:3]}, "y must be one integer label for each of the 40 images"),
    "start's shape": ({"start": IMAGES[:3]}, r"start must have the shape of x, \(40, 2, 2, 1\), got \(3, 2, 2, 1\)"),
    "start's values": ({"start": IMAGES * np.nan}, "start must be finite"),
    "index's length": ({"index": [0, 1]}, r"index must hold one number for each of the 40 images, got shape \(2,\)"),
    "epsilon's length": ({"config": Pgd(epsilon=(0.1, 0.2))}, "epsilon must be .* each of the 40 examples, got 2"),
    "step_size's length": (
        {"config": Pgd(step_size=(0.1, 0.2))},
        "step_size must be .* each of the 40 examples, got 2",
    ),
    "probabilities": ({"model": softmax}, "the model gives probabilities .* remove the final softmax"),
    "two classes for dlr": (
        {"model": lambda x: linear(x)[:, :2], "y": LABELS % 2, "config": Pgd(objective="dlr")},
        "at least 3 classes, got 2 logits; use objective='margin'",
    ),
    "no gradient": ({"model": lambda x: linear(tf.round(x))}, "the model has no gradient with respect to its input"),
    "one logit": ({"model": lambda x: linear(x)[:, :1]}, r"classes >= 2\], got \(32, 1\)"),
}


@pytest.mark.parametrize(("change", "message"), REFUSED_CALLS.values(), ids=REFUSED_CALLS)
def test_arguments_that_do_not_fit_are_refused_with_the_remedy(change, message):
    given = {"model": linear, "config": Pgd(), "x": IMAGES, "y": LABELS, **change}
    run = attack(given.pop("model"), given.pop("config"))
    with pytest.raises(UserError, match=message):
        run.run(given.pop("x"), given.pop("y"), **given)


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match="batch_size must be at least 1, got 0"):
        attack(linear, Pgd(), batch_size=0)
    with pytest.raises(ValueError, match="jit must be one of"):
        attack(linear, Pgd(), jit="yes")
    with pytest.raises(ValueError, match="precision must be one of"):
        attack(linear, Pgd(), precision="float16")
