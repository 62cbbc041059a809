"""Networks in Python files of the user's."""

import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from torch import nn

from reslab.errors import ModelError, suggestion

__all__ = ["build_network", "first_line", "network_in"]


def network_in(place: str) -> Callable[[], nn.Module]:
    """What builds the network of a file.

    Args:
        place: a Python file, a colon, and a class or function of it that is called without arguments. The file is run.

    Raises:
        ModelError: there is no such file or name, or the file fails.
    """
    file, colon, name = place.rpartition(":")
    path = Path(file)
    if not colon or path.suffix != ".py" or not name.isidentifier():
        raise ModelError(f"write a Python file, a colon and a class in it, as in mine.py:ResNet20, not {place!r}.")
    if not path.is_file():
        raise ModelError(f"there is no file {file}.")
    location = spec_from_file_location(path.stem, path)
    assert location is not None
    assert location.loader is not None
    module = module_from_spec(location)
    sys.path.insert(0, str(path.resolve().parent))  # for what the file imports from beside it
    try:
        location.loader.exec_module(module)
    except Exception as error:
        raise ModelError(f"{file} cannot be run: {first_line(error)}") from None
    finally:
        sys.path.pop(0)
    found = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if isinstance(value, type) and issubclass(value, nn.Module)]
        raise ModelError(f"{file} has no class or function {name!r}{suggestion(name, known, '.')}")
    make: Callable[[], nn.Module] = found
    return make


def build_network(make: Callable[[], nn.Module]) -> nn.Module:
    """The network of a function.

    Raises:
        ModelError: it fails, or gives something else.
    """
    try:
        model = make()
    except Exception as error:
        raise ModelError(f"it cannot be built: {first_line(error)}") from None
    if not isinstance(model, nn.Module):
        raise ModelError(f"it gives no torch.nn.Module, but {type(model).__name__}.")
    return model


def first_line(error: Exception) -> str:
    """An exception's class, and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
