"""From what the libraries of several frameworks made of one model's images to what agrees, and why something does not.

Flags are compared with those of tfadv, and each library's images are classified by every framework's model. Pixels are
told but not judged: over many steps the sign of a gradient flips on ties.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfadv.crosscheck import ours
from tfadv.crosscheck.judging import judge
from tfadv.crosscheck.verification import (
    LOGIT_TOLERANCE,
    REFERENCE,
    SMALLEST_SHARE_OF_EQUAL_FLAGS,
    Disagreement,
    Row,
    Verification,
)

# (framework, framework) -> how far apart the logits of each image are.
_Distances = dict[tuple[str, str], np.ndarray]

# Pixels that differ by less do so by rounding alone.
_PIXEL_TOLERANCE = 1e-5
# Of the images, those whose flags may change because signs of a gradient flip on ties; where more do, the steps differ.
_SHARE_OF_TIES = 0.05
# Of the length of a step: rounding moves it by 1e-4, one flipped sign in a hundred by 0.2, another step size by more.
_SAME_STEP = 0.25


@dataclasses.dataclass(frozen=True)
class Made:
    """One attack by one library, and what each framework says of it.

    Attributes:
        config: of the attack.
        library, framework: as their authors write them.
        x_adv: float32 [N, ...].
        start: where it was told to begin, like x_adv.
        one_step: where one step of the attack ends, like x_adv.
        logits: framework -> [N, K] of x_adv; its own framework is among them.
        differs: in what the algorithm is known to depart from ours.
    """

    config: Any
    library: str
    framework: str
    x_adv: np.ndarray
    start: np.ndarray
    one_step: np.ndarray
    logits: Mapping[str, np.ndarray]
    differs: str | None = None


@dataclasses.dataclass(frozen=True)
class Attacked:
    """The images that were attacked, all of which the model classifies correctly.

    Attributes:
        x, y: float32 [N, ...] and int [N].
        index: int [N], their numbers among the images given.
        images: how many were given.
        logits: framework -> [N, K] of x.
    """

    x: np.ndarray
    y: np.ndarray
    index: np.ndarray
    images: int
    logits: Mapping[str, np.ndarray]

    def numbers(self, which: np.ndarray) -> tuple[int, ...]:
        """Of those images for which `which` [N] is true."""
        return tuple(self.index[which].tolist())

    def fooled(self, made: Made, framework: str) -> np.ndarray:
        """Whether the framework's model is fooled, within ball and box; bool [N]."""
        return judge(made.logits[framework], self.x, self.y, made.x_adv, made.config)[0]


def verification(
    made: Sequence[Made],
    attacked: Attacked,
    *,
    not_compared: Sequence[tuple[str, str, str]] = (),
    versions: Mapping[str, str] | None = None,
) -> Verification:
    """Compares what was made of these images.

    Args:
        made: by all libraries; each is compared with what tfadv made of the same config.
        attacked: the images.
        not_compared, versions: as in `Verification`.
    """
    distances = _logit_distances(made, attacked)
    disagreements = [
        Disagreement("logits", pair, attacked.numbers(distance > LOGIT_TOLERANCE), _of_the_model(pair, distance))
        for pair, distance in distances.items()
        if distance.max() > LOGIT_TOLERANCE
    ]
    references = {each.config: each for each in made if each.library == REFERENCE}
    rows = []
    for each in made:
        reference = references.get(each.config) if each.library != REFERENCE else None
        row = _row(each, reference, attacked)
        rows.append(row)
        disagreements += _classified(row, attacked, distances)
        if reference is not None and not row.repeats and each.differs is None:
            disagreements.append(_attacked(row, each, reference, attacked, distances))
    clean = {name: float((logits.argmax(axis=1) == attacked.y).mean()) for name, logits in attacked.logits.items()}
    return Verification(
        attacked.images,
        len(attacked.x),
        clean,
        tuple(rows),
        {pair: float(distance.max()) for pair, distance in distances.items()},
        tuple(disagreements),
        tuple(not_compared),
        dict(versions or {}),
    )


