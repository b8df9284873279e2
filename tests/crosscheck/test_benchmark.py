"""Pairs of timings: their order, their medians, and which examples they are taken on."""

import json

import numpy as np
import pytest

from tfadv.attacks import Fgm, Pgd
from tfadv.attacks.auto_attack import AutoAttack
from tfadv.crosscheck import benchmark, published_autoattack
from tfadv.crosscheck.benchmark import Benchmark, Pairing, Timing, default_peers, machine, measure, table
from tfadv.crosscheck.sides import Memory
from tfadv.validation import UserError


def timing(side, *seconds, survivors=0.0):
    return Timing(side, seconds, survivors, Memory(100.0, 150.4), threads=2, idle_share=0.01)


PAIRING = Pairing(
    "robust",
    20,
    timing("Other", 10.0, 90.0, 12.0, survivors=0.95),
    {"float32": timing("tfadv float32", 5.0, 9.0, 2.0), "bfloat16": timing("tfadv bfloat16 search", 1.0, 1.0, 1.0)},
)


def test_a_speedup_is_the_median_of_the_pairs_ratios():
    """10 / 5, 90 / 9 and 12 / 2: 6, where the ratio of the medians would be 12 / 5."""
    assert PAIRING.speedup("float32") == 6.0
    assert PAIRING.speedup("bfloat16") == 12.0
    assert PAIRING.peer.median == 12.0
    assert PAIRING.to_dict()["speedup"] == {"float32": 6.0, "bfloat16": 12.0}


def test_the_table_and_the_json_hold_every_number():
    only = Pairing("fooled", 8, timing("Other", 3.0), {"float32": timing("tfadv float32", 1.5)})
    found = Benchmark(
        "PGD-2 linf 0.1",
        4,
        (PAIRING, only),
        {"robust": {"float32": 7.0}},
        ("ART: it is broken",),
        machine(),
        {"a": "1"},
    )
    lines = table(found).splitlines()
    assert lines[0].startswith("PGD-2 linf 0.1, batch size 4;")
    assert lines[2].split()[:2] == ["100%", "survive"]
    assert lines[2].split()[2:] == [
        *("20", "Other", "12.00", "5.00", "1.00", "6.00", "12.00"),
        *("95.00%", "0.00%", "0.00%", "150", "150", "150"),
    ]
    assert lines[3].split() == ["0%", "survive", "8", "Other", "3.00", "1.50", "2.00", "0.00%", "0.00%", "150", "150"]
    assert "not measured: ART: it is broken" in lines
    assert "threads: Other 2, tfadv bfloat16 search 2, tfadv float32 2; an idle process used at most 1.0%" in lines[6]
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["pairings"][0]["peer"]["seconds"] == [10.0, 90.0, 12.0]
    assert values["pairings"][0]["peer"]["memory"] == {"loaded": 100.0, "peak": 150.4}


def test_the_machine_is_described():
    facts = machine()
    assert facts["cores"] >= 1
    assert facts["load"] >= 0
    assert facts["processor"] != ""


def test_who_is_timed_against_what():
    assert default_peers("autoattack") == ["published"]
    assert "torchattacks" in default_peers("pgd")
    with pytest.raises(UserError, match="kind must be 'pgd' or 'autoattack', got 'fgm'"):
        default_peers("fgm")


@pytest.fixture
def processes(monkeypatch):
    """Sides without processes: each run is logged, takes a given time, and moves the images up by epsilon.

    The classifier prefers the class of the brighter half, so that what is close to a tie can be fooled.
    """
    log = []

    class Stand:
        def __init__(self, side, path, batch_size):
            if side.library == "art":
                raise UserError("ART: out of luck")
            self.side, self.versions, self.threads = side, {side.library: "1"}, 2
            self.idle_share, self.memory = 0.0, Memory(1.0, 2.0)

        def run(self, config, x, y, index):
            np.testing.assert_array_equal(x, X[index])
            log.append((self.side.library, self.side.precision, len(x)))
            up = np.array([1.0, -1.0], np.float32)[y]
            return x + config.epsilon * np.stack([-up, up], axis=1), {"tfadv": 1.0}.get(self.side.library, 3.0)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            log.append((self.side.library, self.side.precision, "ended"))

    monkeypatch.setattr(benchmark, "Process", Stand)
    monkeypatch.setattr(benchmark.devices, "cpu_has_bfloat16", lambda: True)
    monkeypatch.setattr(benchmark.models, "load", lambda path: lambda x: 10.0 * x)
    return log


