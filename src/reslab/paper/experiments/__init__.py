"""The catalogue: every figure, table and claim of the paper, and what goes beyond it; one lab note a module.

Importing this package imports no torch.
"""

from reslab.errors import ReslabError, suggestion
from reslab.paper.catalogue import Experiment
from reslab.paper.experiments import (
    blocks,
    cause,
    construction,
    convergence,
    details,
    detection,
    explosion,
    fig1,
    fig2,
    fig4,
    fig6,
    fig7,
    gating,
    identity,
    initialization,
    lesions,
    longer,
    orders,
    quotes,
    shattering,
    shortcuts,
    signals,
    solver,
    stride,
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
    warmup,
    zero,
)

__all__ = ["EXPERIMENTS", "NOTES", "find_experiment", "note_parts"]

_FIGURES = (fig1, fig2, fig4, fig6, fig7)
_TABLES = (table1, table2, table3, table4, table5, table6, detection)
_TEXT = (
    signals,
    construction,
    longer,
    convergence,
    zero,
    identity,
    initialization,
    warmup,
    shortcuts,
    gating,
    blocks,
    details,
    quotes,
)
_BEYOND = (cause, explosion, solver, lesions, shattering, orders, stride)


def _of(module: object) -> tuple[Experiment, ...]:
    several: tuple[Experiment, ...] | None = getattr(module, "EXPERIMENTS", None)
    return several if several is not None else (module.EXPERIMENT,)  # type: ignore[attr-defined]


_ALL = [(note, module) for module in (*_FIGURES, *_TABLES, *_TEXT, *_BEYOND) for note in _of(module)]
_GROUPS = ("figure", "table", "text", "beyond")
_SORTED = sorted(_ALL, key=lambda pair: _GROUPS.index(pair[0].group))
EXPERIMENTS: dict[str, Experiment] = {note.name: note for note, _ in _SORTED}
NOTES: dict[str, str] = {note.name: (module.__doc__ or "").strip() for note, module in _SORTED}
"""What each is, how it is run, and what the paper says."""


def note_parts(name: str) -> tuple[list[str], list[str]]:
    """A note's paragraphs without its first line, and the commands that it shows."""
    paragraphs, commands = [], []
    for part in NOTES[name].split("\n\n")[1:]:
        if part.startswith("    "):
            commands += [line.strip() for line in part.splitlines()]
        else:
            paragraphs.append(" ".join(part.split()))
    return paragraphs, commands


def find_experiment(name: str) -> Experiment:
    """An experiment by name.

    Raises:
        ReslabError: there is none; the message suggests near ones.
    """
    if name in EXPERIMENTS:
        return EXPERIMENTS[name]
    raise ReslabError(
        f"there is no experiment {name!r}{suggestion(name, EXPERIMENTS, '; `reslab paper list` lists them.')}"
    )
