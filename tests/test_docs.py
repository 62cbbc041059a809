"""README and docs say what the records and the registry say, and name nothing that is not there."""

import importlib.util
import re
from pathlib import Path

import pytest

from reslab.cli.main import COMMANDS
from reslab.models import list_models

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def load_tool():
    spec = importlib.util.spec_from_file_location("update_docs", REPOSITORY / "tools" / "update_docs.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def test_the_tables_are_made_from_records_and_registry():
    tool = load_tool()
    for page in tool.PAGES:
        text = page.read_text()
        assert re.search(r"<!-- (results/|registry)", text)
        assert tool.updated(text) == text, f"{page.name} is stale: run python tools/update_docs.py"


def test_every_network_is_in_the_table():
    text = (REPOSITORY / "docs" / "models.md").read_text()
    assert [name for name in list_models() if f"| `{name}` |" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_to_exists(page):
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if not link.startswith("http")]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_name_that_leads_into_the_code_exists():
    text = (REPOSITORY / "docs" / "paper-to-code.md").read_text()
    named = re.findall(r"\]\(([^)]+\.py)\): ([^;|]+)", text)
    assert named
    for link, names in named:
        source = (REPOSITORY / "docs" / link).read_text()
        for name in re.findall(r"`([\w.]+)`", names):
            assert re.search(rf"(class|def) {name.rsplit('.', 1)[-1]}\b", source), (link, name)


def test_every_command_that_the_readme_shows_exists():
    text = (REPOSITORY / "README.md").read_text()
    assert set(re.findall(r"^(?:\$ )?reslab ([a-z]+)", text, re.MULTILINE)) <= set(COMMANDS)
