"""The table of a survey: a line for each member, and the legend without which its numbers would mislead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tfadv import attacks
from tfadv.evaluation.suites import name_of
from tfadv.report.records import ThreatModel, clopper_pearson
from tfadv.report.tables import NOT_AVAILABLE, Table, percent, percent_interval
from tfadv.reproduction.families import CLEAN, STANDARD

_MARK = "†"
_COPIED = (
    "member",
    "what",
    "step",
    "epochs",
    "model_parameters",
    "seconds_of_training",
    "images_per_second",
    "weights",
)
# What every setting of an augmentation or a loss has, and what tells no member from another.
_UNTOLD = ("class", "name", "reduction", "dtype", "seed", "bounds", "ramp_steps", "start_step")


def table(about: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON values of a survey.

    Args:
        about: survey (the family's name), title, epsilon, norm, and settings: column -> what was measured.
        found: the members' evaluations, in the family's order, at least one.

    Returns:
        `about`, and members: for each what it is, how it was trained, and accuracy, interval, count, precision,
        seconds and stages of each column.
    """
    members = []
    for each in found:
        columns = {}
        for name in about["settings"]:
            column = {key: value for key, value in each["columns"][name].items() if key not in ("key", "environment")}
            robust = round(column["accuracy"] * column["count"])
            columns[name] = {**column, "interval": list(clopper_pearson(robust, column["count"]))}
        measured_on = {machine(each["columns"][name]["environment"]): None for name in about["settings"]}
        members.append(
            {
                **{key: each[key] for key in _COPIED},
                "model": each["experiment"]["model"],
                "batch_size": each["experiment"]["batch_size"],
                "seconds_of_evaluation": sum(column["seconds"] for column in columns.values()),
                "trained_on": machine(each["trained_with"]),
                "measured_on": list(measured_on),
                "columns": columns,
            }
        )
    return {**about, "members": members}


def markdown(values: Mapping[str, Any]) -> str:
    """The table of `values`, as `table` returns them, with its legend."""
    settings, members = values["settings"], values["members"]
    head = ["member", "what it is", "steps", "epochs"]
    for name in settings:
        columns = [member["columns"][name] for member in members]
        if name == STANDARD:
            inexact = any(column["precision"] != "float32" for column in columns)
            name += f" or {_MARK} its attacks" if inexact else ""
            name += f" ({settings[STANDARD]['count']:,})"
        head.append(name)
    rows, networks = [], {member["model"] for member in members}
    for member in members:
        what = member["what"] if len(networks) == 1 else f"{member['model']}: {member['what']}"
        cells = [member["member"], what, f"{member['step']:,}", f"{member['epochs']:.1f}"]
        cells += [_cell(name, column) for name, column in member["columns"].items()]
        times = [f"{member[f'seconds_of_{what}']:,.0f}" for what in ("training", "evaluation")]
        rows.append((*cells, *times))
    lines = Table((*head, "training s", "evaluation s"), tuple(rows))
    return f"{lines.markdown()}\n{_legend(values)}"


def description(experiment: Mapping[str, Any]) -> str:
    """What a described experiment does beside plain training: its method, loss, augmentations and weight decay."""
    method = experiment["method"]
    if experiment["train_attack"] is not None:
        method = [["madry", {"attack": experiment["train_attack"], "ramp_steps": experiment["ramp_steps"]}]]
    parts = [f"{name}{_in_brackets(settings)}" for name, settings in method]
    loss = experiment["loss"]
    if (loss["class"], loss.get("mass")) != ("LabelSmoothing", 0):
        parts.append(_words(loss))
    parts += [_words(each) for each in experiment["augment"]]
    parts += [f"{name}={experiment[name]:g}" for name in ("l1", "l2") if experiment[name]]
    if experiment["average"] is not None:
        parts.append(f"average={experiment['average']:g}")
    return " + ".join(parts) or "plain training"


def machine(environment: Mapping[str, str]) -> str:
    """An environment in one line."""
    cores, platform = environment["processor_cores"], environment["platform"]
    return f"{cores} cores, {platform}, TensorFlow {environment['tensorflow']}"


def _words(value: Any) -> str:
    if isinstance(value, Mapping):
        if value.get("class") in {kind.__name__ for kind in attacks.ATTACKS}:
            return name_of(attacks.from_dict(dict(value)))
        return f"{value.get('class', '')}{_in_brackets(value)}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _in_brackets(settings: Mapping[str, Any]) -> str:
    told = [f"{name}={_words(value)}" for name, value in settings.items() if name not in _UNTOLD]
    return f"({', '.join(told)})" if told else ""


def _cell(name: str, column: Mapping[str, Any]) -> str:
    text = percent(column["accuracy"], column["count"])
    if name == STANDARD:
        text += f" ({percent_interval(column['interval'], column['count'])})"
    return text if column["precision"] == "float32" else f"{text} {_MARK}"


def _legend(values: Mapping[str, Any]) -> str:
    settings, members = values["settings"], values["members"]
    first = settings[CLEAN]
    images = f"{first['count']:,} of the {first['available']:,}" if first["count"] < first["available"] else "all"
    threat = ThreatModel(values["norm"], values["epsilon"])
    lines = [
        f"Threat model: {threat.norm}, epsilon {threat.epsilon_text()}, pixels in [0, 1], white box, any wrong class. "
        "Every number is the share of images that is left classified correctly, an upper bound on the robust accuracy.",
        f"Images: {images} test images of {first['dataset']}; each attack alone on those classified correctly. "
        "PGD-20: one random start, steps of 2.5 epsilon / 20, the best iterate.",
    ]
    if STANDARD in settings:
        names = ", then ".join(stage["attack"] for stage in members[0]["columns"][STANDARD]["stages"])
        lines += [
            f"AutoAttack is the number to trust here: {names}, each on what is left, on a seeded, stratified subset of "
            f"{settings[STANDARD]['count']:,} test images; in brackets the 95% interval (Clopper-Pearson), which "
            "covers the sampling of images only.",
            "Where PGD leaves more than AutoAttack's interval, the defense masks gradients: it hinders the search, not "
            "the attacker.",
        ]
    else:
        lines.append("AutoAttack was left out: without it nothing tells a robust member from one that masks gradients.")
    if any(column["precision"] != "float32" for member in members for column in member["columns"].values()):
        lines.append(
            f"{_MARK} searched in bfloat16, each success verified in float32. Only an all-float32 run may be called "
            "AutoAttack; unmarked numbers are from float32."
        )
    else:
        lines.append("All searches ran in float32.")
    trained, measured = (
        _distinct(member["trained_on"] for member in members),
        _distinct(place for member in members for place in member["measured_on"]),
    )
    hardware = (
        f"Trained and measured on {trained}" if trained == measured else f"Trained on {trained}; measured on {measured}"
    )
    networks = _distinct(f"{member['model']}, batch {member['batch_size']}" for member in members)
    lines.append(f"{hardware}. Times are wall times beside whatever else ran there. Networks: {networks}.")
    return "".join(f"- {line}\n" for line in lines)


def _distinct(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts)) or NOT_AVAILABLE
