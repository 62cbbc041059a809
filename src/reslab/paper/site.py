"""Many records as a site of HTML: an overview, a page a record, and one to learn from. Nothing asks a network."""

import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from reslab.errors import ReslabError, ReslabWarning
from reslab.files.atomic import write_text
from reslab.paper.experiments import EXPERIMENTS
from reslab.paper.figures import draw_figures
from reslab.paper.learning import lessons
from reslab.paper.listing import listing
from reslab.paper.record import RESULTS_NAME, SCHEMA, Record
from reslab.paper.report import contents, page

__all__ = ["Site", "find_records", "write_site"]


@dataclass(frozen=True)
class Site:
    """What was written.

    Args:
        index: the page to open.
        num_records: that have a page.
    """

    index: Path
    num_records: int

    def __str__(self) -> str:
        return f"{self.num_records} records: {self.index}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"index": str(self.index), "num_records": self.num_records}


def find_records(folders: Sequence[Path]) -> list[Path]:
    """The folders of experiments' records among folders, or one level inside them.

    Records of another kind beside them are left out; a folder that holds nothing else is named in a warning. What
    cannot be read is kept, so that reading it says what is wrong.

    Raises:
        ReslabError: there are none.
    """
    found, others = [], []
    for folder in folders:
        paths = [folder / RESULTS_NAME] if (folder / RESULTS_NAME).exists() else folder.glob(f"*/{RESULTS_NAME}")
        records = [path.parent for path in sorted(paths) if _may_be_ours(path)]
        found += records
        others += [] if records else [str(folder)]
    if not found:
        raise ReslabError(f"there are no records of experiments in {', '.join(others)}; give their folders.")
    if others:
        warnings.warn(ReslabWarning(f"no record of an experiment is in {', '.join(others)}."), stacklevel=2)
    return found


def _may_be_ours(path: Path) -> bool:
    """Whether a record is an experiment's, or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError, MemoryError):
        return True
    known = isinstance(content, dict) and content.get("experiment") in EXPERIMENTS
    return known and content.get("schema_version") == SCHEMA


def write_site(folders: Sequence[Path], out: Path) -> Site:
    """Writes index.html, a page for every record, and learn.html.

    Args:
        folders: with a results.json each.
        out: of the site; files of the same names in it are replaced.

    Raises:
        ReslabError: a record is missing or damaged, or a folder has the name of another page.
    """
    names = [folder.resolve().name for folder in folders]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ReslabError(f"two of the folders are called {twice[0]}; their pages would have one name.")
    if taken := {"index", "learn"} & set(names):
        raise ReslabError(f"a folder of a record cannot be called {taken.pop()}, which is another page; rename it.")
    records = {name: Record.read(folder) for name, folder in zip(names, folders, strict=True)}
    out.mkdir(parents=True, exist_ok=True)
    for name, record in records.items():
        values = contents(record, list(draw_figures(record)))
        write_text(out / f"{name}.html", page("site-record.html.j2", **values))
    index = out / "index.html"
    write_text(index, page("index.html.j2", rows=_rows(records), num_records=len(records)))
    data = Markup(json.dumps(lessons(records)).replace("<", "\\u003c"))  # a script ends where its text says so
    write_text(out / "learn.html", page("learn.html.j2", data=data))
    return Site(index, len(records))


def _rows(records: dict[str, Record]) -> list[dict[str, Any]]:
    """The catalogue, each experiment with its records."""
    rows = []
    for row in listing():
        own = {name: record for name, record in records.items() if record.content["experiment"] == row["name"]}
        rows.append({**row, "records": [_summary(name, record) for name, record in own.items()]})
    return rows


def _setting(record: Record) -> str:
    """How far a record is from the paper's setting, and its seeds."""
    if record.content["exact"]:
        return "computed"
    seeds = f"{record.num_seeds} seed{'s' if record.num_seeds != 1 else ''}"
    full = "the paper's setting" if record.data else ""
    return "; ".join(part for part in (record.content["reduced"] or full, seeds) if part)


def _summary(name: str, record: Record) -> dict[str, Any]:
    outcomes = Counter(verdict["outcome"] for verdict in record.content["verdicts"])
    return {
        "page": quote(f"{name}.html"),
        "name": name,
        "setting": _setting(record),
        "outcomes": [(word, outcomes[word]) for word in ("held", "not held", "undecided") if outcomes[word]],
    }
