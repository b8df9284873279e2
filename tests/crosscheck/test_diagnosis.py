"""What agrees and why something does not, on logits and images written down by hand: two classes, four pixels."""

import dataclasses

import numpy as np
import pytest

from tfadv.attacks import Fgm, Pgd
from tfadv.crosscheck.diagnosis import Attacked, Made, verification

N = 200
X = np.full([N, 2, 2, 1], 0.5, np.float32)
Y = np.zeros(N, np.int32)
INDEX = np.arange(N) + 3
STEP = Fgm(epsilon=0.1)
STEPS = Pgd(epsilon=0.1, step_size=0.05, steps=4, keep="last")
FOOLED = np.arange(N) % 2 == 0


def logits_of(fooled, largest=4.0):
    """[N, 2]: class 1 wins where the model is fooled."""
    return np.where(np.asarray(fooled)[:, None], [[-1.0, largest]], [[largest, -1.0]]).astype(np.float32)


def made(library="tfadv", framework="TensorFlow", fooled=FOOLED, *, config=STEPS, x_adv=None, one_step=None, **logits):
    """An attack; other frameworks say the same of its images unless `logits` say otherwise."""
    return Made(
        config,
        library,
        framework,
        x_adv=X + 0.1 if x_adv is None else x_adv,
        start=X,
        one_step=X + 0.05 if one_step is None else one_step,
        logits={name: logits_of(fooled) for name in ("TensorFlow", "PyTorch")} | logits,
    )


def compared(*all_made, **clean):
    clean = {name: logits_of(np.zeros(N, bool)) for name in ("TensorFlow", "PyTorch")} | clean
    return verification(all_made, Attacked(X, Y, INDEX, 210, clean))


def without(flags, count):
    """The flags with the first `count` of them turned."""
    return np.where(np.arange(N) < count, ~flags, flags)


def test_equal_flags_and_logits_are_verified():
    found = compared(made(), made("CleverHans"), made("torchattacks", "PyTorch"))
    assert found.verdict == "verified"
    assert found.peers == ["CleverHans in TensorFlow", "torchattacks in PyTorch"]
    assert [row.verdict for row in found.rows] == ["reference", "agrees", "agrees"]
    assert [row.equal_flags for row in found.rows] == [None, 1.0, 1.0]
    assert (found.images, found.attacked, found.disagreements) == (210, N, ())
    assert found.clean == {"TensorFlow": 1.0, "PyTorch": 1.0}
    assert found.logits == {("TensorFlow", "PyTorch"): 0.0}


@pytest.mark.parametrize(("turned", "verdict"), [(1, "agrees"), (2, "DISAGREES")])
def test_of_200_flags_one_may_differ(turned, verdict):
    """199 / 200 = 99.5%."""
    found = compared(made(), made("CleverHans", fooled=without(FOOLED, turned)))
    assert found.rows[1].verdict == verdict
    assert found.rows[1].equal_flags == pytest.approx(1 - turned / 200)
    assert found.verdict == ("verified" if verdict == "agrees" else "DISAGREES")


def test_other_logits_are_the_models_fault_and_named_first():
    """The largest logit is 4, so 0.004 is 1e-3 of it; flags that differ there are put down to that."""
    other = logits_of(FOOLED)
    other[7:9] += 0.004
    peer = made("torchattacks", "PyTorch", fooled=without(FOOLED, 3), PyTorch=logits_of(without(FOOLED, 3)))
    found = compared(made(PyTorch=other), peer)
    assert found.logits["TensorFlow", "PyTorch"] == pytest.approx(1e-3, rel=1e-2)
    first, flags = found.disagreements
    assert (first.attack, first.pair, first.examples) == ("logits", ("TensorFlow", "PyTorch"), (10, 11))
    assert first.cause == "the model: its logits differ between TensorFlow and PyTorch by 1.0e-03 of the largest"
    assert flags.pair == ("tfadv in TensorFlow", "torchattacks in PyTorch")
    assert flags.examples == (3, 4, 5)
    assert flags.cause == first.cause


