"""Table 1, theorem 1 and corollary 1: what is shown, from synthetic results, from missing ones and from a smoke run."""

import pytest

from tfadv.reproduction import gallery, plan
from tfadv.reproduction.studies import label_smoothing_theory as theory
from tfadv.reproduction.studies.label_smoothing_identities import free_gap

STUDIES = {study.key.partition("/")[2]: study for study in theory.STUDIES}
ROW = {"theorem": 1e-6, "printed": 3.0, "smallest": 0.0}
FOUND = {
    theory.IDENTITIES: {
        "methods": {name: dict(ROW) for name in ("SLS", "ALS", "BLS", "SBLS")},
        "any": 2e-6,
        "worst": -1e-4,
        "norm": 0.0,
        "below": 0.2,
        "cases": 18,
    },
    theory.GRADIENTS: {"temperatures": [0.001, 1.0, 100.0], "added": [1e-4, 0.27, 0.01]},
    theory.MINIMA: {
        "masses": [0.1, 0.4],
        "ALS": {"10": [free_gap(0.1, 10) + 0.01, free_gap(0.4, 10)]},
        "SLS": {"10": [free_gap(0.1, 10), free_gap(0.4, 10)]},
    },
}


@pytest.mark.parametrize("study", theory.STUDIES, ids=lambda study: study.key)
def test_smoke(study, tmp_path):
    """Through the plan to the files; every job is named by the renderer, and readings say what was chosen."""
    found = plan.carry_out([study], tmp_path, scale="smoke", report=lambda line: None)[study.key]
    rendering = study.render({key: each["result"] for key, each in found.items()})
    gallery.write(study, rendering, found, "smoke", tmp_path / "shown")
    assert rendering.figures
    assert rendering.findings
    for name in rendering.figures:
        assert (tmp_path / "shown" / (f"figure-{name}.svg" if name else "figure.svg")).stat().st_size > 1000
    assert any("I5" in reading for reading in study.readings)


@pytest.mark.parametrize("study", theory.STUDIES, ids=lambda study: study.key)
@pytest.mark.parametrize("key", [None, *FOUND])
def test_what_is_missing_is_left_out(study, key):
    rendering = study.render({} if key is None else {key: FOUND[key]})
    assert bool(rendering.compared) == (key == theory.IDENTITIES)


def test_table_1_has_both_readings_of_each_row():
    rendering = STUDIES["table1"].render(FOUND)
    assert [(row.paper, row.ours) for row in rendering.compared] == [(0.0, 1e-6), (0.0, 3.0)] * 4
    assert "ALS, BLS and SBLS have the opposite sign" in rendering.findings[0]


def test_the_drawn_targets_by_hand():
    """Logits 2, 1, 1/2, -1/2, -3/2. ALS: the last class; SBLS: the second, or the first where the last is true."""
    first = {name: series.y for name, series in STUDIES["table1"].render({}).figures["a"].series.items()}
    assert first["SLS"] == (0, 0.25, 0.25, 0.25, 0.25)
    assert first["ALS"] == (0, 0, 0, 0, 1)
    assert first["SBLS"] == (0, 1, 0, 0, 0)
    assert list(first["BLS, T = 1"]) == sorted(first["BLS, T = 1"])
    last = {name: series.y for name, series in STUDIES["table1"].render({}).figures["b"].series.items()}
    assert last["ALS"] == (0, 0, 0, 0, 1)  # the true class itself
    assert last["SBLS"] == (1, 0, 0, 0, 0)
    assert last["BLS, T = 1"][4] == 0


def test_findings_quote_the_numbers():
    (_, gradients) = STUDIES["theorem1"].render(FOUND).findings
    assert "27% of the penalty's gradient, at T = 1" in gradients
    (_, minima) = STUDIES["corollary1"].render(FOUND).findings
    assert "within 0.01 of that" in minima
