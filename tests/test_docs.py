"""README and docs say what the records and the registry say, and name nothing that is not there."""

import importlib
import importlib.util
import inspect
import math
import re
from pathlib import Path

import pytest

import reslab
from reslab.models import list_models, named, parse_model

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def load_tool():
    spec = importlib.util.spec_from_file_location("update_docs", REPOSITORY / "tools" / "update_docs.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


@pytest.mark.parametrize("depth", [200, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_tables_are_made_from_records_and_registry(depth, monkeypatch):
    """Nets of a thousand layers take as long as all others; test_complexity.py and test_resnet.py count theirs."""
    tool = load_tool()
    names = [name for name in list_models() if parse_model(name).depth <= depth]
    monkeypatch.setattr(tool, "list_models", lambda: names)
    deeper = tuple(f"| `{name}` |" for name in list_models() if name not in names)
    for page in tool.PAGES:
        text = "".join(line for line in page.read_text().splitlines(keepends=True) if not line.startswith(deeper))
        assert re.search(r"<!-- (results/|registry|paper)", text)
        assert tool.updated(text) == text, f"{page.name} is stale: run python tools/update_docs.py"


def test_the_chart_of_the_aims_is_made_from_records():
    tool = load_tool()
    assert tool.CHART.read_text() == tool.aims_chart(), "run python tools/update_docs.py"


def test_the_api_page_is_made_from_docstrings():
    tool = load_tool()
    assert tool.API_PAGE.read_text() == tool.api_page(), "run python tools/update_docs.py"


def test_the_api_page_has_every_public_name():
    text = (REPOSITORY / "docs" / "api.md").read_text()
    assert [name for name in reslab.__all__ if f"- [`reslab.{name}`](#" not in text] == ["bench"]
    for part in load_tool().load_program("tools/api_reference.py").PARTS:
        module = importlib.import_module(f"reslab.{part}")
        written = set(module.__all__) - set(named.CONSTRUCTORS)  # the others are made in a loop
        objects = {name: getattr(module, name) for name in written}
        names = [name for name, value in objects.items() if inspect.isclass(value) or inspect.isfunction(value)]
        assert [name for name in names if f"\n### `reslab.{part}.{name}`\n" not in text] == []


def test_every_measurement_has_its_place_on_the_page():
    text = (REPOSITORY / "docs" / "performance.md").read_text()
    aims = load_tool().load_aims()
    assert [name for name in aims.MEASUREMENTS if f"<!-- results/bench/{name}.json -->" not in text] == []
    measured = {aim.record.removeprefix("bench/") for aim in aims.AIMS if aim.record.startswith("bench/")}
    explanations = {"profile-training", "profile-resnet50"}  # of what holds an aim
    assert set(aims.MEASUREMENTS) - measured == explanations


def test_an_aim_is_reached_from_its_side():
    aims = load_tool().load_aims()
    more, less = (
        aims.Aim("work", "", "record", 2.0, lambda record: None, at_most=at_most) for at_most in (False, True)
    )
    assert (more.reached(2.0), more.reached(1.9), more.share(1.0)) == (True, False, 0.5)
    assert (less.reached(2.0), less.reached(2.1), less.share(4.0)) == (True, False, 0.5)
    assert aims.Row(more, 1.5).texts[-2:] == ("1.50", "no")
    assert [less.share(figure) for figure in (4.0, 1.0, 0.0, -0.1)] == [0.5, 2.0, math.inf, math.inf]
    assert aims.Row(less, None).texts[2:] == ("≤ 2.00", "", "not recorded", "")
    assert ">1.50 of 2.00<" in aims.chart([aims.Row(more, 1.5), aims.Row(less, None)])


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
