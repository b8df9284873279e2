"""AutoAttack (Croce and Hein 2020): parameter-free attacks, one after the other, as the field's standard evaluation."""

from __future__ import annotations

import dataclasses

from tfadv.attacks.apgd import Apgd
from tfadv.attacks.fab import Fab
from tfadv.attacks.search import Attack, check_choice, check_seed
from tfadv.attacks.square import Square
from tfadv.validation import UserError, as_number, check_epsilon

VERSIONS = ("standard", "plus", "rand")
NORMS = ("linf", "l2")
_TARGETS = 9
_EOT = 20


@dataclasses.dataclass(frozen=True)
class AutoAttack:
    """The published suites, as a list of attacks for `tfadv.attacks.compiled` (arXiv:2003.01690).

    `standard`: APGD on cross-entropy, targeted APGD on DLR (9 targets), targeted FAB (9 targets), Square (5,000
    queries). `plus`: APGD on cross-entropy and on DLR, 5 restarts each; FAB, 5 restarts; targeted APGD; targeted FAB;
    Square. `rand`, for models that draw random numbers: APGD on cross-entropy and on DLR, each gradient the mean of 20
    (EOT). Every attack is given what the ones before it could not fool.

    Departures from the published code: an example leaves an attack with its first success instead of staying to the
    end; Square draws its windows for each example instead of one for the batch; random numbers follow from (seed,
    restart, example). With fewer than four classes DLR and its targeted form fall back as `Apgd` says, where the
    published code fails.

    Attributes:
        epsilon: radius in input units (8/255 for images in [0, 1], never 8).
        norm: "linf" or "l2".
        version: one of `VERSIONS`.
        seed: of all random numbers.
        bounds: (lowest, highest) input value.
    """

    epsilon: float = 8 / 255
    norm: str = "linf"
    version: str = "standard"
    seed: int = 0
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, NORMS)
        check_choice("version", self.version, VERSIONS)
        check_seed(self.seed)
        if not as_number(self.epsilon) >= 0:
            raise UserError(f"epsilon must be >= 0 in input units, got {self.epsilon!r}; write 8/255, never 8")
        check_epsilon(self.epsilon, self.bounds, self.norm, strict=False)

    def stages(self) -> tuple[Attack, ...]:
        """The attacks of this version, in their order."""
        common = {"epsilon": self.epsilon, "norm": self.norm, "seed": self.seed, "bounds": self.bounds}
        ce = Apgd(objective="cross_entropy", **common)  # type: ignore[arg-type]
        dlr = dataclasses.replace(ce, objective="dlr")
        if self.version == "rand":
            return (dataclasses.replace(ce, eot=_EOT), dataclasses.replace(dlr, eot=_EOT))
        targeted = dataclasses.replace(ce, objective="targeted_dlr", targets=_TARGETS)
        fab_targeted = Fab(targets=_TARGETS, **common)  # type: ignore[arg-type]
        square = Square(queries=5_000, **common)  # type: ignore[arg-type]
        if self.version == "standard":
            return (ce, targeted, fab_targeted, square)
        return (
            dataclasses.replace(ce, restarts=5),
            dataclasses.replace(dlr, restarts=5),
            Fab(restarts=5, **common),  # type: ignore[arg-type]
            targeted,
            fab_targeted,
            square,
        )
