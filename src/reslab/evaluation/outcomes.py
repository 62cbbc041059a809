"""Tests of networks and ensembles: scores of every image, the error rates that they give, and a record of both."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reslab.data import AnyData, Role
from reslab.data.dataset import UNBALANCED, match_classes
from reslab.errors import ReslabError
from reslab.evaluation.cache import cached_scores, scores_key
from reslab.evaluation.error_rates import Evaluation
from reslab.evaluation.metrics import calibrate, score_probabilities
from reslab.evaluation.protocol_options import describe_protocol
from reslab.evaluation.protocols import EvaluationProtocol
from reslab.evaluation.scoring import Scores, average_scores, predict_split
from reslab.evaluation.subjects import Subject

__all__ = ["Outcome", "check_same_images", "ensemble_outcome", "evaluate_network", "judge"]

_TITLE_WIDTH = 60  # letters a line


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a network or an ensemble says of a split's images, and how good that is.

    Args:
        title: of pictures: what was tested, on what and how; two lines.
        scores: (N, num_classes) probabilities.
        evaluation: of them.
        data: labelled with the scores' class indices.
        role: of the images.
        record: all figures and what they depend on, as plain values.
        how: the images were tested, in words.
        note: what a user must know of the weights, a sentence; or empty.
    """

    title: str
    scores: Scores
    evaluation: Evaluation
    data: AnyData
    role: Role
    record: dict[str, Any]
    how: str
    note: str = ""

    @property
    def errors(self) -> str:
        """The error rates in words; five answers of five classes or fewer are never wrong, and not worth a word."""
        found = self.evaluation
        top5 = f", top-5 error {found.top5_error:.2f} %" if self.data.num_classes > 5 else ""
        hidden = found.class_imbalance > UNBALANCED
        mean = f", mean over the classes {found.mean_class_error:.2f} %" if hidden else ""
        return f"top-1 error {found.top1_error:.2f} %{mean}{top5}"

    def __str__(self) -> str:
        images = f"{self.evaluation.num_images:,} {self.role} images of {self.data.name}"
        sentence = f"{self.errors} on {images}, {self.how}"
        if "best_member" not in self.record:
            return sentence
        gain = self.record["top1_gain"]
        better = f"{abs(gain):.2f} points {'worse' if gain < 0 else 'better'}"
        return f"ensemble: {sentence}\n{better} than the best of its members, {self.record['best_member']}"


def judge(
    name: str, scores: Scores, data: AnyData, role: Role, details: dict[str, Any], how: str = "one view each"
) -> Outcome:
    """The outcome of scores.

    Args:
        name: of what gave them.
        scores: (N, num_classes) probabilities.
        data: labelled with the scores' class indices.
        role: of the images.
        details: for the record; `protocol` among them.
        how: the images were tested, in words.
    """
    labels = data.split(role).labels
    evaluation = score_probabilities(scores, labels)
    record = {
        "model": name,
        **evaluation.to_dict(),
        "calibration_error": calibrate(scores, labels).error,
        "split": role,
        "data": data.name,
        **details,
    }
    protocol = "" if record["protocol"] == "one-crop" else f", {record['protocol']}"
    title = f"{_short(name)}\non {data.name}, {role}{protocol}: {evaluation.top1_error:.2f} % error"
    return Outcome(title, scores, evaluation, data, role, record, how)


def evaluate_network(
    subject: Subject,
    protocol: EvaluationProtocol,
    *,
    device: str = "cpu",
    batch_size: int | None = None,
    use_cache: bool = True,
    advance: Callable[[int], object] | None = None,
) -> Outcome:
    """Tests a network of PyTorch.

    Args:
        subject: the network and its images.
        protocol: of the test.
        device: torch's name of what computes.
        batch_size: views a forward pass at most, as in `predict_split`.
        use_cache: keep scores in the user's cache, and use those that are there.
        advance: told of the number of images done.

    Raises:
        DataError: an image cannot be used.
    """
    trained, split = subject.trained, subject.data.split(subject.role)
    normalization, sha256 = trained.about.known_normalization(), str(trained.about.sha256)

    def compute() -> Scores:
        model = trained.model.to(device)
        return predict_split(model, split, normalization, protocol, batch_size=batch_size, advance=advance)

    scores, cached = None, False
    if use_cache:
        # Labels are no part of scores, and two networks may number the same classes differently.
        unlabelled = split.with_labels(split.labels * 0)
        key = scores_key(trained.model.spec, sha256, unlabelled, normalization, protocol, device)
        scores, cached = cached_scores(key, (len(split), trained.model.num_classes), compute)
    details = {
        "protocol": protocol.name,
        "protocol_fields": protocol.to_dict(),
        "data_sha256": subject.data_sha256,
        "weights_sha256": sha256,
        "normalization": normalization.to_dict(),
        "device": device,
        "cached": cached,
    }
    found = compute() if scores is None else scores
    outcome = judge(subject.name, found, subject.data, subject.role, details, describe_protocol(protocol))
    return replace(outcome, note=subject.about.note)


def check_same_images(subjects: Sequence[Subject]) -> None:
    """Raises ReslabError unless all networks see the same images of the same number of classes."""
    first = subjects[0]
    for other in subjects[1:]:
        if len(other.data.split(other.role)) != len(first.data.split(first.role)):
            raise ReslabError(f"{first.name} and {other.name} are for different images.")
        if other.data.num_classes != first.data.num_classes:
            raise ReslabError(
                f"{first.name} is for {first.data.num_classes} classes and {other.name} for "
                f"{other.data.num_classes}; an ensemble's members must be for the same ones."
            )


def ensemble_outcome(members: Sequence[Outcome]) -> Outcome:
    """Several networks as one, by the mean of their probabilities (Sec. 4.1, Table 5).

    Args:
        members: on the same images; classes are matched by name.

    Raises:
        ReslabError: there are fewer than two.
    """
    if len(members) < 2:
        raise ReslabError("an ensemble takes two networks or more.")
    first = members[0]
    aligned = [
        member.scores[:, match_classes(first.data.classes, member.data.classes, first.record["model"])]
        for member in members
    ]
    best = min(members, key=lambda member: member.evaluation.top1_error)
    shared = ("protocol", "data_sha256", "device")
    name = f"{len(members)} networks together"
    found = judge(
        name, average_scores(aligned), first.data, first.role, {key: first.record[key] for key in shared}, first.how
    )
    found.record.update(
        model="ensemble",
        best_member=best.record["model"],
        top1_gain=best.evaluation.top1_error - found.evaluation.top1_error,
        top5_gain=min(member.evaluation.top5_error for member in members) - found.evaluation.top5_error,
        members=[member.record for member in members],
    )
    return found


def _short(name: str) -> str:
    """A name for a picture; of weights in a file, the file's own name."""
    _, equals, weights = name.rpartition("=")
    shown = name
    if equals and "]" not in weights and not Path(name).exists():
        shown = f"{name.removesuffix(weights)}{Path(weights).name}"
    return textwrap.fill(shown, _TITLE_WIDTH)
