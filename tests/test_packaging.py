"""What is declared is used, what is used is declared, and the parts that are meant to be light are."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import reslab

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
MODULES = {
    "huggingface-hub": "huggingface_hub",
    "pillow": "PIL",
    "protobuf": "google",
    "scikit-learn": "sklearn",
}
"""Of distributions whose modules are called otherwise."""
BY_NAME = {
    "griffe2md": "tools/ makes the API pages with it",
    "ipykernel": "notebooks run in it",
    "jupytext": "the tests make notebooks of the text files with it",
    "nbmake": "the tests run notebooks with it",
    "nncf": "reslab.deploy imports it by name",
    "onnxruntime": "reslab.deploy imports it by name",
    "onnxscript": "torch.onnx writes files with it",
    "openvino": "reslab.deploy imports it by name",
}
"""Distributions that no import statement under src/ names."""
PEERS = {"timm"}
"""What is compared with, or registered with, where it is installed."""


def declared(*extras):
    """Names of the distributions that the core or some extras require."""
    lists = [PROJECT["optional-dependencies"][extra] for extra in extras] or [PROJECT["dependencies"]]
    return {re.match(r"[\w.-]+", requirement)[0] for requirements in lists for requirement in requirements}


def imported():
    """Top-level modules that the package imports, at any place."""
    names = set()
    for path in (REPOSITORY / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"reslab"}


def test_every_import_is_of_a_declared_distribution():
    users = declared() | declared(*(set(PROJECT["optional-dependencies"]) - {"dev"}))
    assert imported() - PEERS - {MODULES.get(name, name) for name in users} == set()


def test_every_declared_distribution_is_used():
    users = declared() | declared(*(set(PROJECT["optional-dependencies"]) - {"dev"}))
    modules = imported()
    assert {name for name in users if MODULES.get(name, name) not in modules} == set(BY_NAME)


def test_development_builds_on_the_other_extras():
    (own,) = [text for text in PROJECT["optional-dependencies"]["dev"] if text.startswith("reslab")]
    others = set(PROJECT["optional-dependencies"]) - {"dev"}
    assert set(re.search(r"\[(.*)\]", own)[1].split(",")) == others


def test_the_version_is_written_once():
    assert "version" in PROJECT["dynamic"]
    written = re.findall(r'^__version__ = "(.*)"$', (REPOSITORY / "src/reslab/__init__.py").read_text(), re.MULTILINE)
    assert written == [reslab.__version__]
    assert f"## {reslab.__version__}" in (REPOSITORY / "CHANGELOG.md").read_text()
    assert "version:" not in (REPOSITORY / "CITATION.cff").read_text().replace("cff-version:", "")


def test_the_description_for_package_indexes_lacks_what_is_not_there():
    """As hatch-fancy-pypi-readme makes it."""
    (hook,) = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"].values()
    text = "".join((REPOSITORY / fragment["path"]).read_text() for fragment in hook["fragments"])
    for substitution in hook["substitutions"]:
        text = re.sub(substitution["pattern"], substitution["replacement"], text)
    assert re.findall(r"\]\((?!https://)", text) == []
    assert "<!--" not in text
    assert "![" not in text
    assert "paper's recipe" in text
    assert re.findall(r"^- .*\n(?!- |\n|  )", text, re.MULTILINE) == []


def python(code):
    """Runs code in a fresh interpreter, and gives what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_networks_need_torch_alone():
    """Also where nothing else that this package needs is installed, numpy included."""
    blocked = {MODULES.get(name, name) for name in declared()} - {"torch", "filelock", "jinja2"}  # torch needs these
    code = f"""
import sys, warnings
warnings.filterwarnings("ignore")  # torch's, that there is no numpy
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(blocked)}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
import torch
from reslab.models import ResNet, BasicBlock, create_model, list_models, resnet18
network = create_model("resnet8[shortcut=C]").eval()
assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
assert ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 5)
print(len(list_models()), *sorted({sorted(blocked)} & sys.modules.keys()))
"""
    number, *others = python(code).split()
    assert int(number) > 30
    assert others == []


LIBRARIES = {"torch", "torchvision", "sklearn", "scipy", "matplotlib", "rich", "onnx", "jinja2"}
IMAGES = {"numpy", "PIL"}


@pytest.mark.parametrize(
    ("arguments", "loads_not"),
    [
        (["--help"], LIBRARIES | IMAGES | {"argparse", "dataclasses"}),
        (["--version"], LIBRARIES | IMAGES | {"argparse", "dataclasses"}),
        (["models", "--json"], LIBRARIES | IMAGES),
        (["paper", "list", "--json"], LIBRARIES - {"rich"}),
        (["paper", "list", "table8"], LIBRARIES - {"rich"}),
        (["paper", "run", "--help"], LIBRARIES - {"rich"}),
        (["runs", "--json"], LIBRARIES | IMAGES),
        (["train", "--help"], LIBRARIES - {"rich"}),
        (["eval", "--help"], LIBRARIES),
    ],
)
def test_what_is_there_at_once_loads_no_heavy_library(arguments, loads_not):
    code = f"import sys; from reslab.cli.main import main; main({arguments}); print(); print(*sys.modules)"
    assert {name.partition(".")[0] for name in python(code).splitlines()[-1].split()} & loads_not == set()


def test_importing_the_package_imports_none_of_its_libraries():
    loaded = python("import sys, reslab; print(*sys.modules)").split()
    assert {name.partition(".")[0] for name in loaded} & (LIBRARIES | IMAGES) == set()
