"""Transfer (Szegedy et al. 2014; Papernot et al. 2017): examples crafted on one model, tried on another."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tfadv.attacks.binding import compiled
from tfadv.attacks.engine import CompiledAttack


@dataclasses.dataclass(frozen=True)
class Transferred:
    """What was crafted elsewhere does to the target.

    Attributes:
        x_adv: float32 [N, ...]; of the first source whose example fools the target, or else of the last one.
        adversarial: bool [N], x_adv is what the attack wants of the target, judged in float32.
        by_source: bool [S, N], which example of which source fools the target.
    """

    x_adv: np.ndarray
    adversarial: np.ndarray
    by_source: np.ndarray


def transfer(
    source: Any,
    target: Any,
    config: Any,
    x: Any,
    y: Any,
    *,
    precision: str = "auto",
    batch_size: int | None = None,
    index: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Transferred:
    """Crafts examples on the source model, or on each of several, and judges them by the target, which is not attacked.

    Args:
        source: a model, or a list of them: an example counts as fooled if that of one of them fools the target.
        target: the model that is judged; it is asked once for each source.
        config: an attack. With keep="last" it goes on after the source is fooled, as in the papers, and what it finds
            transfers better; with keep="best" it stops just behind the source's own decision boundary.
        x, y: images in the config's bounds, labels int [N]; of a targeted attack, the classes to reach.
        precision, batch_size: as in `compiled`; index, progress: as in `CompiledAttack.run`.

    Raises:
        UserError: as in `compiled` and `CompiledAttack.run`.
    """
    sources = list(source) if isinstance(source, list | tuple) else [source]
    judge = CompiledAttack(target, config, jit="auto", precision="float32", batch_size=batch_size)
    crafted, fooled = [], []
    for number, each in enumerate(sources):

        def on(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number * total + done, len(sources) * total)

        attack = compiled(each, config, precision=precision, batch_size=batch_size)
        crafted.append(attack.run(x, y, index=index, progress=on).x_adv)
        fooled.append(judge.succeeds(x, y, crafted[-1]))
    by_source = np.stack(fooled)
    adversarial = np.asarray(by_source.any(axis=0))
    first = np.where(adversarial, by_source.argmax(axis=0), len(sources) - 1)
    return Transferred(np.stack(crafted)[first, np.arange(len(first))], adversarial, by_source)
