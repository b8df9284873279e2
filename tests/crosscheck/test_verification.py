"""The table, the verdict and the JSON of a comparison of frameworks."""

import json
import math

import numpy as np
import pytest

from tfadv.crosscheck.verification import Disagreement, Row, Verification, table


def row(library="CleverHans", framework="TensorFlow", **changes):
    values = {
        "attack": "PGD-4 linf 0.1",
        "fooled": {
            "TensorFlow": np.array([True, False, True, False]),
            "PyTorch": np.array([True, False, False, False]),
        },
        "elsewhere": {"PyTorch": 1.0},
        "equal_flags": 1.0,
        "differing": 0.25,
        "largest": 0.02,
        "one_step_apart": 0.001,
        **changes,
    }
    return Row(library=library, framework=framework, **values)


def verification(*rows, **changes):
    values = {
        "images": 5,
        "attacked": 4,
        "clean": {"TensorFlow": 1.0, "PyTorch": 0.75},
        "logits": {("TensorFlow", "PyTorch"): 2e-7},
        "disagreements": (),
        "not_compared": (("all", "JAX", "it is not installed"),),
        "versions": {"tfadv": "0.1.0"},
        **changes,
    }
    return Verification(rows=rows, **values)


TFADV = row("tfadv", equal_flags=None)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({}, "agrees"),
        ({"equal_flags": 0.995}, "agrees"),
        ({"equal_flags": 0.99}, "DISAGREES"),
        ({"equal_flags": 0.0}, "DISAGREES"),
        ({"equal_flags": 0.99, "differs": "clips last"}, "differs*"),
        ({"differs": "clips last"}, "agrees"),
        ({"elsewhere": {"PyTorch": 1.0, "JAX": 0.99}}, "DISAGREES"),
        ({"elsewhere": {"PyTorch": 0.99}, "differs": "clips last"}, "DISAGREES"),
        ({"equal_flags": None}, "alone"),
    ],
)
def test_the_verdict_of_a_row(changes, verdict):
    assert row(**changes).verdict == verdict
    assert row("tfadv", equal_flags=None).verdict == "reference"


def test_what_is_not_compared_is_never_agreement():
    assert verification(TFADV).verdict == "nothing compared"
    assert verification(TFADV, row(equal_flags=0.5, differs="clips last")).verdict == "nothing compared"
    assert verification(TFADV, row(), row("ART")).peers == ["CleverHans in TensorFlow", "ART in TensorFlow"]
    assert verification(TFADV, row()).verdict == "verified"


def test_one_disagreement_is_the_verdict():
    assert (
        verification(TFADV, row(), disagreements=(Disagreement("logits", ("a", "b"), (1,), "c"),)).verdict
        == "DISAGREES"
    )


def test_the_matrix_has_the_worst_row_of_each_pair():
    found = verification(
        row(elsewhere={"PyTorch": 1.0, "JAX": 0.9}),
        row("ART", elsewhere={"PyTorch": 0.8, "JAX": 1.0}),
        row("torchattacks", "PyTorch", elsewhere={"TensorFlow": 0.7}),
    )
    assert found.matrix() == {"TensorFlow": {"PyTorch": 0.8, "JAX": 0.9}, "PyTorch": {"TensorFlow": 0.7}}


def test_the_table():
    text = table(verification(TFADV, row(), row("ART", equal_flags=0.5, differs="clips last")))
    lines = text.splitlines()
    assert lines[0].startswith("4 of 5 images, those that TensorFlow classifies correctly")
    assert lines[1].split()[:6] == ["attack", "by", "in", "TensorFlow", "PyTorch", "flags"]
    assert lines[2].split() == ["clean", "100.00%", "75.00%"]
    assert lines[3].endswith("reference")
    assert lines[4].split()[-8:] == [
        "TensorFlow",
        "50.00%",
        "75.00%",
        "100.00%",
        "100.00%",
        "25.00%",
        "0.10%",
        "agrees",
    ]
    assert lines[5].endswith("differs*")
    assert "* PGD-4 linf 0.1, ART in TensorFlow: clips last" in lines
    assert "logits, largest relative difference (at most 0.0001): TensorFlow-PyTorch 2.0e-07" in lines
    assert "not compared: all, JAX: it is not installed" in lines
    assert lines[-1] == "verified with CleverHans in TensorFlow: >= 99.5% of flags equal"


def test_the_table_of_one_framework_has_no_matrix():
    text = table(verification(TFADV, clean={"TensorFlow": 1.0}, logits={}))
    assert "made in the framework" not in text
    assert "logits" not in text
    assert text.endswith("nothing compared, so nothing verified")


def test_a_disagreement_is_one_line_for_each_pair_and_cause():
    pair, cause = ("tfadv in TensorFlow", "ART in TensorFlow"), "rounding"
    several = (
        Disagreement("FGM linf 0.1", pair, tuple(range(10)), cause),
        Disagreement("BIM-4 linf 0.1", pair, tuple(range(5, 15)), cause),
        Disagreement("BIM-4 linf 0.1", pair, (3,), "the budget"),
    )
    lines = table(verification(TFADV, row(), disagreements=several)).splitlines()
    assert lines[-3:] == [
        "tfadv in TensorFlow and ART in TensorFlow disagree (FGM linf 0.1, BIM-4 linf 0.1) on 15 images: "
        "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, .... Cause: rounding",
        "tfadv in TensorFlow and ART in TensorFlow disagree (BIM-4 linf 0.1) on 1 images: 3. Cause: the budget",
        "DISAGREES: not >= 99.5% of flags equal, or other logits; the likely causes are above",
    ]


def test_the_json_has_every_number_and_nothing_that_json_lacks():
    broken = row(largest=math.inf, one_step_apart=math.inf)
    disagreement = Disagreement("logits", ("TensorFlow", "PyTorch"), (3, 4), "the model")
    found = verification(broken, logits={("TensorFlow", "PyTorch"): math.inf}, disagreements=(disagreement,))
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["verdict"] == "DISAGREES"
    assert values["tolerances"] == {"equal_flags": 0.995, "logits": 1e-4}
    (each,) = values["rows"]
    assert each["right"] == {"TensorFlow": 0.5, "PyTorch": 0.75}
    assert (each["largest"], each["one_step_apart"], each["verdict"]) == (None, None, "agrees")
    assert values["logits"] == [{"pair": ["TensorFlow", "PyTorch"], "relative_difference": None}]
    assert values["disagreements"] == [
        {"attack": "logits", "pair": ["TensorFlow", "PyTorch"], "examples": [3, 4], "cause": "the model"}
    ]
    assert values["not_compared"] == [{"attack": "all", "who": "JAX", "reason": "it is not installed"}]
    assert values["equal_flags"] == {"TensorFlow": {"PyTorch": 1.0}}
