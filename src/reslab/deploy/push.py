"""A run's weights on Hugging Face's hub: they, their card and a page, and nothing else of the run or of the machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.data.loading import NAMED_DATA
from reslab.data.targets import ONE_LABEL, recorded_task
from reslab.errors import WeightsError
from reslab.files.records import record_text
from reslab.files.regular import read_regular
from reslab.models.hub import HUB_PREFIX, hub_endpoint, hub_errors, hub_library, split_hub
from reslab.models.weights import CARD_NAME, NORMALIZATION_NAME, WEIGHTS_NAME, read_card
from reslab.runs import Run
from reslab.tasks.words import ONE_LABEL_WORDS, SEVERAL_LABELS_WORDS
from reslab.texts import show_name, show_size
from reslab.trained.cards import check_card

__all__ = ["PushReport", "push"]

_PAGE = "README.md"
_MOST_BYTES = 1 << 20  # of a page


@dataclass(frozen=True, kw_only=True)
class PushReport:
    """What was sent, or would be.

    Args:
        run: the run's folder.
        repository: `owner/name`.
        files: names and bytes of what is sent.
        dry_run: whether nothing was sent.
        revision: the commit that it became; None where nothing was sent.
        url: of that commit; likewise.
    """

    run: Path
    repository: str
    files: Mapping[str, int]
    dry_run: bool
    revision: str | None = None
    url: str | None = None

    def __str__(self) -> str:
        listed = "\n".join(f"  {name}  {show_size(size)}" for name, size in self.files.items())
        if self.dry_run:
            return f"would be sent to hub:{self.repository}, and nothing was:\n{listed}"
        return f"sent to hub:{self.repository}@{self.revision}:\n{listed}\n{self.url}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**vars(self), "run": str(self.run), "files": dict(self.files)}


def push(
    run_dir: Path | str,
    repository: str,
    *,
    private: bool = False,
    message: str | None = None,
    dry_run: bool = False,
    progress: bool = False,
) -> PushReport:
    """Sends a finished run's weights, card and page to a repository of the hub, as one commit.

    Neither checkpoints nor metrics are sent, and no path or file name of this machine: the card leaves out where the
    data are, and which photos were held out.
    `reslab.load("hub:owner/name")` reads it back and verifies it by its checksums.

    Args:
        run_dir: the run's folder, or one of weights with their card. A README.md in it is the page.
        repository: `hub:owner/name`; made where there is none.
        private: whether a new repository is so.
        message: of the commit.
        dry_run: send nothing, and say what would be sent.
        progress: whether to show it.

    Raises:
        WeightsError: the run is not finished or damaged, its page names folders of this machine, or the hub cannot be
            reached or refuses.
    """
    folder = Path(run_dir)
    if not repository.startswith(HUB_PREFIX):
        raise WeightsError(f"where to? Write hub:owner/name, not {show_name(repository)}.")
    target, revision = split_hub(repository)
    if revision is not None:
        raise WeightsError(f"a push makes a revision of its own; write hub:{target}.")
    contents = _contents(folder, target)
    sizes = {name: len(item) if isinstance(item, bytes) else item.stat().st_size for name, item in contents.items()}
    report = PushReport(run=folder, repository=target, files=sizes, dry_run=dry_run)
    if dry_run:
        return report
    library = hub_library(repository)
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    (enable_progress_bars if progress else disable_progress_bars)()
    with hub_errors(f"could not push {show_name(folder)} to {repository}"):
        client = library.HfApi(endpoint=hub_endpoint())
        client.create_repo(target, private=private or None, exist_ok=True)
        operations = [library.CommitOperationAdd(name, item) for name, item in contents.items()]
        sent = client.create_commit(target, operations, commit_message=message or "Weights from reslab")
    return PushReport(
        run=folder, repository=target, files=sizes, dry_run=False, revision=sent.oid, url=str(sent.commit_url)
    )


def _contents(folder: Path, target: str) -> dict[str, Path | bytes]:
    """What is sent, by name: files as they are, and the card and the page as bytes."""
    if not folder.is_dir():
        raise WeightsError(f"there is no folder {show_name(folder)}.")
    if Run(folder).exists and not Run(folder).finished:
        raise WeightsError(
            f"{show_name(folder)} is not finished; end it with `reslab train --finish`, or go on with it."
        )
    card = read_card(folder)
    check_card(folder / CARD_NAME, card)
    card.pop("val_names", None)  # of somebody's photos
    if (spec := card.pop("data_spec", None)) in NAMED_DATA:
        card["data_spec"] = spec
    files = [WEIGHTS_NAME, *([NORMALIZATION_NAME] if "normalization_sha256" in card else [])]
    return {
        **{name: folder / name for name in files},
        CARD_NAME: record_text(card).encode(),
        _PAGE: _page(folder, card, target, spec),
    }


def _page(folder: Path, card: Mapping[str, Any], target: str, spec: str | None) -> bytes:
    """The run's own page, or a short one."""
    path = folder / _PAGE
    if not path.is_file():
        return _short_page(card, target).encode()
    try:
        page = read_regular(path, _MOST_BYTES)
    except OSError as error:
        raise WeightsError(f"cannot read {show_name(path)}: {error.strerror or error}.") from None
    private = [str(folder.resolve()), *([spec] if spec and Path(spec).is_absolute() else [])]
    for place in private:
        if place.encode(errors="surrogateescape") in page:
            raise WeightsError(f"{show_name(path)} names {show_name(place)}, a place on this machine; take it out.")
    return page


def _short_page(card: Mapping[str, Any], target: str) -> str:
    """What it is, how good it is, and how to use it."""
    errors, one_label = card.get("errors", {}), recorded_task(card) == ONE_LABEL.task
    words = ONE_LABEL_WORDS if one_label else SEVERAL_LABELS_WORDS
    known = {
        f"{words.error} on val": errors.get("val_error"),
        f"{words.wrong} on train (not augmented)": errors.get("train_error_clean"),
    }
    rows = "".join(f"- {name}: {value:.2f} %\n" for name, value in known.items() if value is not None)
    data = show_name(card["data"].get("name", "images")).replace("`", "'")
    kind, answer = ("classes", "label") if one_label else ("labels", "labels")
    return (
        "---\nlibrary_name: reslab\npipeline_tag: image-classification\ntags:\n- resnet\n---\n\n"
        f"# {target.partition('/')[2]}\n\n"
        f"`{card['model']}`, trained on `{data}` ({len(card['classes'])} {kind}) by the recipe `{card['recipe']}`, "
        f"seed {card['seed']}, with reslab.\n\n{rows}\n"
        "```python\nimport reslab\n\n"
        f'network = reslab.load("hub:{target}")\nnetwork.predict("image.jpg").{answer}\n```\n'
    )
