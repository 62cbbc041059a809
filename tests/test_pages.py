"""What README and docs show works: commands are parsed and, where they take seconds, run; Python is compiled."""

import ast
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import reslab
from reslab.cli import train
from reslab.cli.main import COMMANDS, main
from reslab.cli.parser import make_parser, parse

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
TUTORIAL = REPOSITORY / "docs" / "tutorial.md"

QUICK = {
    "reslab --version",
    "reslab completion bash",
    "reslab data check photos/",
    "reslab eval runs/digits --report report",
    "reslab explain runs/digits seven.png",
    "reslab models 'resnet*'",
    "reslab paper list",
    "reslab predict runs/digits docs/seven.png",
    "reslab predict runs/digits seven.png --top 3",
    "reslab runs",
    "reslab summary 'resnet20[shortcut=C]' --batch-size 128",
}
"""Commands that take a second or two, and are run with every change."""
SLOW = {
    "reslab eval runs/digits",
    "reslab eval runs/digits --protocol shifted --json",
    "reslab export onnx runs/digits",
    "reslab quantize runs/digits",
    "reslab report runs/digits",
    "reslab summary resnet56 --memory 8GiB",
    "reslab summary vgg19 plain34 resnet34 --graph fig3.svg",
    "reslab summary resnet50[stride=v1,shortcut=C]",
}
"""Commands that take longer."""


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self):
        return f"{self.page.name}:{self.line}"


def blocks(page):
    """A page's fenced blocks, and its indented ones as shell."""
    lines = page.read_text().splitlines()
    at = 0
    while at < len(lines):
        start = at
        if lines[at].startswith("```"):
            end = next(n for n in range(at + 1, len(lines)) if lines[n].startswith("```"))
            yield Block(page, at + 1, lines[at][3:].strip() or "text", "\n".join(lines[at + 1 : end]))
            at = end + 1
        elif lines[at].startswith("    ") and (at == 0 or not lines[at - 1].strip()):
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                at += 1
            yield Block(page, start + 1, "sh", "\n".join(line[4:] for line in lines[start:at]))
        else:
            at += 1


BLOCKS = [block for page in PAGES if page.name != "api.md" for block in blocks(page)]


def commands(block):
    """The lines of a block that call reslab, without prompts, comments and where their output goes."""
    for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
        line = line.removeprefix("$ ").replace(".venv/bin/reslab", "reslab", 1)
        if line.startswith("reslab "):
            yield shlex.join(shlex.split(re.split(r" [|>] ", line)[0], comments=True))


SHOWN = {command: block for block in BLOCKS if block.language == "sh" for command in commands(block)}


def test_pages_show_commands_and_python():
    assert len(SHOWN) > 30
    assert {block.page.name for block in BLOCKS} >= {"README.md", "tutorial.md", "install.md", "protocols.md"}
    assert {shlex.join(shlex.split(command)) for command in QUICK | SLOW} - set(SHOWN) == set()


@pytest.mark.parametrize("command", SHOWN, ids=lambda command: command.removeprefix("reslab ")[:60])
def test_every_command_that_is_shown_can_be_read(command):
    name, *arguments = shlex.split(command)[1:]
    if name.startswith("-"):
        return
    assert name in COMMANDS, SHOWN[command].place
    found = importlib.import_module(f"reslab.cli.{name.replace('-', '_')}").COMMANDS
    if "" not in found and arguments:
        name, arguments = f"{name} {arguments[0]}", arguments[1:]
    if set(arguments) & {"--help", "--help-all"}:
        return
    known = found.get(name.partition(" ")[2])
    assert known is not None, SHOWN[command].place
    assert parse(known.form, name, arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_sentence_names_exists(page):
    """`reslab NAME ...` in a sentence; commands of two words have the second."""
    for name, below in re.findall(r"`reslab ([a-z][a-z-]*)(?: ([a-z-]+))?", page.read_text()):
        assert name in COMMANDS, name
        found = importlib.import_module(f"reslab.cli.{name.replace('-', '_')}").COMMANDS
        assert "" in found or not below or below in found, (name, below)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_field_of_a_recipe_that_a_page_names_exists(page):
    flags = {
        flag for action in make_parser(train.COMMANDS[""].form, "train")._actions for flag in action.option_strings
    }
    named = set(re.findall(r"--[a-z_-]+(?:\.[a-z_-]+)+", page.read_text()))
    assert {flag for flag in named if flag.replace("_", "-").rstrip("-.") not in flags} == set()


def python_blocks():
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.language == "python"]