GAPS = np.linspace(0.02, 0.4, 20, dtype=np.float32)
X = np.stack([0.5 + GAPS / 2, 0.5 - GAPS / 2], axis=1)  # class 0 by a lead of 0.02 to 0.4
Y = np.zeros(20, np.int32)
OURS = [("tfadv", "float32"), ("tfadv", "bfloat16")]


def quick(config, peers, **options):
    settings = {"batch_size": 4, "repeats": 2, "report": lambda _: None, **options}
    return measure("model.keras", X, Y, config, peers, **settings)


def test_pairs_are_taken_in_turn_on_what_survives_and_what_does_not(processes):
    """An epsilon of 0.1 closes a lead of 0.2, which the first 9 of 20 are below."""
    found = quick(Fgm(epsilon=0.1), ["cleverhans"], images=10)
    assert [(pair.regime, pair.examples) for pair in found.pairings] == [("fooled", 9), ("robust", 10)]
    ours = [[(*side, count) for side in OURS] for count in (9, 10)]
    theirs = [[("cleverhans", "float32", count)] for count in (9, 10)]
    assert processes[:1] == [("tfadv", "float32", 20)]  # Which of them survive.
    assert processes[1:5] == [*ours[0], *ours[1]]  # Ours traces for both sets.
    assert processes[5:6] == [("cleverhans", "float32", 4)]  # The peer warms up.
    assert processes[6:12] == (ours[0] + theirs[0]) * 2
    assert processes[12:18] == (ours[1] + theirs[1]) * 2
    assert [each[0] for each in processes[18:]] == ["cleverhans", "tfadv", "tfadv"]
    assert [pair.speedup("float32") for pair in found.pairings] == [3.0, 3.0]
    assert [pair.peer.survivors for pair in found.pairings] == [0.0, 1.0]
    assert found.first_seconds == {name: {"float32": 1.0, "bfloat16": 1.0} for name in ("fooled", "robust")}
    assert {"tfadv", "cleverhans"} <= set(found.versions)


def test_a_set_smaller_than_a_batch_is_left_out(processes):
    found = quick(Fgm(epsilon=0.02), ["cleverhans"])
    assert [pair.regime for pair in found.pairings] == ["robust"]
    assert found.not_measured == ("0% survive: only 2 images",)
    assert len(quick(Fgm(epsilon=0.02), ["cleverhans"], images=2).pairings) == 2


def test_a_peer_that_fails_leaves_the_others(processes):
    found = quick(Fgm(epsilon=0.1), ["art", "cleverhans"])
    assert {pair.peer.side for pair in found.pairings} == {"CleverHans"}
    assert found.not_measured == ("ART: ART: out of luck",)


def test_a_suite_warms_up_on_two_images(processes, monkeypatch):
    monkeypatch.setattr(published_autoattack, "peer", lambda source: None)
    quick(AutoAttack(epsilon=0.1), ["published"], source="somewhere")
    assert ("published", "float32", 2) in processes


def test_a_wrong_peer_is_refused_before_anything_runs(processes):
    with pytest.raises(UserError, match="peers must be among"):
        quick(Fgm(), ["nobody"])
    assert processes == []


@pytest.mark.parametrize(("load", "warned"), [(0.1, False), (1.9, True)])
def test_a_busy_machine_is_said_to_be_busy(processes, monkeypatch, load, warned):
    monkeypatch.setattr(benchmark, "machine", lambda: {"cores": 2, "load": load})
    said = []
    quick(Fgm(epsilon=0.1), ["cleverhans"], report=said.append)
    assert any("1.9 processes are running here already" in text for text in said) is warned


@pytest.mark.slow
def test_real_processes_are_timed(linear_net, examples, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.devices, "cpu_has_bfloat16", lambda: False)  # One process less.
    linear_net.save(tmp_path / "linear.keras")
    config = Pgd(epsilon=0.01, step_size=0.005, steps=3)
    found = measure(tmp_path / "linear.keras", examples.x, examples.y, config, ["cleverhans"], batch_size=5, repeats=1)
    assert found.not_measured == ()
    fooled, robust = found.pairings
    assert (fooled.regime, robust.regime) == ("fooled", "robust")
    assert fooled.examples + robust.examples == 40
    assert fooled.ours["float32"].survivors == 0.0
    assert robust.ours["float32"].survivors == 1.0
    assert fooled.speedup("float32") > 0
    json.dumps(found.to_dict(), allow_nan=False)
