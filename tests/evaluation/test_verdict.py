"""Every branch of the verdict, at its exact limits."""

import pytest

from tfadv.evaluation.verdict import allowed, decide
from tfadv.report.records import Check


def check(outcome, name="a claim"):
    return Check(name, outcome, "evidence", "source", "rule")


PASSED = [check("passed")] * 3


def after(lost, count, checks=PASSED, robust=1.0, claimed=None):
    """The verdict where the checks broke `lost` of `count` images beside what the suite, or the claim, counts."""
    return decide(count, robust, robust - lost / count, checks, claimed)


# How many may be found.


@pytest.mark.parametrize(
    ("count", "expected"), [(1, 3.0), (100, 3.0), (600, 3.0), (601, 3.005), (1_000, 5.0), (10_000, 50.0)]
)
def test_three_images_or_half_a_percent_may_not_be_found(count, expected):
    assert allowed(count) == pytest.approx(expected)


# Overestimated.


@pytest.mark.parametrize(("count", "limit"), [(10, 3), (100, 3), (600, 3), (1_000, 5), (1_100, 6), (10_000, 50)])
@pytest.mark.parametrize(
    "checks", [PASSED, [check("failed")], [check("not run")], []], ids=["passed", "failed", "not run", "none"]
)
def test_exactly_that_many_are_too_many_whatever_else_the_checks_say(count, limit, checks):
    """5.5 of 1,100 are allowed, and there are no half images. Of all images robust the standard error is 0."""
    assert after(limit, count, checks).word == "overestimated"
    assert after(limit - 1, count, checks).word != "overestimated"


@pytest.mark.parametrize("count", [7, 30, 333, 999, 3_000, 9_973])
def test_rounding_of_the_shares_does_not_move_the_limit(count):
    """Shares are fractions in floating point; 3 of 7 must be 3 all the same."""
    limit = max(3, -(-count * 5 // 1_000))
    for robust in range(limit, count, max(1, count // 11)):
        failed = [check("failed")]
        assert decide(count, robust / count, (robust - limit) / count, failed).word == "overestimated"
        assert decide(count, robust / count, (robust - limit + 1) / count, failed).word == "unverified"


def test_the_reason_names_both_numbers_and_whose_they_are():
    verdict = decide(1_000, 0.5, 0.3, PASSED)
    assert (verdict.word, verdict.claimed, verdict.worst) == ("overestimated", 0.5, 0.3)
    assert verdict.reason.startswith("Stronger attacks leave 30.0% of the 1,000 images, not the suite's 50.0%")
    claim = decide(1_000, 0.5, 0.3, PASSED, claimed=0.7)
    assert (claim.word, claim.claimed, claim.worst) == ("overestimated", 0.7, 0.3)
    assert "not the claimed 70.0%" in claim.reason


# Two standard errors, where every check passed.


@pytest.mark.parametrize(
    "checks", [PASSED, [check("warning")], [check("not applicable")]], ids=["passed", "warning", "n/a"]
)
def test_where_no_check_failed_two_standard_errors_of_the_suites_number_are_allowed_too(checks):
    """Of 1,000 at 80%: 2 sqrt(0.8 * 0.2 * 1,000) = 25.3 images, where 5 would be too many at 100%."""
    assert after(25, 1_000, checks, robust=0.8).word == "trusted"
    assert after(26, 1_000, checks, robust=0.8).word == "overestimated"
    assert after(5, 1_000, checks, robust=1.0).word == "overestimated"


def test_a_check_that_failed_leaves_no_such_room():
    assert after(5, 1_000, [check("failed"), *PASSED], robust=0.8).word == "overestimated"
    assert after(4, 1_000, [check("failed"), *PASSED], robust=0.8).word == "unverified"


def test_a_claim_has_no_such_room():
    """It is somebody's statement of a number, not a measurement with an error."""
    assert decide(1_000, 0.8, 0.8, PASSED, claimed=0.805).word == "overestimated"
    assert decide(1_000, 0.8, 0.8, PASSED, claimed=0.804).word == "trusted"


# Claims.


def test_a_claim_is_judged_in_place_of_the_suites_number():
    assert decide(1_000, 0.5, 0.45, PASSED, claimed=0.45).word == "trusted"
    assert decide(1_000, 0.5, 0.45, PASSED, claimed=0.1).word == "trusted"
    assert decide(1_000, 0.5, 0.45, PASSED, claimed=0.4500001).claimed == 0.4500001
    assert decide(1_000, 0.5, 0.5, PASSED, claimed=1.0).word == "overestimated"


def test_a_claim_of_zero_is_a_claim():
    """It is false in `if claimed`, and would be judged as if nobody claimed anything."""
    verdict = decide(1_000, 0.5, 0.2, PASSED, claimed=0.0)
    assert (verdict.word, verdict.claimed) == ("trusted", 0.0)


# Unverified.


@pytest.mark.parametrize(
    ("checks", "beginning"),
    [
        ([check("failed", "a")], "1 check failed (a), so"),
        ([check("failed", "a"), check("failed", "b")], "2 checks failed (a; b), so"),
        ([check("not run", "c")], "1 check could not run (c), so"),
        ([check("not run", "c"), check("failed", "a")], "1 check failed (a) and 1 check could not run (c), so"),
    ],
)
def test_a_check_that_failed_or_could_not_run_leaves_it_unverified_and_is_named(checks, beginning):
    verdict = decide(100, 0.5, 0.48, [*PASSED, *checks])
    assert verdict.word == "unverified"
    assert verdict.reason.startswith(beginning)
    assert (verdict.claimed, verdict.worst) == (0.5, 0.48)


# Trusted.


def test_no_check_failed_is_all_that_trusted_says():
    checks = [*PASSED, check("warning"), check("not applicable")]
    verdict = decide(100, 0.5, 0.5, checks)
    assert (verdict.word, verdict.claimed, verdict.worst) == ("trusted", 0.5, 0.5)
    assert verdict.reason.startswith("No check failed: 4 checks of the evaluation found no sign")
    assert verdict.reason.endswith("found no further image.")
    assert decide(100, 0.5, 0.48, checks).reason.endswith("found too few further images to matter.")


@pytest.mark.parametrize("outcome", ["passed", "warning", "not applicable"])
def test_warnings_and_what_does_not_apply_do_not_touch_the_verdict(outcome):
    assert decide(100, 0.5, 0.5, [check(outcome)]).word == "trusted"
