"""The jobs behind tables 2 to 6 and figure 5 of "Adversarial robustness via label-smoothing" (LSV): one for each net.

A job trains one net and measures it under everything, so that all tables share it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import tfadv.data
from tfadv import analysis, attacks
from tfadv.attacks import CarliniWagner, DeepFool, Fgm
from tfadv.experiments import label_smoothing_variants as experiments
from tfadv.losses.smoothed_cross_entropy import SmoothedCrossEntropy
from tfadv.models import load
from tfadv.reproduction import jobs
from tfadv.reproduction.studies import label_smoothing_trained_attacks as program
from tfadv.reproduction.study import Context, Job

FGSM, BIM, DEEP_FOOL, CW = "FGSM", "BIM", "DeepFool", "C&W"
NATURAL, PGD = "natural", "PGD training"
METHODS = ("ALS", "SLS", "BLS", "SBLS")
EPSILONS = (0.05, 0.2, 0.4)  # of tables 2 and 3
# The closest adversarial points: DeepFool and C&W as published, but for 5 x 200 steps of C&W and its first c.
# From the published 1e-3 on they left 13 to 23% of three nets of label smoothing, from 0.1 on 3 to 6%.
_CLOSEST = {DEEP_FOOL: DeepFool(), CW: CarliniWagner(steps=200, binary_searches=5, initial_constant=0.1)}
_CLOSEST_COUNT = 500


class Setup(NamedTuple):
    """A data set with a network, as the tables name them.

    Attributes:
        name: "MNIST LeNet".
        dataset, model: in the files of printed numbers.
        prefix: of its experiments.
        steps: scale -> of training.
        epsilon: of the strong evaluation, and of comparisons at one epsilon.
        epsilons: of FGSM, to draw it.
        seconds: one core, of a step of natural training, and of all the measurements of one net.
    """

    name: str
    dataset: str
    model: str
    prefix: str
    steps: Mapping[str, int]
    epsilon: float
    epsilons: tuple[float, ...]
    seconds: tuple[float, float]

    def experiments(self) -> dict[str, str]:
        """Name of a defense, as in `defense`, -> its experiment."""
        start = f"label_smoothing_variants/{self.prefix}_"
        names = [name.removeprefix(start) for name in experiments.EXPERIMENTS if name.startswith(start)]
        return {defense(name): f"{start}{name}" for name in names}

    def schedule(self, step: int) -> str:
        """How much of the full schedule `step` is, in words."""
        return f"{100 * step / self.steps['paper']:.3g}% of 50 epochs"


MNIST_LINEAR = Setup(
    "MNIST Linear",
    "MNIST",
    "linear",
    "mnist_linear",
    {"smoke": 5, "short": 3_000, "paper": 30_000},
    0.2,
    (0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4),
    (0.002, 75.0),
)
MNIST_LENET = MNIST_LINEAR._replace(name="MNIST LeNet", model="LeNet", prefix="mnist_lenet", seconds=(0.007, 125.0))
CIFAR_LENET = Setup(
    "CIFAR LeNet",
    "CIFAR10",
    "LeNet",
    "cifar10_lenet",
    {"smoke": 5, "short": 5_000, "paper": 25_000},
    0.05,
    (0.025, 0.05, 0.1, 0.2, 0.4),
    (0.007, 115.0),
)
SETUPS = (MNIST_LINEAR, MNIST_LENET, CIFAR_LENET)


def defense(name: str) -> str:
    """What stands in the tables for the end of an experiment's name: "ALS 0.1" for als_0.1."""
    method, _, rest = name.partition("_")
    known = {experiments.NATURAL: NATURAL, experiments.PGD: PGD}
    return known.get(method) or f"{method.upper()} {rest.replace('_temperature_', ', T = ')}"


def at(attack: str, epsilon: float) -> str:
    """What a measurement under FGSM or BIM is called."""
    return f"{attack} {epsilon:g}"


