"""Which of a file's tensors are a network's: by whose names, behind which prefix, and what does not fit.

Every tensor is accounted for. A prefix is taken off where the tensors behind it are the whole network, and nothing is
over but a classifier with another one.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from reslab.errors import ModelError, ReslabWarning, WeightsError
from reslab.models.channels import adapt_channels
from reslab.models.layouts import fold_biases, guess_layout, plain_keys, to_reslab_keys
from reslab.models.spec import NetSpec
from reslab.models.weight_files import Table
from reslab.models.zoo import spell

__all__ = ["HeadReplacedWarning", "Match", "PaddingWarning", "Way", "check_values", "match", "say_padding", "ways"]

_OPTIONAL = "num_batches_tracked"  # a counter that old files lack, and that no forward pass of ours reads
_MOST_PREFIX_PARTS = 4  # model.module.backbone.body


class HeadReplacedWarning(ReslabWarning):
    """Weights were loaded but for the classifier, which is for another number of classes and starts afresh."""


class PaddingWarning(ReslabWarning):
    """Weights were loaded into a network whose shortcuts pad their channels otherwise than the file's probably do."""


@dataclass(frozen=True, kw_only=True)
class Match:
    """A file's tensors beside a network's.

    Args:
        layout: whose names the file has.
        given: its tensors by our names; without the classifier where that is left out.
        folded: biases of convolutions that were taken into the means of batch norms.
        problems: what does not fit, in words; empty where all does.
        replaced_head: why the network's classifier is left as it is, a sentence; or empty.
        adapted: what was done to the first convolution, for other channels, a sentence; or empty.
    """

    layout: str
    given: dict[str, Tensor]
    folded: tuple[str, ...]
    problems: tuple[str, ...]
    replaced_head: str
    adapted: str


@dataclass(frozen=True)
class Way:
    """One of the ways to see a table as a network's.

    Args:
        label: the table's name, and the prefix behind it.
        prefix: that was taken off the tensors' names.
        tensors: by what follows it.
        whole: whether nothing else is in the table.
    """

    label: str
    prefix: str
    tensors: dict[str, Tensor]
    whole: bool


def ways(table: Table, least: int) -> Iterator[Way]:
    """A table as it is, and without each of the prefixes that many of its tensors have.

    Args:
        table: of a file.
        least: tensors that have the prefix.
    """
    tensors = plain_keys(table.tensors)
    yield Way(table.name, "", tensors, True)
    longest = {frozenset(key for key in tensors if key.startswith(prefix)): prefix for prefix in _prefixes(tensors)}
    for members, prefix in longest.items():
        if len(members) < max(least, 1):
            continue
        behind = plain_keys({key.removeprefix(prefix): tensors[key] for key in tensors if key in members})
        over = {key: value for key, value in tensors.items() if key not in members}
        is_head = bool(over) and _is_head(over, behind)
        if is_head:
            behind |= {f"fc.{key.rpartition('.')[2]}": value for key, value in over.items()}
        label = f"{table.name}.{prefix}".strip(".")
        yield Way(label, prefix, behind, is_head or not over)


def match(tensors: Mapping[str, Tensor], layout: str, own: Mapping[str, Tensor], *, replace_head: bool) -> Match:
    """A file's tensors beside a network's.

    Args:
        tensors: of the file, without prefixes.
        layout: whose names they have; `auto` finds out.
        own: the network's.
        replace_head: whether a classifier for another number of classes may be left out, and the first convolution
            fitted to other channels.

    Raises:
        WeightsError: two tensors would have one name.
    """
    layout = guess_layout(tensors) if layout == "auto" else layout
    given, adapted = to_reslab_keys(tensors, layout), ""
    if replace_head:
        given, adapted = adapt_channels(own, given)
    folded = tuple(fold_biases(given, own.keys()))
    missing = [key for key in own if key not in given and not key.endswith(_OPTIONAL)]
    unexpected = [key for key in given if key not in own and not key.endswith(_OPTIONAL)]
    misshapen = [key for key in own if key in given and given[key].shape != own[key].shape]
    head = _head_of(own)
    replaced = _why_head_is_replaced(head, [missing, unexpected, misshapen], given, own) if replace_head else ""
    if replaced:
        given = {key: value for key, value in given.items() if not key.startswith(head)}
        return Match(layout=layout, given=given, folded=folded, problems=(), replaced_head=replaced, adapted=adapted)
    problems = [_sample("missing", missing), _sample("unexpected", unexpected)]
    if misshapen:
        key = misshapen[0]
        shapes = f"{key} is {_shape(given[key])} in the file and {_shape(own[key])} in the model"
        problems.append(f"{len(misshapen)} of another shape ({shapes})")
    found = tuple(filter(None, problems))
    return Match(layout=layout, given=given, folded=folded, problems=found, replaced_head="", adapted=adapted)


