"""Auto-PGD move by move against its published pseudo-code, written anew for one example in float64."""

import numpy as np
import pytest
import tensorflow as tf

from tfadv.attacks import search
from tfadv.attacks.apgd import Apgd

_DRAWN = np.random.default_rng(3)
FIRST = (1.5 * _DRAWN.normal(size=(8, 12))).astype(np.float32)
SECOND = _DRAWN.normal(size=(12, 5)).astype(np.float32)
X = _DRAWN.uniform(size=(32, 8)).astype(np.float32)


def net(x):
    """A smooth model of 8 inputs and 5 classes with many maxima."""
    return tf.tanh((x - 0.5) @ FIRST) @ SECOND


class Published:
    """The momentum search of one example, step by step, by the paper's names; it is told f and its gradient."""

    def __init__(self, x, epsilon, norm, steps):
        self.x, self.epsilon, self.norm, self.events = x, epsilon, norm, []
        # p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06)
        p = [0.0, 0.22]
        while p[-1] < 1:
            p.append(p[-1] + max(p[-1] - p[-2] - 0.03, 0.06))
        self.w = sorted({int(np.ceil(round(each * steps, 6))) for each in p})

    def direction(self, gradient):
        return np.sign(gradient) if self.norm == "linf" else gradient / max(np.linalg.norm(gradient), 1e-30)

    def project(self, point):
        delta = point - self.x
        if self.norm == "linf":
            delta = np.clip(delta, -self.epsilon, self.epsilon)
        else:
            delta = delta * min(1.0, self.epsilon / max(np.linalg.norm(delta), 1e-12))
        return np.clip(self.x + delta, 0, 1)

    def points(self, point, f, gradient):
        """Yields x_1, x_2, ..., and is sent (x_k, f, gradient) there."""
        eta, before, halved = 2 * self.epsilon, point, True
        f_max, x_max, gradient_max = f, point, gradient
        history, f_max_checked = [0.0], None
        k = 0
        while True:
            z = self.project(point + eta * self.direction(gradient))
            if k > 0:
                z = self.project(point + 0.75 * (z - point) + 0.25 * (point - before))
            before = point
            point, f, gradient = yield z
            k += 1
            history.append(f)
            if f > f_max:
                f_max, x_max, gradient_max = f, point, gradient
            if k in self.w:
                last = self.w[self.w.index(k) - 1]
                rising = sum(history[i + 1] > history[i] for i in range(last, k))
                oscillates = rising <= 0.75 * (k - last)
                stuck = not halved and f_max_checked >= f_max
                self.events.append("oscillates" if oscillates else "stuck" if stuck else "goes on")
                halved = oscillates or stuck
                if halved:
                    eta, point, gradient = eta / 2, x_max, gradient_max
                f_max_checked = f_max


class PublishedSparse:
    """The l1 search of one example, in the same form."""

    def __init__(self, x, epsilon, norm, steps):
        assert norm == "l1"
        part = int(np.ceil(0.3 * steps))
        self.x, self.epsilon, self.events = x, epsilon, []
        self.parts = [(3 * epsilon, part), (2 * epsilon, part), (epsilon, steps - 2 * part)]

    def project(self, point, radius):
        """Nearest point of ball and box: sign(delta) min(max(|delta| - t, 0), room) with t by halving."""
        delta = point - self.x
        room = np.where(delta > 0, 1 - self.x, self.x)
        low, high = 0.0, float(np.abs(delta).max())
        if np.minimum(np.abs(delta), room).sum() <= radius:
            high = 0.0
        for _ in range(40):
            middle = (low + high) / 2
            inside = np.minimum(np.maximum(np.abs(delta) - middle, 0), room).sum() <= radius
            low, high = (low, middle) if inside else (middle, high)
        return self.x + np.sign(delta) * np.minimum(np.maximum(np.abs(delta) - high, 0), room)

    def points(self, point, f, gradient):
        x_max = None
        for radius, steps in self.parts:
            if x_max is not None:
                point, f, gradient = yield self.project(x_max, radius)
            f_max, x_max, gradient_max = f, point, gradient
            eta, support = radius, np.count_nonzero(point - self.x)
            for i in range(steps):
                count = max(int(np.ceil(round(2 * support / 3, 6))), 1)
                least = np.sort(np.abs(gradient))[-count]
                sparse = np.sign(gradient) * (np.abs(gradient) >= least)
                point, f, gradient = yield self.project(point + eta * sparse / np.abs(sparse).sum(), radius)
                if f > f_max:
                    f_max, x_max, gradient_max = f, point, gradient
                if (i + 1) % max(int(0.04 * steps), 1) == 0:
                    now = np.count_nonzero(x_max - self.x)
                    sparser = now / max(support, 1e-9) < 0.95
                    self.events.append("sparser" if sparser else "not sparser")
                    eta = radius if sparser else max(eta / 1.5, radius / 10)
                    if sparser:
                        point, gradient = x_max, gradient_max
                    support = now


@pytest.mark.parametrize(
    ("config", "oracle", "events"),
    [
        (Apgd(epsilon=0.4, steps=40), Published, {"oscillates", "goes on"}),
        (
            Apgd(epsilon=0.6, steps=100, norm="l2", objective="targeted_dlr"),
            Published,
            {"oscillates", "stuck", "goes on"},
        ),
        (Apgd(epsilon=0.4, steps=170, norm="l1"), PublishedSparse, {"sparser", "not sparser"}),
    ],
    ids=lambda value: getattr(value, "norm", ""),
)
def test_every_move_is_that_of_the_published_pseudo_code(config, oracle, events):
    """The oracle is told what was seen at each point, so that no rounding adds up and flips a sign."""
    x = tf.constant(X)
    problem = search.problem_of(config, x, tf.argmax(net(x), axis=1, output_type=tf.int32))

    @tf.function(autograph=False)
    def move(state):
        measured = config.measure(net, problem, state)
        value = config.ascended(problem, state, measured.logits)
        return (state.x_adv, value, measured.gradient), search.follow(
            config, problem, state, measured, tf.fill([len(X)], config.moves)
        )

    state = config.begin(net, problem, config.draw(problem))
    oracles = [oracle(x.astype(np.float64), config.epsilon, config.norm, config.steps) for x in X]
    walks = []
    for _ in range(config.moves):
        seen, state = move(state)
        told = list(zip(*(part.numpy().astype(np.float64) for part in seen), strict=True))
        if walks:
            expected = [walk.send(point) for walk, point in zip(walks, told, strict=True)]
        else:
            walks = [each.points(*start) for each, start in zip(oracles, told, strict=True)]
            expected = [next(walk) for walk in walks]
        np.testing.assert_allclose(state.x_adv, expected, atol=2e-6)
    assert {event for each in oracles for event in each.events} == events
