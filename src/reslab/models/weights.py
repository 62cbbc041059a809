"""Weights on disk: reading what others wrote, loading all of it or nothing, and saving it with a card."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from reslab.errors import WeightsError
from reslab.files.hashing import file_digest
from reslab.files.records import read_record, record_text
from reslab.files.safetensors_file import save_safetensors
from reslab.files.sets import read_set, replace_set
from reslab.models.build import build, skeleton
from reslab.models.caffe import CAFFE_SUFFIX
from reslab.models.channels import ChannelsAdaptedWarning
from reslab.models.features import FeatureNetwork
from reslab.models.layouts import LAYOUTS, plain_keys
from reslab.models.matching import (
    HeadReplacedWarning,
    Match,
    PaddingWarning,
    Way,
    check_values,
    match,
    say_padding,
    ways,
)
from reslab.models.spec import NetSpec
from reslab.models.weight_files import (
    Table,
    WeightsChoiceWarning,
    chosen,
    fetch_weights,
    named_as,
    open_tables,
    preferred,
    split_choice,
)

__all__ = [
    "CARD_NAME",
    "NORMALIZATION_NAME",
    "WEIGHTS_NAME",
    "ChannelsAdaptedWarning",
    "HeadReplacedWarning",
    "LoadReport",
    "PaddingWarning",
    "WeightsChoiceWarning",
    "build_loaded",
    "fetch_weights",
    "load_weights",
    "read_card",
    "read_state_dict",
    "save_weights",
]

WEIGHTS_NAME = "weights.safetensors"
NORMALIZATION_NAME = "normalization.safetensors"
CARD_NAME = "card.json"
_CARD_SCHEMA = 2
_LARGE = 1 << 28  # weights, a gibibyte: from here on shapes are compared before a network is built
_FIRST_CARD_SCHEMA = 1  # version 0.1.0's, without a checksum of its own


@dataclass(frozen=True)
class LoadReport:
    """What became of a file's tensors. The body was matched tensor by tensor, or nothing was loaded.

    Args:
        layout: whose names the file had.
        matched: names of the model's tensors that were loaded.
        folded: biases of convolutions that were taken into the means of batch norms.
        replaced_head: why the classifier was left fresh; empty where it was loaded.
        table: of the file, that was loaded; empty where the file is one table.
        prefix: that was taken off the tensors' names; empty where there was none, or a wrapper's (`module.`).
        adapted: what was done to the first convolution, for other channels; empty where nothing was.
    """

    layout: str
    matched: tuple[str, ...]
    folded: tuple[str, ...] = ()
    replaced_head: str = ""
    table: str = ""
    prefix: str = ""
    adapted: str = ""

    @property
    def num_matched(self) -> int:
        """How many tensors were loaded."""
        return len(self.matched)

    def __str__(self) -> str:
        folded = f", {len(self.folded)} biases taken into batch norms' means" if self.folded else ""
        head = "".join(f"; {text}" for text in (self.replaced_head, self.adapted) if text)
        table = f" in the file's table {self.table}" if self.table else ""
        prefix = f" behind the prefix {self.prefix}" if self.prefix else ""
        return f"{self.num_matched} tensors loaded from {self.layout}'s names{prefix}{table}{folded}{head}"


def read_state_dict(path: Path | str, table: str | None = None) -> dict[str, Tensor]:
    """The named tensors of a `.safetensors` file or of a file that torch saved, with the names they have there.

    A `.caffemodel` is read with our names, and turned to take RGB as all else here does (`reslab.models.caffe`).

    The content says what a file is, not its name. Wrappings (`state_dict`, `model`, `net`) and wrappers' prefixes
    (`module.`, `_orig_mod.`) are taken off. Nothing but tensors and plain types is unpickled. `weights.safetensors`
    with a card beside it is verified against the card.

    Args:
        path: of the file; FILE#TABLE names one of its tables.
        table: of the file, where it has several: `state_dict_ema`. By default the raw weights, with a
            `WeightsChoiceWarning`.

    Raises:
        WeightsError: the file is missing, damaged, or holds something else; or it has several tables, and nobody says
            which one is meant.
    """
    name, tables = _open(str(path), table, progress=False)
    taken, others = preferred(tables, name)
    _say_which(name, taken.name, [other.name for other in others])
    return plain_keys(taken.tensors)


def load_weights(
    model: nn.Module,
    source: Path | str | Mapping[str, Tensor],
    layout: str = "auto",
    *,
    table: str | None = None,
    replace_head: bool = True,
    progress: bool = False,
) -> LoadReport:
    """Loads weights into a model: the whole body, or nothing.

    Args:
        model: as `create_model` builds it.
        source: a file, its address on the network (http or https), or a state dict; FILE#TABLE names one of a file's
            tables, or what its tensors' names begin with.
        layout: whose names the source has; `auto` finds out. One of torchvision, timm, timm-preact, timm-vgg,
            akamaster, kuangliu, kellerjordan, fb, caffe.
        table: of the file, where it has several: `state_dict_ema`. By default the one that fits the model; where the
            raw weights and an average do, the raw ones, with a `WeightsChoiceWarning`.
        replace_head: leave a classifier for another number of classes as it is in the model, and fit the first
            convolution to other channels, each with a warning, instead of refusing.
        progress: whether to show a download's progress.

    Raises:
        WeightsError: the file cannot be read, or its tensors are not exactly the model's; the message says which
            are missing, unexpected or of another shape. The model is then as it was.
    """
    if layout != "auto" and layout not in LAYOUTS:
        raise WeightsError(f"there is no layout {layout!r}: choose auto or one of {', '.join(LAYOUTS)}.")
    own = model.state_dict()
    if any(value.is_meta for value in own.values()):
        raise WeightsError("the model has no values to replace: it is on torch's device meta; build it on another.")
    return _take(model, own, *_matched(own, source, layout, table, replace_head, progress))


def build_loaded(
    spec: NetSpec, source: Path | str, layout: str = "auto", *, replace_head: bool = False
) -> tuple[FeatureNetwork, LoadReport]:
    """A network with weights; one that is large is built only when they fit.

    Args:
        spec: of the network.
        source: as in `load_weights`.
        layout: likewise.
        replace_head: likewise.

    Raises:
        WeightsError: as in `load_weights`.
    """
    network = build(spec) if spec.least_weights < _LARGE else None
    own = (skeleton(spec) if network is None else network).state_dict()
    found = _matched(own, source, layout, None, replace_head, False)
    network = build(spec) if network is None else network
    return network, _take(network, network.state_dict(), *found)


def _matched(
    own: Mapping[str, Tensor],
    source: Path | str | Mapping[str, Tensor],
    layout: str,
    table: str | None,
    replace_head: bool,
    progress: bool,
) -> tuple[str, Way, Match]:
    """What to call a source in messages, and how its tensors fit those of a network, of which only shapes are seen."""
    if isinstance(source, Mapping):
        name, tables = "the state dict", [Table("", dict(source))]
    else:
        name, tables = _open(str(source), table, progress=progress)
    if layout == "auto" and name.lower().endswith(CAFFE_SUFFIX):
        layout = "caffe"
    way, found = _fitting(name, tables, layout, own, replace_head)
    check_values(found.given, own, name)
    return name, way, found


def _take(model: nn.Module, own: Mapping[str, Tensor], name: str, way: Way, found: Match) -> LoadReport:
    """Gives a network the tensors that were found to fit it."""
    model.load_state_dict({key: found.given.get(key, value) for key, value in own.items()})
    if found.replaced_head:
        warnings.warn(f"{name}: {found.replaced_head}.", HeadReplacedWarning, stacklevel=3)
    if found.adapted:
        warnings.warn(f"{name}: {found.adapted}.", ChannelsAdaptedWarning, stacklevel=3)
    say_padding(model, name, found.layout)
    matched = tuple(key for key in own if key in found.given)
    table = way.label.removesuffix(way.prefix.rstrip(".")).rstrip(".")
    return LoadReport(found.layout, matched, found.folded, found.replaced_head, table, way.prefix, found.adapted)


def _open(source: str, table: str | None, *, progress: bool) -> tuple[str, list[Table]]:
    """What to call a file in messages, and its tables: one where it is said which."""
    file, named = split_choice(source)
    if table is not None and named not in ("", table):
        raise WeightsError(f"{source} names one table and {table!r} is given; leave one of them out.")
    path = fetch_weights(file, progress=progress) if file.startswith(("http://", "https://")) else Path(file)
    if path.name == WEIGHTS_NAME and path.is_file() and (path.parent / CARD_NAME).is_file():
        read_card(path.parent)  # what a run left, or precise-bn, is verified whoever reads it
    tables = open_tables(path)
    wanted = table or named
    return (source, [chosen(tables, wanted, file)]) if wanted else (file, tables)


def _fitting(
    name: str, tables: list[Table], layout: str, own: Mapping[str, Tensor], replace_head: bool
) -> tuple[Way, Match]:
    """The one way to see a file that fits a network; says which where there are several.

    Raises:
        WeightsError: none does, or nobody knows which one is meant.
    """
    found = [
        (way, match(way.tensors, layout, own, replace_head=replace_head))
        for table in tables
        for way in ways(table, len(own) // 2)
    ]
    fitting = [(way, matched) for way, matched in found if way.whole and not matched.problems]
    fitting = [(way, matched) for way, matched in fitting if not matched.replaced_head] or fitting
    if not fitting:
        main = preferred(tables, name)[0].name if len(tables) > 1 else tables[0].name
        problems = next(matched.problems for way, matched in found if way.label == main and not way.prefix)
        apart = [way.label for way, matched in found if not matched.problems and not matched.replaced_head]
        hint = f" {' and '.join(named_as(name, label) for label in apart)} would fit alone." if apart else ""
        raise WeightsError(f"{name} does not fit the model: {'; '.join(problems)}. Nothing was loaded.{hint}")
    taken, others = preferred([Table(way.label, way.tensors) for way, _ in fitting], name)
    _say_which(name, taken.name, [other.name for other in others])
    return next((way, matched) for way, matched in fitting if way.label == taken.name)


def _say_which(name: str, taken: str, others: list[str]) -> None:
    if others:
        choices = " or ".join(named_as(name, other) for other in others)
        warnings.warn(
            f"{name} holds several sets of weights, and {taken} was taken; write {choices} for the other.",
            WeightsChoiceWarning,
            stacklevel=3,
        )


def save_weights(
    model: nn.Module,
    folder: Path,
    card: Mapping[str, Any],
    *,
    write_normalization: Callable[[Path], None] | None = None,
) -> None:
    """Writes `weights.safetensors`, `normalization.safetensors` and `card.json` with their sha256, all at once.

    A crash leaves the old files or the new ones (`reslab.files.sets`).

    Args:
        model: whose parameters and statistics are saved, as contiguous float32.
        folder: where to.
        card: plain values that describe them.
        write_normalization: writes the second file to a path; None where the card says all.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    names = [WEIGHTS_NAME, *([NORMALIZATION_NAME] if write_normalization else []), CARD_NAME]
    with replace_set(folder, names) as temporary:
        save_safetensors(tensors, temporary[WEIGHTS_NAME], {"format": "pt"})
        digests = {"sha256": file_digest(temporary[WEIGHTS_NAME])}
        if write_normalization:
            write_normalization(temporary[NORMALIZATION_NAME])
            digests["normalization_sha256"] = file_digest(temporary[NORMALIZATION_NAME])
        text = record_text({"schema_version": _CARD_SCHEMA, **card, **digests})
        temporary[CARD_NAME].write_text(text, encoding="utf-8")


