"""Why a network answers what it answers: photos with maps over them, and the training images most like them."""

import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from PIL import Image

from reslab.data.dataset import Images
from reslab.deploy.deployed import Deployed
from reslab.deploy.prediction import AnyImage, decode_any, usual_batch_size
from reslab.environment import available_cores
from reslab.errors import DataError, ReslabError, WeightsError, suggestion
from reslab.explain.activation import Maps, class_activation
from reslab.explain.neighbours import Neighbour, TrainingImages
from reslab.explain.occlusion import occlusion_maps
from reslab.explain.overlay import Photo, draw_map, photo_of
from reslab.explain.sheet import write_sheet
from reslab.tasks import find_task
from reslab.texts import show_name
from reslab.trained import Description, Reference, Trained

__all__ = ["ClassMap", "Explainable", "Explanation", "Method", "explain"]

Method = Literal["cam", "occlusion"]

_SIDE = 560  # pixels of a photo that is kept and drawn
_TOP = 5
_WORDS = {"cam": "Grad-CAM", "occlusion": "occlusion"}
_LONGEST_STEM = 80


class Explainable(Protocol):
    """What an explanation needs of a network, as `reslab.load` gives it."""

    reference: Reference
    options: dict[str, Any]

    @property
    def about(self) -> Description:
        """How it sees images."""
        ...

    @property
    def trained(self) -> Trained:
        """The network of PyTorch."""
        ...

    @property
    def deployed(self) -> Deployed:
        """The network as something that runs pixels."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassMap:
    """What speaks for a class, and where.

    Args:
        label: the class.
        probability: that the network gives it, from 0 to 1.
        values: (h, w) of the network's view, positive where the image speaks for the class. Of `cam` they are parts of
            the logit, and their mean is the logit less its bias; of `occlusion` they are what the probability loses.
    """

    label: str
    probability: float
    values: Maps


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Why a network answers what it answers, for one image.

    Args:
        path: of the file; of an image in memory, its number among those that were given, as a path.
        labels: the classes with the highest probabilities, the highest first; none if there is an error. Where an image
            has several, those that the network finds: there may be none.
        probabilities: from 0 to 1, of the labels, and of `others` behind them.
        method: of the maps.
        maps: one for each class that is explained.
        neighbours: the most similar training images, the first one the most.
        photo: the image, small, and the part of it that the network sees.
        picture: the file that shows it all; None where none was asked for.
        error: why the image could not be used; None if it could.
        others: where an image has several labels, the next ones; else None.
    """

    path: Path
    labels: tuple[str, ...] = ()
    probabilities: tuple[float, ...] = ()
    method: Method = "cam"
    maps: tuple[ClassMap, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    photo: Photo | None = None
    picture: Path | None = None
    error: str | None = None
    others: tuple[str, ...] | None = None

    @property
    def answer(self) -> str:
        """The labels in words, with their probabilities; the most probable one where each image has one label."""
        labels = self.labels if self.others is not None else self.labels[:1]
        found = zip(labels, self.probabilities, strict=False)
        return ", ".join(f"{label} {100 * probability:.1f} %" for label, probability in found) or "none of the labels"

    @property
    def shown_path(self) -> str:
        """The path as a line of text; bytes that are none stay visible."""
        return show_name(self.path)

    def overlays(self) -> list[Image.Image]:
        """The photo with each of the maps over it."""
        return [draw_map(self.photo, found.values) for found in self.maps] if self.photo else []

    def to_dict(self) -> dict[str, Any]:
        """As plain values, without the pictures and maps."""
        return {
            "path": _as_text(self.path),
            "labels": list(self.labels),
            **({} if self.others is None else {"ranked": [*self.labels, *self.others]}),
            "probabilities": list(self.probabilities),
            "method": self.method,
            "explained": [{"label": found.label, "probability": found.probability} for found in self.maps],
            "neighbours": [item.to_dict() for item in self.neighbours],
            "picture": None if self.picture is None else _as_text(self.picture),
            "error": self.error,
        }


# What is explained, how, and where pictures go.
def explain(
    network: Explainable,
    images: Iterable[AnyImage],
    *,
    method: Method | None = None,
    label: str | None = None,
    neighbours: int = 0,
    out: Path | str | None = None,
    window: int | None = None,
    step: int | None = None,
    data_dir: Path | None = None,
) -> Iterator[Explanation]:
    """Explains a network's answers, image by image; one that cannot be used has an error instead, and the others go on.

    Args:
        network: as `reslab.load` gives it.
        images: as for `reslab.deploy.predict`: paths, bytes, images of Pillow or arrays.
        method: `cam` weighs the last stage's maps as the classifier does (arXiv 1512.04150, 1610.02391); `occlusion`
            covers part after part (arXiv 1311.2901), also with exported files. By default cam, and of an exported file
            occlusion.
        label: the class that is explained; by default the most probable one of each image.
        neighbours: how many of the most similar training images to find; needs a run and its data.
        out: folder for a picture of each image.
        window: side of what is covered, in pixels of the network's view; a seventh of its shorter side by default.
        step: from one window to the next; half of the window by default.
        data_dir: where named data sets are looked for first.

    Raises:
        ReslabError: there is no such class or method, the network is no run where neighbours are asked for, or its
            normalisation is unknown.
    """
    exported = network.reference.exported is not None
    method = method or ("occlusion" if exported else "cam")
    if method not in get_args(Method):
        raise ReslabError(f"there is no method {method!r}: choose {' or '.join(get_args(Method))}.")
    if exported and method == "cam":
        raise WeightsError(
            f"{network.reference.name} is an exported file, whose inner maps cannot be seen; use the method occlusion."
        )
    if method == "cam" and (window is not None or step is not None):
        raise ReslabError("a window and a step are for the method occlusion.")
    if any(number is not None and number < 1 for number in (window, step)) or neighbours < 0:
        raise ReslabError("a window and a step must be positive, and the number of neighbours not negative.")
    about = network.deployed.about  # which knows the normalisation, and takes the threads that it may have
    index = None if label is None else _class_index(about, label)
    among = TrainingImages.of(network, data_dir) if neighbours else None
    explainer = _Explainer(network, method, index, among, neighbours, window, step)
    return _explained(explainer, images, Path(out) if out is not None else None)


def _class_index(about: Description, label: str) -> int:
    names = about.classes or tuple(map(str, range(about.num_classes)))
    normal = [unicodedata.normalize("NFC", name) for name in names]
    wanted = unicodedata.normalize("NFC", label)
    if wanted not in normal:
        hint = suggestion(wanted, normal, f"; it knows {', '.join(map(show_name, names[:_TOP]))}, ...")
        raise DataError(f"{about.name} has no class {show_name(label)!r}{hint}")
    return normal.index(wanted)


_Seen = tuple[Path, Photo | None, Images | None, str | None]


@dataclass(frozen=True, eq=False)
class _Explainer:
    network: Explainable
    method: Method
    index: int | None
    among: TrainingImages | None
    num_neighbours: int
    window: int | None
    step: int | None

    def explain(self, seen: Sequence[_Seen]) -> Iterator[Explanation]:
        """Explanations of a batch."""
        views = [view for _, _, view, _ in seen if view is not None]
        found = iter(self._views(np.stack(views)) if views else ())
        for path, photo, _, error in seen:
            if error is not None:
                yield Explanation(path=path, method=self.method, error=error)
            else:
                yield replace(next(found), path=path, photo=photo)

    def _views(self, views: Images) -> Iterator[Explanation]:
        about = self.network.about
        names = about.classes or tuple(map(str, range(about.num_classes)))
        given = None if self.index is None else np.full((len(views), 1), self.index)
        if self.method == "cam":
            logits, maps = class_activation(self.network.trained, views, given)
        else:
            logits = self.network.deployed(views)
        task = find_task(about.task)
        scores = task.array_probabilities(logits)
        chosen = task.explained(scores) if given is None else given
        near = self.among.nearest(views, self.num_neighbours) if self.among else [()] * len(views)
        for number, (row, explained) in enumerate(zip(scores, chosen.tolist(), strict=True)):
            answer = task.answer(row, names, _TOP, task.default_threshold)
            own = maps[number] if self.method == "cam" else self._occluded(views[number], explained)
            yield Explanation(
                path=Path(),
                labels=answer.labels,
                probabilities=answer.probabilities,
                others=answer.others,
                method=self.method,
                maps=tuple(
                    ClassMap(label=names[place], probability=float(row[place]), values=values)
                    for place, values in zip(explained, own, strict=True)
                ),
                neighbours=tuple(near[number]),
            )

    def _occluded(self, view: Images, classes: list[int]) -> Maps:
        return occlusion_maps(self.network.deployed, view, classes, window=self.window, step=self.step)


def _explained(explainer: _Explainer, images: Iterable[AnyImage], out: Path | None) -> Iterator[Explanation]:
    preprocessing = explainer.network.about.preprocessing
    taken: set[str] = set()

    def look(numbered: tuple[int, AnyImage]) -> _Seen:
        number, image = numbered
        path = Path(image) if isinstance(image, str | Path) else Path(str(number))
        try:
            whole = decode_any(image, preprocessing.channels)
            return path, photo_of(whole, preprocessing, _SIDE), preprocessing(whole), None
        except DataError as error:
            return path, None, None, str(error)

    waiting = iter(enumerate(images))
    with ThreadPoolExecutor(available_cores(), "decoding") as pool:
        while batch := list(islice(waiting, usual_batch_size(preprocessing))):
            for found in explainer.explain(list(pool.map(look, batch))):
                if out is None or found.error is not None:
                    yield found
                    continue
                picture = out / _file_name(found, taken)
                _draw(found, picture)
                yield replace(found, picture=picture)


def _file_name(found: Explanation, taken: set[str]) -> str:
    """After the image, and unlike the others of a call."""
    stem = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in show_name(found.path.stem))
    base = f"{stem[:_LONGEST_STEM] or 'image'}-{found.method}"
    name, number = base, 2
    while name.casefold() in taken:
        name, number = f"{base}-{number}", number + 1
    taken.add(name.casefold())
    return f"{name}.jpg"


def _draw(found: Explanation, path: Path) -> None:
    """The photo, the maps over it, and its neighbours, side by side."""
    assert found.photo is not None
    images = [found.photo.picture, *found.overlays(), *(item.image for item in found.neighbours)]
    captions = [[show_name(found.path.name), f"answer: {found.answer}"]]
    way = _WORDS[found.method]
    captions += [[f"{way}: {own.label}", f"probability {100 * own.probability:.1f} %"] for own in found.maps]
    captions += [[f"train: {item.label}", f"similarity {item.similarity:.3f}"] for item in found.neighbours]
    write_sheet(images, [[show_name(line) for line in lines] for lines in captions], path)


def _as_text(path: Path) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")
