"""What no program and no module does with a file: unpickle it, run code in it, or unpack it wherever it says."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [file for folder in ("tfadv", "attacks", "trainers") for file in sorted((ROOT / folder).rglob("*.py"))]
UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
# By their last name.
UNPACKING = {"extract", "extractall", "unpack_archive"}
# By their whole name; the Keras function loads as the guarded one does.
RUNNING = {"eval", "exec", "os.system", "os.popen", "torch.load", "yaml.load", "keras.models.load_model"}
# Readers that unpickle or run code unless an argument says otherwise.
GUARDED = {"np.load": "allow_pickle", "numpy.load": "allow_pickle", "keras.saving.load_model": "safe_mode"}
SAFE = {"allow_pickle": False, "safe_mode": True}


def faults(source):
    """Lines of a module that trust a file, as "line: what"."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            names = []
        found += [f"{node.lineno}: {name}" for name in names if name.split(".")[0] in UNPICKLING]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {each.arg: each.value for each in node.keywords}
        guard = GUARDED.get(called)
        if guard and not (isinstance(given.get(guard), ast.Constant) and given[guard].value is SAFE[guard]):
            found.append(f"{node.lineno}: {called} without {guard}={SAFE[guard]}")
        if called in RUNNING:
            found.append(f"{node.lineno}: {called}")
        if isinstance(node.func, ast.Attribute) and node.func.attr in UNPACKING:
            found.append(f"{node.lineno}: {called}")
        if isinstance(given.get("shell"), ast.Constant) and given["shell"].value:
            found.append(f"{node.lineno}: {called} with shell")
    return found


def test_no_module_trusts_a_file():
    assert len(SOURCES) > 200
    found = {file.relative_to(ROOT).as_posix(): faults(file.read_text(encoding="utf-8")) for file in SOURCES}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "keras.saving.load_model(path)",
        "keras.saving.load_model(path, safe_mode=False)",
        "keras.models.load_model(path)",
        "torch.load(path)",
        "archive.extractall(folder)",
        "shutil.unpack_archive(path)",
        "eval(text)",
        "subprocess.run(line, shell=True)",
    ],
)
def test_the_search_finds_what_it_looks_for(line):
    assert len(faults(line)) == 1
