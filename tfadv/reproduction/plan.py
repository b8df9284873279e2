"""Does the jobs of many studies, each once: one after the other here, or by Ray; then renders the studies.

A finished job leaves a JSON file named after all that its result depends on. So a plan that was killed continues, a
larger plan takes over what a smaller one did, and two studies share what both need.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tfadv import files, training
from tfadv.report.tables import duration
from tfadv.reproduction.runs import read_json
from tfadv.reproduction.study import SCALES, Context, Job, Study
from tfadv.validation import UserError

EXECUTORS = ("local", "ray")


def carry_out(
    studies: Sequence[Study],
    output: pathlib.Path,
    *,
    scale: str,
    data_dir: str | None = None,
    executor: str = "local",
    only_finished: bool = False,
    report: Callable[[str], None] = print,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Does what is missing, and returns everything: study -> job -> {"result", "settings", "seconds", ...}.

    A job that fails does not keep the others from being done; at the end the failures are raised.

    Args:
        output: receives jobs/ (finished results), work/ (of jobs under way) and runs/ (trained models).
        scale: one of `SCALES`.
        executor: "local", or "ray" for a cluster (`ray.init` finds it by its own variables), one job on one core.
        only_finished: does nothing, and returns what is there.

    Raises:
        UserError: an unknown scale or executor, Ray is not installed, or jobs that failed, by name.
    """
    if scale not in SCALES:
        raise UserError(f"scale must be one of {SCALES}, got {scale!r}")
    if executor not in EXECUTORS:
        raise UserError(f"executor must be one of {EXECUTORS}, got {executor!r}")
    asked = {study.key: study.jobs(scale) for study in studies}
    jobs = {job.identity: job for each in asked.values() for job in each}
    missing = {name: job for name, job in jobs.items() if _finished(output, job) is None}
    seconds = sum(job.seconds for job in missing.values())
    report(
        f"{len(studies)} target{'s' * (len(studies) != 1)} at scale {scale}: {len(jobs)} jobs, "
        f"{len(jobs) - len(missing)} finished; about {duration(seconds)} for the others on two cores"
    )
    if only_finished:
        missing = {}
    began, spent, failed = time.monotonic(), 0.0, {}
    with _executor(executor) as do:
        for number, (name, trouble) in enumerate(do(missing, output, data_dir), start=1):
            job = missing[name]
            spent += job.seconds
            left = (time.monotonic() - began) * (seconds - spent) / max(spent, 1e-9)
            if trouble:
                failed[job.key] = trouble
                report(f"{number}/{len(missing)} {job.key}: FAILED: {trouble}")
            else:
                report(f"{number}/{len(missing)} {job.key}: done; about {duration(left)} left")
    found = {
        key: {job.key: values for job in each if (values := _finished(output, job))} for key, each in asked.items()
    }
    if failed:
        raise UserError(
            f"{len(failed)} of {len(missing)} jobs failed, the others are finished and kept: "
            + "; ".join(f"{key}: {trouble}" for key, trouble in failed.items())
        )
    return found


def _place(output: pathlib.Path, identity: str) -> pathlib.Path:
    return output / "jobs" / f"{identity}.json"


def _finished(output: pathlib.Path, job: Job) -> dict[str, Any] | None:
    """What a job left; None where it is not finished, or its file is damaged or another job's."""
    values = read_json(_place(output, job.identity))
    if not (isinstance(values, dict) and files.is_whole(values)):
        return None
    asked = {
        "work": f"{job.work.__module__}.{job.work.__name__}",
        "settings": json.loads(json.dumps(dict(job.settings))),
    }
    if any(values.get(name) != value for name, value in asked.items()):
        return None
    return {name: value for name, value in values.items() if name != "sha256"}


def perform(job: Job, output: pathlib.Path, data_dir: str | None) -> str | None:
    """Does one job and stores its result; None, or in one line why it failed.

    A job that another process is at work on is waited for, and then taken as it is: plans in one folder share the work.
    """
    work = output / "work" / job.identity

    def say(line: str) -> None:
        print(f"  {job.key}: {line}", file=sys.stderr, flush=True)

    try:
        with files.holding(work, waiting=lambda holder: say(f"waits for {holder}")):
            if _finished(output, job) is None:
                _do(job, output, Context(work, output / "runs", data_dir, say))
            shutil.rmtree(work, ignore_errors=True)
    except Exception as error:
        # Whatever a job does wrong, the others are worth finishing; the whole story is kept with its work.
        files.write_text(work / "error.txt", traceback.format_exc())
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]} ({work / 'error.txt'})"
    return None


def _do(job: Job, output: pathlib.Path, context: Context) -> None:
    began = time.monotonic()
    result = job.work(job.settings, context)
    values = {
        "job": job.key,
        "work": f"{job.work.__module__}.{job.work.__name__}",
        "settings": dict(job.settings),
        "result": result,
        "seconds": time.monotonic() - began,
        "environment": training.environment(),
    }
    files.write_json(_place(output, job.identity), files.sealed(values))


Outcomes = Iterator[tuple[str, str | None]]


@contextlib.contextmanager
def _executor(name: str) -> Iterator[Callable[[dict[str, Job], pathlib.Path, str | None], Outcomes]]:
    if name == "local":
        yield _one_after_the_other
        return
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError(
            'executor="ray" needs Ray, which is not installed; install tfadv[ray], or use executor="local"'
        ) from error
    ours = not ray.is_initialized()
    if ours:
        ray.init(log_to_driver=True, include_dashboard=False, configure_logging=False)
    try:
        yield _by_ray
    finally:
        if ours:
            ray.shutdown()


def _one_after_the_other(jobs: dict[str, Job], output: pathlib.Path, data_dir: str | None) -> Outcomes:
    for name, job in jobs.items():
        yield name, perform(job, output, data_dir)


def _by_ray(jobs: dict[str, Job], output: pathlib.Path, data_dir: str | None) -> Outcomes:
    """The same by the workers of a cluster, which share the folder `output`."""
    import ray

    # A job is one core's work; retried by Ray if its worker dies, and then continues from its folder.
    remote = ray.remote(num_cpus=1, max_retries=2)(perform)
    waiting = {remote.remote(job, output.absolute(), data_dir): name for name, job in jobs.items()}
    while waiting:
        (ready,), _ = ray.wait(list(waiting), num_returns=1)
        name = waiting.pop(ready)
        try:
            yield name, ray.get(ready)
        except ray.exceptions.RayError as error:
            yield name, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
