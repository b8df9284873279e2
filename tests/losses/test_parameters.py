"""Checks of numbers and names that the losses share; the losses' own tests see the messages in place."""

import math

import numpy as np
import pytest

from tfadv.losses.parameters import check_at_least, check_weight, for_config, snake_case
from tfadv.validation import UserError


@pytest.mark.parametrize("value", [0, 0.5, 3, np.float32(0.25), np.int64(2)], ids=repr)
def test_a_weight_becomes_a_python_float(value):
    assert type(check_weight(value)) is float
    assert check_weight(value) == value


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "inf", "0.5", None, True], ids=repr)
def test_what_is_no_weight_is_refused_by_name(value):
    with pytest.raises(UserError, match=r"^l1 must be a finite number >= 0, got .*; of the penalty$"):
        check_weight(value, "l1", "of the penalty")


@pytest.mark.parametrize(("value", "number"), [(1, 1.0), (2.5, 2.5), ("inf", math.inf), (math.inf, math.inf)], ids=repr)
def test_a_lower_limit_allows_itself_and_infinity(value, number):
    assert check_at_least(value, 1.0, "p", "") == number


@pytest.mark.parametrize("value", [0.999, -math.inf, math.nan, "2", None, True], ids=repr)
def test_what_is_below_the_limit_is_refused_by_name(value):
    with pytest.raises(UserError, match=r"^p must be a number >= 1 or 'inf', got .*; no norm$"):
        check_at_least(value, 1.0, "p", "no norm")


def test_a_configuration_holds_no_infinite_number():
    assert [for_config(number) for number in (0.5, math.inf)] == [0.5, "inf"]


@pytest.mark.parametrize(
    ("class_name", "name"), [("LogitSqueezing", "logit_squeezing"), ("Trades", "trades"), ("L2Norm", "l2_norm")]
)
def test_names_in_snake_case(class_name, name):
    assert snake_case(class_name) == name
