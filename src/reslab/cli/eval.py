"""`reslab eval`."""

import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from reslab.cli.arguments import NetFlags, OptionalCount, OptionalPath, OptionalText, parse, print_json
from reslab.cli.eval_report import Result, draw_confusion, warn_of_glyphs, write_report, write_scores
from reslab.cli.members import Member, MemberArguments, check_same_images, choose_device, find_members
from reslab.cli.protocol_arguments import ProtocolArguments, choose_protocol, describe_protocol
from reslab.console import progress_bar
from reslab.data.dataset import Role
from reslab.errors import DataError, ReslabError, WeightsError
from reslab.runs import Run

if TYPE_CHECKING:
    from reslab.evaluation import Evaluation
    from reslab.evaluation.protocols import EvaluationProtocol
    from reslab.evaluation.scoring import Scores

_DESCRIPTION = """Error rates of runs, weight files, exported files, and ensembles, by the test protocols of the paper.

  reslab eval runs/resnet20-digits-digits-quick-seed0
  reslab eval model-int8.xml --data cifar10
  reslab eval resnet20 --weights weights.pth --data cifar10 --mean 0.491,0.482,0.447 --std 0.247,0.243,0.262
  reslab eval resnet50=torchvision:V1 --data imagenet/ --protocol ten-crop
  reslab eval resnet50=torchvision:V1 resnet101=torchvision:V1 my-run/ --data imagenet/ --protocol dense --ensemble

A network for photos takes a folder of images of any size, and one for small images a folder of images of one size.
A network's name without weights is evaluated with random ones. Weight files with torchvision's, akamaster's or
kuangliu's names are read as they are; akamaster's nets need --shortcut-padding split."""


