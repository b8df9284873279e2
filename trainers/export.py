"""Exports a classifier, and an attack on it, as a SavedModel that runs without tfadv.

python -m trainers.export --model=PATH --output=FOLDER [--attack=pgd --epsilon=0.3 --step_size=0.01 --steps=40]
"""

from __future__ import annotations

from absl import app, flags

from tfadv import attacks, export, models
from tfadv.balls import BALLS
from tfadv.validation import UserError, exit_cleanly

_MODEL = flags.DEFINE_string("model", None, "A .keras file, a SavedModel folder or a run folder.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Receives the SavedModel; an export there is replaced.", required=True)
_ATTACK = flags.DEFINE_enum("attack", None, ["fgm", "pgd"], "Adds a signature: (images, labels, epsilon) -> x_adv.")
_EPSILON = flags.DEFINE_float("epsilon", None, "Radius that step_size belongs to, in input units: 0.0314 for 8/255.")
_STEP_SIZE = flags.DEFINE_float("step_size", None, "Step of pgd at that radius; scaled with the epsilon of a call.")
_STEPS = flags.DEFINE_integer("steps", 40, "Gradient steps of pgd.", lower_bound=1)
_RESTARTS = flags.DEFINE_integer("restarts", 1, "Random starts of pgd.", lower_bound=1)
_NORM = flags.DEFINE_enum("norm", "linf", sorted(BALLS), "Norm of the attack's ball.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of pgd's random starts.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    needed = {None: (), "fgm": ("epsilon",), "pgd": ("epsilon", "step_size")}[_ATTACK.value]
    given = {"epsilon": _EPSILON.value, "step_size": _STEP_SIZE.value}
    if any(given[name] is None for name in needed):
        raise UserError(f"--attack={_ATTACK.value} needs {' and '.join(f'--{name}' for name in needed)} in input units")
    unused = [name for name, value in given.items() if value is not None and name not in needed]
    if unused:
        raise UserError(f"--{unused[0]} needs an attack that takes it: add --attack=pgd, or leave it out")
    model = models.load(_MODEL.value)
    if _ATTACK.value is None:
        folder = export.export_classifier(model, _OUTPUT.value)
    else:
        config = {
            "fgm": lambda: attacks.Fgm(epsilon=_EPSILON.value, norm=_NORM.value),
            "pgd": lambda: attacks.Pgd(
                epsilon=_EPSILON.value,
                step_size=_STEP_SIZE.value,
                steps=_STEPS.value,
                norm=_NORM.value,
                restarts=_RESTARTS.value,
                seed=_SEED.value,
            ),
        }[_ATTACK.value]()
        folder = export.export_attack(model, config, _OUTPUT.value)
    print(f"exported to {folder}; see its signatures: saved_model_cli show --all --dir {folder}")


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
