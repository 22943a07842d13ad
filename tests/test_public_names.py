"""The public names: what is promised is what is there, and importing it costs next to nothing."""

import ast
import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest

import msgflow as mf
from msgflow import errors
from tests.in_python import run_script

PACKAGES = [
    "msgflow",
    "msgflow.nn",
    "msgflow.models",
    "msgflow.data",
    "msgflow.errors",
    "msgflow.optim",
    "msgflow.schema",
    "msgflow.state",
    "msgflow.tensor",
    "msgflow.tensor.runtime",
    "msgflow.trace",
    "msgflow.versions",
]
HEAVY = ["numpy", "aiohttp", "httpx", "openai", "pydantic", "opentelemetry.sdk", "bm25s", "xllamacpp"]
HEAVY += ["psycopg", "safetensors", "sqlalchemy"]


def imports(package):
    tree = ast.parse(Path(import_module(package).__file__).read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def imported(package):
    """The public names that a package's source imports from msgflow, for type checkers too, and from where."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in imports(package)
        if node.module.partition(".")[0] == "msgflow"
        for alias in node.names
        if not (alias.asname or alias.name).startswith("_")
    }


def foreign(package):
    """The names that it imports from elsewhere."""
    return {alias.name for node in imports(package) for alias in node.names} - imported(package).keys()


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_what_type_checkers_see(package):
    names = import_module(package).__all__
    assert sorted(names) == sorted(imported(package)) and len(names) == len(set(names))


@pytest.mark.parametrize("package", PACKAGES)
def test_each_name_is_the_object_that_type_checkers_take_it_for(package):
    module = import_module(package)
    for name, (source, original) in imported(package).items():
        expected = getattr(import_module(source), original, None)
        assert getattr(module, name) is (expected or import_module(f"{source}.{original}")), name


@pytest.mark.parametrize("package", PACKAGES)
def test_what_can_be_reached_is_public_or_a_submodule_or_another_librarys(package):
    module = import_module(package)
    for name in module.__all__:
        getattr(module, name)
    reachable = {name for name in {*dir(module), *vars(module)} if not name.startswith("_")}
    submodules = {found.name for found in pkgutil.iter_modules(module.__path__)}
    assert reachable - submodules - foreign(package) <= set(module.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_unknown_names_are_attribute_errors_and_dir_has_all_names(package):
    module = import_module(package)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        module.nonsense  # noqa: B018  # reading it is the test
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_star_import_gives_all_names(package):
    names = run_script(f"from {package} import *\nprint(*sorted(name for name in dir() if name[0] != '_'))")
    assert names.split() == sorted(import_module(package).__all__)


def test_msgflow_itself_has_at_most_30_names_and_a_version():
    assert len(mf.__all__) <= 30 and "__version__" in dir(mf)
    assert re.fullmatch(r"\d+\.\d+\.\d+", mf.__version__)


# --- errors ----------------------------------------------------------------------------------------------------------


def drawn_tree():
    """The tree in the docstring of msgflow.errors: (the names from the root, the other base)."""
    path = []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"    ([ │├└─]*)(\w+)(?: \((\w+)\))?", line):
            path[len(match[1]) // 4 :] = [match[2]]
            yield tuple(path), match[3]


def real_tree(error=errors.MsgflowError, above=()):
    path = (*above, error.__name__)
    others = [base.__name__ for base in error.__bases__ if not issubclass(base, errors.MsgflowError)]
    yield path, others[0] if others and above else None
    for subclass in error.__subclasses__():
        if subclass.__module__ == errors.__name__:
            yield from real_tree(subclass, path)


def test_the_tree_that_the_docstring_draws_is_the_tree_of_the_classes():
    drawn = list(drawn_tree())
    assert len(drawn) == len(set(drawn)) and set(drawn) == set(real_tree())


def test_every_exception_of_errors_is_in_the_tree():
    classes = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert classes == {path[-1] for path, _ in real_tree()}


# --- what importing costs --------------------------------------------------------------------------------------------

LOADED = f"""
import sys
print([name for name in {HEAVY} if name in sys.modules])
"""


@pytest.mark.parametrize(
    "statement",
    [
        "import msgflow",
        "import msgflow.nn as nn; nn.Module, nn.Agent, nn.Predictor, nn.Retriever, nn.Tool",
        "import msgflow as mf; [getattr(mf, name) for name in mf.__all__ if name not in ('tensor', 'optim')]",
        "import msgflow.models as models; [getattr(models, name) for name in models.__all__]",
        "import msgflow.cli",
        "import msgflow.nn as nn; nn.Agent('a', 'openai/gpt-4.1-mini', 'Be kind.')",
    ],
)
def test_importing_loads_no_heavy_library(statement):
    assert run_script(f"{statement}\n{LOADED}") == "[]"


def test_import_msgflow_alone_loads_none_of_its_rooms():
    script = "import sys, msgflow\nprint(sorted(name for name in sys.modules if name.startswith('msgflow.')))"
    assert run_script(script) == "['msgflow._lazy']"


def test_a_room_is_found_by_its_name():
    assert mf.__getattr__("data") is mf.data
