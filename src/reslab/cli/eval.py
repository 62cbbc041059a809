"""`reslab eval`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from reslab.cli.arguments import (
    NetFlags,
    OptionalPath,
    OptionalText,
    parse,
    parse_numbers,
    print_json,
)
from reslab.console import progress_bar
from reslab.data.dataset import Role
from reslab.errors import DataError, WeightsError
from reslab.models.zoo import base_name, parse_model
from reslab.runs import Run

if TYPE_CHECKING:
    from reslab.data import ImageData
    from reslab.evaluation import Evaluation
    from reslab.evaluation.trained import Trained

_DESCRIPTION = """Error rates of a run, of a weight file, or of an exported file, one view of every image.

  reslab eval runs/resnet20-digits-digits-quick-seed0
  reslab eval model-int8.xml --data cifar10
  reslab eval resnet20 --weights weights.pth --data cifar10 --mean 0.491,0.482,0.447 --std 0.247,0.243,0.262

Weight files with torchvision's, akamaster's or kuangliu's names are read as they are; akamaster's nets need
--shortcut-padding split."""


_EXPORTED = (".onnx", ".xml")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL|RUN|FILE")]
    """A run's folder; an exported or quantised file (.onnx, .xml); or, with --weights, a network's name or spelling."""
    weights: OptionalText = None
    """A weight file (.safetensors; .pth, .th or .pt as saved by torch; .caffemodel), its address, or a released one
    (torchvision:V2, akamaster), whose card gives mean and std."""
    data: OptionalText = None
    """digits, fashion-mnist, cifar10, cifar100, or a folder of class folders; the run's own by default."""
    split: Role = "test"
    """Which images."""
    mean: OptionalText = None
    """Subtracted from inputs in [0, 1], a number a channel, as in 0.485,0.456,0.406; needed with a weight file."""
    std: OptionalText = None
    """By which they are divided; 1 by default."""
    batch_size: int = 250
    """Images a forward pass; the result does not depend on it."""
    confusion: OptionalPath = None
    """Draw the confusion matrix to this PNG; RUN/confusion-SPLIT.png by default for a run."""
    data_dir: OptionalPath = None
    """Where named data sets are looked for first."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""
    engine: Literal["onnxruntime", "openvino"] | None = None
    """That runs an exported file; ONNX Runtime for .onnx and OpenVINO for .xml by default."""
    net: Annotated[NetFlags, tyro.conf.arg(name="")] = field(default_factory=NetFlags)


def main(arguments: Sequence[str]) -> int:
    """Evaluates a network."""
    asked = parse(Arguments, arguments, "eval", _DESCRIPTION)
    if asked.weights is None and Path(asked.model).suffix in _EXPORTED:
        return _exported(asked)
    if asked.engine:
        raise WeightsError("--engine is for exported files; PyTorch runs the others.")
    run = None if asked.weights else Run(Path(asked.model))
    if run and not run.exists:
        raise WeightsError(f"{asked.model} is not the folder of a run; for a network's name give its --weights too.")
    spec = asked.data or (run.record["data_spec"] if run else None)
    if spec is None:
        raise DataError("on which images? Give --data.")
    if asked.batch_size < 1:
        raise DataError(f"--batch-size must be positive, not {asked.batch_size}.")

    from reslab.data import load_data
    from reslab.evaluation import evaluate

    held_out = run.record["recipe"]["data"]["val_images"] if run else 0
    only = asked.split if asked.split == "test" or not held_out else None
    data = load_data(spec, data_dir=asked.data_dir, role=only, progress=True)
    if only != "test":
        data = data.hold_out(held_out)
    trained = _trained_run(run, asked) if run else _trained_file(asked, data)
    if trained.model.spec.in_channels == 3:
        data = data.as_rgb()
    trained.check(data)
    split = data.split(asked.split)
    with progress_bar() as bar:
        task = bar.add_task("Evaluating", total=len(split))
        evaluation = evaluate(
            trained.model,
            split,
            trained.normalization,
            batch_size=asked.batch_size,
            advance=lambda done: bar.advance(task, done),
        )
    picture = asked.confusion or (run.folder / f"confusion-{asked.split}.png" if run else None)
    _report(asked, evaluation, data, picture, {"weights_sha256": trained.sha256})
    return 0


def _exported(asked: Arguments) -> int:
    """Evaluates an exported file, which knows its preprocessing."""
    given = [name for name in ("mean", "std") if getattr(asked, name) is not None] + sorted(asked.net.overrides())
    if given:
        raise WeightsError(f"--{given[0].replace('_', '-')} is for weight files; an exported file says it itself.")
    if asked.data is None:
        raise DataError("on which images? Give --data.")
    if asked.batch_size < 1:
        raise DataError(f"--batch-size must be positive, not {asked.batch_size}.")

    from reslab.data import load_data
    from reslab.deploy.gate import evaluate_deployed
    from reslab.deploy.runtime import load_deployed
    from reslab.files.hashing import file_digest

    with load_deployed(asked.model, asked.engine) as deployed:
        data = load_data(asked.data, data_dir=asked.data_dir, role=asked.split, progress=True)
        if deployed.preprocessing.channels == 3:
            data = data.as_rgb()
        deployed.check(data)
        split = data.split(asked.split)
        with progress_bar() as bar:
            task = bar.add_task("Evaluating", total=len(split))
            evaluation = evaluate_deployed(
                deployed, split, batch_size=asked.batch_size, advance=lambda done: bar.advance(task, done)
            )
        digests = {"engine": deployed.engine, "file_sha256": file_digest(Path(asked.model))}
        if weights := deployed.metadata.get("reslab.weights_sha256"):
            digests["weights_sha256"] = weights
    _report(asked, evaluation, data, asked.confusion, digests)
    return 0


def _report(
    asked: Arguments, evaluation: "Evaluation", data: "ImageData", picture: Path | None, about: dict[str, str]
) -> None:
    """Prints what was found, and draws the confusion matrix."""
    if picture:
        from reslab.analysis.plots import plot_confusion

        title = f"{asked.model} on {data.name}, {asked.split}: {evaluation.top1_error:.2f} % error"
        plot_confusion(evaluation.confusion, data.classes, title, picture)
    if asked.json:
        print_json(
            {
                **evaluation.to_dict(),
                "split": asked.split,
                "data": data.name,
                "data_sha256": data.split(asked.split).digest,
                **about,
            }
        )
        return
    print(f"top-1 error {evaluation.top1_error:.2f} %, top-5 error {evaluation.top5_error:.2f} %", end="")
    print(f" on {evaluation.num_images:,} {asked.split} images of {data.name}, one view each")
    if picture:
        print(picture)


def _trained_run(run: Run, asked: Arguments) -> "Trained":
    from reslab.evaluation.trained import load_trained

    given = [name for name in ("mean", "std") if getattr(asked, name) is not None] + sorted(asked.net.overrides())
    if given:
        raise WeightsError(f"--{given[0].replace('_', '-')} is for weight files; a run has it in its card.")
    return load_trained(run.folder)


def _trained_file(asked: Arguments, data: "ImageData") -> "Trained":
    from reslab.data.normalization import Normalization
    from reslab.evaluation.trained import Trained
    from reslab.files.hashing import file_digest
    from reslab.models import create_model
    from reslab.models.released import locate_weights
    from reslab.models.weights import load_weights

    assert asked.weights is not None
    channels = data.image_shape[2]
    defaults = {"num_classes": data.num_classes, "in_channels": channels}
    spec = parse_model(asked.model, asked.net.overrides(), defaults)
    path, card = locate_weights(spec, base_name(asked.model), asked.weights)
    mean, std = asked.mean and parse_numbers(asked.mean, "--mean"), asked.std and parse_numbers(asked.std, "--std")
    if card:
        mean, std = mean or card.mean, std or card.std
    if not mean:
        raise WeightsError("a weight file does not say how its inputs were normalised; give --mean (and --std).")
    model = create_model(spec)
    load_weights(model, path, replace_head=False)
    normalization = Normalization.per_channel(mean, std or (1.0,), channels)
    return Trained(model, normalization, None, file_digest(path))
