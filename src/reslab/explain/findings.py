"""All that a report says about a finished run, as data: measured once, and then written as a page and as a card."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reslab.console import counting
from reslab.data import AnyData, Role, available_roles
from reslab.data.dataset import Samples
from reslab.data.duplicates import Fingerprints, duplicate_groups, fingerprint_images
from reslab.data.held_out import NONE_HELD_OUT
from reslab.data.targets import ONE_LABEL
from reslab.errors import CheckpointError, DataError, WeightsError
from reslab.evaluation.outcomes import Outcome, judge
from reslab.evaluation.subjects import EvaluationImages, load_subject
from reslab.explain.embedding import Embedding, embed
from reslab.explain.labels import SuspiciousLabels, suspicious_labels
from reslab.files.shapes import Shape, check_shape
from reslab.paper.intervals import Interval, mean_interval
from reslab.paper.samples import Sample
from reslab.runs import Run
from reslab.tasks.multi_label import LabelEvaluation
from reslab.trained import Reference, Trained

__all__ = ["LEVEL", "Duplicates", "Findings", "error_interval", "find_out", "finished_run", "precision_interval"]

LEVEL = 0.95
"""Of all intervals."""

# What a report reads of run.json besides what `Run` checks; runs of version 0.1.0 say less.
_RECORD: Shape = {
    "environment?": {"processor?": str, "cores?": int, "python?": str, "packages?": dict, "commit?": (str, None)},
    "execution?": ({"device?": str, "precision?": str}, None),
    "weights?": (str, None),
}
_RESAMPLES = 200  # of the images, for an interval
_MOST_TRAIN = 10_000  # training images that the network looks at
_MOST_COMPARED = 60_000  # images among which pictures that are there twice are looked for


@dataclass(frozen=True, eq=False)
class Duplicates:
    """Images of one picture.

    Args:
        groups: of each its images, as role and index; those that lie in several roles first.
        num_leaked: images of the split shown of which train has the picture, too.
        error_without: top-1 error in % on the others; None where there are none or no leaked ones, or where images have
            several labels.
    """

    groups: tuple[tuple[tuple[Role, int], ...], ...]
    num_leaked: int
    error_without: float | None

    @property
    def num_across(self) -> int:
        """Groups that lie in several roles."""
        return sum(len({role for role, _ in group}) > 1 for group in self.groups)


@dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """What was found out about a run.

    Args:
        run: its folder.
        trained: the network.
        data: train, val where there is one, and test where it was asked for, labelled as the network's outputs.
        role: of the images that are shown.
        outcome: of the network on them.
        interval: of its top-1 error; where images have several labels, of the mean average precision.
        embedding: of these images.
        suspicious: labels among them; None where images have several, of which the mistakes are shown instead.
        train: the training images that the network looked at.
        train_numbers: (T,) their places in the split.
        train_suspicious: labels among those; None likewise.
        duplicates: None where there are too many images to compare.
        spec: of the data, as `load_data` finds it.
        unseen: roles that the data have besides, and that were not looked at.
        changed: roles whose images are others than the run was trained with.
    """

    run: Run
    trained: Trained
    data: AnyData
    role: Role
    outcome: Outcome
    interval: Interval
    embedding: Embedding
    suspicious: SuspiciousLabels | None
    train: Samples
    train_numbers: NDArray[np.int64]
    train_suspicious: SuspiciousLabels | None
    duplicates: Duplicates | None
    spec: str
    unseen: tuple[Role, ...]
    changed: tuple[Role, ...]

    @property
    def split(self) -> Samples:
        """The images that are shown."""
        return self.data.split(self.role)

    @property
    def kept_best(self) -> bool:
        """Whether the weights are those that were best on val."""
        return bool(self.run.record["recipe"].get("monitoring", {}).get("weights") == "best-on-val")

    @property
    def figures(self) -> dict[str, Any]:
        """The run's last ones, as it recorded them."""
        return self.run.figures()


def error_interval(error: float, num_images: int) -> Interval:
    """Clopper and Pearson's exact interval of an error rate in %, of one network on images like these."""
    return mean_interval(Sample(values=(error,), num_images=num_images), LEVEL)


def precision_interval(outcome: Outcome) -> Interval:
    """Interval of the mean average precision in %, of one network on images like these: a bootstrap over the images.

    Args:
        outcome: of a network on images with several labels.
    """
    evaluation, targets = outcome.evaluation, outcome.data.split(outcome.role).labels
    assert isinstance(evaluation, LabelEvaluation)
    generator = np.random.default_rng(0)
    found = []
    for _ in range(_RESAMPLES):
        drawn = generator.integers(0, len(targets), len(targets))
        again = outcome.task.score_probabilities(outcome.scores[drawn], targets[drawn])
        assert isinstance(again, LabelEvaluation)
        found.append(again.mean_average_precision)
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(evaluation.mean_average_precision, float(low), float(high), LEVEL, "the images, drawn again")