def read_card(folder: Path, *, verify: bool = True) -> dict[str, Any]:
    """Reads the card beside `weights.safetensors`.

    Args:
        folder: that holds both.
        verify: whether the weights, and the normalisation where the card names its file, must have the sha256 that the
            card states.

    Raises:
        WeightsError: the card is missing or damaged, or the files are not those it describes.
    """
    return read_set(folder, CARD_NAME, lambda: _read_card(folder, verify), WeightsError)


def _read_card(folder: Path, verify: bool) -> dict[str, Any]:
    path = folder / CARD_NAME
    card = read_record(
        path,
        schema_version=_CARD_SCHEMA,
        error=WeightsError,
        if_missing=f"{folder} has no {CARD_NAME}: the run is not finished, or this is not a run.",
        older=(_FIRST_CARD_SCHEMA,),
        checksum=True,
    )
    described = {WEIGHTS_NAME: card.get("sha256")}
    if "normalization_sha256" in card:
        described[NORMALIZATION_NAME] = card["normalization_sha256"]
    for name, digest in described.items() if verify else ():
        file = folder / name
        if not file.is_file():
            raise WeightsError(f"{folder} has a card but no {name}.")
        if file_digest(file) != digest:
            raise WeightsError(
                f"{file} is not the file that {path} describes: its sha256 differs. It is damaged, or was replaced; "
                "put back a copy of both."
            )
    return card
