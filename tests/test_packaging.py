"""The wheel and the source distribution: what they hold, and that the commands work in any folder without the clone."""

import ast
import concurrent.futures
import configparser
import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Folder of a clone -> its place in the wheel.
MAPPED = {"trainers": "tfadv/trainers", "attacks": "tfadv/programs"}
COMMANDS = {
    "tfadv-train": "tfadv.trainers.train:run",
    "tfadv-export": "tfadv.trainers.export:run",
    "tfadv-prepare-data": "tfadv.trainers.prepare_data:run",
    "tfadv-reproduce": "tfadv.trainers.reproduce:run",
    "tfadv-survey": "tfadv.trainers.survey:run",
    "tfadv-training-cost": "tfadv.trainers.training_cost:run",
    "tfadv-quickstart": "tfadv.trainers.quickstart:run",
    "tfadv-evaluate": "tfadv.programs.evaluate:run",
    "tfadv-compare": "tfadv.programs.compare:run",
    "tfadv-crosscheck": "tfadv.programs.crosscheck:run",
    "tfadv-autoattack": "tfadv.programs.autoattack:run",
    "tfadv-benchmark": "tfadv.programs.benchmark:run",
}


def load_matrix():
    """tools/packaging/matrix.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("matrix", ROOT / "tools/packaging/matrix.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


matrix = load_matrix()


def version() -> str:
    tree = ast.parse((ROOT / "tfadv" / "version.py").read_text(encoding="utf-8"))
    return next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))


def call(command: list, cwd: Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built without a network from a copy, so that no build folder appears in the clone."""
    return matrix.built(tmp_path_factory.mktemp("tree"))


@pytest.fixture(scope="module")
def distribution(tmp_path_factory) -> tuple[Path, Path]:
    """(source distribution, the wheel built from it alone)."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    done = call(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", output, matrix.copied(source)], cwd=output
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,), (built,) = output.glob("*.tar.gz"), output.glob("*.whl")
    return archive, built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The scripts folder of a fresh environment with the wheel and, below it, the packages of this environment.

    The clone is not on its path: `.pth` files of this environment (an editable install of tfadv) are not read there.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", scripts / "python", "--disable-pip-version-check"]
    done = call([*pip, "install", "--no-deps", "--no-index", wheel], cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    places = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    Path(places["purelib"], "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return scripts


@pytest.fixture
def away(tmp_path) -> tuple[Path, dict[str, str]]:
    """An empty folder to run in, and an environment that does not lead back to the clone."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return tmp_path, {**variables, "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.mark.slow
def test_the_wheel_holds_one_package_with_every_file(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names} == {"tfadv", f"tfadv-{version()}.dist-info"}
    expected = {file.relative_to(ROOT).as_posix() for file in (ROOT / "tfadv").rglob("*.py")}
    for folder, place in MAPPED.items():
        expected |= {f"{place}/{file.name}" for file in (ROOT / folder).glob("*.py")}
    data = {"tfadv/py.typed"}
    for pattern in ("tfadv/report/*.j2", "tfadv/reproduction/reference/*.csv"):
        found = {file.relative_to(ROOT).as_posix() for file in ROOT.glob(pattern)}
        assert found, f"the clone has no {pattern}"
        data |= found
    assert {name for name in names if name.startswith("tfadv/")} == expected | data