@pytest.mark.parametrize("block", python_blocks())
def test_python_compiles_and_uses_names_that_exist(block):
    tree = ast.parse(block.text, block.place)
    compile(tree, block.place, "exec")
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert [a.name for a in node.names if not hasattr(importlib.import_module(node.module), a.name)] == []
        elif isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: importlib.import_module(alias.name) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            assert hasattr(modules[node.value.id], node.attr), node.attr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with what commands on the pages refer to: a run, image files, a folder of photos."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "docs").mkdir()
    for name in ("docs/seven.png", "seven.png"):
        shutil.copy(REPOSITORY / "docs" / "seven.png", folder / name)
    for role in ("train", "test"):
        for label in "34":
            (folder / "photos" / role / label).mkdir(parents=True)
            for number in range(2):
                image = reslab.load_data("digits").split(role).images[number + 2 * int(label), :, :, 0]
                _save(image, folder / "photos" / role / label / f"{number}.png")
    reslab.train("resnet8", "digits", recipe="digits-quick", iterations=8, run_dir=folder / "runs" / "digits")
    return folder


def _save(image, path):
    from PIL import Image

    Image.fromarray(image).save(path)


RUN = [
    *(pytest.param(command, id=command) for command in sorted(QUICK)),
    *(pytest.param(command, id=command, marks=pytest.mark.slow) for command in sorted(SLOW)),
]


@pytest.mark.parametrize("command", RUN)
def test_commands_that_take_seconds_work(command, place, monkeypatch, capsys):
    if command.startswith("reslab quantize"):
        pytest.importorskip("openvino")
        command += " --force"  # of a network that has hardly learned anything int8 may be worse
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    code = main(shlex.split(command)[1:])
    assert code == 0, capsys.readouterr().err
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=block.place, marks=pytest.mark.slow if "reslab.train(" in block.text else ())
        for block in BLOCKS
        if block.language == "python" and block.page != TUTORIAL
    ],
)
@pytest.mark.timeout(900)  # a training of half a minute, on a machine that may have other things to do
def test_python_that_is_shown_works(block, place, monkeypatch, capsys):
    if "reslab.export" in block.text or ".export(" in block.text:
        pytest.importorskip("onnxscript")
    monkeypatch.chdir(place)
    code = compile(block.text, block.place, "exec")
    if "torchvision:" in block.text:  # weights are not fetched; tests/test_photo_path.py goes that way with others
        return
    exec(code, {})
    assert bool(capsys.readouterr().out) == ("print(" in block.text)


def without_numbers(text):
    """A text of which only the words count: figures and spacing differ between machines."""
    return re.sub(r"\s+", " ", re.sub(r"[\d.,]*\d(e[+-]?\d+)?", "0", text)).strip()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_works_from_top_to_bottom(tmp_path):
    """And prints what it says it does, numbers apart. `paper run` is under test elsewhere; weights are not fetched."""
    said = ""
    for block in blocks(TUTORIAL):
        if block.language == "text":
            if said:
                assert without_numbers(said).endswith(without_numbers(block.text)), block.place
        elif block.language == "python":
            said = _output([sys.executable, "-c", block.text], tmp_path)
        else:
            wanted = [line for line in commands(block) if "paper run" not in line and "torchvision:" not in line]
            said = "".join(_output([sys.executable, "-m", *shlex.split(line)], tmp_path) for line in wanted)


def _output(arguments, folder):
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=1500, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout
