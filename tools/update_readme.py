"""Makes the README's tables from the records in results/, so that none of its figures is typed.

    python tools/update_readme.py            rewrite README.md
    python tools/update_readme.py --check    exit with 1 if it is stale

A block `<!-- results/NAME -->` ... `<!-- end -->` is replaced by what the record of that name says.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reslab.paper.report import table_rows

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
_BLOCK = re.compile(r"(<!-- (results/\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


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
    (row,) = record["rows"]
    errors = f"training error {row['train_error']:.2f} %, test error {row['test_error']:.2f} %"
    return f"{row['network']}, {row['iterations']:,} iterations on {row['data']}, seed {row['seed']}: {errors}.\n"


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
    """The README with every block made anew."""
    return _BLOCK.sub(lambda match: match[1] + render(REPOSITORY / match[2]) + match[3], text)


def main() -> int:
    text = README.read_text()
    new = updated(text)
    if "--check" in sys.argv[1:]:
        if new != text:
            print("README.md does not say what results/ say; run python tools/update_readme.py", file=sys.stderr)
        return int(new != text)
    README.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
