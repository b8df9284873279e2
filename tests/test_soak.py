"""Evaluations over and over: the memory is flat and nothing is traced again; and a soak says so when it is not."""

import importlib.util
from pathlib import Path

import pytest

from tfadv import attacks, crosscheck, data, evaluation, models, report, training

# A build that carries what is imported alone finds here what tools/soak.py imports.
ROOMS = (attacks, crosscheck, data, evaluation, models, report, training)
ROOT = Path(__file__).resolve().parents[1]


def load():
    """tools/soak.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("soak", ROOT / "tools/soak.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


soak = load()


def rounds(memory, traces=lambda number: 5, again=lambda number: 2 * (number == 0)):
    """Thirty rounds of ten seconds, each with what these give for its number."""
    return [
        {
            "round": number + 1,
            "minutes": number / 6,
            "mib": memory(number),
            "traces": traces(number),
            "traces_again": again(number),
            "robust_accuracy": 0.25,
        }
        for number in range(30)
    ]


def test_what_fills_in_the_warm_up_is_no_growth():
    found = soak.judged(rounds(lambda number: 500 if number < soak.WARM_UP else 900))
    assert found["growth"] == 0
    assert found["flat"]
    assert found["traces_constant"]
    assert found["mib_per_minute"] == pytest.approx(0)


def test_growth_is_the_last_fifth_beside_the_first():
    """25 rounds of 10 seconds at 900 + 6 n MiB: medians of the first and last five at n = 7 and 27, 36 MiB a minute."""
    found = soak.judged(rounds(lambda number: 900 + 6 * number))
    assert (found["first_mib"], found["last_mib"]) == (942, 1062)
    assert found["growth"] == pytest.approx(120 / 942)
    assert found["mib_per_minute"] == pytest.approx(36)
    assert not found["flat"]


def test_one_round_that_gives_memory_back_does_not_hide_growth():
    found = soak.judged(rounds(lambda number: 100 if number == 29 else 900 + 6 * number))
    assert not found["flat"]


@pytest.mark.parametrize(
    "changed",
    [{"traces": lambda number: 5 + (number == 20)}, {"again": lambda number: int(number == 20)}],
    ids=["of an evaluation", "of the attack compiled before"],
)
def test_a_trace_too_many_is_seen(changed):
    assert not soak.judged(rounds(lambda number: 900, **changed))["traces_constant"]


def test_the_page_names_the_numbers_the_versions_and_the_hardware():
    found = soak.judged(rounds(lambda number: 900))
    text = soak.page(rounds(lambda number: 900), found, {"keras": "3.15", "processor": "a fast one"})
    assert "from\n900 to 900 MiB: +0.0%, 5% being allowed;" in text
    assert "| 1 | 0.0 | 900 | 5 | 2 |" in text
    assert "keras 3.15, processor a fast one." in text


def test_the_page_says_what_was_traced_again():
    made = rounds(lambda number: 900, again=lambda number: int(number == 12) * 3)
    text = soak.page(made, soak.judged(made), {})
    assert "attack that was\ncompiled before the first round 3." in text
    assert "compiled before the first round none." in soak.page(rounds(lambda number: 900), soak.judged(made), {})


def test_memory_is_that_of_this_process():
    assert 50 < soak.memory() < 100_000


@pytest.mark.slow
def test_a_minute_of_evaluations_leaves_no_memory_and_no_traces_behind():
    made = soak.soak(60, lambda line: None, check=False)
    found = soak.judged(made)
    assert found["flat"], made
    assert found["traces_constant"], made
    assert len(found["accuracies"]) == 1
