"""Weights on disk: reading what others wrote, loading all of it or nothing, and saving it with a card."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reslab.errors import WeightsError
from reslab.files.atomic import atomic_path, write_json
from reslab.files.hashing import file_digest
from reslab.files.records import read_record
from reslab.files.torch_file import DamagedFileError, load_torch_file
from reslab.models.layouts import to_reslab_keys

__all__ = [
    "CARD_NAME",
    "NORMALIZATION_NAME",
    "WEIGHTS_NAME",
    "LoadReport",
    "load_weights",
    "read_card",
    "read_state_dict",
    "save_weights",
]

WEIGHTS_NAME = "weights.safetensors"
NORMALIZATION_NAME = "normalization.safetensors"
CARD_NAME = "card.json"
_CARD_SCHEMA = 1
_WRAPPING_KEYS = ("state_dict", "model", "net")
_OPTIONAL = "num_batches_tracked"  # a counter that old files lack, and that no forward pass of ours reads


@dataclass(frozen=True)
class LoadReport:
    """What became of a file's tensors: every parameter and statistic of the model was matched, or nothing loaded."""

    num_matched: int


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The named tensors of a `.safetensors` file or of a file that torch saved, with our names.

    Nothing but tensors and plain types is unpickled.

    Raises:
        WeightsError: the file is missing, damaged, or holds something else.
    """
    if not path.is_file():
        raise WeightsError(f"there is no weight file {path}.")
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
    return to_reslab_keys(state)


def load_weights(model: nn.Module, source: Path | str | Mapping[str, Tensor]) -> LoadReport:
    """Loads weights into a model: all of them, or none.

    Args:
        model: as `create_model` builds it.
        source: a file, or a state dict; names of torchvision, akamaster and kuangliu are understood.

    Raises:
        WeightsError: the file cannot be read, or its tensors are not exactly the model's; the message says which
            are missing, unexpected or of another shape. The model is then as it was.
    """
    given = to_reslab_keys(source) if isinstance(source, Mapping) else read_state_dict(Path(source))
    own = model.state_dict()
    name = "the state dict" if isinstance(source, Mapping) else str(source)
    missing = [key for key in own if key not in given and not key.endswith(_OPTIONAL)]
    unexpected = [key for key in given if key not in own and not key.endswith(_OPTIONAL)]
    misshapen = [key for key in own if key in given and given[key].shape != own[key].shape]
    if missing or unexpected or misshapen:
        problems = [_sample("missing", missing), _sample("unexpected", unexpected)]
        if misshapen:
            key = misshapen[0]
            shapes = f"{key} is {_shape(given[key])} in the file and {_shape(own[key])} in the model"
            problems.append(f"{len(misshapen)} of another shape ({shapes})")
        raise WeightsError(f"{name} does not fit the model: {'; '.join(filter(None, problems))}. Nothing was loaded.")
    if bad := [key for key, value in given.items() if value.is_floating_point() and not torch.isfinite(value).all()]:
        raise WeightsError(f"{name} holds NaN or infinite values in {bad[0]}. Nothing was loaded.")
    model.load_state_dict({key: given.get(key, value) for key, value in own.items()})
    return LoadReport(num_matched=sum(key in given for key in own))


def save_weights(model: nn.Module, folder: Path, card: Mapping[str, Any]) -> None:
    """Writes `weights.safetensors`, then `card.json` with the file's sha256, each atomically.

    Args:
        model: whose parameters and statistics are saved, as contiguous float32.
        folder: where to.
        card: plain values that describe them.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with atomic_path(folder / WEIGHTS_NAME) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    digest = file_digest(folder / WEIGHTS_NAME)
    write_json(folder / CARD_NAME, {"schema_version": _CARD_SCHEMA, **card, "sha256": digest})


def read_card(folder: Path, *, verify: bool = True) -> dict[str, Any]:
    """Reads the card beside `weights.safetensors`.

    Args:
        folder: that holds both.
        verify: whether the weights must have the sha256 that the card states.

    Raises:
        WeightsError: the card is missing or damaged, or the weights are not those it describes.
    """
    missing = f"{folder} has no {CARD_NAME}: the run is not finished, or this is not a run."
    path = folder / CARD_NAME
    card = read_record(path, schema_version=_CARD_SCHEMA, error=WeightsError, if_missing=missing)
    if verify:
        weights = folder / WEIGHTS_NAME
        if not weights.is_file():
            raise WeightsError(f"{folder} has a card but no {WEIGHTS_NAME}.")
        if file_digest(weights) != card.get("sha256"):
            raise WeightsError(f"{weights} is not the file that {path} describes: its sha256 differs.")
    return card


def _sample(word: str, keys: list[str]) -> str:
    return f"{len(keys)} {word} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
