"""What a check of an evaluation is: a claim, a rule when it holds, where that comes from, and how it is measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tfadv.attacks import Apgd, Mim, Pgd
from tfadv.evaluation.subject import Crafted, Subject
from tfadv.objectives import CROSS_ENTROPIES
from tfadv.report.charts import Chart, Series
from tfadv.report.records import Check
from tfadv.validation import UserError

CARLINI = "Carlini et al. 2019, arXiv:1902.06705"
AUTOATTACK = "Croce and Hein 2020, AutoAttack's checks"
PINTOR = "Pintor et al. 2022, arXiv:2106.09947"


@dataclasses.dataclass(frozen=True)
class Effort:
    """What the checks may spend.

    Attributes:
        examples: at most, of an attack of a check, before it has failed.
        steps: of PGD in checks.
        restarts: further random starts.
        queries: of Square, where the suite has no gradient-free attack.
        draws: random points for each of at most `draw_examples` survivors.
        binarized: images of the binarization test.
    """

    examples: int = 100
    steps: int = 20
    restarts: int = 3
    queries: int = 200
    draws: int = 500
    draw_examples: int = 20
    binarized: int = 32


QUICK = Effort()
THOROUGH = Effort(200, 40, 10, 1_000, 10_000, 100, 512)


class Finding(NamedTuple):
    """What a check measured; the fields are those of `Check`."""

    outcome: str
    evidence: str
    value: float | None = None
    found: int = 0
    chart: Chart | None = None


Measure = Callable[[Subject, Effort], Finding]


@dataclasses.dataclass(frozen=True)
class Rule:
    """A check that can be carried out.

    Attributes:
        name: the claim.
        passes: when it holds, with its limits.
        source: where the rule comes from.
        measure: looks at a subject, and may attack it further.
    """

    name: str
    passes: str
    source: str
    measure: Measure

    def __call__(self, subject: Subject, effort: Effort) -> Check:
        """The check of one subject; "not run" with the reason where it cannot be carried out."""
        try:
            finding = self.measure(subject, effort)
        except UserError as error:
            return self.without(str(error))
        fields = finding._asdict()
        return Check(name=self.name, source=self.source, rule=self.passes, **fields)

    def without(self, reason: str) -> Check:
        """The check that was not carried out."""
        return Check(self.name, "not run", reason, self.source, self.passes)


def rule(name: str, passes: str, source: str) -> Callable[[Measure], Rule]:
    """Makes a `Rule` of the function that measures it."""
    return lambda measure: Rule(name, passes, source, measure)


def bars(
    title: str,
    y_label: str,
    values: Mapping[str, float],
    rules: Mapping[str, float] | None = None,
    percent: bool = True,
) -> Chart:
    """Named numbers side by side, and the limits that they are held against."""
    series = Series(tuple(range(len(values))), tuple(values.values()))
    return Chart(title, "", y_label, {y_label: series}, "bars", rules or {}, percent=percent, x_names=tuple(values))


NOTHING_LEFT = Finding("not applicable", "no example is left that the suite has not broken")


def without_probe(subject: Subject) -> Finding | None:
    """Why PGD says nothing of this subject; None where it does."""
    if not subject.has_gradient:
        return Finding("not applicable", "the model has no gradient")
    if not subject.epsilon:
        return Finding("not applicable", "epsilon is 0, so nothing can be tried")
    return None


def tolerance(subject: Subject) -> float:
    """How much further attacks may lower the accuracy: max(0.5 points, 2 standard errors), a fraction.

    PGD-40 to PGD-80 moved a sound network from 94.7% to 93.3% of 1,000 images.
    """
    return max(0.005, subject.standard_errors(1 - float(subject.broken.mean())))


class Hunt(NamedTuple):
    """What an attack of a check did to the examples that the suite left.

    Attributes:
        found: examples that it broke and nothing before it had.
        drop: by how much it lowers the accuracy: its success among the examples tried, times their share.
        tried: examples it was tried on before that decided.
        crafted: what it made of these.
    """

    found: int
    drop: float
    tried: int
    crafted: Crafted


def hunt(subject: Subject, config: Any, effort: Effort, *, on: Any = None, label: str = "") -> Hunt:
    """Attacks a subset of what is left; where that lowers the accuracy beyond `tolerance`, all the rest too."""
    left = subject.survivors()
    rows = subject.survivors(effort.examples)
    crafted = subject.craft(config, rows, on=on, label=label)
    found = subject.offer(rows, crafted.x_adv)
    drop = found / max(len(rows), 1) * len(left) / subject.count
    tried = len(rows)
    if drop > tolerance(subject) and len(rows) < len(left):
        rest = np.setdiff1d(left, rows)
        found += subject.offer(rest, subject.craft(config, rest, on=on, label=label).x_adv)
        drop, tried = found / subject.count, len(left)
    return Hunt(found, drop, tried, crafted)


def iterative(subject: Subject) -> list[Any]:
    """The configs of the suite that follow a gradient for many steps to the best of their ability."""
    return [config for config in subject.configs if type(config) in (Apgd, Mim, Pgd)]


def probe(subject: Subject, effort: Effort, **changes: Any) -> Pgd:
    """PGD that stands for the suite's attacks at other radii and steps.

    It ascends the margin if any iterative attack of the suite ascends something else than cross-entropy, plain or
    lifted; so it is hindered by what hinders the suite.
    """
    objectives = {config.objective for config in iterative(subject)}
    objective = "lifted_cross_entropy" if "lifted_cross_entropy" in objectives else "cross_entropy"
    settings: dict[str, Any] = {
        "epsilon": subject.epsilon,
        "step_size": 2.5 * subject.epsilon / effort.steps,
        "steps": effort.steps,
        "norm": subject.norm,
        "objective": "margin" if objectives - set(CROSS_ENTROPIES) else objective,
        "seed": subject.seed,
        "bounds": subject.bounds,
    }
    return Pgd(**{**settings, **changes})
