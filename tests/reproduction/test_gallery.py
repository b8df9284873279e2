"""A study's page says paper, ours, difference and where it was made; figures are drawn; the JSON has the numbers."""

import json

import numpy as np
import pytest

from tfadv.report.charts import Chart, Pictures, Series
from tfadv.reproduction import gallery, results
from tfadv.reproduction.study import Claim, Compared, Rendering, Study, beside

CHART = Chart("Variance against weight.", "w", "variance", {"plain": Series((1, 2), (3, 4))})
STANDARD = {"accuracy": 0.006, "interval": [0.002, 0.013], "count": 1_000, "verdict": "trusted"}
PICTURES = Pictures("Weights |w|.", np.zeros((2, 3, 3, 1)), ("L1", "L2"))
RENDERING = Rendering(
    compared=(Compared("PGD, clean", 71.49, 70.0, interval=(68.5, 71.4)), Compared("w", None, 0.12345, "")),
    figures={"a": CHART, "b": PICTURES},
    findings=("The variance grows.",),
    claims=(Claim("FS-1", "depends", "at w = 1 only"),),
    beside=(beside("LoS + noise", "PGD", 71.49, 5.73, STANDARD, "8%"),),
)
STUDY = Study("feature_smoothing/fig3", "Variance", lambda scale: (), lambda found: RENDERING, ("b is read as -b.",))
JOBS = {
    "one": {
        "result": {"variance": [3, 4]},
        "seconds": 12.0,
        "settings": {"w": 1},
        "environment": {"processor_cores": 2, "platform": "Linux"},
    }
}


@pytest.fixture
def folder(tmp_path):
    gallery.write(STUDY, RENDERING, JOBS, "short", tmp_path / "feature_smoothing_fig3")
    return tmp_path / "feature_smoothing_fig3"


def test_paper_ours_and_difference_stand_side_by_side():
    rows = gallery.table(RENDERING.compared).rows
    assert rows[0] == ("PGD, clean", "71.49", "70.00", "-1.49", "68.50 to 71.40", "%", "–")
    assert rows[1] == ("w", "–", "0.1235", "–", "–", "1", "–")


def test_the_page_has_everything_and_the_command_that_made_it(folder):
    page = (folder / "study.md").read_text()
    for part in (
        "# Variance",
        "--target=feature_smoothing/fig3 --scale=short",
        "- The variance grows.",
        "| PGD, clean | 71.49 | 70.00 | -1.49 |",
        "(figure-a.svg)",
        "(b) Weights \\|w\\|.",
        "| FS-1 | depends | at w = 1 only |",
        "| LoS + noise | PGD | 71.5 | 5.7 | 0.6 (0.2 to 1.3; 1,000) | overestimates | trusted | 8% |",
        "- b is read as -b.",
        "1 jobs, 12 s of wall time in all; 2 cores, Linux.",
    ):
        assert part in page
    assert "not run at paper scale" not in page


def test_figures_are_vectors_and_pixels(folder):
    assert sorted(path.name for path in folder.glob("figure*")) == [
        "figure-a.png", "figure-a.svg", "figure-b.png", "figure-b.svg",
    ]  # fmt: skip
    assert (folder / "figure-a.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (folder / "figure-a.svg").read_bytes()


def test_the_json_has_the_numbers_of_figures_and_results(folder):
    stored = json.loads((folder / "study.json").read_text())
    assert stored["figures"]["a"]["series"]["plain"]["y"] == [3, 4]
    assert stored["results"] == {"one": {"variance": [3, 4]}}
    assert stored["jobs"]["one"]["settings"] == {"w": 1}
    assert "result" not in stored["jobs"]["one"]


def test_smoke_says_that_it_is_not_the_papers_scale(tmp_path):
    gallery.write(STUDY, Rendering(), JOBS, "smoke", tmp_path / "s")
    assert "not run at paper scale" in (tmp_path / "s" / "study.md").read_text()


@pytest.mark.parametrize(("ours", "count", "word"), [(1.09, 1_000, "agrees"), (1.1, 1_000, "overestimates")])
def test_an_attack_overestimates_from_half_a_point_on(ours, count, word):
    (row,) = gallery.true_robustness([beside("d", "PGD", None, ours, {**STANDARD, "count": count}, "8%")]).rows
    assert row[5] == word
    few = beside("d", "PGD", None, 0.6 + 2.9, {**STANDARD, "count": 100}, "8%")
    assert gallery.true_robustness([few]).rows[0][5] == "agrees"


def test_the_index_of_results_opens_with_what_is_claimed_beside_what_is_true(folder):
    results.write_index(folder.parent)
    index = (folder.parent / "RESULTS.md").read_text()
    line = "| LoS + noise | PGD | 71.5 | 5.7 | 0.6 (0.2 to 1.3; 1,000) | overestimates | trusted | 8% |"
    assert index.index("## Claimed beside true") < index.index(line) < index.index("- Variance (short)")


def test_a_record_without_trained_classifiers_claims_nothing(tmp_path):
    gallery.write(STUDY, Rendering(), JOBS, "short", tmp_path / "s")
    results.write_index(tmp_path)
    assert "Claimed beside true" not in (tmp_path / "RESULTS.md").read_text()


def test_the_index_of_results_lists_it(folder):
    results.write_index(folder.parent)
    assert (
        "- Variance (short): [feature_smoothing_fig3](feature_smoothing_fig3/study.md)"
        in (folder.parent / "RESULTS.md").read_text()
    )


def test_the_index_of_results_says_what_became_of_every_claim(folder):
    results.write_index(folder.parent)
    lines = {line.split(" | ")[0]: line for line in (folder.parent / "RESULTS.md").read_text().splitlines()}
    assert "| depends: at w = 1 only (feature_smoothing_fig3) |" in lines["| FS-1"]
    assert lines["| FS-2"].endswith("| not decided yet |")
    assert sum("not decided yet" in line for line in lines.values()) == 31