def check_values(given: Mapping[str, Tensor], own: Mapping[str, Tensor], name: str) -> None:
    """Refuses tensors whose values cannot be a network's: torch would take them, to other weights than the file's.

    Raises:
        WeightsError: one has no values, is sparse, quantised, complex or of whole numbers, or is not finite.
    """
    for key, value in given.items():
        if key not in own:
            continue
        what = _unfit(value, own[key])
        if what:
            raise WeightsError(f"{name} holds {what} in {key}. Nothing was loaded.")


def say_padding(model: nn.Module, name: str, layout: str) -> None:
    """Warns of akamaster's weights in shortcuts that pad at the end: they fit, and answer nonsense."""
    spec = getattr(model, "spec", None)
    if layout not in ("akamaster", "kuangliu") or not isinstance(spec, NetSpec):
        return
    if spec.shortcut == "A" and spec.shortcut_padding == "append":
        try:
            other = spell(replace(spec, shortcut_padding="split"))
        except ModelError:  # an odd number of new channels has no two halves
            return
        warnings.warn(
            f"{name} has akamaster's names, whose nets pad the shortcuts' channels on both sides, and this one pads "
            f"them at the end; if these are akamaster's weights, write {other}.",
            PaddingWarning,
            stacklevel=4,
        )


def _unfit(value: Tensor, own: Tensor) -> str:
    if value.is_meta:
        return "a tensor without values (torch's device meta)"
    if value.layout != torch.strided:
        return "a sparse tensor; save its `.to_dense()`"
    if value.is_quantized:
        return "a quantised tensor; save its `.dequantize()`"
    if own.is_floating_point() and value.is_complex():
        return "complex numbers"
    if own.is_floating_point() and not value.is_floating_point():
        return f"whole numbers ({str(value.dtype).removeprefix('torch.')}) where the network has fractions"
    if value.is_floating_point() and not torch.isfinite(value.float() if value.itemsize == 1 else value).all():
        return "NaN or infinite values"
    return ""


def _prefixes(tensors: Mapping[str, Tensor]) -> list[str]:
    """What tensors' names begin with, up to a dot; the shortest first."""
    parts = [key.split(".")[:-1] for key in tensors]
    found = {".".join(part[:count]) for part in parts for count in range(1, min(len(part), _MOST_PREFIX_PARTS) + 1)}
    return [f"{prefix}." for prefix in sorted(found, key=lambda text: (text.count("."), text))]


def _is_head(over: Mapping[str, Tensor], behind: Mapping[str, Any]) -> bool:
    """Whether tensors are a classifier's, which the others lack."""
    modules = {key.rpartition(".")[0] for key in over}
    names = {key.rpartition(".")[2] for key in over}
    heads = ("fc.", "classifier.", "linear.", "last_linear.", "head.")
    return (
        len(modules) == 1
        and names in ({"weight"}, {"weight", "bias"})
        and not any(key.startswith(heads) for key in behind)
        and all(value.dim() in (1, 2) for value in over.values())
    )


def _head_of(own: Mapping[str, Tensor]) -> str:
    """The beginning of the names of the classifier's tensors; of a network without one, of what it would have."""
    if any(key.startswith("classifier.") for key in own):
        return "classifier.6."
    return "fc."


def _why_head_is_replaced(
    head: str, differing: list[list[str]], given: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> str:
    """A sentence, if all that does not match is a classifier for another number of classes; else nothing."""
    different = [key for keys in differing for key in keys]
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


def _sample(word: str, keys: list[str]) -> str:
    return f"{len(keys)} {word} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else ""


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
