"""docs/: every code block of the guides runs as written, and the guides name what exists, all of it."""

import contextlib
import importlib
import importlib.util
import inspect
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import pytest

from tfadv import adversarial, attacks, augment, losses, training
from tfadv.experiments import EXPERIMENTS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
GUIDES = [name for name in PAGES if name != "README.md"]
SCALE = "training_at_scale.md"

# Guide -> the other library that it shows, and the extra of setup.py that installs it.
PEERS = {
    "coming_from_art.md": ("art", "art"),
    "coming_from_cleverhans.md": ("cleverhans", "crosscheck"),
    "coming_from_foolbox.md": ("foolbox", "foolbox"),
}

# Blocks of a cluster name this folder: one for each machine, which sets TF_CONFIG, and one for all of them.
SHARED, MACHINE = "/shared/", "export TF_CONFIG="


class Block(NamedTuple):
    """A fenced block, and the text block right behind it: what the first one prints, "..." for anything."""

    language: str
    code: str
    printed: str | None


def blocks(page: str) -> list[Block]:
    found = [*re.findall(r"^```(\w+)\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL), ("", "")]
    return [
        Block(language, code, following if next_language == "text" else None)
        for (language, code), (next_language, following) in itertools.pairwise(found)
        if language != "text"
    ]


def of_cluster(block: Block) -> bool:
    return SHARED in block.code


def assert_printed(block: Block, output: str) -> None:
    if block.printed is not None:
        pattern = re.escape(block.printed.strip()).replace(re.escape("..."), ".*")
        assert re.search(pattern, output), f"{block.printed} is not in\n{output}"


# What the guides name.


def test_the_index_lists_every_guide():
    assert GUIDES
    listed = re.findall(r"^- \[[^]]+\]\((\w+\.md)\): ", PAGES["README.md"], re.MULTILINE)
    assert sorted(listed) == GUIDES


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", PAGES[page]) if "://" not in link]
    assert [link for link in links if not (DOCS / link.split("#")[0]).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_language_that_is_run(page):
    """A block that no test runs would rot; and none is cut off by a fence that is missing."""
    assert {block.language for block in blocks(page)} <= {"python", "bash"}
    assert PAGES[page].count("```") % 2 == 0
    for number, block in enumerate(blocks(page)):
        if block.language == "python":
            compile(block.code, f"{page}, block {number}", "exec")


def inline(page: str) -> Iterator[str]:
    """The pieces of code in the text and in the tables."""
    text = re.sub(r"^```.*?^```$", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    for piece in re.findall(r"`([^`]+)`", text):
        yield " ".join(piece.split())


def resolved(dotted: str) -> object:
    """What `tfadv.a.b` or `training.b` names; AttributeError or ImportError if it names nothing."""
    first, *rest = dotted.split(".")
    found = importlib.import_module({"tfadv": "tfadv", "training": "tfadv.training"}[first])
    for name in rest:
        if inspect.ismodule(found) and not hasattr(found, name):
            importlib.import_module(f"{found.__name__}.{name}")  # a room that `import tfadv` leaves alone
        found = getattr(found, name)
    return found


# A build that carries what is imported alone finds here what is imported by its name.
ROOMS = (
    "tfadv.analysis",
    "tfadv.crosscheck",
    "tfadv.evaluation",
    "tfadv.export",
    "tfadv.models",
    "tfadv.report",
    "tfadv.reproduction",
    "tfadv.testing",
)


@pytest.mark.parametrize("page", GUIDES)
def test_every_dotted_name_exists(page):
    names = {match[0] for piece in inline(page) if (match := re.match(r"(tfadv|training)(\.\w+)+", piece))}
    assert names
    for name in names:
        assert resolved(name) is not None


def test_a_dotted_name_that_does_not_exist_is_noticed():
    with pytest.raises((AttributeError, ImportError)):
        resolved("tfadv.losses.LabelSmothing")


def calls(page: str) -> Iterator[tuple[str, list[str]]]:
    """(name, parameters) of `Name(a, b=..., ...)` in the text and in the tables."""
    for piece in inline(page):
        if match := re.fullmatch(r"([\w.]+)\(([^()]*)\)", piece):
            parameters = [part.split("=")[0].strip() for part in match[2].split(",") if part.strip()]
            yield match[1], [name for name in parameters if name.isidentifier()]


def test_every_call_in_the_text_has_parameters_of_that_name():
    known = {**vars(attacks), **vars(losses), **vars(augment), **vars(adversarial), **vars(training)}
    checked = []
    for page in GUIDES:
        for name, parameters in calls(page):
            first = name.split(".")[0]
            if name not in known and first not in ("tfadv", "training", "LabelSmoothing"):
                continue
            kind = known.get(name) or (
                getattr(losses.LabelSmoothing, name.split(".")[1]) if first == "LabelSmoothing" else resolved(name)
            )
            # "classifier", "method" and "model" stand for the first argument, whatever it is called.
            given = set(parameters) - {"classifier", "method", "model"}
            assert given <= set(inspect.signature(kind).parameters), name
            checked.append(name)
    assert len(checked) > 20


def first_column(page: str, header: str) -> list[str]:
    """The first cells of the table whose header row begins with `header`."""
    lines = PAGES[page].splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(f"| {header} |"))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(line.split("|")[1].strip())
    return rows


def names_in(cells: list[str]) -> set[str]:
    return {re.match(r"`(\w+)", cell)[1] for cell in cells}


def test_the_table_of_losses_has_every_loss_and_every_weight_penalty():
    frames = {"PenalizedCrossEntropy", "SmoothedCrossEntropy"}
    kinds = (keras.losses.Loss, keras.regularizers.Regularizer)
    public = {name: getattr(losses, name) for name in losses.__all__}
    classes = {name for name, value in public.items() if inspect.isclass(value) and issubclass(value, kinds)}
    assert names_in(first_column("defenses.md", "loss")) == classes - frames | {"add_weight_decay"}


def test_the_table_of_augmentations_has_every_augmentation():
    assert names_in(first_column("defenses.md", "augmentation")) == {kind.__name__ for kind in augment.AUGMENTATIONS}


def test_the_table_of_methods_has_every_method_and_wrapper_with_its_class():
    known = {**adversarial.METHODS, **adversarial.WRAPPERS}
    assert names_in(first_column("defenses.md", "name")) == set(known)
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)\(", PAGES["defenses.md"], re.MULTILINE)
    assert dict(rows) == {name: kind.__name__ for name, kind in known.items()}


def test_the_tables_of_strategies_and_precisions_have_every_one():
    strategies = names_in(first_column(SCALE, "`--strategy`"))
    assert strategies == set(training.STRATEGIES)
    precisions = [cell.strip('`"') for cell in first_column(SCALE, "`Experiment(precision=...)`")]
    assert precisions == list(training.PRECISIONS)


@pytest.mark.parametrize("page", GUIDES)
def test_every_flag_and_every_experiment_that_a_guide_names_exists(page):
    programs = [*ROOT.glob("trainers/*.py"), *ROOT.glob("attacks/*.py")]
    flags = {name for path in programs for name in re.findall(r'DEFINE_\w+\(\s*"(\w+)"', path.read_text())}
    named = set(re.findall(r"--(\w+)", PAGES[page]))
    flags |= {"dir", "tag_set", "signature_def", "overwrite", "outdir", "inputs"}  # of saved_model_cli
    flags |= {"dest", "find", "no", "wheel"}  # first words of flags of pip
    assert named <= flags
    families = {name.split("/")[0] for name in EXPERIMENTS}
    for family, member in re.findall(r"\b(\w+_\w+)/(\w+|\.\.\.)", PAGES[page]):
        assert f"{family}/{member}" in EXPERIMENTS or (member == "..." and family in families), (family, member)


def test_the_figures_measured_here_are_those_of_the_records():
    text = " ".join(PAGES["defenses.md"].split())
    number = r"(\d+\.\d)"
    pattern = rf"noise \(clean {number}\) AutoAttack leaves {number}, of .*? \(clean {number}\) it leaves {number}"
    quoted = re.search(pattern, text)
    recorded = []
    for name in ("squeezed_small", "pgd_small"):
        record = json.loads((ROOT / "results" / "attacks" / f"autoattack_{name}.json").read_text())
        row = next(line for line in record["text"].splitlines() if line.startswith("| ours, float32, seed 0 |"))
        cells = [cell.strip() for cell in row.split("|")]
        recorded += [float(cells[2]), float(cells[6])]
        assert record["examples"] == 1_000
        assert record["epsilon"] == 0.3
    assert [float(each) for each in quoted.groups()] == recorded


# What the guides run.

ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",  # `python` is this one
    "PYTHONPATH": str(ROOT),
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",  # the same machine everywhere
}
ENVIRONMENT.pop("TF_CONFIG", None)

# Executes the blocks in one namespace, as a session would, and marks in the output where each begins.
SESSION = """
import json, sys
names = {"__name__": "__main__"}
for place, code in json.load(sys.stdin):
    print(f"<<{place}>>", flush=True)
    exec(compile(code, place, "exec"), names)
"""


def run(command: list[str], folder: Path, given: str = "") -> subprocess.CompletedProcess:
    return subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, input=given, capture_output=True, text=True, timeout=600
    )


@pytest.fixture(scope="module", params=list(PAGES))
def guide(request, tmp_path_factory):
    """(page, folder) of a guide whose Python blocks have run there."""
    page, folder = request.param, tmp_path_factory.mktemp("guide")
    library, extra = PEERS.get(page, ("keras", ""))
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is optional and not installed: pip install '.[{extra}]'")
    own = [block for block in blocks(page) if block.language == "python" and not of_cluster(block)]
    session = [(f"{page}, Python block {number}", block.code) for number, block in enumerate(own)]
    done = run([sys.executable, "-c", SESSION], folder, json.dumps(session))
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = re.split(r"^<<.*?>>$", done.stdout, flags=re.MULTILINE)[1:]
    for block, output in zip(own, outputs, strict=True):
        assert_printed(block, output)
    return page, folder, done.stdout


@pytest.mark.slow
def test_the_blocks_run_as_written(guide):
    """The Python blocks in one session, then the commands, in order, in the folder of that session."""
    page, folder, output = guide
    if page == SCALE:
        assert "replicas: 2\n" in output
        alone, both = re.search(r"loss on one device ([\d.]+), on two ([\d.]+)", output).groups()
        assert float(both) == pytest.approx(float(alone), abs=2e-3)
        listed = {name for cell in first_column(SCALE, "in the workdir") for name in re.findall(r"`([^`]+)`", cell)}
        assert {"experiment.json", "checkpoints/", "metrics.jsonl", "tensorboard/", "model.keras"} <= listed
        for name in listed - {"models/step-N.keras", "best.keras"}:
            assert (folder / "runs" / "two" / name).exists(), name
    elif page == "defenses.md":
        assert 0 <= float(re.search(r"best accuracy under attack .*: (\d+)%", output)[1]) <= 100
    for block in blocks(page):
        if block.language == "bash" and not of_cluster(block):
            done = run(["bash", "-euo", "pipefail", "-c", block.code], folder)
            refused = block.printed is not None and block.printed.startswith("error: ")
            assert done.returncode == int(refused), done.stderr[-3000:]
            assert "Traceback" not in done.stderr
            assert_printed(block, done.stdout + done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("page", PEERS)
def test_the_attacks_of_the_other_library_and_ours_exist(page):
    """The table of attacks: in its head the two modules, in its rows what each calls the same attack."""
    library, extra = PEERS[page]
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is optional and not installed: pip install '.[{extra}]'")
    (head,) = re.findall(r"^\| (.*?, `[\w.]+`) \| tfadv, `tfadv\.attacks` \|$", PAGES[page], re.MULTILINE)
    place = re.search(r"`([\w.]+)`", head)[1]
    module = importlib.import_module(place)
    theirs = {name for cell in first_column(page, head) for name in re.findall(r"`(\w+)`", cell)}
    assert len(theirs) > 5
    for name in theirs:
        assert hasattr(module, name) or importlib.util.find_spec(f"{place}.{name}") is not None, name
    start = PAGES[page].index(f"| {head} |")
    table = PAGES[page][start : PAGES[page].index("\n\n", start)]
    ours = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)", row.split("|")[2])}
    assert {name for name in ours if not hasattr(attacks, name)} == set()


def free_ports(count: int) -> list[int]:
    holders = [socket.socket() for _ in range(count)]
    for holder in holders:
        holder.bind(("127.0.0.1", 0))
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


@pytest.mark.slow
def test_the_two_machines_train_together_and_attack_together(tmp_path):
    """Two processes on the loopback address: hosts and shared folder are all that is changed."""
    shared, ports = tmp_path / "shared", free_ports(2)

    def here(code: str) -> str:
        for number, port in enumerate(ports):
            code = code.replace(f"host{number}:2222", f"127.0.0.1:{port}")
        return code.replace(SHARED, f"{shared}/")

    own = [block.code for block in blocks(SCALE) if of_cluster(block)]
    *machines, on_all = own
    assert [code.startswith(MACHINE) for code in own] == [True, True, False]
    started = [
        subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", here(code + on_all)],
            cwd=tmp_path,
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that the shell's program ends with it
        )
        for code in machines
    ]
    try:
        outputs = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                os.killpg(process.pid, signal.SIGKILL)
    assert [process.returncode for process in started] == [0, 0], outputs[0][1][-3000:] + outputs[1][1][-3000:]
    first, second = (out for out, _ in outputs)
    assert "step 40/40" in first
    assert "step 40/40" not in second
    assert json.loads((shared / "digits" / "metrics.json").read_text())["step"] == 40
    assert (shared / "report" / "report.json").is_file()
    assert "worst-case accuracy" in first
    assert "worst-case accuracy" not in second
