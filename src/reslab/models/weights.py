"""Weights on disk: reading what others wrote, loading all of it or nothing, and saving it with a card."""

import hashlib
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reslab.errors import DataError, ReslabWarning, WeightsError
from reslab.files.atomic import atomic_path
from reslab.files.cache import cache_folder
from reslab.files.download import Resource, fetch
from reslab.files.hashing import file_digest
from reslab.files.records import read_record, record_text
from reslab.files.sets import read_set, replace_set
from reslab.files.torch_file import DamagedFileError, load_torch_file
from reslab.models.caffe import CAFFE_SUFFIX, read_caffemodel
from reslab.models.channels import adapt_channels
from reslab.models.layouts import (
    LAYOUTS,
    fold_biases,
    from_reslab_keys,
    guess_layout,
    plain_keys,
    to_reslab_keys,
)

__all__ = [
    "CARD_NAME",
    "NORMALIZATION_NAME",
    "WEIGHTS_NAME",
    "ChannelsAdaptedWarning",
    "HeadReplacedWarning",
    "LoadReport",
    "fetch_weights",
    "load_weights",
    "read_card",
    "read_state_dict",
    "save_weights",
    "write_state_dict",
]

WEIGHTS_NAME = "weights.safetensors"
NORMALIZATION_NAME = "normalization.safetensors"
CARD_NAME = "card.json"
_CARD_SCHEMA = 2
_FIRST_CARD_SCHEMA = 1  # version 0.1.0's, without a checksum of its own
_STATED_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
_WRAPPING_KEYS = ("state_dict", "model", "net")
_OPTIONAL = "num_batches_tracked"  # a counter that old files lack, and that no forward pass of ours reads


class ChannelsAdaptedWarning(ReslabWarning):
    """The weights' first convolution was for another number of channels, and was fitted to the model's."""


class HeadReplacedWarning(ReslabWarning):
    """Weights were loaded but for the classifier, which is for another number of classes and starts afresh."""


@dataclass(frozen=True)
class LoadReport:
    """What became of a file's tensors. The body was matched tensor by tensor, or nothing was loaded.

    Args:
        layout: whose names the file had.
        matched: names of the model's tensors that were loaded.
        folded: biases of convolutions that were taken into the means of batch norms.
        replaced_head: why the classifier was left fresh; empty where it was loaded.
        adapted: what was done to the first convolution, for other channels; empty where nothing was.
    """

    layout: str
    matched: tuple[str, ...]
    folded: tuple[str, ...] = ()
    replaced_head: str = ""
    adapted: str = ""

    @property
    def num_matched(self) -> int:
        """How many tensors were loaded."""
        return len(self.matched)

    def __str__(self) -> str:
        folded = f", {len(self.folded)} biases taken into batch norms' means" if self.folded else ""
        head = "".join(f"; {text}" for text in (self.replaced_head, self.adapted) if text)
        return f"{self.num_matched} tensors loaded from {self.layout}'s names{folded}{head}"


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The named tensors of a `.safetensors` file or of a file that torch saved, with the names they have there.

    A `.caffemodel` is read with our names, and turned to take RGB as all else here does (`reslab.models.caffe`).

    Wrappings (`state_dict`, `model`, `net`) and wrappers' prefixes (`module.`, `_orig_mod.`) are taken off. Nothing but
    tensors and plain types is unpickled. `weights.safetensors` with a card beside it is verified against the card.

    Raises:
        WeightsError: the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weight file {path}.")
    if path.suffix == CAFFE_SUFFIX:
        return read_caffemodel(path, rgb=True)
    if path.name == WEIGHTS_NAME and (path.parent / CARD_NAME).is_file():
        read_card(path.parent)  # what a run left, or precise-bn, is verified whoever reads it
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else load_torch_file(path)
    except (SafetensorError, OSError, DamagedFileError) as error:
        raise WeightsError(f"{path} is damaged, or is no file of weights: {error}") from None
    while isinstance(content, Mapping) and (key := next((key for key in _WRAPPING_KEYS if key in content), None)):
        content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise WeightsError(f"{path} holds no table of named tensors.")
    state = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if len(state) != len(content):
        raise WeightsError(
            f"{path} holds other things than named tensors, e.g. {next(k for k in content if k not in state)!r}."
        )
    return plain_keys(state)