@pytest.mark.slow
def test_the_source_distribution_holds_what_the_wheel_is_built_from(distribution):
    archive, _ = distribution
    with tarfile.open(archive) as opened:
        names = {member.name.partition("/")[2] for member in opened.getmembers() if member.isfile()}
    patterns = ["tfadv/**/*.py", "tfadv/py.typed", "tfadv/report/*.j2", "tfadv/reproduction/reference/*.csv"]
    expected = {"setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "CITATION.cff", "LICENSE"}
    for pattern in (*patterns, *(f"{folder}/*.py" for folder in MAPPED)):
        found = {file.relative_to(ROOT).as_posix() for file in ROOT.glob(pattern)}
        assert found, f"the clone has no {pattern}"
        expected |= found
    written = {name for name in names if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    assert names - written == expected


@pytest.mark.slow
def test_the_wheel_of_the_source_distribution_is_that_of_the_tree(wheel, distribution):
    _, other = distribution
    assert other.name == wheel.name
    mine, theirs = (
        {name: archive.read(name) for name in archive.namelist()}
        for archive in (zipfile.ZipFile(wheel), zipfile.ZipFile(other))
    )
    assert mine.keys() == theirs.keys()
    assert [name for name, data in mine.items() if theirs[name] != data] == []


@pytest.mark.slow
def test_the_wheel_states_version_license_and_commands(wheel):
    archive = zipfile.ZipFile(wheel)
    folder = f"tfadv-{version()}.dist-info"
    metadata = archive.read(f"{folder}/METADATA").decode()
    assert f"Version: {version()}\n" in metadata
    (python,) = [line for line in metadata.splitlines() if line.startswith("Requires-Python:")]
    assert set(python.removeprefix("Requires-Python: ").split(",")) == {">=3.10", "<3.14"}
    assert any(name.startswith(f"{folder}/") and name.endswith("LICENSE") for name in archive.namelist())
    parser = configparser.ConfigParser()
    parser.read_string(archive.read(f"{folder}/entry_points.txt").decode())
    assert dict(parser["console_scripts"]) == COMMANDS


def test_every_program_of_the_clone_is_a_command():
    modules = {
        f"{place.replace('/', '.')}.{file.stem}:run"
        for folder, place in MAPPED.items()
        for file in (ROOT / folder).glob("*.py")
    }
    assert modules == set(COMMANDS.values())


@pytest.mark.slow
def test_the_quickstart_does_not_pull_gigabytes(wheel):
    """Neither the install nor the extra that `make quickstart` uses names torch, jax or a peer that depends on them."""
    metadata = zipfile.ZipFile(wheel).read(f"tfadv-{version()}.dist-info/METADATA").decode().splitlines()
    required = [line for line in metadata if line.startswith("Requires-Dist:")]
    small = [line for line in required if "extra" not in line or "crosscheck" in line]
    names = {re.split(r"[^\w-]", line.removeprefix("Requires-Dist: "))[0].lower() for line in small}
    assert {"tensorflow", "cleverhans"} <= names
    assert names & {"torch", "jax", "foolbox", "adversarial-robustness-toolbox"} == set()


@pytest.mark.slow
def test_the_installed_package_is_not_the_clone(installed, away):
    folder, environment = away
    code = "import tfadv; print(tfadv.__file__, tfadv.__version__)"
    done = call([installed / "python", "-c", code], cwd=folder, environment=environment)
    assert done.returncode == 0, done.stderr
    file, stated = done.stdout.split()
    assert Path(file).is_relative_to(installed.parent)
    assert stated == version()


def source_of(command: str) -> str:
    """The text of the program file behind a command: "tfadv-train" -> trainers/train.py."""
    package, module = COMMANDS[command].removesuffix(":run").rsplit(".", 1)
    folder = next(folder for folder, place in MAPPED.items() if place == package.replace(".", "/"))
    return (ROOT / folder / f"{module}.py").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_command_prints_its_own_help_from_any_folder(installed, away):
    """Its docstring and its flags, as `python -m` prints them; two at a time, because each loads TensorFlow."""
    folder, environment = away
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        runs = {
            command: pool.submit(call, [installed / command, "--helpshort"], folder, environment)
            for command in COMMANDS
        }
    for command, future in runs.items():
        done = future.result()
        assert "Traceback" not in done.stderr, done.stderr
        source = source_of(command)
        words = ast.get_docstring(ast.parse(source)).split()[:6]
        assert " ".join(words) in " ".join(done.stdout.split()), f"{command} --helpshort does not say what it does"
        flags = re.findall(r"""flags\.DEFINE_\w+\(\s*["'](\w+)["']""", source)
        assert flags
        missing = [flag for flag in flags if not re.search(rf"--(\[no\])?{flag}:", done.stdout)]
        assert missing == [], f"{command} --helpshort does not list these flags"
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "named"),
    [
        (["tfadv-evaluate", "--model=missing.keras", "--dataset=digits", "--epsilon=0.1"], "missing.keras"),
        (["tfadv-prepare-data", "--dataset=mnist", "--archives=nowhere", "--data_dir=data"], "nowhere"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_a_user_error_is_one_line_and_status_1(installed, away, command, named):
    folder, environment = away
    done = call([installed / command[0], *command[1:]], cwd=folder, environment=environment)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if named in line]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []
