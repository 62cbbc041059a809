"""Hugging Face's hub: files from it, and what is wrong with it in a sentence. Nothing is asked of it unless asked for.

`$HF_ENDPOINT` is the hub's address, and `$HF_TOKEN` or `hf auth login` says who asks, as for all programs of the hub.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from reslab.errors import WeightsError

__all__ = ["HUB_PREFIX", "fetch_from_hub", "fetch_hub_folder", "hub_endpoint", "hub_errors", "hub_library", "split_hub"]

HUB_PREFIX = "hub:"
_CARD, _WEIGHTS, _NORMALIZATION = "card.json", "weights.safetensors", "normalization.safetensors"
_OTHERS = ("model.safetensors", "pytorch_model.bin")  # the names that other programs give weights
_REASONS = {
    401: "the hub does not know who asks; set HF_TOKEN, or log in with `hf auth login`",
    403: "your token may not do that there",
    404: "there is no such repository or revision, or it is private and asks for a token",
}


def split_hub(text: str) -> tuple[str, str | None]:
    """`hub:owner/name@REVISION` as repository and revision, which is None where none is named.

    Raises:
        WeightsError: it is not of that form.
    """
    repository, at, revision = text.removeprefix(HUB_PREFIX).partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")) or (at and not revision):
        raise WeightsError(f"{text} is no repository of the hub; write hub:owner/name, or hub:owner/name@REVISION.")
    return repository, revision or None


def hub_library(text: str) -> ModuleType:
    """huggingface_hub, which sends no telemetry.

    Raises:
        WeightsError: it is not installed.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
    except ImportError:
        raise WeightsError(f"{text} needs huggingface-hub: pip install 'reslab[hub]'.") from None
    return huggingface_hub


def hub_endpoint() -> str | None:
    """The hub's address where the environment names one, also where the library was imported before."""
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def hub_errors(start: str, end: str = "") -> Iterator[None]:
    """Around requests: whatever goes wrong becomes a sentence. Libraries of HTTP have no error in common.

    Args:
        start: of the sentence, as `could not get hub:owner/name`.
        end: what to do about it.

    Raises:
        WeightsError: something went wrong.
    """
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"{start}: {_reason(error)}.{end and ' '}{end}") from error


def fetch_from_hub(text: str, *, progress: bool = False) -> Path:
    """A file of weights in a repository, in the hub's own cache.

    Args:
        text: `hub:owner/name`, or with a revision behind an at sign.
        progress: whether to show a progress bar.

    Raises:
        WeightsError: there is no such repository, it has no weights, or the hub cannot be reached.
    """
    library = hub_library(text)
    for name in _OTHERS:
        if (path := _fetch(library, text, name, progress=progress)) is not None:
            return path
    if _fetch(library, text, _CARD, progress=False) is None:
        raise WeightsError(f"{text} has neither {' nor '.join(_OTHERS)}.")
    return fetch_hub_folder(text, progress=progress) / _WEIGHTS


def fetch_hub_folder(text: str, *, progress: bool = False) -> Path:
    """The folder, in the hub's own cache, of a network that `reslab push` sent: weights, card, normalisation.

    Args:
        text: `hub:owner/name`, or with a revision behind an at sign.
        progress: whether to show a progress bar.

    Raises:
        WeightsError: there is no such repository, it was not sent by `reslab push`, or the hub cannot be reached.
    """
    split_hub(text)
    library = hub_library(text)
    card = _fetch(library, text, _CARD, progress=False)
    if card is None:
        raise WeightsError(
            f"{text} has no {_CARD}, and so is no network that `reslab push` sent; of other weights write which "
            f"network they are for, as in resnet50={text}."
        )
    commit = card.parent.name  # the files shall be of one commit, also if another one is made meanwhile
    if _fetch(library, text, _WEIGHTS, commit=commit, progress=progress) is None:
        raise WeightsError(f"{text} has a {_CARD} and no {_WEIGHTS}.")
    _fetch(library, text, _NORMALIZATION, commit=commit, progress=False)
    return card.parent


def _fetch(library: Any, text: str, name: str, *, progress: bool, commit: str | None = None) -> Path | None:
    """A file of a repository; None where that has none of this name."""
    from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    (enable_progress_bars if progress else disable_progress_bars)()
    hint = "Without a connection, fetch its files by other means and give their path."
    with hub_errors(f"could not get {text}", hint):
        repository, revision = text.removeprefix(HUB_PREFIX), None
        if "@" in repository or commit:
            repository, revision = split_hub(text)
        try:
            found = library.hf_hub_download(repository, name, revision=commit or revision, endpoint=hub_endpoint())
        except LocalEntryNotFoundError:
            raise
        except RemoteEntryNotFoundError:
            return None
        return Path(found)


def _reason(error: Exception) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in _REASONS:
        return f"{_REASONS[status]} (it answers {status})"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__ or error.__context__
    if type(error).__name__ == "LocalEntryNotFoundError" and cause is not None:
        return f"the hub cannot be reached ({str(cause).splitlines()[0] if str(cause) else type(cause).__name__})"
    return (lines[0] if lines else type(error).__name__).rstrip(".")
