"""Table 2 of "Adversarial vertex mixup" (AV): adversarial examples of one net, tried on the others.

The paper concludes from it that AVmixup does not hide gradients, since it answers examples of other nets better than
its own. That is true of nearly every net; so the white-box accuracies, AutoAttack's among them, stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import tfadv.data
from tfadv import attacks
from tfadv.models import load
from tfadv.reproduction.jobs import experiment_of, share, trained_run
from tfadv.reproduction.studies import avmixup_trained as av
from tfadv.reproduction.study import Claim, Compared, Context, Job, Rendering, Study, reference

TRANSFER = "transfer"
_NETS = (av.STANDARD, av.PGD, av.LS08, av.LS09, av.AVMIXUP)
_FORWARD_BATCH = 500


def transfer_all(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Crafts on every net, and judges every net by it.

    Settings:
        runs: name -> experiment and changes, of one data set. attack: a config. limit: test images. precision.

    Returns:
        count; steps: name -> training steps; accuracy: source -> target -> {"accuracy", "interval"}.
    """
    models, steps = {}, {}
    for name, each in settings["runs"].items():
        models[name] = load(trained_run(each, context) / "model.keras")
        steps[name] = experiment_of(each).steps
    dataset = experiment_of(next(iter(settings["runs"].values()))).dataset
    x, y = tfadv.data.arrays(dataset, "test", data_dir=context.data_dir, limit=settings["limit"])
    attack, found = attacks.from_dict(settings["attack"]), {}
    for source, model in models.items():
        context.report(f"examples of {source}")
        x_adv = attacks.compiled(model, attack, precision=settings["precision"]).run(x, y).x_adv
        found[source] = {target: share(_right(judged, x_adv, y)) for target, judged in models.items()}
    return {"count": len(x), "steps": steps, "accuracy": found}


def _right(model: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return model.predict(x, batch_size=_FORWARD_BATCH, verbose=0).argmax(axis=1) == y


def _compared(found: Mapping[str, Any]) -> tuple[Compared, ...]:
    lines = []
    for row in reference("avmixup_table2"):
        source, target = row["threat"].removeprefix("black-box:").removesuffix(" model"), row["row_label"]
        value, interval = av.percent(found["accuracy"][source][target])
        how = av.note(target, {"step": found["steps"][target]})
        lines.append(Compared(f"{target} against {source}", float(row["value"]), value, "%", interval, how))
    return tuple(lines)


def _claim(found: Mapping[str, Any], results: av.Results) -> Claim:
    """AV-5, of which the conclusion is looked at."""

    def worst(net: str) -> float:
        return 100 * min(by[net]["accuracy"] for source, by in found["accuracy"].items() if source != net)

    words = []
    for net in (av.PGD, av.AVMIXUP):
        own = 100 * found["accuracy"][net][net]["accuracy"]
        text = f"{net}: {worst(net):.1f}% against the strongest of the others, {own:.1f}% against its own PGD20"
        if "standard" in results.get(net, {}):
            text += f", {100 * results[net]['standard']['accuracy']:.1f}% under AutoAttack"
        words.append(text)
    evidence = (
        f"{'; '.join(words)}. That examples of others are weaker than its own holds for PGD as well, and does not tell "
        "whether a stronger white-box attack goes further"
    )
    return Claim("AV-5", "depends", evidence)


def render(results: av.Results) -> Rendering:
    """The matrix, whose diagonal, white-box, the paper leaves out."""
    found = results.get(TRANSFER)
    if found is None:
        return Rendering()
    lines = "; ".join(
        f"{target} "
        + ", ".join(f"{source} {100 * found['accuracy'][source][target]['accuracy']:.1f}" for source in _NETS)
        for target in _NETS
    )
    return Rendering(
        compared=_compared(found),
        findings=(f"PGD20 accuracy by source, the net itself among them: {lines}.",),
        claims=(_claim(found, results),),
    )


def jobs(scale: str) -> tuple[Job, ...]:
    """The nets of table 1, which are trained and measured for it, and all pairs of them."""
    settings = {
        "runs": {net: av.run_of(scale, net) for net in _NETS},
        "attack": attacks.to_dict(av.COLUMNS["PGD20"]),
        "limit": av.LIMITS[scale],
        "precision": "auto",
    }
    seconds = {"smoke": 5, "short": 40, "paper": 1e6}[scale]
    return (*(av.job(scale, net) for net in _NETS), Job(TRANSFER, transfer_all, settings, seconds))


STUDY = Study(
    "avmixup/table2",
    "Table 2: adversarial examples of one net tried on the others, CIFAR-10",
    jobs,
    render,
    (
        "PGD20: 20 steps of 2/255 from one random start, the last iterate, whether it fools its own net or not.",
        "Rows are the nets that are judged, columns the nets that the examples are made on; the paper's supplement "
        "has more of them, which are not printed in our text.",
        "Scale short: small_cnn, one seed, nets of another schedule.",
    ),
)
