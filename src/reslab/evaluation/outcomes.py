"""Tests of networks and ensembles: scores of every image, the error rates that they give, and a record of both."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reslab.data import AnyData, Role
from reslab.data.dataset import match_classes
from reslab.errors import ReslabError
from reslab.evaluation.cache import cached_scores, scores_key
from reslab.evaluation.metrics import calibrate
from reslab.evaluation.protocol_options import describe_protocol
from reslab.evaluation.protocols import EvaluationProtocol
from reslab.evaluation.scoring import Scores, average_scores, predict_split
from reslab.evaluation.subjects import Subject
from reslab.tasks import Score, Task, find_task
from reslab.tasks.classification import Evaluation
from reslab.texts import count, show_name

__all__ = ["Outcome", "check_same_images", "ensemble_outcome", "evaluate_network", "judge"]

_TITLE_WIDTH = 60  # letters a line
_MOST_LABELS = 40  # whose average precisions are told in words


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a network or an ensemble says of a split's images, and how good that is.

    Args:
        title: of pictures: what was tested, on what and how; two lines.
        scores: (N, num_classes) probabilities.
        evaluation: of them, by the task of the data.
        data: labelled with the scores' class indices.
        role: of the images.
        record: all figures and what they depend on, as plain values.
        how: the images were tested, in words.
        note: what a user must know of the weights, a sentence; or empty.
    """

    title: str
    scores: Scores
    evaluation: Score
    data: AnyData
    role: Role
    record: dict[str, Any]
    how: str
    note: str = ""

    @property
    def errors(self) -> str:
        """The error rates in words."""
        return self.evaluation.tell()

    @property
    def task(self) -> Task:
        """What was asked of the images."""
        return find_task(self.data.task)

    @property
    def one_label(self) -> Evaluation:
        """The error rates of a network with one label an image.

        Raises:
            DataError: it has several.
        """
        if not isinstance(self.evaluation, Evaluation):
            self.data.need_one_label("errors by class are")
        assert isinstance(self.evaluation, Evaluation)
        return self.evaluation

    def __str__(self) -> str:
        images = f"{self.evaluation.num_images:,} {self.role} images of {self.data.name}"
        sentence = f"{self.errors} on {images}, {self.how}"
        if "best_member" not in self.record:
            return "\n".join([sentence, *_by_label(self.record.get("labels", []))])
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
    labels, task = data.split(role).labels, find_task(data.task)
    evaluation = task.score_probabilities(scores, labels)
    one_label = isinstance(evaluation, Evaluation)
    record = {
        "model": name,
        **({} if one_label else {"task": task.name}),
        **evaluation.to_dict(),
        **({"calibration_error": calibrate(scores, labels).error} if one_label else {}),
        "split": role,
        "data": data.name,
        **details,
        **({} if one_label else {"labels": evaluation.by_class(data.classes)}),
    }
    protocol = "" if record["protocol"] == "one-crop" else f", {record['protocol']}"
    title = f"{_short(name)}\non {data.name}, {role}{protocol}: {evaluation.title}"
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
    task = find_task(subject.data.task)

    def compute() -> Scores:
        model = trained.model.to(device)
        options: dict[str, Any] = {"batch_size": batch_size, "advance": advance, "probabilities": task.probabilities}
        return predict_split(model, split, normalization, protocol, **options)

    scores, cached = None, False
    if use_cache:
        # Labels are no part of scores, and two networks may number the same classes differently.
        unlabelled = split.with_labels(split.labels * 0)
        key = scores_key(trained.model.spec, sha256, unlabelled, normalization, protocol, device, task.name)
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
    first.data.need_one_label("ensembles are")
    aligned = [
        member.scores[:, match_classes(first.data.classes, member.data.classes, first.record["model"])]
        for member in members
    ]
    best = min(members, key=lambda member: member.one_label.top1_error)
    shared = ("protocol", "data_sha256", "device")
    name = f"{len(members)} networks together"
    found = judge(
        name, average_scores(aligned), first.data, first.role, {key: first.record[key] for key in shared}, first.how
    )
    found.record.update(
        model="ensemble",
        best_member=best.record["model"],
        top1_gain=best.one_label.top1_error - found.one_label.top1_error,
        top5_gain=min(member.one_label.top5_error for member in members) - found.one_label.top5_error,
        members=[member.record for member in members],
    )
    return found


def _by_label(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Average precisions as lines of text; of many labels the lowest."""
    if not rows:
        return []
    shown = list(rows)
    if len(rows) > _MOST_LABELS:
        shown = sorted((row for row in rows if row["num_images"]), key=lambda row: row["average_precision"])
    shown = shown[:_MOST_LABELS]
    names = [show_name(row["label"]) for row in shown]
    width = max(map(len, ["label", *names]))
    lines = [f"{'label':{width}}  average precision  images"]
    for name, row in zip(names, shown, strict=True):
        value = "-" if row["average_precision"] is None else f"{row['average_precision']:.2f} %"
        lines.append(f"{name:{width}}  {value:>17}  {row['num_images']:>6,}")
    if left := len(rows) - len(shown):
        lines.append(f"and {count(left, 'label')} more, which are better or which no image has")
    return lines


def _short(name: str) -> str:
    """A name for a picture; of weights in a file, the file's own name."""
    _, equals, weights = name.rpartition("=")
    shown = name
    if equals and "]" not in weights and not Path(name).exists():
        shown = f"{name.removesuffix(weights)}{Path(weights).name}"
    return textwrap.fill(shown, _TITLE_WIDTH)
