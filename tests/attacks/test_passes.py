"""precision="both": whatever is called a survivor has met the whole float32 search, at the least cost."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfadv import attacks, devices
from tfadv.attacks import passes
from tfadv.attacks.passes import TwoPasses, bind
from tfadv.validation import UserError

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(16, 4)).astype(np.float32)
X = RNG.random((60, 4, 4, 1), np.float32)


def model(x):
    return (tf.reshape(x, [-1, 16]) - 0.5) @ WEIGHTS


Y = model(X).numpy().argmax(axis=1).astype(np.int32)


def both(epsilon, config=None):
    config = config or attacks.Pgd(epsilon, epsilon / 2, 6, seed=3)
    return TwoPasses(model, config, jit="off", batch_size=16)


def alone(epsilon):
    config = attacks.Pgd(epsilon, epsilon / 2, 6, seed=3)
    return attacks.compiled(model, config, jit="off", precision="float32", batch_size=16).run(X, Y)


def test_where_most_of_the_pilot_survive_it_is_the_float32_search_and_says_why():
    found, expected = both(0.005).run(X, Y), alone(0.005)
    assert 0.5 < (~expected.adversarial).mean() < 1
    np.testing.assert_array_equal(found.x_adv, expected.x_adv)
    np.testing.assert_array_equal(found.adversarial, expected.adversarial)
    survivors = int((~found.adversarial).sum())
    assert found.precision == f"float32 ({survivors} of 60 survived a bfloat16 pilot)"
    assert found.gradient_evaluations > expected.gradient_evaluations  # The pilot is counted too.


def test_where_few_survive_both_searches_run_and_what_is_left_survived_both(monkeypatch):
    """On 5 examples a first pass finds nothing (its arithmetic is stubbed): the second finds what float32 finds."""
    two, expected = both(0.05), alone(0.05)
    assert (~expected.adversarial).mean() < 0.4
    found = two.run(X, Y)
    assert found.precision.startswith("bfloat16, what it left again in float32 (")
    assert not (expected.adversarial & ~found.adversarial).any()
    first = two._first.run

    def blind(x, y, start=None, *, index, progress=None, state=None):
        outcome = first(x, y, start, index=index)
        lost = np.isin(index, np.arange(5))
        outcome.adversarial[lost] = outcome.ever_adversarial[lost] = False
        outcome.x_adv[lost] = x[lost]
        return outcome

    monkeypatch.setattr(two._first, "run", blind)
    done = []
    repaired = two.run(X, Y, progress=lambda finished, total: done.append((finished, total)))
    np.testing.assert_array_equal(repaired.adversarial[:5], expected.adversarial[:5])
    np.testing.assert_array_equal(repaired.x_adv[:5], expected.x_adv[:5])
    assert repaired.adversarial.any()
    assert done[-1] == (60, 60)
    assert two.succeeds(X, Y, repaired.x_adv).tolist() == repaired.adversarial.tolist()


def test_an_attack_that_never_searches_in_bfloat16_runs_once():
    found = both(0.0, attacks.Square(0.02, 30)).run(X, Y)
    assert found.precision == "float32"
    assert both(0.0, attacks.DeepFool()).run(X[:4], Y[:4]).precision == "float32"
    radii = attacks.Pgd(tuple(np.linspace(0, 0.1, 60).tolist()), 0.02, 4)
    assert both(0.0, radii).run(X, Y).precision == "float32"


def test_a_suite_and_an_evaluation_take_it_and_report_it():
    from tfadv.evaluation import evaluate

    cascade = attacks.Cascade(model, [attacks.Pgd(0.05, 0.02, 4), attacks.Square(0.05, 30)], precision="both")
    stages = cascade.run(X, Y).stages
    assert "what it left again in float32" in stages[0].precision
    assert stages[1].precision == "float32"
    report = evaluate(model, (X, Y), 0.05, suite="quick", precision="both")
    assert any("what it left again in float32" in row.precision for row in report.rows)
    json.dumps(report.to_json())


def test_binding_by_name():
    config = attacks.Pgd(0.1)
    assert isinstance(bind(model, config, jit="off", precision="both", batch_size=None), TwoPasses)
    assert bind(model, config, jit="off", precision="float32", batch_size=None).precision == "float32"
    assert set(passes.PRECISIONS) == {*devices.PRECISIONS, "both"}
    with pytest.raises(
        UserError, match=r"precision must be one of \['auto', 'bfloat16', 'both', 'float32'\], got 'half'"
    ):
        bind(model, config, jit="off", precision="half", batch_size=None)
