"""The public surface: what packages export is what docs/api/ documents, typed, with a docstring that fits."""

import ast
import dataclasses
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
# tools/ is no package.
_SPEC = importlib.util.spec_from_file_location("api", ROOT / "tools/docs/api.py")
api = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(api)
# Their modules are imported by name; a build that carries only what it is told to finds them here.
ROOMS = (
    "tfadv",
    "tfadv.adversarial",
    "tfadv.analysis",
    "tfadv.attacks",
    "tfadv.augment",
    "tfadv.balls",
    "tfadv.crosscheck",
    "tfadv.data",
    "tfadv.evaluation",
    "tfadv.experiments",
    "tfadv.export",
    "tfadv.losses",
    "tfadv.models",
    "tfadv.objectives",
    "tfadv.report",
    "tfadv.reproduction",
    "tfadv.testing",
    "tfadv.training",
)
PACKAGES = sorted(
    "tfadv." + path.parent.relative_to(ROOT / "tfadv").as_posix() for path in ROOT.glob("tfadv/*/__init__.py")
)


def public(module: str) -> dict[str, Any]:
    """Exported name -> object."""
    imported = importlib.import_module(module)
    return {name: getattr(imported, name) for name in api.exported(module)}


def ours(value: Any) -> bool:
    """Whether a class or function is defined in this package and not made elsewhere."""
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__.split(".")[0] == "tfadv"


EXPORTED = [
    pytest.param(module, name, value, id=f"{module}.{name}")
    for module in api.MODULES
    for name, value in public(module).items()
    if ours(value)
]
RECORDS = [value for *_, value in (each.values for each in EXPORTED) if dataclasses.is_dataclass(value)]


def test_every_package_has_a_page():
    assert {".".join(module.split(".")[:2]) for module in api.MODULES} == set(ROOMS)
    assert set(PACKAGES) | {"tfadv", "tfadv.testing"} <= set(api.MODULES)


def test_the_pages_are_those_that_the_generator_writes():
    """Run python tools/docs/api.py after a change of what a package exports."""
    assert {path.name: path.read_text(encoding="utf-8") for path in api.FOLDER.glob("*.md")} == api.pages()


