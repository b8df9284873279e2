"""One model file in TensorFlow, PyTorch and JAX: the same attacks by the libraries of each, judged by all of them.

Each library, and afterwards each framework's model, has a process of its own (`tfadv.crosscheck.worker`), on the CPU:
what is missing, fails or hangs there is told, and the others go on.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from tfadv import files, models
from tfadv.crosscheck import cleverhans, ours, worker
from tfadv.crosscheck.diagnosis import Attacked, Made, verification
from tfadv.crosscheck.judging import Examples
from tfadv.crosscheck.makers import FRAMEWORKS, MAKERS, departure, missing
from tfadv.crosscheck.verification import Verification
from tfadv.validation import UserError

_TENSORFLOW_ALONE = "a SavedModel runs in TensorFlow alone; name the .keras file"


def suite(
    norm: str, epsilon: float, *, step_size: float, steps: int, seed: int = 0, l2_epsilon: float | None = None
) -> list[Any]:
    """FGM, BIM and PGD of one threat model, returning the last iterate; and in l2 of another radius.

    Args:
        norm: "linf" or "l2".
        epsilon, step_size: radius and step in input units; in l2 the step is as large a part of `l2_epsilon`.

    Raises:
        UserError: a radius, norm or step that the attacks do not have.
    """
    if l2_epsilon is not None and (norm == "l2" or not epsilon > 0):
        raise UserError(
            f"l2_epsilon is a second radius beside one in another norm, got norm={norm!r}, epsilon={epsilon:g}; leave "
            "it out, or choose norm='linf' and an epsilon > 0"
        )
    made = []
    radii = {norm: epsilon} if l2_epsilon is None else {norm: epsilon, "l2": l2_epsilon}
    for each, radius in radii.items():
        step = step_size if each == norm else step_size * radius / epsilon
        configs = ours.configs(("fgm", "bim", "pgd"), radius, step_size=step, steps=steps, norm=each, seed=seed)
        made += [ours.last_iterate(config) for config in configs]
    return made


def verify(
    path: str | os.PathLike,
    x: Any,
    y: Any,
    configs: Iterable[Any],
    *,
    modules: Sequence[str] = (),
    batch_size: int = 250,
    timeout: float = 1800.0,
    report: Callable[[str], Any] = lambda text: print(text, file=sys.stderr),
) -> Verification:
    """Runs every attack by every library in its framework, and classifies what they made in every framework.

    Args:
        path: of a `.keras` file (or run folder), which each framework loads anew; or of a SavedModel, which TensorFlow
            alone can run.
        x: float32 images [N, ...] in [0, 1]. Those that the model classifies correctly in TensorFlow are attacked.
        y: labels, int [N] or [N, K].
        configs: `Fgm`, and `Pgd` that returns the last iterate (`keep="last"`) of one start, of norm linf or l2.
        modules: names of Python modules that register the model's classes; imported in every process.
        batch_size: of all libraries.
        timeout: seconds that one process may take.
        report: told what is being done.

    Raises:
        UserError: a module that cannot be imported; a config that the libraries do not share; a model, images or labels
            that cannot be compared.
    """
    configs = list(configs)
    for config in configs:
        cleverhans.check_config(config)
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise UserError(
                f"modules must be importable, got {module!r} ({error}); put its folder into PYTHONPATH"
            ) from error
    model = models.load(path)
    examples = Examples(model, x, y, batch_size)
    images: dict[str, Any] = {"x": examples.x, "y": examples.y}
    for number, config in enumerate(configs):
        start = ours.random_start(examples.predict, config, examples.x, examples.y)
        if start is not None:
            images[f"start{number}"] = start
    refused = {name: "it is not installed" for name in FRAMEWORKS if missing((name,))}
    if not isinstance(model, keras.Model):
        refused |= {name: _TENSORFLOW_ALONE for name in FRAMEWORKS if name != "tensorflow"}
    job = {
        "model": os.path.abspath(path),
        "modules": list(modules),
        "shape": examples.x.shape[1:],
        "classes": examples.classes,
        "batch_size": batch_size,
    }
    with tempfile.TemporaryDirectory(prefix="tfadv-frameworks-") as folder:
        processes = _Processes(pathlib.Path(folder), job, refused, timeout, report)
        made = processes.attack(configs, images)
        clean, made = processes.classify(examples.x, made)
    return verification(
        made,
        Attacked(examples.x, examples.y, examples.index, len(x), clean),
        not_compared=processes.not_compared,
        versions=processes.versions,
    )


class _Unanswered(Exception):
    """A process that gave no answer; the text says why."""


class _Processes:
    """The processes of one comparison, one after the other.

    Attributes:
        not_compared, versions: so far, as in `Verification`.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        job: dict[str, Any],
        refused: dict[str, str],
        timeout: float,
        report: Callable[[str], Any],
    ) -> None:
        """`folder` is theirs, `job` the part of a job that all have, `refused` framework -> why it cannot be asked."""
        self._folder, self._job, self._refused, self._timeout, self._report = folder, job, refused, timeout, report
        self.not_compared: list[tuple[str, str, str]] = []
        self.versions: dict[str, str] = {}
        for framework, reason in refused.items():
            self.not_compared.append(("all", FRAMEWORKS[framework], reason))

    def attack(self, configs: list[Any], images: dict[str, Any]) -> list[Made]:
        """What every library made of the images, without logits."""
        np.savez(self._folder / "images.npz", **images)
        task = {"attacks": [worker.packed(config) for config in configs], "images": "images.npz"}
        made = []
        for (framework, library), maker in MAKERS.items():
            if framework in self._refused:
                continue
            who = f"{maker.name} in {FRAMEWORKS[framework]}"
            lacking = missing(maker.packages)
            if lacking:
                self.not_compared.append(("all", who, f"not installed: {', '.join(lacking)}"))
                continue
            if not maker.attacks:
                self.not_compared.append(("all", who, f"broken: {', '.join(set(maker.broken.values()))}"))
                continue
            self._report(f"{who}: {len(configs)} attacks on {len(images['x'])} images")
            try:
                arrays, reasons = self._answer(f"{framework}-{library}", framework, {"library": library, **task})
            except _Unanswered as error:
                self.not_compared.append(("all", who, str(error)))
                continue
            for number, config in enumerate(configs):
                if str(number) in reasons:
                    self.not_compared.append((ours.describe(config), who, reasons[str(number)]))
                    continue
                x_adv = arrays[f"x_adv{number}"]
                made.append(
                    Made(
                        config,
                        maker.name,
                        FRAMEWORKS[framework],
                        x_adv,
                        start=images.get(f"start{number}", images["x"]),
                        one_step=arrays.get(f"one_step{number}", x_adv),
                        logits={},
                        differs=departure(library, config),
                    )
                )
        return sorted(made, key=lambda each: configs.index(each.config))

    def classify(self, x: np.ndarray, made: list[Made]) -> tuple[dict[str, np.ndarray], list[Made]]:
        """(framework -> logits of x, what was made with the logits of all frameworks)."""
        given: dict[str, Any] = {f"made{number}": each.x_adv for number, each in enumerate(made)}
        np.savez(self._folder / "made.npz", x=x, **given)
        answers = {}
        for framework, name in FRAMEWORKS.items():
            if framework in self._refused:
                continue
            self._report(f"{name} classifies what all of them made")
            try:
                answers[name], _ = self._answer(framework, framework, {"library": None, "images": "made.npz"})
            except _Unanswered as error:
                self.not_compared.append(("all", f"the model in {name}", str(error)))
        judged = []
        for number, each in enumerate(made):
            if each.framework in answers:
                logits = {name: arrays[f"made{number}"] for name, arrays in answers.items()}
                judged.append(dataclasses.replace(each, logits=logits))
        return {name: arrays["x"] for name, arrays in answers.items()}, judged

    def _answer(self, name: str, framework: str, task: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """(arrays, reasons) of a job.

        Raises:
            _Unanswered: it failed, or took too long.
        """
        path = self._folder / f"{name}.json"
        files.write_json(path, {**self._job, "framework": framework, **task})
        environment = {
            **os.environ,
            "KERAS_BACKEND": framework,
            # A GPU adds up in another order and, unless told otherwise, in lower precision.
            "CUDA_VISIBLE_DEVICES": "-1",
            "JAX_PLATFORMS": "cpu",
            "KERAS_TORCH_DEVICE": "cpu",
            "PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path),
        }
        command = [sys.executable, "-m", "tfadv.crosscheck.worker", os.fspath(path)]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, errors="replace", timeout=self._timeout
            )
        except subprocess.TimeoutExpired as error:
            raise _Unanswered(f"gave no answer within {self._timeout:g} s") from error
        if done.returncode:
            end = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
            last = [line.strip() for line in done.stderr.splitlines() if line.strip()][-1:]
            raise _Unanswered(f"failed ({end}): {''.join(last) or 'without a word'}")
        answer = json.loads(path.with_suffix(worker.ANSWER).read_text(encoding="utf-8"))
        self.versions |= answer["versions"]
        with np.load(path.with_suffix(worker.ARRAYS), allow_pickle=False) as stored:
            return dict(stored), answer["reasons"]
