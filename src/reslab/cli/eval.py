"""`reslab eval`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reslab.cli.command import Command, argument, flags_of
from reslab.cli.corruptions import run_corruptions
from reslab.cli.networks import NET_HELP, NetworkArguments
from reslab.cli.output import JSON_HELP, print_json
from reslab.errors import ReslabError
from reslab.evaluation.protocol_options import PROTOCOLS, protocol_leaves, read_options
from reslab.fields import knob

if TYPE_CHECKING:
    from reslab.api import Network
    from reslab.evaluation.outcomes import Outcome

_DESCRIPTION = """\
  reslab eval runs/resnet20-digits-digits-quick-seed0
  reslab eval model-int8.xml --data cifar10
  reslab eval resnet20 --weights weights.pth --data cifar10 --mean 0.491,0.482,0.447 --std 0.247,0.243,0.262
  reslab eval resnet50=torchvision:V1 --data imagenet/ --protocol ten-crop
  reslab eval runs/resnet20-cifar10-cifar-paper-seed0 --corruptions --corrupted-images 1000
  reslab eval resnet50=torchvision:V1 resnet101=torchvision:V1 my-run/ --data imagenet/ --protocol dense --ensemble

A network for photos takes a folder of images of any size, and one for small images a folder of images of one size.
A network's name without weights is tested with random ones. Weight files with torchvision's, akamaster's or
kuangliu's names are read as they are; akamaster's nets need --shortcut-padding split."""


@dataclass(frozen=True, kw_only=True)
class Arguments(NetworkArguments):
    networks: tuple[str, ...] = argument((), NET_HELP, metavar="NET")
    data: str | None = knob(None, "Name of a data set, or a folder of class folders; by default the run's own.")
    split: Literal["train", "val", "test"] | None = knob(
        None, "Role of the images; by default test where the data have it, and val otherwise."
    )
    protocol: str = knob(
        "one-crop",
        "Views of an image. "
        + " ".join(
            f"{name}: {(form.__doc__ or '')[:1].lower()}{(form.__doc__ or '')[1:]}" for name, form in PROTOCOLS.items()
        ),
        choices=tuple(PROTOCOLS),
    )
    ensemble: bool = knob(False, "Average of the softmax of all networks, compared with each of them (Table 5).")
    scores: Path | None = knob(None, "File for every image's scores (.npz): scores (N, classes), labels, paths.")
    report: Path | None = knob(
        None, "Folder for a report: confusion matrix, reliability diagram, the surest mistakes, errors by class."
    )
    confusion: Path | None = knob(
        None, "Picture of the confusion matrix; by default RUN/confusion-SPLIT.png for a run on its own data."
    )
    corruptions: bool = knob(
        False, "Errors under fifteen common corruptions in five strengths, which are made here; one view each."
    )
    corrupted_images: int | None = knob(None, "Images for that, drawn at random; all by default.", least=1)
    cache: bool = knob(True, "No scores are kept in the user's cache, and none of those there are used.")
    device: str | None = knob(None, "Device: auto, cpu, cuda, cuda:1, mps.")
    batch_size: int | None = knob(None, "Views a forward pass; it changes nothing but time and memory.", least=1)
    engine: Literal["onnxruntime", "openvino"] | None = knob(
        None, "Engine of an exported file; by default ONNX Runtime for .onnx and OpenVINO for .xml."
    )
    data_dir: Path | None = knob(None, "Folder where named data sets are looked for first.")
    json: bool = knob(False, JSON_HELP)
    options: Mapping[str, str] = flags_of(protocol_leaves, "options of the protocols")


def run(asked: Arguments) -> int:
    """Tests networks."""
    if not asked.networks:
        raise ReslabError("which network? Give a run's folder, a model's name with weights, or an exported file.")
    several = len(asked.networks) > 1
    if asked.weights is not None and several:
        raise ReslabError("--weights is for a single network; of several write each as MODEL=WEIGHTS.")
    if several and not asked.ensemble and (asked.scores or asked.report or asked.confusion):
        raise ReslabError("--scores, --report and --confusion are for one network, or for an --ensemble.")
    options = read_options(asked.protocol, asked.options)
    if asked.corruptions:
        return run_corruptions(asked)
    if asked.corrupted_images is not None:
        raise ReslabError("--corrupted-images is for --corruptions.")
    from reslab.deploy.testing import evaluate_networks

    networks = [asked.load(name, engine=asked.engine) for name in asked.networks]
    outcomes = evaluate_networks(
        networks,
        data=asked.data,
        split=asked.split,
        protocol=asked.protocol,
        protocol_options=options,
        device=asked.device,
        batch_size=asked.batch_size,
        use_cache=asked.cache,
        ensemble=asked.ensemble,
        data_dir=asked.data_dir,
        progress=True,
    )
    for outcome in outcomes:
        if outcome.note:
            print(outcome.note, file=sys.stderr)
        if outcome.record.get("cached"):
            print(
                f"The scores of {outcome.record['model']} are in the cache; --no-cache computes them.", file=sys.stderr
            )
    picture = asked.confusion or (None if several else _usual_picture(asked, networks[0], outcomes[0]))
    if asked.scores or asked.report or picture:
        from reslab.evaluation.report import leave_files

        if complaint := leave_files(outcomes[-1], asked.scores, asked.report, picture):
            print(complaint, file=sys.stderr)
    if asked.json:
        records = [outcome.record for outcome in outcomes]
        print_json(records[-1] if asked.ensemble or not several else records)
        return 0
    for outcome in outcomes[:-1] if asked.ensemble else outcomes:
        print(f"{outcome.record['model']}: {outcome.errors if asked.ensemble else outcome}" if several else outcome)
    if asked.ensemble:
        print(outcomes[-1])
    for path in filter(None, (picture, asked.scores, asked.report)):
        print(path)
    return 0


def _usual_picture(asked: Arguments, network: "Network", outcome: "Outcome") -> Path | None:
    """Beside a run's figures on its own data."""
    run = network.reference.run
    one_label = outcome.task.name == "classification"
    usual = run is not None and one_label and asked.data is None and asked.protocol == "one-crop" and not asked.options
    return run.folder / f"confusion-{outcome.role}.png" if run and usual else None


COMMANDS = {
    "": Command(
        Arguments,
        "error rates of runs, weight files, exported files and ensembles, by the paper's test protocols",
        _DESCRIPTION,
        run,
    )
}