def test_logits_may_differ_by_rounding():
    found = compared(made(), made("Foolbox", "PyTorch"), PyTorch=logits_of(np.zeros(N, bool)) * (1 + 1e-5))
    assert found.verdict == "verified"
    assert found.logits["TensorFlow", "PyTorch"] == pytest.approx(1e-5, rel=0.1)


def test_logits_that_are_not_numbers_are_no_agreement():
    broken = logits_of(np.zeros(N, bool))
    broken[5] = np.nan
    found = compared(made(), PyTorch=broken)
    assert [each.examples for each in found.disagreements] == [(8,)]


def test_images_that_another_framework_classifies_otherwise():
    """Where both have almost the same logits, two classes tie."""
    tied = np.where(FOOLED[:, None], [[1.0, 1.00001]], [[2.0, 0.0]]).astype(np.float32)
    other = np.where(FOOLED[:, None], [[1.00001, 1.0]], [[2.0, 0.0]]).astype(np.float32)
    found = compared(made(TensorFlow=tied, PyTorch=other))
    (each,) = found.disagreements
    assert each.pair == ("tfadv in TensorFlow", "the model in PyTorch")
    assert each.examples == tuple(range(3, 203, 2))
    assert each.cause.startswith("rounding: the logits are the same")
    assert found.rows[0].verdict == "DISAGREES"
    assert found.matrix() == {"TensorFlow": {"PyTorch": 0.5}}


CAUSES = {
    "a budget that is left": (
        {"x_adv": X + 0.3},
        f"the budget: same logits, but {N // 2} of these images are misclassified outside ball or box",
    ),
    "a step of half the size": (
        {"one_step": X + 0.025, "fooled": without(FOOLED, 50)},
        "already one step ends 50% of its length away",
    ),
    "a step the other way": ({"one_step": X - 0.05, "fooled": without(FOOLED, 2)}, "ends 200% of its length away"),
    "other steps later": ({"fooled": without(FOOLED, 50)}, "same first step, but other steps after it"),
    "a few flipped signs": ({"fooled": without(FOOLED, 2)}, "rounding: same logits and about the same first step"),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_likely_cause_of(name):
    changes, cause = CAUSES[name]
    found = compared(made(), made("CleverHans", **changes))
    (each,) = found.disagreements
    assert cause in each.cause
    assert each.pair == ("tfadv in TensorFlow", "CleverHans in TensorFlow")


def test_a_known_departure_is_neither_agreement_nor_disagreement():
    departs = made("Foolbox", fooled=without(FOOLED, 50))
    found = compared(made(), dataclasses.replace(departs, differs="projects onto the ball first"))
    assert (found.rows[1].verdict, found.disagreements) == ("differs*", ())
    assert (found.verdict, found.peers) == ("nothing compared", [])


def test_without_ours_nothing_is_compared():
    found = compared(made("CleverHans"))
    assert (found.rows[0].verdict, found.verdict) == ("alone", "nothing compared")
    assert compared().verdict == "nothing compared"


def test_each_config_has_its_own_reference():
    found = compared(made(config=STEP), made(fooled=~FOOLED), made("ART", fooled=~FOOLED), made("ART", config=STEP))
    assert [row.verdict for row in found.rows] == ["reference", "reference", "agrees", "agrees"]


def test_pixels_are_told():
    """One image of 200 moved by 0.01; a step is 0.05 in each of 4 pixels."""
    moved, step = X + 0.1, X + 0.05
    moved[4, 0, 0, 0] += 0.01
    row = compared(made(), made("ART", x_adv=moved, one_step=step + 0.005)).rows[1]
    assert row.differing == pytest.approx(1 / 200)
    assert row.largest == pytest.approx(0.01, rel=1e-3)
    assert row.one_step_apart == pytest.approx(0.1, rel=1e-3)


def test_a_point_that_is_not_a_number_fools_nobody_and_differs():
    broken = X + 0.1
    broken[0] = np.nan
    row = compared(made(), made("ART", x_adv=broken)).rows[1]
    assert row.largest == np.inf
    assert row.fooled["TensorFlow"].sum() == FOOLED.sum() - 1
