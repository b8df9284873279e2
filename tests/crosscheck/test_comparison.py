"""The rules of a comparison of strength, with peers made for the purpose; the real ones are in their own tests."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest

from tfadv.attacks import Fgm, Pgd
from tfadv.attacks.deep_fool import DeepFool
from tfadv.attacks.jsma import Jsma
from tfadv.attacks.square import Square
from tfadv.crosscheck import PEERS, comparison
from tfadv.crosscheck.comparison import Row, Strength, compare, table
from tfadv.crosscheck.peers import NotShared, Peer, by_batch
from tfadv.validation import UserError


def peer_of(kind, attack, **changes):
    """A library with one attack, (model, x, y, config, start) -> x_adv."""
    return Peer(
        name="Other", packages=("numpy",), load=lambda model: model, attacks={kind: by_batch(attack)}, **changes
    )


def only_row(model, examples, config, peer, **options):
    strength = compare(model, examples.x, examples.y, [config], {"other": peer}, report=lambda _: None, **options)
    assert strength.not_compared == ()
    (row,) = strength.rows
    return row


def made(**changes):
    same = {"attack": "a", "peer": "p", "examples": 1000, "success": 0.5, "peer_success": 0.5}
    rest = {"distance": None, "peer_distance": None, "share_of_equal_flags": None, "differs": None}
    return Row(**{**same, **rest, **changes})


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "passes"),
        ({"success": 0.9, "peer_success": 0.902}, "passes"),
        ({"success": 0.9, "peer_success": 0.903}, "WEAKER"),
        ({"success": 0.9, "peer_success": 0.908, "seeds": 4, "error": 0.003}, "passes"),
        ({"success": 0.9, "peer_success": 0.909, "seeds": 4, "error": 0.003}, "WEAKER"),
        ({"distance": 1.02, "peer_distance": 1.0}, "passes"),
        ({"distance": 1.021, "peer_distance": 1.0}, "WEAKER"),
        ({"distance": math.inf, "peer_distance": 1.0}, "WEAKER"),
        ({"distance": math.inf, "peer_distance": math.inf}, "passes"),
        ({"distance": 0.5, "peer_distance": 1.0, "success": 0.4}, "WEAKER"),
        ({"share_of_equal_flags": 0.995}, "passes"),
        ({"share_of_equal_flags": 0.994}, "DISAGREES"),
        ({"share_of_equal_flags": 0.994, "success": 0.4}, "WEAKER"),
    ],
)
def test_the_limits_are_as_stated(changes, verdict):
    assert made(**changes).verdict == verdict


def test_the_same_step_passes_and_repeats(linear_net, examples):
    """x + epsilon * sign(gradient of the margin), worked by hand, beside our FGM of the same objective."""
    weights = linear_net.get_weights()[0]

    def step(model, x, y, config, start):
        assert start is None
        logits = x.reshape(len(x), 64) @ weights
        logits[np.arange(len(x)), y] = -np.inf
        ascent = np.sign(weights.T[logits.argmax(axis=1)] - weights.T[y]).reshape(x.shape)
        return (x + config.epsilon * ascent).astype(np.float32)

    row = only_row(linear_net, examples, Fgm(epsilon=0.01, objective="margin"), peer_of("Fgm", step))
    assert (row.verdict, row.share_of_equal_flags, row.examples) == ("passes", 1.0, 40)
    assert row.success == row.peer_success
    assert 0 < row.success < 1
    assert row.distance is None


def test_a_peer_that_does_nothing_repeats_nothing(linear_net, examples):
    idle = peer_of("Fgm", lambda model, x, y, config, start: x)
    row = only_row(linear_net, examples, Fgm(epsilon=0.01, objective="margin"), idle)
    assert (row.peer_success, row.verdict) == (0.0, "DISAGREES")
    assert row.share_of_equal_flags == pytest.approx(1 - row.success)
    differing = dataclasses.replace(idle, differs={"Fgm": "it does nothing"})
    row = only_row(linear_net, examples, Fgm(epsilon=0.01, objective="margin"), differing)
    assert (row.verdict, row.share_of_equal_flags, row.differs) == ("passes", None, "it does nothing")


def test_a_start_is_given_to_those_who_take_one_and_the_last_iterates_are_compared(linear_net, examples):
    """With a step of 0 the last iterate is the start itself, whichever examples our best iterate gives back."""
    config, starts = Pgd(epsilon=0.3, step_size=0.0, steps=1, seed=5), []

    def stay(model, x, y, config, start):
        starts.append(start)
        return x if start is None else start

    row = only_row(linear_net, examples, config, peer_of("Pgd", stay, takes_start=("Pgd",)), batch_size=40)
    assert row.share_of_equal_flags == 1.0
    assert row.peer_success > 0
    assert np.abs(starts[0] - examples.x).max() <= 0.3 + 1e-6
    row = only_row(linear_net, examples, config, peer_of("Pgd", stay))
    assert row.share_of_equal_flags is None
    assert starts[1] is None


def test_the_closest_is_judged_by_the_median_distance(linear_net, examples):
    """A peer that goes 10% further than the nearest hyperplane beats no one; one that is right is matched."""
    weights = linear_net.get_weights()[0]

    def step(beyond):
        def attack(model, x, y, config, start):
            logits, best = x.reshape(len(x), 64) @ weights, x.copy()
            for row, (scores, label) in enumerate(zip(logits, y, strict=True)):
                others = [k for k in range(4) if k != label]
                normals = {k: weights[:, k] - weights[:, label] for k in others}
                near = min(others, key=lambda k: (scores[label] - scores[k]) / np.linalg.norm(normals[k]))
                way = (scores[label] - scores[near]) / np.sum(normals[near] ** 2) * normals[near]
                best[row] = x[row] + beyond * way.reshape(x.shape[1:])
            return best

        return peer_of("DeepFool", attack)

    config = DeepFool(overshoot=0.01)
    exact = only_row(linear_net, examples, config, step(1.001))
    assert exact.peer_distance == pytest.approx(1.001 * np.median(examples.l2), rel=1e-3)
    assert (exact.peer_success, exact.verdict) == (1.0, "passes")
    touching = only_row(linear_net, examples, config, step(0.9995))
    assert touching.peer_success == 1.0
    assert touching.peer_distance == pytest.approx(1.0005 * np.median(examples.l2), rel=1e-4)
    assert exact.distance == pytest.approx(1.01 * np.median(examples.l2), rel=5e-3)
    further = only_row(linear_net, examples, DeepFool(overshoot=0.05), step(1.001))
    assert further.verdict == "WEAKER"
    short = only_row(linear_net, examples, config, step(0.9))
    assert (short.peer_success, short.peer_distance, short.verdict) == (0.0, math.inf, "passes")
    assert short.to_dict()["peer_distance"] is None


def test_a_targeted_attack_goes_for_the_next_class(linear_net, examples):
    seen = []
    peer = peer_of("Jsma", lambda model, x, y, config, start: seen.append(y) or x)
    row = only_row(linear_net, examples, Jsma(gamma=1.0), peer, batch_size=40)
    np.testing.assert_array_equal(seen[0], (examples.y + 1) % 4)
    assert (row.peer_success, row.distance) == (0.0, None)


def test_what_is_not_compared_is_said_and_the_rest_goes_on(linear_net, examples):
    def fails(model, x, y, config, start):
        raise RuntimeError("out of luck")

    def refuses(model, x, y, config, start):
        raise NotShared("not in this norm")

    named = {
        "a": dataclasses.replace(peer_of("Fgm", fails), name="Fails"),
        "b": dataclasses.replace(peer_of("Fgm", refuses), name="Refuses"),
        "c": dataclasses.replace(peer_of("Pgd", fails), name="Broken", broken={"Fgm": "by Keras 3"}),
        "d": dataclasses.replace(peer_of("Fgm", lambda model, x, y, config, start: x), name="Works"),
    }
    configs = [Fgm(epsilon=0.1), Square(queries=1)]
    strength = compare(linear_net, examples.x, examples.y, configs, named, report=lambda _: None)
    assert [row.peer for row in strength.rows] == ["Works"]
    assert strength.not_compared == (
        ("FGM linf 0.1", "Fails", "failed with RuntimeError: out of luck"),
        ("FGM linf 0.1", "Refuses", "not in this norm"),
        ("FGM linf 0.1", "Broken", "its Fgm is broken: by Keras 3"),
        ("Square-1 linf 0.0313725", "all", "none of them has such an attack"),
    )
    text = table(strength)
    assert "not compared: FGM linf 0.1, Broken: its Fgm is broken: by Keras 3" in text
    json.dumps(strength.to_dict(), allow_nan=False)


def test_the_table_shows_every_number_and_note():
    rows = (made(distance=0.5, peer_distance=math.inf), made(peer="q", differs="it overshoots", success=0.1))
    text = table(Strength(rows, (), {"tfadv": "1", "other": "2"}))
    lines = text.splitlines()
    assert lines[1].split() == ["a", "p", "1000", "1", "50.00%", "50.00%", "0.5", "inf", "passes"]
    assert lines[2].split()[1] == "q*"
    assert lines[2].endswith("WEAKER")
    assert lines[3:] == ["* a, q: it overshoots", "tfadv 1, other 2"]


def test_versions_are_ours_and_the_peers():
    found = comparison.versions([Peer(name="p", packages=("pytest",), load=len, attacks={})])
    assert list(found) == ["tfadv", "tensorflow", "keras", "numpy", "pytest"]
    assert found["keras"] == keras.__version__


def test_a_peer_that_is_not_installed_ends_it_before_anything_runs(linear_net, examples):
    def missing(model):
        raise UserError("pip install it")

    peer = dataclasses.replace(PEERS["foolbox"], load=missing)
    with pytest.raises(UserError, match="pip install it"):
        compare(linear_net, examples.x, examples.y, [Fgm()], {"foolbox": peer})


def test_cleverhans_is_compared_with(linear_net, examples):
    configs = [Fgm(epsilon=0.01), Pgd(epsilon=0.01, step_size=0.005, steps=4)]
    peers = {"cleverhans": PEERS["cleverhans"]}
    strength = compare(linear_net, examples.x, examples.y, configs, peers, report=lambda _: None)
    assert [(row.verdict, row.share_of_equal_flags) for row in strength.rows] == [("passes", 1.0)] * 2
    assert "cleverhans" in strength.versions


def test_where_both_draw_their_own_numbers_means_over_seeds_are_compared(linear_net, examples):
    """The peer fools the first 5, 6 and 7 examples: by its seeds 3, 4 and 5."""
    fooled = np.roll(examples.x, 1, axis=0)
    seeds = []

    def attack(model, x, y, config, start):
        seeds.append(config.seed)
        return np.where(np.arange(len(x))[:, None, None, None] < config.seed + 2, fooled, x)

    config = Pgd(epsilon=1.0, step_size=0.0, steps=1, seed=3)
    row = only_row(linear_net, examples, config, peer_of("Pgd", attack), seeds=3)
    assert seeds == [3, 4, 5]
    assert row.seeds == 3
    single = [
        only_row(linear_net, examples, dataclasses.replace(config, seed=seed), peer_of("Pgd", attack))
        for seed in (3, 4, 5)
    ]
    own, shares = [each.success for each in single], [each.peer_success for each in single]
    assert 0 < shares[0] < shares[2] <= 7 / 40
    assert row.success == pytest.approx(np.mean(own))
    assert row.peer_success == pytest.approx(np.mean(shares))
    assert row.error == pytest.approx(np.sqrt((np.var(own, ddof=1) + np.var(shares, ddof=1)) / 3))
    shared = only_row(linear_net, examples, config, peer_of("Pgd", attack, takes_start=("Pgd",)), seeds=3)
    assert (shared.seeds, shared.error) == (1, None)
