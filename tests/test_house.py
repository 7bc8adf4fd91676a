"""The house rules: imports point one way, one owner of threads, a light import, and the list of public names."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lepton_nb as lnb

PACKAGE = Path(lnb.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}

# A part may import those on lower floors, and itself; parts on one floor do not know each other.
FLOORS = [
    {"_version", "announce", "errors", "events", "background", "environment", "files", "progress"},
    {"data"},
    {"cluster"},
    {"training", "windowing"},
    {"figures"},
    {"reports"},
    {"widgets"},
    {"cli"},
]
GROUND = FLOORS[0]
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}

VIEWS = {"IPython", "ipywidgets", "anywidget", "traitlets"}
# Slow to import, or not there on every machine: imported in the functions that use them.
# A module named after a framework needs it at once and counts as heavy itself.
HEAVY = {
    "confluent_kafka",
    "dask_cuda",
    "datasketches",
    "duckdb",
    "fastavro",
    "google",
    "keras",
    "optuna",
    "papermill",
    "pynvml",
    "sklearn",
    "tensorflow",
    "torch",
}
FRAMEWORK_MODULES = ("torch_", "keras_", "papermill_")

# A rank listens to its supervisor for as long as its process lives: the process owns that thread.
LIVES_WITH_ITS_PROCESS = {"training/channel.py"}

PUBLIC = {
    "ClusterError", "DataError", "LeptonError", "ReportError", "TrainingError", "WindowError", "WindowWarning",
    "Cluster", "datasets", "figures", "load", "mode", "models", "prepare", "record", "report", "report_sweep", "sweep",
    "train",
    "record_input", "record_seed", "report_diff", "report_verify", "Tolerance",
    "windows", "count", "custom", "distinct", "first", "last", "max", "mean", "min", "quantile", "rows", "std", "sum",
    "top_k", "var", "Between", "Duration", "Secret", "sinks", "sources",
    "LiveChart", "ClusterPanel", "TrainingPanel", "WindowPanel", "Dashboard",
    "__version__",
}  # fmt: skip


def identify(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def part(path: Path) -> str:
    """The floor's tenant that a file belongs to: a subpackage, or a module beside them."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Full dotted names, as far as the statement tells: `from a import b` gives `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def eager_imports(tree: ast.Module) -> Iterator[str]:
    """Imports that run when the module is loaded: those outside functions and TYPE_CHECKING."""
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports(node)
        pending.extend(ast.iter_child_nodes(node))


def wrong_way(source: str, importer: str) -> list[str]:
    """The imports of lepton_nb that a file of the part `importer` must not have."""
    wrong = []
    for name in imports(ast.parse(source)):
        top, _, rest = name.partition(".")
        if top != "lepton_nb":
            continue
        imported = rest.partition(".")[0]
        if imported not in FLOOR:
            # A public name: going through the front door hides which part it comes from.
            wrong.append(name)
        elif not (imported == importer or {imported, importer} <= GROUND or FLOOR[imported] < FLOOR[importer]):
            wrong.append(name)
    return wrong


def test_imports_point_down() -> None:
    wrong = {}
    for path in FILES:
        if path != PACKAGE / "__init__.py":
            assert part(path) in FLOOR, f"{part(path)} has no floor yet: add it to FLOORS"
            wrong[identify(path)] = wrong_way(path.read_text(), part(path))
    assert {name: names for name, names in wrong.items() if names} == {}


@pytest.mark.parametrize(
    ("importer", "statement", "allowed"),
    [
        ("cluster", "from lepton_nb.data import frames", True),
        ("cluster", "from lepton_nb.cluster.spec import ClusterSpec", True),
        ("background", "from lepton_nb.events import Event", True),
        ("cli", "def run():\n    from lepton_nb.reports.run import report", True),
        ("data", "from lepton_nb.cluster.session import Cluster", False),
        ("training", "import lepton_nb.windowing.query", False),
        ("errors", "from lepton_nb import data", False),
        ("figures", "def draw():\n    from lepton_nb.reports import run", False),
        ("reports", "import lepton_nb", False),
        ("reports", "from lepton_nb import Cluster", False),
    ],
)
def test_the_walker_tells_right_from_wrong(importer: str, statement: str, allowed: bool) -> None:
    assert (wrong_way(statement, importer) == []) is allowed


def test_only_widgets_know_a_front_end() -> None:
    used = {path: {name.partition(".")[0] for name in imports(tree)} & VIEWS for path, tree in TREES.items()}
    assert {identify(path) for path, views in used.items() if views and part(path) != "widgets"} == set()


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    wrong = {}
    for path, tree in TREES.items():
        eager = set(eager_imports(tree))
        heavy = {name for name in eager if name.partition(".")[0] in HEAVY}
        heavy |= {name for name in eager if any(word.startswith(FRAMEWORK_MODULES) for word in name.split("."))}
        if heavy and not path.name.startswith(FRAMEWORK_MODULES):
            wrong[identify(path)] = heavy
    assert wrong == {}


def test_background_alone_owns_threads() -> None:
    makers, wrong = {"Thread", "Timer", "ThreadPoolExecutor"}, {}
    for path, tree in TREES.items():
        called = {ast.unparse(node.func).rpartition(".")[2] for node in ast.walk(tree) if isinstance(node, ast.Call)}
        if called & makers and path.name != "background.py" and identify(path) not in LIVES_WITH_ITS_PROCESS:
            wrong[identify(path)] = called & makers
    assert wrong == {}


def test_public_names() -> None:
    assert set(lnb.__all__) == set(dir(lnb)) == PUBLIC
    assert len(lnb.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_public_name_is_there_and_hides_no_part(name: str) -> None:
    assert getattr(lnb, name) is not None
    assert name == "figures" or name not in FLOOR


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Clutser'; did you mean 'Cluster'?"):
        _ = lnb.Clutser


def test_the_import_is_light() -> None:
    code = "import json, sys; import lepton_nb; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    heavy = {"torch", "tensorflow", "dask", "distributed", "polars", "plotly", "ipywidgets", "numpy", "IPython"}
    assert not {name.partition(".")[0] for name in loaded} & heavy
    assert {name for name in loaded if name.startswith("lepton_nb")} == {"lepton_nb", "lepton_nb._version"}


def test_the_import_changes_nothing_around_it() -> None:
    code = """
import os, signal, sys, threading, warnings
look = lambda: (dict(os.environ), threading.active_count(), list(warnings.filters), sys.excepthook,
                signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
before = look()
import lepton_nb
assert look() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