def find_out(
    run_dir: Path,
    *,
    split: Role | None = None,
    data: str | None = None,
    data_dir: Path | None = None,
    use_cache: bool = True,
    progress: bool = False,
) -> Findings:
    """Looks at a finished run's images with its network.

    Args:
        run_dir: the run's folder.
        split: the role that is shown; val by default, and never test unless it is asked for.
        data: name of a data set, or a folder; the run's own by default.
        data_dir: where named data sets are looked for first.
        use_cache: keep features in the user's cache, and use those that are there.
        progress: whether to show it.

    Raises:
        ReslabError: it is no finished run, its data are not there, or there are no such images.
    """
    run, reference = finished_run(run_dir)
    spec = data or reference.data
    if spec is None:
        raise WeightsError(f"{run_dir} does not say which data it was trained on; give --data.")
    have = available_roles(spec, data_dir)
    role = split or "val"
    if role not in have and not (role == "val" and reference.held_out != NONE_HELD_OUT):
        raise DataError(f"{spec} has no {role} images; give --split {' or --split '.join(have)}.")
    trained, known = _load(reference, spec, role, data_dir, progress)
    shown = known.split(role)
    one_label = known.task == ONE_LABEL.task
    numbers = _some(len(known.split("train")), _MOST_TRAIN)
    train: Samples = known.split("train").subset(numbers)
    with counting("Looking at images", len(shown) + len(train), enabled=progress) as advance:
        embedding = embed(trained, shown, use_cache=use_cache, advance=advance)
        of_train = embed(trained, train, use_cache=use_cache, advance=advance) if one_label else None
    details = {"protocol": "one-crop", "weights_sha256": trained.sha256}
    outcome = judge(_title(run), embedding.scores, known, role, details)
    recorded = run.data["splits"]
    changed = [name for name in recorded if name in known.splits and _digest(known, name) != recorded[name]["sha256"]]
    return Findings(
        run=run,
        trained=trained,
        data=known,
        role=role,
        outcome=outcome,
        interval=error_interval(outcome.one_label.error, len(shown)) if one_label else precision_interval(outcome),
        embedding=embedding,
        suspicious=suspicious_labels(embedding.scores, shown.labels) if one_label else None,
        train=train,
        train_numbers=numbers,
        train_suspicious=suspicious_labels(of_train.scores, train.labels) if of_train else None,
        duplicates=_duplicates(known, role, embedding, progress),
        spec=spec,
        unseen=tuple(name for name in have if name not in known.splits),
        changed=tuple(changed),
    )


def _load(
    reference: Reference, spec: str, role: Role, data_dir: Path | None, progress: bool
) -> tuple[Trained, AnyData]:
    """The network, and train and val as it takes them, and test where that is asked for."""
    training = EvaluationImages(spec, "train", reference.held_out, data_dir, progress)
    subject = load_subject(reference, training, training=True)
    known: AnyData = subject.data
    if role == "test":
        tested = load_subject(reference, EvaluationImages(spec, "test", NONE_HELD_OUT, data_dir, progress)).data
        splits: dict[Role, Any] = {**known.splits, "test": tested.split("test")}
        known = replace(known, splits=splits)
    return subject.trained, known


def finished_run(folder: Path) -> tuple[Run, Reference]:
    """A run that came to its end, and its network's name.

    Raises:
        ReslabError: there is none, or its record is damaged.
    """
    run = Run(folder)
    if not run.exists:
        raise WeightsError(f"{folder} is not the folder of a run.")
    if not run.finished:
        raise CheckpointError(
            f"{folder} is not finished; go on with `reslab train --resume`, or end it with `reslab train --finish "
            f"--run-dir {folder}`."
        )
    check_shape(run.record_path, run.record, _RECORD, CheckpointError)
    return run, Reference.parse(folder)


def _title(run: Run) -> str:
    return f"{run.record['model']} on {run.record['data']['name']}"


def _digest(data: AnyData, role: Role) -> str:
    return data.split(role).digest


def _some(count: int, most: int) -> NDArray[np.int64]:
    """The places of all images, or of as many, drawn at random and the same ones every time."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def _duplicates(data: AnyData, role: Role, embedding: Embedding, progress: bool) -> Duplicates | None:
    total = sum(map(len, data.splits.values()))
    if total > _MOST_COMPARED:
        return None
    with counting("Comparing images", total, enabled=progress) as advance:
        joined = Fingerprints.joined([fingerprint_images(split, advance=advance) for split in data.splits.values()])
        groups = duplicate_groups(joined)
    owners = np.repeat(np.arange(len(data.splits)), [len(split) for split in data.splits.values()])
    starts = np.cumsum([0, *(len(split) for split in data.splits.values())])
    roles = list(data.splits)

    def placed(group: NDArray[np.int64]) -> tuple[tuple[Role, int], ...]:
        return tuple((roles[owners[index]], int(index - starts[owners[index]])) for index in group)

    found = sorted(map(placed, groups), key=lambda group: (len({name for name, _ in group}) == 1, group[0]))
    leaked = sorted(
        index
        for group in found
        for name, index in group
        if role != "train" and name == role and any(other == "train" for other, _ in group)
    )
    kept = np.ones(len(data.split(role)), bool)
    kept[leaked] = False
    without = None
    if leaked and kept.any() and data.task == ONE_LABEL.task:
        without = 100 * float((embedding.scores.argmax(axis=1) != data.split(role).labels)[kept].mean())
    return Duplicates(tuple(found), len(leaked), without)
