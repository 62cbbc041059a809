"""Makes the tables of README.md and docs/ from records and from the registry, so that none of their figures is typed.

    python tools/update_docs.py            rewrite the pages
    python tools/update_docs.py --check    exit with 1 if one is stale

A block `<!-- results/NAME -->` ... `<!-- end -->` is replaced by what the record of that name says, a block
`<!-- registry -->` by a table of the named networks.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from reslab.analysis.complexity import summarize
from reslab.models import list_models
from reslab.models.released import cards_of
from reslab.models.zoo import named_model
from reslab.paper.reference import CIFAR_TEST_ERRORS
from reslab.paper.report import table_rows

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = (REPOSITORY / "README.md", REPOSITORY / "docs" / "models.md")
_BLOCK = re.compile(r"(<!-- (results/\S+|registry) -->\n).*?(<!-- end -->)", re.DOTALL)


def machine(environment: dict[str, Any]) -> str:
    """Processor and versions in a few words."""
    packages = environment["packages"]
    return f"{environment['processor']}, {environment['cores']} cores, torch {packages['torch']}"


def markdown_table(headings: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table."""
    return [f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows)]


def experiment_table(results: dict[str, Any]) -> str:
    """Paper and measured, and the verdicts."""
    seeds = len({row["seed"] for row in results["rows"]})
    spread = f"{seeds} seeds, mean ± standard deviation" if seeds > 1 else "1 seed"
    keys = ["network", "paper", "test_error", "train_error", "train_error_clean"]
    headings = ["network", "paper: test error, CIFAR-10", "measured: test error %", "training error %", "eval mode %"]
    table = markdown_table(headings, [[row[key] for key in keys] for row in table_rows(results)])
    verdicts = [f"- **{verdict['outcome']}**: {verdict['claim']}" for verdict in results["verdicts"]]
    title = f"Reduced: {results['reduced']}. {spread}; {machine(results['environment'])}."
    return "\n".join([title, "", *table, "", *verdicts]) + "\n"


def training_speed_table(record: dict[str, Any]) -> str:
    """Images a second against the peer."""
    headings = ["network", "ours, images/s", "peer, images/s", "ratio (lowest to highest turn)", "of the fp32 rate"]
    rows = [
        [
            row["model"],
            f"{row['ours_images_per_second']:.0f}",
            f"{row['peer_images_per_second']:.0f}",
            f"{row['ratio']:.2f} ({min(row['ratios']):.2f} to {max(row['ratios']):.2f})",
            f"{row['share_of_fp32_rate']:.0%}",
        ]
        for row in record["rows"]
    ]
    setting = (
        f"Medians of {record['turns']} turns each, batch {record['batch_size']}, {record['data']}; "
        f"{machine(record['environment'])}; {record['fp32_gflops']:.0f} GFLOP/s in fp32 matrix products."
    )
    return "\n".join([*markdown_table(headings, rows), "", setting]) + "\n"


def longer_training(record: dict[str, Any]) -> str:
    """What more iterations did for a network."""
    rows = record["rows"]
    errors = [
        f"{name} error {mean(row[key] for row in rows):.2f} ± {stdev(row[key] for row in rows):.2f} %"
        for name, key in (("training", "train_error"), ("test", "test_error"))
    ]
    first = rows[0]
    return (
        f"{first['network']}, {first['iterations']:,} iterations on {first['data']}, {len(rows)} seeds, "
        f"mean ± standard deviation: {', '.join(errors)}.\n"
    )


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


def render(path: Path) -> str:
    """The block of one record."""
    record = json.loads(path.read_text())
    makers: dict[str, Callable[[dict[str, Any]], str]] = {
        "fig1": experiment_table,
        "training_speed": training_speed_table,
        "longer_training": longer_training,
    }
    return makers[record.get("experiment") or record["benchmark"]](record)


def updated(text: str) -> str:
    """A page with every block made anew."""

    def block(match: re.Match[str]) -> str:
        made = registry_table() if match[2] == "registry" else render(REPOSITORY / match[2])
        return match[1] + made + match[3]

    return _BLOCK.sub(block, text)


def main() -> int:
    stale = []
    for page in PAGES:
        text = page.read_text()
        new = updated(text)
        if new != text:
            stale.append(page.name)
            if "--check" not in sys.argv[1:]:
                page.write_text(new)
    if stale and "--check" in sys.argv[1:]:
        print(f"{', '.join(stale)}: not what the records say; run python tools/update_docs.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
