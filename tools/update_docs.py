"""Makes the tables of README.md and docs/ from records and from the registry, so that none of their figures is typed.

    python tools/update_docs.py            rewrite the pages
    python tools/update_docs.py --check    exit with 1 if one is stale

A block `<!-- results/NAME -->` ... `<!-- end -->` is replaced by what the record of that name says, a block
`<!-- registry -->` by a table of the named networks, `<!-- paper -->` by the paper's experiments with their records,
and `<!-- aims -->` by the aims for speed and what is reached of them, which docs/aims.svg shows as well. docs/api.md is
made of the docstrings as a whole.
"""

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from reslab.analysis.complexity import summarize
from reslab.bench.result_table import spread
from reslab.bench.tables import make_table
from reslab.bench.training_tables import SHARES, peaks_of
from reslab.models import list_models
from reslab.models.released import cards_of
from reslab.models.zoo import named_model
from reslab.paper.markdown import catalogue_page, record_block
from reslab.paper.record import Record
from reslab.paper.reference import CIFAR_TEST_ERRORS
from reslab.paper.site import find_records

REPOSITORY = Path(__file__).resolve().parents[1]
_DOCS = ("findings", "fine-tune", "models", "paper", "performance")
PAGES = (REPOSITORY / "README.md", *(REPOSITORY / "docs" / f"{name}.md" for name in _DOCS))
CHART = REPOSITORY / "docs" / "aims.svg"
API_PAGE = REPOSITORY / "docs" / "api.md"
_BLOCK = re.compile(r"(<!-- (results/\S+|registry|aims|paper) -->\n).*?(<!-- end -->)", re.DOTALL)


def machine(environment: dict[str, Any]) -> str:
    """Processor and versions in a few words."""
    packages = environment["packages"]
    return f"{environment['processor']}, {environment['cores']} cores, torch {packages['torch']}"


def markdown_table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]


def training_table(record: dict[str, Any]) -> str:
    """Images a second against the peers that have the network."""
    headings = [
        "network",
        "reslab, images/s",
        "peer",
        "peer, images/s",
        "ratio (lowest to highest turn)",
        *SHARES,
    ]
    rows = []
    for row in record["rows"]:
        speeds = {found["name"]: found.get("images_per_second", 0) for found in row["contenders"]}
        rows += [
            [
                row["model"] if row.get("precision", "fp32") == "fp32" else f"{row['model']}, {row['precision']}",
                f"{speeds['reslab']:.4g}",
                name,
                f"{speeds[name]:.4g}",
                spread(ratio),
                f"{row['share_of_peak']:.0%}",
                f"{row['share_of_fewest']:.0%}",
            ]
            for name, ratio in row["ratios"].items()
        ]
    settings = record["settings"]
    size = f" at {settings['input_size']}x{settings['input_size']}" if settings["input_size"] else ""
    setting = (
        f"Medians of {settings['turns']} turns each, batch {settings['batch_size']}, {settings['data']}{size}; "
        f"{machine(record['environment'])}; {peaks_of(record)}."
    )
    return "\n".join([*markdown_table(headings, rows), "", setting]) + "\n"


def bench_table(record: dict[str, Any]) -> str:
    """What `reslab bench` prints."""
    made = make_table(record)
    table = markdown_table(list(made.headings), [list(row) for row in made.rows])
    return "\n".join([*table, "", f"{made.note} {machine(record['environment'])}."]) + "\n"


def load_program(path: str) -> ModuleType:
    """A program of the repository, which is in no package."""
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / path)
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    sys.modules[name] = program  # where dataclasses look up the types of their fields
    spec.loader.exec_module(program)
    return program


def load_aims() -> ModuleType:
    """The aims for speed, and what is reached of them."""
    return load_program("benchmarks/aims.py")


def api_page() -> str:
    """The reference of the Python API."""
    return str(load_program("tools/api_reference.py").api_page())


def aims_table() -> str:
    """Every aim, and what is reached."""
    aims = load_aims()
    return "\n".join(markdown_table(list(aims.HEADINGS), [list(row.texts) for row in aims.rows()])) + "\n"


def aims_chart() -> str:
    """What is measured as a share of its aim."""
    aims = load_aims()
    return str(aims.chart(aims.rows()))


def paper_page() -> str:
    """Every experiment of the paper, with its records."""
    folders = [path.relative_to(REPOSITORY) for path in find_records([REPOSITORY / "results"])]
    return catalogue_page([(folder, Record.read(REPOSITORY / folder)) for folder in folders], up="../")


def registry_table() -> str:
    """Every named network: its size, where it comes from, and what errors are published for it."""
    rows = []
    for name in list_models():
        model = named_model(name)
        spec, side = model.spec, model.spec.usual_input_size
        summary = summarize(spec, (side, side))
        errors = [f"{CIFAR_TEST_ERRORS[name]} (paper)"] if name in CIFAR_TEST_ERRORS else []
        errors += [f"{card.top1_error:.2f} ({card.name.replace(':', ' ')})" for card in cards_of(name)]
        cells = [f"`{name}`", str(spec.depth), f"{summary.parameters:,}", f"{summary.macs / 1e6:,.2f} M", str(side)]
        rows.append([*cells, model.source, ", ".join(errors)])
    headings = ["name", "layers", "parameters", "multiply-adds", "at", "source", "published top-1 error, %"]
    return "\n".join(markdown_table(headings, rows)) + "\n"


def render(name: str) -> str:
    """The block of one record, under results/."""
    path = REPOSITORY / name
    if not path.exists() and path.stem in load_aims().MEASUREMENTS:
        return f"Not recorded yet; `python benchmarks/aims.py {path.stem}` does.\n"
    record = json.loads(path.read_text())
    if "experiment" in record:
        return record_block(Record.read(path.parent), path.parent.relative_to(REPOSITORY), "", figures=False)
    return training_table(record) if record["benchmark"] == "training" else bench_table(record)


def updated(text: str) -> str:
    """A page with every block made anew."""

    def block(match: re.Match[str]) -> str:
        makers = {"registry": registry_table, "aims": aims_table, "paper": paper_page}
        made = makers[match[2]]() if match[2] in makers else render(match[2])
        return match[1] + made + match[3]

    return _BLOCK.sub(block, text)


def main() -> int:
    files = {page: updated(page.read_text()) for page in PAGES} | {CHART: aims_chart(), API_PAGE: api_page()}
    stale = {path: new for path, new in files.items() if not path.exists() or path.read_text() != new}
    if stale and "--check" in sys.argv[1:]:
        names = ", ".join(path.name for path in stale)
        print(f"{names}: not what the records say; run python tools/update_docs.py", file=sys.stderr)
        return 1
    for path, new in stale.items():
        path.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
