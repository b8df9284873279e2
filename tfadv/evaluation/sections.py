"""What a report shows beside the attacks: statistics of the model on some of the examples, as sections with charts."""

from __future__ import annotations

import contextlib

import keras
import numpy as np

from tfadv import analysis
from tfadv.attacks import Pgd
from tfadv.balls import BALLS
from tfadv.evaluation.subject import Subject
from tfadv.report import Section
from tfadv.validation import UserError

IMAGES = 200
_STEPS = 20
_RADII = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)


def analyzed(model: object, subject: Subject) -> tuple[Section, ...]:
    """Linearized robustness, gaps and coherence of gradients, logits, accuracy against epsilon, filters.

    Args:
        model: as the user gave it; a Keras model shows its first weights too.
        subject: its first `IMAGES` correctly classified examples, a seeded, stratified subset, are looked at.
    """
    rows = subject.attacked(IMAGES)
    if not len(rows) or subject.norm not in BALLS:
        return ()
    x, y, plain = subject.x[rows], subject.y[rows], subject.plain
    sections = [
        Section(
            "Logits",
            f"Logits of {len(rows)} correctly classified images.",
            charts=(analysis.logit_chart({"model": analysis.logits(plain, x, bounds=subject.bounds)}),),
        )
    ]
    if subject.has_gradient:
        steps = analysis.linearized(plain, x, y, norm=subject.norm, bounds=subject.bounds)
        epsilons = [factor * subject.epsilon for factor in (0.0, *_RADII)]
        predicted = analysis.predicted_accuracy(plain, x, y, epsilons, norm=subject.norm, bounds=subject.bounds)
        attack = Pgd(
            subject.epsilon, 2.5 * subject.epsilon / _STEPS, _STEPS, subject.norm, "margin", bounds=subject.bounds
        )
        curve = analysis.accuracy_curve(plain, x, y, attack, epsilons)
        sections = [
            Section(
                "Accuracy against epsilon",
                f"PGD-{_STEPS} on the margin, {len(rows)} images; an example broken at one epsilon stays broken at "
                f"larger ones. Area under the curve, as a share of the whole: {curve.area:.3f}.",
                charts=(analysis.accuracy_chart({"model": curve}),),
            ),
            Section(
                "Linearized robustness",
                "The smallest step that makes a wrong class win if the model were linear around the image "
                f"(median {np.median(steps.steps):.4g}), and what that predicts of a single gradient step.",
                charts=(analysis.steps_chart({"model": steps}), *predicted.charts()),
            ),
            Section(
                "Gaps and gradients",
                "How far apart logits and their gradients are, over all wrong classes.",
                charts=analysis.gap_charts({"model": analysis.gaps(plain, x, y, bounds=subject.bounds)}),
            ),
            *sections,
        ]
    if isinstance(model, keras.Model) and x.ndim == 4:
        # A network without weights that could be shown as images has no such section.
        with contextlib.suppress(UserError):
            sections.append(Section("First weights", charts=(analysis.first_weights(model),)))
    return tuple(sections)
