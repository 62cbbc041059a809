"""What a name stands for wherever a network is asked for; nothing large is read to find out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.data.held_out import HeldOut
from reslab.errors import ModelError, ReslabError, WeightsError
from reslab.files.reading import reading
from reslab.files.shapes import Shape, check_shape
from reslab.models.hub import HUB_PREFIX, fetch_hub_folder
from reslab.models.spec import NetSpec
from reslab.models.weights import CARD_NAME, WEIGHTS_NAME, read_card
from reslab.models.zoo import parse_model
from reslab.runs import Run

__all__ = ["EXPORTED_SUFFIXES", "Reference"]

EXPORTED_SUFFIXES = (".onnx", ".xml")
"""Of the files that `reslab export` and `reslab quantize` write and that can be run."""


_OF_A_CARD: Shape = {"data_spec?": (str, None), "val_images?": int, "val_names?": [str]}


@dataclass(frozen=True)
class Reference:
    """A network as it is named: by a folder, a repository, an exported file, or a model's name.

    Args:
        name: as it was given.
        folder: of a run, or of weights with their card; of a repository the hub's cache, which nobody writes to.
        exported: an exported file.
        model: name or spelling.
        weights: its weights: a file, its address, or the name of released ones.
    """

    name: str
    folder: Path | None = None
    exported: Path | None = None
    model: str = ""
    weights: str | None = None

    @classmethod
    def parse(cls, name: str | Path, weights: str | Path | None = None) -> "Reference":
        """Reads a name.

        Args:
            name: the folder of a run, or of weights with their card; such weights themselves; what `reslab push` sent
                to the hub (`hub:owner/name`, `hub:owner/name@REVISION`), which is fetched; an exported file; a model's
                name or spelling, with its weights behind an equals sign or without.
            weights: of a model's name.

        Raises:
            ReslabError: it is nothing of that.
        """
        text, path = str(name), Path(name)
        if not text:
            raise WeightsError("the name of the network is empty; give a run's folder, a file or a model's name.")
        if weights is not None:
            parse_model(text)
            return cls._of(text, text, str(weights))
        if text.startswith(HUB_PREFIX):
            return cls(text, folder=fetch_hub_folder(text))
        if path.suffix in EXPORTED_SUFFIXES and ("=" not in text or path.exists()):
            return cls(text, exported=path)
        if Run(path).exists or (path / CARD_NAME).is_file():
            return cls(text, folder=path)
        if path.is_dir():
            raise WeightsError(f"{text} is not the folder of a run.")
        if path.is_file():
            if path.name == WEIGHTS_NAME and (path.parent / CARD_NAME).is_file():
                return cls(text, folder=path.parent)
            raise WeightsError(f"which network is {text} for? Write it as MODEL={text}, as in resnet20={text}.")
        model, given = _parted(text)
        if given is None and len(path.parts) > 1 and "[" not in text:  # no model's name has a slash
            raise WeightsError(f"there is no folder {text}.")
        try:
            parse_model(model)
        except ModelError as error:
            if given is not None or "[" in text:
                raise
            raise WeightsError(f"{text} is not the folder of a run, and {error}") from None
        return cls._of(text, model, given)

    @classmethod
    def _of(cls, name: str, model: str, weights: str | None) -> "Reference":
        """A model with its weights; those with their card beside them, of that model, are what the card says."""
        path = Path(weights or "")
        if path.name == WEIGHTS_NAME and (path.parent / CARD_NAME).is_file() and _is_of(path.parent, model):
            return cls(name, folder=path.parent)
        return cls(name, model=model, weights=weights)

    @property
    def is_remote(self) -> bool:
        """Whether it is a repository of the hub."""
        return self.name.startswith(HUB_PREFIX) and self.folder is not None

    @property
    def run(self) -> Run | None:
        """The run, where it is one."""
        return Run(self.folder) if self.folder and Run(self.folder).exists else None

    @property
    def data(self) -> str | None:
        """The data that a run was trained on."""
        return str(self._record["data_spec"]) if self._record.get("data_spec") else None

    @property
    def held_out(self) -> HeldOut:
        """What a run held out of train for validation."""
        recipe = self._record.get("recipe")
        inner = recipe.get("data", {}) if isinstance(recipe, dict) else {}
        return HeldOut.read({**inner, **self._record})

    @property
    def batch_size(self) -> int:
        """Images an iteration of a run's training."""
        with reading(Run(self.folder or Path()).record_path, WeightsError):
            return int(self._record["recipe"]["data"]["batch_size"])

    @property
    def _record(self) -> dict[str, Any]:
        """What was written when the run was started, or else the card."""
        if self.folder is None:
            return {}
        if self.run:
            return self.run.record
        card = read_card(self.folder, verify=False)
        check_shape(self.folder / CARD_NAME, card, _OF_A_CARD, WeightsError)
        return card


def _is_of(folder: Path, model: str) -> bool:
    """Whether a card is of a model, classes and channels apart, which a name need not state."""
    try:
        spec = NetSpec.from_dict(read_card(folder, verify=False).get("net"))
        return parse_model(model, defaults={"num_classes": spec.num_classes, "in_channels": spec.in_channels}) == spec
    except ReslabError:  # reading it as what it is said to be tells what is wrong
        return False


def _parted(name: str) -> tuple[str, str | None]:
    """`MODEL=WEIGHTS` in two; the equals signs within brackets are the model's."""
    depth = 0
    for place, character in enumerate(name):
        depth += (character == "[") - (character == "]")
        if character == "=" and depth == 0:
            return name[:place], name[place + 1 :]
    return name, None
