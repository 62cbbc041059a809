"""Finished experiments become records of a repository, so that no record gets there by hand."""

from pathlib import Path

from reslab.errors import ReslabError
from reslab.paper.record import RESULTS_NAME, Record

__all__ = ["Recorded", "record_results"]


class Recorded:
    """Where a record went.

    Args:
        path: of it.
        record: what it says.
        replaced: whether there was one of that name.
    """

    def __init__(self, path: Path, record: Record, replaced: bool) -> None:
        self.path, self.record, self.replaced = path, record, replaced

    def __str__(self) -> str:
        verb = "replaced" if self.replaced else "written"
        return f"{self.path} {verb}: {self.record.title}; {self.record.content['reduced'] or 'the full setting'}"

    def to_dict(self) -> dict[str, object]:
        """As plain values."""
        return {"path": str(self.path), "replaced": self.replaced, "experiment": self.record.content["experiment"]}


def record_results(folder: Path, *, out: Path = Path("results"), name: str | None = None) -> Recorded:
    """Writes a finished experiment's record and its figures into a folder of records.

    Args:
        folder: folder of the experiment, with its results.json.
        out: folder of the records.
        name: name of the record's own folder there; EXPERIMENT-DATA by default.

    Raises:
        ReslabError: the experiment is not finished, its trainings were run from a checkout with changes that no commit
            has, or the name is none.
    """
    record = Record.read(folder)
    commit = str(record.content["environment"].get("commit") or "")
    if commit.endswith("-dirty"):
        raise ReslabError(
            f"{folder} was run from files that no commit has ({commit}), so that nobody could run it again; commit "
            "first, and run it again."
        )
    chosen = name or "-".join(word for word in (record.content["experiment"], record.data.get("name", "")) if word)
    if not chosen or Path(chosen).name != chosen or chosen.startswith("."):
        raise ReslabError(f"--name must be the name of a folder, not {chosen!r}.")
    target = out / chosen
    replaced = (target / RESULTS_NAME).exists()
    target.mkdir(parents=True, exist_ok=True)
    from reslab.paper.report import figure_file, write_figures

    names = [figure_file(figure) for figure, _ in write_figures(record, target)]
    for stale in set(target.glob("*.svg")) - {target / figure for figure in names}:
        stale.unlink()
    record = Record({**record.content, "figures": names})
    record.write(target)
    return Recorded(target / RESULTS_NAME, record, replaced)