def _row(each: Made, reference: Made | None, attacked: Attacked) -> Row:
    fooled = {name: attacked.fooled(each, name) for name in each.logits}
    own = fooled[each.framework]
    largest = _largest(each.x_adv, reference.x_adv) if reference else np.zeros(len(own))
    return Row(
        attack=ours.describe(each.config),
        library=each.library,
        framework=each.framework,
        fooled=fooled,
        elsewhere={name: float((flags == own).mean()) for name, flags in fooled.items() if name != each.framework},
        equal_flags=float((own == attacked.fooled(reference, reference.framework)).mean()) if reference else None,
        differing=float((largest > _PIXEL_TOLERANCE).mean()),
        largest=float(largest.max()),
        one_step_apart=_apart(each, reference) if reference else 0.0,
        differs=each.differs,
    )


def _largest(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Largest difference of any pixel of each image [N]; what is not a number differs infinitely."""
    return np.nan_to_num(np.abs(first - second).reshape(len(first), -1).max(axis=1), nan=np.inf)


def _apart(each: Made, reference: Made) -> float:
    """Distance of where one step ends to where the reference's does, as a share of the length of that step; median."""
    step, difference = reference.one_step - reference.start, each.one_step - reference.one_step
    lengths, distances = (np.linalg.norm(delta.reshape(len(delta), -1), axis=1) for delta in (step, difference))
    shares = distances / np.maximum(lengths, np.finfo(np.float32).tiny)
    return float(np.nan_to_num(np.median(shares), nan=np.inf))


def _logit_distances(made: Sequence[Made], attacked: Attacked) -> _Distances:
    """(framework, framework) -> largest relative difference of the logits of each image, in any of its versions [N]."""
    found = {}
    for pair in itertools.combinations(attacked.logits, 2):
        sets = [logits for logits in (attacked.logits, *(each.logits for each in made)) if {*pair} <= {*logits}]
        found[pair] = np.max([_distance(logits[pair[0]], logits[pair[1]]) for logits in sets], axis=0)
    return found


def _distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    scale = max(1.0, float(np.abs(first).max()))
    return np.nan_to_num(np.abs(first - second).max(axis=1) / scale, nan=np.inf)


def _between(distances: _Distances, first: str, second: str) -> np.ndarray:
    for pair, distance in distances.items():
        if {*pair} == {first, second}:
            return distance
    return np.zeros(1)


def _of_the_model(pair: tuple[str, str], distance: np.ndarray) -> str:
    return f"the model: its logits differ between {pair[0]} and {pair[1]} by {distance.max():.1e} of the largest"


def _classified(row: Row, attacked: Attacked, distances: _Distances) -> list[Disagreement]:
    """Of the library's images, where the model in another framework says something else."""
    found = []
    for name, share in row.elsewhere.items():
        if share < SMALLEST_SHARE_OF_EQUAL_FLAGS:
            pair = (row.framework, name)
            distance = _between(distances, *pair)
            cause = "rounding: the logits are the same, and these images lie where two classes tie"
            if distance.max() > LOGIT_TOLERANCE:
                cause = _of_the_model(pair, distance)
            unequal = row.fooled[row.framework] != row.fooled[name]
            found.append(
                Disagreement(row.attack, (row.maker, f"the model in {name}"), attacked.numbers(unequal), cause)
            )
    return found


def _attacked(row: Row, each: Made, reference: Made, attacked: Attacked, distances: _Distances) -> Disagreement:
    """The images that either the library or tfadv alone fools."""
    own = row.fooled[each.framework]
    unequal = own != attacked.fooled(reference, reference.framework)
    pair = (reference.framework, each.framework)
    distance = _between(distances, *pair)
    misclassified = each.logits[each.framework].argmax(axis=1) != attacked.y
    outside = int((misclassified & unequal & ~own).sum())
    if distance.max() > LOGIT_TOLERANCE:
        cause = _of_the_model(pair, distance)
    elif outside:
        cause = f"the budget: same logits, but {outside} of these images are misclassified outside ball or box"
    elif row.one_step_apart > _SAME_STEP:
        cause = (
            "another algorithm, other settings, or a gradient that vanishes: same logits, but already one step ends "
            f"{row.one_step_apart:.0%} of its length away"
        )
    elif unequal.mean() > _SHARE_OF_TIES:
        cause = "another algorithm: same logits and about the same first step, but other steps after it"
    else:
        cause = (
            "rounding: same logits and about the same first step; signs of the gradient flip on ties, and that adds up"
        )
    makers = (f"{reference.library} in {reference.framework}", row.maker)
    return Disagreement(row.attack, makers, attacked.numbers(unequal), cause)
