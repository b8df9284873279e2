"""A report small enough to work out by hand, and variations of it."""

import numpy as np
import pytest

from tfadv.report import themes
from tfadv.report.records import AttackResult, Check, Examples, ThreatModel, Verdict
from tfadv.report.report import Report


def attack(name, adversarial, new_successes, **changes):
    adversarial = np.array(adversarial, bool)
    distances = np.where(adversarial, 0.2, np.nan)
    fields = {"config": {"epsilon": 0.2, "steps": 40}, "seconds": 1.5, "gradient_evaluations": 160, **changes}
    return AttackResult(name=name, adversarial=adversarial, new_successes=new_successes, distances=distances, **fields)


@pytest.fixture
def make_report():
    """A function that builds the report of four images; keyword arguments replace fields.

    Image 0 is misclassified clean, "first" breaks image 1, "second" breaks image 2, nothing breaks image 3.
    """

    def make(**changes):
        clean = np.linspace(0, 1, 2 * 4 * 4, dtype=np.float32).reshape(2, 4, 4, 1)
        adversarial = np.clip(clean + np.where(np.arange(32).reshape(clean.shape) % 2, 0.2, -0.2), 0, 1)
        fields = {
            "name": "small net",
            "dataset": "digits",
            "threat": ThreatModel("linf", 0.2),
            "labels": [3, 1, 4, 1],
            "predictions": [5, 1, 4, 1],
            "rows": (attack("first", [1, 1, 0, 0], 1), attack("second", [1, 0, 1, 0], 1)),
            "examples": Examples(clean, adversarial, [1, 4], [7, 9]),
            "checks": (
                Check("epsilon 0 equals clean", "passed", "75% and 75%", "Carlini et al. 2019", "no change", 0.0),
                Check("transfer", "not applicable", "no surrogate", "Athalye et al. 2018"),
                Check("iterative beats single step", "failed", "1 image", "Carlini et al. 2019", "fewer than 1", 1.0),
            ),
            "versions": {"tfadv": "0.1"},
            "settings": {"seed": 0, "bounds": (0.0, 1.0)},
        }
        return Report(**{**fields, **changes})

    return make


@pytest.fixture
def make_attack():
    """`attack(name, adversarial, new_successes, **other fields)`: one row with distance 0.2 where adversarial."""
    return attack


@pytest.fixture
def make_judged(make_report):
    """`make_judged(word, claimed=None, **fields)`: the report of four images with a verdict.

    The suite leaves 1 of 4. Where the word is "overestimated" an attack of a check broke that one too, so none is left.
    """

    def make(word, claimed=None, **changes):
        found = [False, False, False, word == "overestimated"]
        verdict = Verdict(word, f"It is {word} because.", 0.25 if claimed is None else claimed, 0.25 - 0.25 * found[3])
        return make_report(**{"verdict": verdict, "found_by_checks": found, **changes})

    return make


EMPTY = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 648 216"><g><path d="M 0 0"/></g></svg>'


@pytest.fixture
def unrendered(monkeypatch):
    """Figures are built but not turned into pixels and paths, which takes seconds and matters to few tests."""
    monkeypatch.setattr(themes, "to_svg", lambda figure, letters="path": EMPTY)
    monkeypatch.setattr(themes, "to_png", lambda figure: b"png")
