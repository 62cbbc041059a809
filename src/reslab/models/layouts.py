"""How other libraries name the weights of the networks that we build."""

import re
from collections.abc import Mapping
from typing import TypeVar

__all__ = ["plain_keys", "to_reslab_keys"]

Value = TypeVar("Value")
_WRAPPERS = ("module.", "_orig_mod.")  # DataParallel and torch.compile

# Pattern to replacement, in order. Ours are torchvision's names, so torchvision needs none.
_RENAMES = ((re.compile(r"^linear\."), "fc."),)  # akamaster, kuangliu: the classifier


def plain_keys(state: Mapping[str, Value]) -> dict[str, Value]:
    """A state dict without the prefixes that wrappers put before every key."""
    plain = dict(state)
    while prefix := next(
        (wrapper for wrapper in _WRAPPERS if plain and all(k.startswith(wrapper) for k in plain)), None
    ):
        plain = {key.removeprefix(prefix): value for key, value in plain.items()}
    return plain


def to_reslab_keys(state: Mapping[str, Value]) -> dict[str, Value]:
    """A state dict with torchvision's and our names."""
    renamed: dict[str, Value] = {}
    for key, value in plain_keys(state).items():
        for pattern, replacement in _RENAMES:
            key = pattern.sub(replacement, key)
        renamed[key] = value
    return renamed
