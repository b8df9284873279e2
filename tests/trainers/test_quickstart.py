"""The program hands its flags to `tfadv.quickstart.run`, whose own tests are in tests/test_quickstart.py."""

import pytest

pytestmark = pytest.mark.slow

# The main job takes minutes; in its place, one that says what it was asked for.
STAND_IN = """
from tfadv import quickstart
from tfadv.validation import UserError

def run(dataset, output, *, data_dir, report):
    report(f"{dataset} to {output} from {data_dir}")
    if output == "broken":
        raise UserError("an export\\nis not the model")

quickstart.run = run
"""


def test_flags_defaults_and_errors(run_program):
    default, chosen, refused, unknown, surplus = run_program(
        "trainers.quickstart",
        [],
        ["--dataset=mnist", "--output=elsewhere", "--data_dir=data"],
        ["--output=broken"],
        ["--dataset=cifar10"],
        ["surplus"],
        prepare=STAND_IN,
    )
    assert (default.status, default.out) == (0, "digits to runs/quickstart from None\n")
    assert (chosen.status, chosen.out) == (0, "mnist to elsewhere from data\n")
    assert (refused.status, refused.err) == (1, "error: an export is not the model\n")
    assert unknown.status == 1
    assert "digits|mnist" in unknown.err + unknown.out
    assert surplus.status == 1
    assert "unexpected arguments: ['surplus']" in surplus.err + surplus.out
    assert "Traceback" not in unknown.err + surplus.err