def load_weights(
    model: nn.Module,
    source: Path | str | Mapping[str, Tensor],
    layout: str = "auto",
    *,
    replace_head: bool = True,
    progress: bool = False,
) -> LoadReport:
    """Loads weights into a model: the whole body, or nothing.

    Args:
        model: as `create_model` builds it.
        source: a file, its address on the network (http or https), or a state dict.
        layout: whose names the source has; `auto` finds out. One of torchvision, timm, timm-preact, timm-vgg,
            akamaster, kuangliu, kellerjordan, fb, caffe.
        replace_head: leave a classifier for another number of classes as it is in the model, and fit the first
            convolution to other channels, each with a warning, instead of refusing.
        progress: whether to show a download's progress.

    Raises:
        WeightsError: the file cannot be read, or its tensors are not exactly the model's; the message says which
            are missing, unexpected or of another shape. The model is then as it was.
    """
    name, given = _named_tensors(source, progress)
    if layout != "auto" and layout not in LAYOUTS:
        raise WeightsError(f"there is no layout {layout!r}: choose auto or one of {', '.join(LAYOUTS)}.")
    if layout == "auto":
        layout = "caffe" if name.endswith(CAFFE_SUFFIX) else guess_layout(given)
    given = to_reslab_keys(given, layout)
    own = model.state_dict()
    given, adapted = adapt_channels(own, given) if replace_head else (given, "")
    folded = fold_biases(given, own.keys())
    missing = [key for key in own if key not in given and not key.endswith(_OPTIONAL)]
    unexpected = [key for key in given if key not in own and not key.endswith(_OPTIONAL)]
    misshapen = [key for key in own if key in given and given[key].shape != own[key].shape]
    replaced = ""
    if replace_head and (head := _head_of(own)):
        replaced = _why_head_is_replaced(head, missing, unexpected, misshapen, given, own)
    if replaced:
        given = {key: value for key, value in given.items() if not key.startswith(head)}
    elif missing or unexpected or misshapen:
        problems = [_sample("missing", missing), _sample("unexpected", unexpected)]
        if misshapen:
            key = misshapen[0]
            shapes = f"{key} is {_shape(given[key])} in the file and {_shape(own[key])} in the model"
            problems.append(f"{len(misshapen)} of another shape ({shapes})")
        raise WeightsError(f"{name} does not fit the model: {'; '.join(filter(None, problems))}. Nothing was loaded.")
    if bad := [key for key, value in given.items() if value.is_floating_point() and not torch.isfinite(value).all()]:
        raise WeightsError(f"{name} holds NaN or infinite values in {bad[0]}. Nothing was loaded.")
    model.load_state_dict({key: given.get(key, value) for key, value in own.items()})
    if replaced:
        warnings.warn(f"{name}: {replaced}.", HeadReplacedWarning, stacklevel=2)
    if adapted:
        warnings.warn(f"{name}: {adapted}.", ChannelsAdaptedWarning, stacklevel=2)
    return LoadReport(layout, tuple(key for key in own if key in given), tuple(folded), replaced, adapted)


def _named_tensors(source: Path | str | Mapping[str, Tensor], progress: bool) -> tuple[str, dict[str, Tensor]]:
    """What to call a source in messages, and its tensors."""
    if isinstance(source, Mapping):
        return "the state dict", plain_keys(source)
    if str(source).startswith(("http://", "https://")):
        path = fetch_weights(str(source), progress=progress)
        return str(source), read_state_dict(path)
    return str(source), read_state_dict(Path(source))


def fetch_weights(url: str, *, digest: str = "", progress: bool = False) -> Path:
    """Downloads a file of weights into the user's cache, unless it is there.

    Args:
        url: of the file. A name that ends like `-f37072fd.pth` states the beginning of the file's sha256, which is
            then checked.
        digest: beginning of its sha256, where the name does not say.
        progress: whether to show a progress bar.

    Raises:
        WeightsError: the server cannot be reached, or sends another content than expected.
    """
    if not digest and (match := _STATED_DIGEST.search(url)):
        digest = match[1]
    folder = cache_folder("weights")
    if not digest:  # then only the address tells two files of one name apart
        folder /= hashlib.sha256(url.encode()).hexdigest()[:16]
    try:
        return fetch(Resource(url, f"sha256:{digest}"), folder, progress=progress)
    except DataError as error:
        raise WeightsError(str(error)) from None


def _head_of(own: Mapping[str, Tensor]) -> str:
    """The beginning of the names of the classifier's tensors; of a network without one, of what it would have."""
    if any(key.startswith("classifier.") for key in own):
        return "classifier.6."
    return "fc."


def _why_head_is_replaced(
    head: str,
    missing: list[str],
    unexpected: list[str],
    misshapen: list[str],
    given: Mapping[str, Tensor],
    own: Mapping[str, Tensor],
) -> str:
    """A sentence, if all that does not match is a classifier for another number of classes; else nothing."""
    different = [*missing, *unexpected, *misshapen]
    weight = f"{head}weight"
    if not different or not all(key.startswith(head) for key in different):
        return ""
    ours, theirs = own.get(weight), given.get(weight)
    if ours is None or theirs is None:
        had, has = "has no classifier", "the model's starts afresh"
        return f"the file {had}; {has}" if theirs is None else "the model has no classifier; the file's was left out"
    if ours.shape[1:] != theirs.shape[1:] or len(ours) == len(theirs):
        return ""
    return f"the classifier starts afresh: {len(theirs)} classes in the file, {len(ours)} in the model"


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
        save_file(tensors, temporary[WEIGHTS_NAME], metadata={"format": "pt"})
        digests = {"sha256": file_digest(temporary[WEIGHTS_NAME])}
        if write_normalization:
            write_normalization(temporary[NORMALIZATION_NAME])
            digests["normalization_sha256"] = file_digest(temporary[NORMALIZATION_NAME])
        text = record_text({"schema_version": _CARD_SCHEMA, **card, **digests})
        temporary[CARD_NAME].write_text(text, encoding="utf-8")


def write_state_dict(model: nn.Module, path: Path, layout: str = "torchvision") -> int:
    """Writes a model's weights with a library's names, atomically.

    Args:
        model: as `create_model` builds it.
        path: ending in `.safetensors`, or in `.pth` or `.pt` for a file as torch saves it.
        layout: torchvision, timm, timm-preact, timm-vgg, akamaster or kuangliu.

    Returns:
        How many tensors were written.

    Raises:
        WeightsError: nobody reads that layout.
    """
    state = from_reslab_keys(model.state_dict(), layout)
    tensors = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    with atomic_path(path) as temporary:
        if path.suffix == ".safetensors":
            save_file(tensors, temporary, metadata={"format": "pt"})
        else:
            torch.save(tensors, temporary)
    return len(tensors)


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


def _sample(word: str, keys: list[str]) -> str:
    return f"{len(keys)} {word} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
