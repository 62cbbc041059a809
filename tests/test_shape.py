"""The shape of the code: files and functions that are read in one go, and imports without circles."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "reslab"
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}

MOST_LINES = 350
MOST_LINES_OF_A_FUNCTION = 60
MOST_PARAMETERS = 7
MOST_LINES_OF_A_COMMAND = 150
MOST_LINES_OF_ALL_COMMANDS = 2700


def name_of(path):
    return path.relative_to(SOURCE).as_posix()


def num_lines(path):
    return len(path.read_text().splitlines())


def has_reason(lines, function):
    """Whether the line that ends a function's head, or the one above the function, has a comment."""
    end = function.body[0].lineno - 1
    while not lines[end - 1].partition("  #")[0].endswith(":"):
        end -= 1
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return "  # " in lines[end - 1] or lines[first - 2].lstrip().startswith("# ")


def large_functions():
    for path, tree in TREES.items():
        lines = path.read_text().splitlines()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                count = sum(argument.arg not in ("self", "cls") for argument in arguments)
                length = node.end_lineno - node.lineno + 1
                large = length > MOST_LINES_OF_A_FUNCTION or count > MOST_PARAMETERS
                if large and not has_reason(lines, node):
                    yield f"{name_of(path)}: {node.name}"


def test_files_are_short():
    assert {name_of(path) for path in FILES if num_lines(path) > MOST_LINES} == set()


def test_functions_are_short_and_take_few_parameters_or_say_why_not():
    assert set(large_functions()) == set()


def test_commands_are_thin():
    commands = [path for path in FILES if path.parent.name == "cli"]
    assert {name_of(path) for path in commands if num_lines(path) > MOST_LINES_OF_A_COMMAND} == set()
    assert sum(map(num_lines, commands)) < MOST_LINES_OF_ALL_COMMANDS


def module_of(path):
    parts = ("reslab", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): tree for path, tree in TREES.items()}


def imports(tree):
    """Modules of ours that one imports, at its top or in a function, but for the eyes of type checkers alone."""

    def visit(node):
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
            for child in node.orelse:
                yield from visit(child)
            return
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES or node.module in MODULES:
                    yield inner if inner in MODULES else node.module
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    return set(visit(tree))


def test_no_module_imports_what_imports_it():
    """By any way, a function's own imports included; a package's `__init__` counts where it is named."""
    graph = {name: imports(tree) for name, tree in MODULES.items()}
    circle: list[str] = []
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert circle == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import reslab.errors", {"reslab.errors"}),
        ("from reslab import runs, load", {"reslab.runs", "reslab"}),
        ("def f():\n    from reslab.errors import ReslabError", {"reslab.errors"}),
        ("if TYPE_CHECKING:\n    import reslab.errors\nelse:\n    import reslab.runs", {"reslab.runs"}),
        ("import torch", set()),
    ],
)
def test_imports_are_found(code, found):
    assert imports(ast.parse(code)) == found


def test_text_files_are_read_and_written_in_utf_8_whatever_the_locale():
    command = [sys.executable, "-m", "ruff", "check", "--preview", "--select", "PLW1514", "--output-format", "concise"]
    folders = [SOURCE.parents[1] / name for name in ("src", "tools", "benchmarks")]
    done = subprocess.run([*command, *folders], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "All checks passed!\n")
