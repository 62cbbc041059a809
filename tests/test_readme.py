"""The README says what the records say, and names nothing that is not there."""

import importlib.util
import re
from pathlib import Path

from reslab.cli.main import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[1]


def load_tool():
    spec = importlib.util.spec_from_file_location("update_readme", REPOSITORY / "tools" / "update_readme.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_the_tables_are_made_from_the_records():
    tool = load_tool()
    text = tool.README.read_text()
    assert "<!-- results/" in text
    assert tool.updated(text) == text


def test_every_file_and_command_that_it_names_exists():
    text = (REPOSITORY / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (REPOSITORY / link).exists()] == []
    assert set(re.findall(r"^(?:\$ )?reslab ([a-z]+)", text, re.MULTILINE)) <= set(COMMANDS)
