"""The catalogue and its records as Markdown, for docs/paper.md. Importing this module imports no torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from reslab.environment import describe_machine
from reslab.paper.catalogue import Experiment, Group
from reslab.paper.experiments import EXPERIMENTS, note_parts
from reslab.paper.record import Record
from reslab.paper.reference import find_table
from reslab.paper.tables import main_table, quoted_table

__all__ = ["catalogue_page", "record_block"]

_GROUPS: dict[Group, str] = {
    "figure": "Figures",
    "table": "Tables",
    "text": "Claims of the text",
    "beyond": "Beyond the paper",
}


def catalogue_page(records: Sequence[tuple[Path, Record]], up: str) -> str:
    """Every experiment of the catalogue, with its records and what is quoted beside it.

    Args:
        records: with their folders, relative to the repository.
        up: from the page's folder to the repository.
    """
    parts = []
    for group, words in _GROUPS.items():
        parts.append(f"## {words}\n")
        for experiment in EXPERIMENTS.values():
            if experiment.group == group:
                own = [(folder, record) for folder, record in records if record.experiment.name == experiment.name]
                parts.append("\n".join(_section(experiment, own, up)))
    return "\n".join(parts)


def _section(experiment: Experiment, records: Sequence[tuple[Path, Record]], up: str) -> Iterator[str]:
    yield f"### {experiment.name}: {experiment.title}\n"
    paragraphs, commands = note_parts(experiment.name)
    yield "\n\n".join([f"{experiment.source}. {paragraphs[0]}", *paragraphs[1:]]) + "\n"
    yield "\n".join(["```sh", *commands, "```"]) + "\n"
    for folder, record in records:
        yield f"**{folder.name}**\n"
        yield record_block(record, folder, up)
    if not records and experiment.how != "quoted":
        yield f"Not recorded yet; {len(experiment.arms)} arms, {len(experiment.claims)} claims.\n"
    for name in experiment.quoted:
        yield quoted_table(find_table(name)).to_markdown()


def record_block(record: Record, folder: Path, up: str, *, figures: bool = True) -> str:
    """A record's figures, table and verdicts.

    Args:
        record: to be shown.
        folder: of the record, relative to the repository.
        up: from the page's folder to the repository.
        figures: whether its pictures are shown.
    """
    lines = []
    if figures:
        lines += [f"![{record.title}]({up}{folder}/{name})\n" for name in record.figure_files]
    content = record.content
    where = content["environment"]
    seeds = "computed" if content["exact"] else f"{record.num_seeds} seed{'s' if record.num_seeds > 1 else ''}"
    reduced = f"Reduced: {content['reduced']}. " if content["reduced"] else ""
    hours = f" {content['hours']:.2g} hours of training, added up." if content["hours"] else ""
    machine = f"{describe_machine(where)}, torch {where['packages']['torch']}"
    lines.append(f"{reduced}{seeds[0].upper()}{seeds[1:]}; {machine}.{hours}\n")
    lines.append(main_table(record).to_markdown())
    lines += [f"- **{item['outcome']}**: {item['claim']} ({item['explanation']})" for item in content["verdicts"]]
    return "\n".join(lines) + "\n"
