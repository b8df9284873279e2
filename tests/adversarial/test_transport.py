"""Sinkhorn's iteration: marginals, known plans, the linear program that it approaches, and its gradient."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import linprog

from tfadv.adversarial.transport import cosine_cost, sinkhorn, transport_cost

RNG = np.random.default_rng(3)
COST = RNG.random((5, 5)).astype(np.float32)
PRECISE = {"iterations": 1_000, "tolerance": 1e-5}


@functools.cache
def precise(regularization):
    """cost -> the plan, in a graph because of the many iterations."""
    return tf.function(lambda cost: sinkhorn(cost, regularization=regularization, **PRECISE), reduce_retracing=True)


def test_costs_are_one_minus_the_cosine_at_any_length():
    a = tf.constant([[1.0, 0.0], [0.0, 3.0]])
    b = tf.constant([[2.0, 0.0], [-5.0, 0.0], [1.0, 1.0]])
    half = 1 - np.sqrt(0.5)
    np.testing.assert_allclose(cosine_cost(a, b), [[0, 2, half], [1, 1, half]], atol=1e-6)
    np.testing.assert_allclose(cosine_cost(a * 1e-3, b * 1e3), cosine_cost(a, b), atol=1e-6)


def test_logits_of_length_0_cost_1_and_have_a_finite_gradient():
    a = tf.Variable(tf.zeros([2, 3]))
    with tf.GradientTape() as tape:
        cost = cosine_cost(a, tf.constant([[1.0, 2.0, 3.0]]))
        total = tf.reduce_sum(cost)
    np.testing.assert_allclose(cost, 1.0)
    assert np.isfinite(tape.gradient(total, a)).all()


@pytest.mark.parametrize("regularization", [0.05, 0.2])
@pytest.mark.parametrize("shape", [(5, 5), (4, 6)])
def test_the_plan_has_the_marginals_that_it_transports(shape, regularization):
    cost = RNG.random(shape).astype(np.float32)
    plan = precise(regularization)(tf.constant(cost)).numpy()
    assert plan.min() >= 0
    np.testing.assert_allclose(plan.sum(axis=0), 1 / shape[1], rtol=1e-4)
    np.testing.assert_allclose(plan.sum(axis=1), 1 / shape[0], rtol=1e-3)


def test_the_fixed_point_is_the_regularized_optimum():
    """T = diag(a) exp(-C / r) diag(b): the logarithm of T + C / r is a sum of a row's and a column's number."""
    plan = precise(0.2)(tf.constant(COST)).numpy().astype(np.float64)
    rest = np.log(plan) + COST / 0.2
    np.testing.assert_allclose(rest - rest.mean(axis=0) - rest.mean(axis=1, keepdims=True) + rest.mean(), 0, atol=1e-4)


def test_two_by_two_in_closed_form():
    """Cost (0, c; c, 0): by symmetry the plan is (s, 1/2 - s; ...), with s / (1/2 - s) = exp(c / r)."""
    plan = precise(0.2)(tf.constant([[0.0, 0.3], [0.3, 0.0]]))
    odds = np.exp(0.3 / 0.2)
    np.testing.assert_allclose(plan, [[0.5 * odds, 0.5], [0.5, 0.5 * odds]] / (1 + odds), rtol=1e-4)


def test_equal_costs_give_the_uniform_plan_and_far_apart_points_the_identity():
    np.testing.assert_allclose(sinkhorn(tf.fill([3, 4], 0.7)), 1 / 12, rtol=1e-4)
    np.testing.assert_allclose(sinkhorn(1.0 - tf.eye(4)), np.eye(4) / 4, atol=1e-5)


def test_as_the_regularization_falls_the_cost_falls_to_that_of_the_linear_program():
    """min sum(T C) over T >= 0 with rows and columns of 1/5; the entropy never exceeds 2 log 5."""
    rows, columns = np.kron(np.eye(5), np.ones(5)), np.kron(np.ones(5), np.eye(5))
    best = linprog(COST.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.full(10, 0.2)).fun
    previous = np.inf
    for regularization in (0.5, 0.1, 0.02):
        plan = precise(regularization)(tf.constant(COST)).numpy()
        found = float((plan * COST).sum())
        assert best - 1e-4 <= found <= best + regularization * np.log(5)
        assert found < previous
        previous = found


def by_hand(cost, iterations, tolerance=0.1, regularization=0.01):
    """(plan, number of iterations): the loop in float64, as it is written in the docstring."""
    m, n = cost.shape
    u, v = np.zeros(m), np.zeros(n)
    number, change = 0, np.inf
    while change >= tolerance and number < iterations:
        number += 1
        exponent = (u[:, None] + v - cost) / regularization
        new_u = u + regularization * (np.log(1 / m) - np.log(np.exp(exponent).sum(axis=1) + 1e-6))
        exponent = (new_u[:, None] + v - cost) / regularization
        v = v + regularization * (np.log(1 / n) - np.log(np.exp(exponent).sum(axis=0) + 1e-6))
        change, u = np.abs(new_u - u).sum(), new_u
    return np.exp((u[:, None] + v - cost) / regularization), number


@pytest.mark.parametrize(("iterations", "expected"), [(1, 1), (2, 2), (100, None)])
def test_the_defaults_are_the_authors_loop_with_its_early_stop(iterations, expected):
    """Costs of a batch of ten: the summed change falls below 0.1 after some, but not after 100."""
    cost = cosine_cost(RNG.normal(size=(10, 4)), RNG.normal(size=(10, 4))).numpy()
    plan, number = by_hand(cost.astype(np.float64), iterations)
    assert number == expected or (expected is None and 2 < number < 100)
    np.testing.assert_allclose(sinkhorn(tf.constant(cost), iterations=iterations), plan, rtol=2e-3, atol=1e-6)


def test_the_gradient_flows_through_the_plan():
    """Central differences of sum(T C) with the plan following the cost; a constant plan would give T itself."""
    cost = tf.constant(COST[:3, :3])
    settings = {"regularization": 0.1, "iterations": 20, "tolerance": 0.0}

    def value(cost):
        return tf.reduce_sum(sinkhorn(cost, **settings) * cost)

    with tf.GradientTape() as tape:
        tape.watch(cost)
        total = value(cost)
    found = tape.gradient(total, cost).numpy()
    expected = np.zeros((3, 3))
    for place in np.ndindex(3, 3):
        step = np.zeros((3, 3), np.float32)
        step[place] = 1e-2
        expected[place] = (value(cost + step) - value(cost - step)) / 2e-2
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert np.abs(found - sinkhorn(cost, **settings)).max() > 0.05


def test_the_transport_cost_is_differentiated_through_its_plan_too():
    """With the plan held constant the gradient would be another."""
    a = tf.constant(RNG.normal(size=(6, 4)), tf.float32)
    b = tf.Variable(a + 0.3 * tf.constant(RNG.normal(size=(6, 4)), tf.float32))
    with tf.GradientTape(persistent=True) as tape:
        cost = cosine_cost(a, b)
        plan = sinkhorn(cost)
        whole, fixed = tf.reduce_sum(plan * cost), tf.reduce_sum(tf.stop_gradient(plan) * cost)
        found = transport_cost(a, b)
    gradient = tape.gradient(found, b)
    np.testing.assert_allclose(gradient, tape.gradient(whole, b), atol=1e-6)
    assert np.abs(gradient - tape.gradient(fixed, b)).max() > 1e-3


def test_equal_batches_cost_nothing_and_the_cost_forgets_the_order():
    logits = tf.constant(RNG.normal(size=(6, 4)), tf.float32) * 5.0
    other = tf.constant(RNG.normal(size=(6, 4)), tf.float32)
    assert abs(float(transport_cost(logits, logits))) < 5e-3
    assert float(transport_cost(logits, other)) == pytest.approx(float(transport_cost(logits, other[::-1])), rel=1e-4)
    assert float(transport_cost(logits, -logits)) > 0.1


@pytest.mark.slow
def test_xla_gives_the_same_cost_and_gradient():
    a, b = (tf.constant(RNG.normal(size=(6, 4)), tf.float32) for _ in range(2))

    def both(b):
        with tf.GradientTape() as tape:
            tape.watch(b)
            cost = transport_cost(a, b)
        return cost, tape.gradient(cost, b)

    for one, two in zip(both(b), tf.function(both, jit_compile=True)(b), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)
