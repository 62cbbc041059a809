"""What the package is used by in Python; the command line does nothing that is not here or below it.

    network = reslab.load("runs/resnet20-digits-digits-quick-seed0")
    network.predict("7.png").labels[0], network.evaluate().evaluation.top1_error

Each of its methods is what a command of that name does.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np
import torch
from PIL import Image

from reslab.console import progress_bar
from reslab.data.class_names import read_class_names
from reslab.deploy.deployed import Deployed, deploy_network
from reslab.deploy.engine_files import ENGINE_FILES
from reslab.deploy.export_task import ExportReport, InputKind
from reslab.deploy.formats import FORMATS, export
from reslab.deploy.prediction import AnyImage, NamedImage, Prediction, UnnamedImage, find_images, predict
from reslab.deploy.quantization import DEFAULT_IMAGES, Gate, QuantizationReport, quantize
from reslab.deploy.runtime import Engine, load_deployed
from reslab.deploy.testing import evaluate_networks
from reslab.errors import DataError, ReslabError, WeightsError
from reslab.evaluation.outcomes import Outcome
from reslab.evaluation.subjects import EvaluationImages, load_subject
from reslab.models.zoo import with_fields
from reslab.trained import Description, Reference, Trained, load_trained

if TYPE_CHECKING:
    from reslab.explain import Explanation, RunReport

__all__ = ["Network", "load"]


class Network:
    """A trained network, to predict with, to test, to export and to quantise.

    Args:
        reference: by which it is named.
        engine: that runs an exported file.
        threads: of one inference; all available cores by default.
        classes: names of its outputs, in their order, where nobody wrote them down.
        **options: of `load_trained`.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        engine: Engine | None = None,
        threads: int | None = None,
        classes: tuple[str, ...] | None = None,
        **options: Any,
    ) -> None:
        if engine and not reference.exported:
            raise WeightsError("--engine is for exported files; PyTorch runs the others.")
        single = {**options, **options.get("overrides", {})}
        given = [name for name, value in single.items() if name != "overrides" and value is not None]
        if given and reference.exported:
            flag = f"--{given[0].replace('_', '-')}"
            raise WeightsError(f"{flag} is for a model's name; {reference.name} says it itself.")
        self.reference, self.engine, self.threads, self.classes = reference, engine, threads, classes
        self.options = options if classes is None or reference.exported else {**options, "classes": classes}
        self._trained: Trained | None = None
        self._deployed: Deployed | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the threads that it runs in."""
        if self._deployed:
            self._deployed.close()
            self._deployed = None

    @property
    def about(self) -> Description:
        """How it sees images, what it answers, where it comes from."""
        return self.deployed.about if self.reference.exported else self.trained.about

    @property
    def trained(self) -> Trained:
        """The network of PyTorch.

        Raises:
            WeightsError: it is an exported file.
        """
        if self._trained is None:
            self._trained = load_trained(self.reference, **self.options)
        return self._trained

    @property
    def deployed(self) -> Deployed:
        """The network as something that runs pixels, whatever it is."""
        if self._deployed is None:
            if self.reference.exported:
                self._deployed = load_deployed(self.reference.exported, self.engine, self.threads)
                if self.classes:
                    self._deployed.about = self._deployed.about.named(self.classes)
            else:
                self._deployed = deploy_network(self.trained, self.threads)
        return self._deployed

    @overload
    def predict(  # type: ignore[overload-overlap]  # bytes and texts are iterables, too
        self, images: UnnamedImage, *, top: int = 5, threshold: float | None = None
    ) -> Prediction: ...
    @overload
    def predict(  # type: ignore[overload-overlap]
        self, images: str | Path, *, top: int = 5, threshold: float | None = None
    ) -> "Prediction | list[Prediction]": ...
    @overload
    def predict(
        self, images: Iterable[AnyImage], *, top: int = 5, threshold: float | None = None
    ) -> list[Prediction]: ...

    def predict(
        self, images: AnyImage | Iterable[AnyImage], *, top: int = 5, threshold: float | None = None
    ) -> Prediction | list[Prediction]:
        """The labels of one image, or of several.

        Args:
            images: a file by its path, a file's bytes, an image of Pillow or an array of uint8, (H, W), (H, W, 1) or
                (H, W, 3); or several of them; or a folder, of which all images are meant.
            top: labels an image.
            threshold: probability below which there is no label, as for `reslab.deploy.predict`; `abstained` says so.

        Returns:
            A prediction, or a list of them. Of a single image whatever is wrong is raised; of several it stands in the
            prediction, and the others go on.

        Raises:
            ReslabError: the single image cannot be used, or the network cannot be loaded.
        """
        several, single = _several(images)
        found = list(self.stream(several, top=top, threshold=threshold))
        if not single:
            return found
        _check_used(images, found[0].error)
        return found[0]

    def explain(self, images: AnyImage | Iterable[AnyImage], **options: Any) -> "Explanation | list[Explanation]":
        """What its answers rest on, as maps over the images.

        Args:
            images: as for `predict`.
            **options: of `reslab.explain.explain`: `method`, `label`, `neighbours`, `out` and others.

        Returns:
            An explanation, or a list of them. Of a single image whatever is wrong is raised; of several it stands in
            the explanation, and the others go on.

        Raises:
            ReslabError: as `reslab.explain.explain`, or the single image cannot be used.
        """
        from reslab.explain import explain  # with a library of drawing, which nothing else here needs

        several, single = _several(images)
        found = list(explain(self, several, **options))
        if not single:
            return found
        _check_used(images, found[0].error)
        return found[0]

    def report(self, **options: Any) -> "RunReport":
        """Writes a page and a model card about the run that it comes from.

        Args:
            **options: of `reslab.explain.report_run`: `out`, `split` and others.

        Raises:
            ReslabError: as `reslab.explain.report_run`.
        """
        from reslab.explain import report_run

        return report_run(self.reference.folder or self.reference.name, **options)

    def stream(
        self, images: Iterable[AnyImage], *, top: int = 5, threshold: float | None = None, batch_size: int | None = None
    ) -> Iterator[Prediction]:
        """Predictions one after the other, as `reslab.deploy.predict` gives them; memory does not grow with them."""
        deployed, decoders = self.deployed, self.threads
        yield from predict(deployed, images, top=top, threshold=threshold, batch_size=batch_size, decoders=decoders)

    def evaluate(self, data: str | Path | None = None, **options: Any) -> Outcome:
        """Error rates.

        Args:
            data: a data set's name or place; a run's own by default.
            **options: of `evaluate_networks`.

        Raises:
            ReslabError: as `evaluate_networks`.
        """
        (outcome,) = evaluate_networks([self], data=data, **options)
        return outcome

    def export(
        self,
        path: str | Path | None = None,
        *,
        format: str | None = None,
        input: InputKind | None = None,
        opset: int | None = None,
        progress: bool = False,
    ) -> ExportReport:
        """Writes it as a file that runs without this package, after comparing the two.

        Args:
            path: of the file; by default `model` in the run's folder, or the model's name in the present one.
            format: onnx, openvino or torch-export; by default the one that the file is named for, or onnx.
            input: `uint8` for pixels, `float` for normalised images; pixels by default where that is known.
            opset: version of ONNX's operators.
            progress: whether to show it.

        Raises:
            ReslabError: as `reslab.deploy.export`.
        """
        if path is None:
            suffix = FORMATS[format].suffix if format in FORMATS else ".onnx"
            path, format = self._beside("model", suffix), format or "onnx"
        with progress_bar(enabled=progress) as bar:
            task = bar.add_task("Exporting", total=3)
            tell = lambda text: bar.update(task, description=text, advance=1)  # noqa: E731
            return export(self.trained, path, format=format, input=input, opset=opset, progress=tell)

    def quantize(
        self,
        path: str | Path | None = None,
        *,
        data: str | Path | None = None,
        engine: Engine = "openvino",
        num_images: int = DEFAULT_IMAGES,
        gate: Gate | None = None,
        data_dir: Path | None = None,
        progress: bool = False,
    ) -> QuantizationReport:
        """Writes it in 8-bit integers, if it is as good and faster.

        Args:
            path: of the file; by default `model-int8` in the run's folder, or the model's name in the present one.
            data: a data set's name or place; a run's own by default.
            engine: that the file is for.
            num_images: of train, to calibrate with.
            gate: what the file must be to be written.
            data_dir: where named data sets are looked for first.
            progress: whether to show it.

        Raises:
            ReslabError: as `reslab.deploy.quantize`.
        """
        data = data if data is not None else self.reference.data
        if data is None:
            raise DataError("calibrated on which images? Give --data.")
        if engine not in ENGINE_FILES:
            raise ReslabError(f"there is no engine {engine!r}: choose {' or '.join(ENGINE_FILES)}.")
        if self.reference.folder is None and self.reference.weights is None:
            raise WeightsError(f"{self.reference.name} has fresh weights, which have learned nothing; give --weights.")
        images = EvaluationImages(str(data), "train", self.reference.held_out, data_dir, progress)
        subject = load_subject(self.reference, images, training=True, **self.options)
        path = path or self._beside("model-int8", ENGINE_FILES[engine].suffixes[0])
        with progress_bar(enabled=progress) as bar:
            task = bar.add_task("Exporting", total=1)
            return quantize(
                subject.trained,
                subject.data,
                path,
                engine=engine,
                num_images=num_images,
                gate=gate,
                progress=lambda text, done, total: bar.update(task, description=text, completed=done, total=total),
            )

    def _beside(self, stem: str, suffix: str) -> Path:
        """A file in a run's folder, or one that is called by the model."""
        if self.reference.folder is not None and not self.reference.is_remote:
            return self.reference.folder / f"{stem}{suffix}"
        name = self.reference.name.partition("/")[2]
        if not self.reference.is_remote:
            name = with_fields(self.reference.model, self.options.get("overrides", {}))  # as it was asked for
        words = "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in name)
        return Path(f"{words.strip('-')}{stem.removeprefix('model')}{suffix}")