_EXPORTED = (".onnx", ".xml")
_TITLE_WIDTH = 60  # letters a line


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL|RUN|FILE|MODEL=WEIGHTS")]
    """A run's folder; a network's name or spelling, with weights after an equals sign as for --weights; or an exported
    or quantised file (.onnx, .xml)."""
    others: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MORE")] = ()
    """More runs and networks."""
    weights: OptionalText = None
    """Of one network: a weight file (.safetensors; .pth, .th or .pt as saved by torch; .caffemodel), its address, or a
    released one (torchvision:V2, akamaster), whose card gives mean and std."""
    data: OptionalText = None
    """digits, fashion-mnist, cifar10, cifar100, or a folder of class folders; the run's own by default."""
    split: Role | None = None
    """Which images; test where the data have it, and val otherwise, by default."""
    mean: OptionalText = None
    """Subtracted from inputs in [0, 1], a number a channel, as in 0.485,0.456,0.406; needed with a weight file."""
    std: OptionalText = None
    """By which they are divided; 1 by default."""
    test: Annotated[ProtocolArguments, tyro.conf.arg(name="")] = field(default_factory=ProtocolArguments)
    ensemble: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Average the softmax of all networks named, and compare the result with each of them (Table 5)."""
    scores: OptionalPath = None
    """Write every image's scores to this .npz: scores (N, classes), labels (N,), paths (N,)."""
    report: OptionalPath = None
    """Write a folder: confusion matrix, reliability diagram, the surest mistakes, errors by class."""
    cache: bool = True
    """Keep scores in the user's cache, by the hashes of all that they depend on, and use those that are there."""
    device: OptionalText = None
    """auto, cpu, cuda, cuda:1, mps."""
    batch_size: OptionalCount = None
    """Views a forward pass; by default 16 of 224x224 pixels and as many pixels of others. It changes nothing else."""
    confusion: OptionalPath = None
    """Draw the confusion matrix to this PNG; RUN/confusion-SPLIT.png by default for a run with one view."""
    data_dir: OptionalPath = None
    """Where named data sets are looked for first."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""
    engine: Literal["onnxruntime", "openvino"] | None = None
    """That runs an exported file; ONNX Runtime for .onnx and OpenVINO for .xml by default."""
    net: Annotated[NetFlags, tyro.conf.arg(name="")] = field(default_factory=NetFlags)

    @property
    def models(self) -> tuple[str, ...]:
        """All that are named."""
        return self.model, *self.others


def main(arguments: Sequence[str]) -> int:
    """Evaluates networks."""
    asked = parse(Arguments, arguments, "eval", _DESCRIPTION)
    if asked.batch_size is not None and asked.batch_size < 1:
        raise DataError(f"--batch-size must be positive, not {asked.batch_size}.")
    asked.test.check()
    exported = [name for name in asked.models if asked.weights is None and Path(name).suffix in _EXPORTED]
    exported = [name for name in exported if "=" not in name or Path(name).exists()]
    if exported:
        return _exported(asked, exported[0])
    if asked.engine:
        raise WeightsError("--engine is for exported files; PyTorch runs the others.")
    several = len(asked.models) > 1
    if asked.ensemble and not several:
        raise ReslabError("an ensemble takes two networks or more.")
    if several and not asked.ensemble and (asked.scores or asked.report or asked.confusion):
        raise ReslabError("--scores, --report and --confusion are for one network, or for an --ensemble.")
    members = find_members(
        MemberArguments(
            names=asked.models,
            weights=asked.weights,
            mean=asked.mean,
            std=asked.std,
            net=asked.net,
            data=asked.data,
            split=asked.split,
            data_dir=asked.data_dir,
        )
    )
    if asked.ensemble:
        check_same_images(members)
    protocols = [choose_protocol(asked.test, member) for member in members]
    device = choose_device(asked.device)
    results = [_result(asked, *pair, device) for pair in zip(members, protocols, strict=True)]
    if asked.ensemble:
        return _report_ensemble(asked, results, describe_protocol(protocols[0]))
    default_picture = _default_picture(asked, members[0], protocols[0]) if not several else None
    for result, protocol in zip(results, protocols, strict=True):
        _leave_files(asked, result, asked.confusion or default_picture)
        if not asked.json:
            name = f"{result.record['model']}: " if several else ""
            print(name + _sentence(result, describe_protocol(protocol)))
    if asked.json:
        print_json([result.record for result in results] if several else results[0].record)
    else:
        _print_paths(asked, asked.confusion or default_picture)
    return 0


def _result(asked: Arguments, member: Member, protocol: "EvaluationProtocol", device: str) -> Result:
    """Scores of a network, computed or from the cache, and what they say."""
    from reslab.evaluation.metrics import calibrate, score_probabilities

    split = member.data.split(member.split)
    scores, cached = _scores(asked, member, protocol, device)
    evaluation = score_probabilities(scores, split.labels)
    record = {
        "model": member.name,
        **evaluation.to_dict(),
        "calibration_error": calibrate(scores, split.labels).error,
        "protocol": protocol.name,
        "protocol_fields": protocol.to_dict(),
        "split": member.split,
        "data": member.data.name,
        "data_sha256": member.data_sha256,
        "weights_sha256": member.sha256,
        "normalization": member.normalization.to_dict(),
        "device": device,
        "cached": cached,
    }
    title = _title(member.name, member.data.name, member.split, evaluation, protocol.name)
    return Result(title, scores, evaluation, member.data, member.split, record)


def _scores(asked: Arguments, member: Member, protocol: "EvaluationProtocol", device: str) -> "tuple[Scores, bool]":
    from reslab.evaluation.cache import cached_scores, scores_key
    from reslab.evaluation.scoring import predict_split

    split = member.data.split(member.split)

    def compute() -> "Scores":
        with progress_bar() as bar:
            task = bar.add_task("Evaluating", total=len(split))
            return predict_split(
                member.model.to(device),
                split,
                member.normalization,
                protocol,
                batch_size=asked.batch_size,
                advance=lambda done: bar.advance(task, done),
            )

    if not asked.cache:
        return compute(), False
    # Labels are no part of scores, and two networks may number the same classes differently.
    unlabelled = split.with_labels(split.labels * 0)
    key = scores_key(member.model.spec, member.sha256, unlabelled, member.normalization, protocol, device)
    scores, cached = cached_scores(key, (len(split), member.model.num_classes), compute)
    if cached:
        print(f"The scores of {member.name} are in the cache; --no-cache computes them again.", file=sys.stderr)
    return scores, cached


def _report_ensemble(asked: Arguments, results: Sequence[Result], how: str) -> int:
    from reslab.data.dataset import match_classes
    from reslab.evaluation.metrics import calibrate, score_probabilities
    from reslab.evaluation.scoring import average_scores

    first = results[0]
    aligned = [
        result.scores[:, match_classes(first.data.classes, result.data.classes, first.record["model"])]
        for result in results
    ]
    scores, labels = average_scores(aligned), first.data.split(first.split).labels
    evaluation = score_probabilities(scores, labels)
    best = min(results, key=lambda result: result.evaluation.top1_error)
    shared = ("protocol", "split", "data", "data_sha256", "device")
    record: dict[str, Any] = {
        "model": "ensemble",
        **evaluation.to_dict(),
        "calibration_error": calibrate(scores, labels).error,
        **{name: first.record[name] for name in shared},
        "best_member": best.record["model"],
        "top1_gain": best.evaluation.top1_error - evaluation.top1_error,
        "top5_gain": min(result.evaluation.top5_error for result in results) - evaluation.top5_error,
        "members": [result.record for result in results],
    }
    title = _title(
        f"{len(results)} networks together", first.data.name, first.split, evaluation, first.record["protocol"]
    )
    ensemble = Result(title, scores, evaluation, first.data, first.split, record)
    _leave_files(asked, ensemble, asked.confusion)
    if asked.json:
        print_json(record)
        return 0
    for result in results:
        found = result.evaluation
        print(f"{result.record['model']}: top-1 error {found.top1_error:.2f} %, top-5 error {found.top5_error:.2f} %")
    print(f"ensemble: {_sentence(ensemble, how)}")
    gain = record["top1_gain"]
    than = f"than the best of its members, {record['best_member']}"
    print(f"{abs(gain):.2f} points {'worse' if gain < 0 else 'better'} {than}")
    _print_paths(asked, asked.confusion)
    return 0


def _leave_files(asked: Arguments, result: Result, picture: Path | None) -> None:
    if asked.scores:
        write_scores(result, asked.scores)
    drawn = []
    if asked.report:
        drawn += write_report(result, asked.report)
    if picture:
        drawn += draw_confusion(result, picture)
    if drawn:
        warn_of_glyphs(drawn)


def _print_paths(asked: Arguments, picture: Path | None) -> None:
    for path in (picture, asked.scores, asked.report):
        if path:
            print(path)


def _sentence(result: Result, how: str) -> str:
    found = result.evaluation
    return (
        f"top-1 error {found.top1_error:.2f} %, top-5 error {found.top5_error:.2f} % "
        f"on {found.num_images:,} {result.split} images of {result.data.name}, {how}"
    )


def _title(name: str, data: str, split: Role, evaluation: "Evaluation", protocol: str) -> str:
    """Of pictures: two lines."""
    model, equals, weights = name.rpartition("=")
    shown = f"{model}={Path(weights).name}" if equals and "]" not in weights and not Path(name).exists() else name
    how = "" if protocol == "one-crop" else f", {protocol}"
    return f"{textwrap.fill(shown, _TITLE_WIDTH)}\non {data}, {split}{how}: {evaluation.top1_error:.2f} % error"


def _default_picture(asked: Arguments, member: Member, protocol: "EvaluationProtocol") -> Path | None:
    run = Run(Path(member.name))
    usual = asked.weights is None and run.exists and protocol.name == "one-crop" and not asked.test.given()
    return run.folder / f"confusion-{member.split}.png" if usual else None


def _exported(asked: Arguments, name: str) -> int:
    """Evaluates an exported file, which knows its preprocessing."""
    given = [name for name in ("mean", "std") if getattr(asked, name) is not None] + sorted(asked.net.overrides())
    if given:
        raise WeightsError(f"--{given[0].replace('_', '-')} is for weight files; an exported file says it itself.")
    given = asked.test.given() + [name for name in ("ensemble", "scores", "report", "device") if getattr(asked, name)]
    if given:
        raise WeightsError(f"--{given[0]} is for runs and weight files; an exported file is tested with one view.")
    if len(asked.models) > 1:
        raise WeightsError(f"{name} is an exported file, which is evaluated alone.")
    if asked.data is None:
        raise DataError("on which images? Give --data.")

    from reslab.data import available_roles, load_data
    from reslab.deploy.gate import evaluate_deployed
    from reslab.deploy.runtime import load_deployed
    from reslab.files.hashing import file_digest

    role = asked.split or "test"
    with load_deployed(name, asked.engine) as deployed:
        if asked.split is None and "test" not in available_roles(asked.data, asked.data_dir):
            role = "val"
        data = load_data(asked.data, kind="small", data_dir=asked.data_dir, roles=[role], progress=True)
        if deployed.preprocessing.channels == 3:
            data = data.as_rgb()
        deployed.check(data)
        split = data.split(role)
        with progress_bar() as bar:
            task = bar.add_task("Evaluating", total=len(split))
            evaluation = evaluate_deployed(
                deployed, split, batch_size=asked.batch_size or 250, advance=lambda done: bar.advance(task, done)
            )
        about = {"engine": deployed.engine, "file_sha256": file_digest(Path(name))}
        if weights := deployed.metadata.get("reslab.weights_sha256"):
            about["weights_sha256"] = weights
    record = {**evaluation.to_dict(), "split": role, "data": data.name, "data_sha256": split.digest, **about}
    title = _title(name, data.name, role, evaluation, "one-crop")
    if asked.confusion:
        from reslab.analysis.plots import plot_confusion

        plot_confusion(evaluation.confusion, data.classes, title, asked.confusion)
    if asked.json:
        print_json(record)
        return 0
    print(f"top-1 error {evaluation.top1_error:.2f} %, top-5 error {evaluation.top5_error:.2f} %", end="")
    print(f" on {evaluation.num_images:,} {role} images of {data.name}, one view each")
    _print_paths(asked, asked.confusion)
    return 0