def measure_smoothing(settings: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Trains a net and measures it as `jobs.measure` does, and by the attacks of the paper's program.

    Settings, beside those of `jobs.measure`:
        clean_count: images for the clean accuracy; None is all.
        own_labels: name -> (epsilon, steps), of `against_own_labels`.
        closest: name -> an attack of `tfadv.attacks.to_dict` without an epsilon.
        closest_count: images, a seeded, stratified subset, of `closest` and of the program's DeepFool and C&W.

    Returns:
        What `jobs.measure` does; own_labels[name]: {"accuracy", "interval"}; program[name]: the same of the program's
        DeepFool and C&W; closest[name]: the same and "distance", the median l2 distance of the points found for images
        that are classified right; closest_count. Without an epsilon "accuracy" is the share of images that are
        classified right where the attack ends.
    """
    result = jobs.measure(settings, context)
    model = load(jobs.trained_run(settings, context) / "model.keras")
    experiment = jobs.experiment_of(settings)
    loss = experiment.loss
    assert isinstance(loss, SmoothedCrossEntropy), "these experiments smooth labels, if only by 0"

    clean, many, few = (
        tfadv.data.arrays(experiment.dataset, "test", data_dir=context.data_dir, limit=settings[name])
        for name in ("clean_count", "limit", "closest_count")
    )
    result["clean"] = jobs.share(analysis.logits(model, clean[0]).argmax(axis=1) == clean[1])

    def left(config: Any, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
        return jobs.share(~attacks.compiled(model, config, precision="float32").run(x, y).adversarial)

    def kept(name: str, how: Any, work: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
        return jobs.kept(context, name, [how, result["weights"]], work, *given)

    def own_labels(epsilon: float, steps: int) -> dict[str, Any]:
        return left(program.against_own_labels(model, loss, epsilon=epsilon, steps=steps), *many)

    # Without a mass the own labels are the true ones.
    result["own_labels"] = {
        name: kept(f"{name} on own labels", how, own_labels, *how) if loss.mass else result["attacks"][name]
        for name, how in settings["own_labels"].items()
    }
    x, y = few
    right = analysis.logits(model, x).argmax(axis=1) == y

    def closest(values: dict[str, Any]) -> dict[str, Any]:
        outcome = attacks.compiled(model, attacks.from_dict(values), precision="float32").run(x, y)
        distances = np.linalg.norm((outcome.x_adv - x).reshape(len(x), -1), axis=1)[right & outcome.adversarial]
        median = float(np.median(distances)) if len(distances) else None
        return {**jobs.share(~outcome.adversarial), "distance": median}

    def deep_fool() -> dict[str, Any]:
        x_adv = program.deep_fool(model, x, y)
        return jobs.share(right & (analysis.logits(model, x_adv).argmax(axis=1) == y))

    result["closest"] = {name: kept(name, values, closest, values) for name, values in settings["closest"].items()}
    result["program"] = {
        DEEP_FOOL: kept("the program's DeepFool", program.STEPS, deep_fool),
        CW: kept("the program's C&W", attacks.to_dict(program.CARLINI_WAGNER), left, program.CARLINI_WAGNER, *few),
    }
    result["closest_count"] = len(x)
    return result


def job(setup: Setup, name: str, scale: str) -> Job:
    """The job "SETUP, DEFENSE"."""
    smoke = scale == "smoke"
    epsilons = EPSILONS[1:2] if smoke else tuple(sorted({*setup.epsilons, *EPSILONS}))
    multi = [epsilon for epsilon in epsilons if epsilon in EPSILONS or setup is CIFAR_LENET]
    single = {at(FGSM, epsilon): (Fgm(epsilon), epsilon, 1) for epsilon in epsilons}
    iterated = {at(BIM, epsilon): (program.bim(epsilon), epsilon, program.STEPS) for epsilon in multi}
    chosen = {**single, **iterated}
    changes: dict[str, Any] = {"steps": setup.steps[scale]}
    closest = dict(_CLOSEST)
    if smoke:
        changes |= {"dataset": "digits", "limit": 100}
        closest[CW] = CarliniWagner(steps=5, binary_searches=2)
    settings = {
        "experiment": setup.experiments()[name],
        "changes": changes,
        "attacks": {key: attacks.to_dict(each) for key, (each, *_) in chosen.items()},
        "own_labels": {key: [epsilon, steps] for key, (_, epsilon, steps) in chosen.items()},
        "closest": {key: attacks.to_dict(each) for key, each in closest.items()},
        "limit": {"smoke": 20, "short": 1_000, "paper": None}[scale],
        "clean_count": 20 if smoke else None,
        "closest_count": 20 if smoke else _CLOSEST_COUNT,
        "standard": 0 if smoke else 1_000,
        "epsilon": setup.epsilon,
        "precision": "float32",
    }
    step, measuring = setup.seconds
    # At scale paper ten times the images of FGSM and BIM, a tenth of the measuring at short. A net that resists costs
    # several times as much, in training and under AutoAttack.
    more = 2 if scale == "paper" else 1
    seconds = (4 if name == PGD else 1) * (setup.steps[scale] * step + more * measuring)
    return Job(f"{setup.name}, {name}", measure_smoothing, settings, 5.0 if smoke else seconds)