@pytest.mark.parametrize("module", api.MODULES)
def test_documented_names_are_the_exported_ones(module):
    page = (api.FOLDER / f"{module}.md").read_text(encoding="utf-8")
    documented = re.findall(rf"^::: (?!{re.escape(module)}$)[\w.]+\.(\w+)$", page, re.MULTILINE)
    documented += re.findall(r"^## (\w+)$", page, re.MULTILINE)
    imported = importlib.import_module(module)
    expected = getattr(imported, "__all__", None)
    if expected is None:
        # Of what the module holds, all that is its own, or passed on by `import b as b`; not what it uses.
        source = api.source_of(module).read_text(encoding="utf-8")
        passed_on = set(re.findall(r"\b(\w+) as \1\b", source))
        own = {name for name, value in vars(imported).items() if getattr(value, "__module__", None) == module}
        assigned = {
            target.id
            for node in ast.parse(source).body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        expected = {name for name in passed_on | own | assigned if not name.startswith("_")}
    assert sorted(documented) == sorted(expected)


def test_a_name_that_no_page_has_is_noticed(tmp_path, monkeypatch):
    package = tmp_path / "tfadv"
    package.mkdir()
    (package / "__init__.py").write_text('"""Words."""\nfrom a import b as b, c\nD = 1\n_E = 2\ndef f(): ...\n')
    monkeypatch.setattr(api, "ROOT", tmp_path)
    assert api.exported("tfadv") == ["b", "D", "f"]


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "tfadv" / "py.typed").is_file()
    assert '"py.typed"' in (ROOT / "setup.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(("module", "name", "value"), EXPORTED)
def test_every_exported_class_and_function_has_a_docstring_of_its_own(module, name, value):
    text = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
    assert text, f"{value.__module__}.{name} has none"
    # What dataclasses and named tuples write themselves is no documentation.
    assert not text.startswith(f"{name}("), f"{value.__module__}.{name} has none"


def constants(module: str) -> Iterator[tuple[str, bool]]:
    """(name, whether a comment above it, or a text of its package, says what it is) of exported constants."""
    for name, value in public(module).items():
        if ours(value) or inspect.ismodule(value) or name.startswith("__"):
            continue
        for file in [api.source_of(module), *api.source_of(module).parent.glob("*.py")]:
            source = file.read_text(encoding="utf-8")
            if re.search(rf"^{name}\b[^=\n]*=", source, re.MULTILINE):
                commented = re.search(rf"^#[^\n]*\n{name}\b[^=\n]*=", source, re.MULTILINE)
                described = f"`{name}`" in (ast.get_docstring(ast.parse(source)) or "")
                described |= f"`{name}`" in (importlib.import_module(module).__doc__ or "")
                yield name, bool(commented) or described
                break
        else:
            pytest.fail(f"{module}.{name} is defined nowhere in its package")


@pytest.mark.parametrize("module", api.MODULES)
def test_every_exported_constant_is_explained(module):
    assert [name for name, explained in constants(module) if not explained] == []


def functions(value: Any) -> Iterator[tuple[str, Callable]]:
    """(name, function) of a function, or of the public methods that a class itself defines."""
    if inspect.isfunction(value):
        yield value.__name__, value
        return
    for name, member in vars(value).items():
        generated = dataclasses.is_dataclass(value) and name == "__init__"
        if (name.startswith("_") and name not in ("__init__", "__call__")) or generated:
            continue
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if inspect.isfunction(function) and function.__module__.split(".")[0] == "tfadv":
            yield f"{value.__name__}.{name}", function


@pytest.mark.parametrize(("module", "name", "value"), EXPORTED)
def test_every_signature_is_typed(module, name, value):
    missing = []
    for place, function in functions(value):
        signature = inspect.signature(function)
        empty = inspect.Parameter.empty
        parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
        missing += [f"{place}({each.name})" for each in parameters if each.annotation is empty]
        missing += [f"{place} ->"] if signature.return_annotation is empty else []
    assert missing == []


def described(text: str, section: str) -> list[str]:
    """The names that a section of a docstring describes; one line may describe several: "x, y: ..."."""
    lines = inspect.cleandoc(text).splitlines()
    if f"{section}:" not in lines:
        return []
    names = []
    for line in lines[lines.index(f"{section}:") + 1 :]:
        if line and not line.startswith("    "):
            break
        # A second description in the line begins after a semicolon: "index, progress: as in `run`".
        for part in re.split(r";\s+", line[4:]) if re.match(r"    \S", line) else ():
            if match := re.match(r"\*{0,2}(\w+(?:, \*{0,2}\w+)*):(?:\s|$)", part):
                names += [each.strip("* ") for each in match[1].split(",")]
    return names


def parameters_of(value: type) -> set[str]:
    """What a class is made from; nothing of an exception that inherits its making."""
    try:
        return set(inspect.signature(value).parameters)
    except ValueError:
        assert issubclass(value, Exception)
        return set()


@pytest.mark.parametrize(("module", "name", "value"), EXPORTED)
def test_described_parameters_exist(module, name, value):
    """A parameter that was renamed takes its description along."""
    for place, function in functions(value):
        text = (value.__doc__ if place.endswith(".__init__") else function.__doc__) or ""
        unknown = set(described(text, "Args")) - set(inspect.signature(function).parameters)
        assert unknown == set(), place
    if inspect.isclass(value):
        known = {*dir(value), *re.findall(r"\bself\.(\w+)", inspect.getsource(value)), *parameters_of(value)}
        assert set(described(value.__doc__ or "", "Args")) <= known
        assert set(described(value.__doc__ or "", "Attributes")) <= known


def test_lines_that_describe_several_parameters_are_read():
    text = """One.

    Args:
        x, y: images; z: a
            continuation: of z.
        **options: others.

    Returns: nothing.
    """
    assert described(text, "Args") == ["x", "y", "z", "options"]
    assert described(text, "Raises") == []


@pytest.mark.parametrize("value", RECORDS, ids=lambda value: f"{value.__module__}.{value.__name__}")
def test_every_field_of_an_exported_record_is_described(value):
    """Settings of attacks, records of reports: each field, in the class or in the base that it comes from."""
    texts = [base.__doc__ or "" for base in value.__mro__ if dataclasses.is_dataclass(base)]
    known = {name for text in texts for section in ("Attributes", "Args") for name in described(text, section)}
    assert {field.name for field in dataclasses.fields(value)} - known == set()