def _several(images: Any) -> tuple[Iterable[AnyImage], bool]:
    """Images one after the other, those of a folder too, and whether it is a single one that was given."""
    # Whatever else is not several of something is one, and told what an image is.
    single = isinstance(images, str | Path | bytes | Image.Image | np.ndarray | torch.Tensor | NamedImage)
    if not single and isinstance(images, Iterable):
        return images, False
    if isinstance(images, str | Path) and Path(images).is_dir():
        return find_images([images]), False
    return [images], True


def _check_used(image: Any, error: str | None) -> None:
    """Raises DataError where a single image could not be used."""
    if error is not None:
        name = f"{image}: " if isinstance(image, str | Path) else ""
        raise DataError(f"cannot use the image {name}{error}")


def load(
    name: str | Path,
    *,
    weights: str | Path | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_size: int | None = None,
    engine: Engine | None = None,
    threads: int | None = None,
    classes: str | Path | Sequence[str] | None = None,
    **fields: Any,
) -> Network:  # where it is, and what its file may not say
    """A trained network, wherever it comes from; its weights are read when they are needed.

    Args:
        name: the folder of a run, or of weights with their card; such weights; what was pushed to the hub
            (`hub:owner/name`); an exported file (.onnx, .xml); or a model's name or spelling, with its weights behind
            an equals sign: `resnet50=torchvision:V2`.
        weights: of a model's name: a file, its address, or the name of released ones.
        mean: of each channel of its inputs, pixels in [0, 1], for weights without a card.
        std: likewise; 1 where only a mean is given.
        input_size: side of the images; those of the run's data, or what the network was made for, by default.
        engine: that runs an exported file; `onnxruntime` for .onnx and `openvino` for .xml by default.
        threads: of one inference; all available cores by default.
        classes: names of its outputs, in their order, for weights without a card: a text file with a class a line, or
            the names themselves.
        **fields: of the network, where they differ from the name's, as in `create_model`.

    Raises:
        ReslabError: there is no such network, or what is given contradicts itself.
    """
    options: dict[str, Any] = {
        "mean": tuple(mean) if mean is not None else None,
        "std": tuple(std) if std is not None else None,
        "input_size": input_size,
        "overrides": fields,
    }
    given = {key: value for key, value in options.items() if value not in (None, {})}
    names = read_class_names(classes) if classes is not None else None
    return Network(Reference.parse(name, weights), engine=engine, threads=threads, classes=names, **given)
