"""Lays saved reports side by side: a leaderboard of what was claimed of each model and what attacks leave of it.

python -m attacks.compare runs/a/report runs/b/report --claimed=a.keras=0.69 --output=comparison
Each argument is a folder that tfadv-evaluate wrote, or its report.json.
"""

from __future__ import annotations

from absl import app, flags

from tfadv.report import compare
from tfadv.validation import UserError, exit_cleanly

_CLAIMED = flags.DEFINE_multi_string(
    "claimed", [], "NAME=ACCURACY: the robust accuracy that a model's paper states, 0.69 for 69%. Repeatable."
)
_ATTACK = flags.DEFINE_string(
    "attack", None, "The row that stands for the papers' attack; default each model's weakest white-box attack."
)
_TITLE = flags.DEFINE_string("title", "Reports compared", "The heading of the page.")
_OUTPUT = flags.DEFINE_string("output", None, "Receives report.html, table.md, report.json and the plots.")


def main(argv: list[str]) -> None:
    reports = compare.load(argv[1:])
    claimed = dict(map(_claim, _CLAIMED.value))
    collection = compare.leaderboard(reports, claimed=claimed, attack=_ATTACK.value, title=_TITLE.value)
    print(collection.summary())
    if _OUTPUT.value:
        collection.save(_OUTPUT.value)
        print(f"comparison in {_OUTPUT.value}")


def _claim(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        return name, float(number)
    except ValueError as error:
        raise UserError(f"claimed must be NAME=ACCURACY, for example madry=0.89, got {text!r}") from error


def run() -> None:
    app.run(exit_cleanly(main))


if __name__ == "__main__":
    run()
