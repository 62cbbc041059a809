"""A finished run with batch-norm statistics measured anew: `reslab precise-bn`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reslab.console import counting
from reslab.errors import ReslabError, WeightsError
from reslab.evaluation.changed_weights import choose_folder
from reslab.evaluation.error_rates import evaluate
from reslab.evaluation.precise_bn import Measurement, measure_batch_norm, save_measured
from reslab.evaluation.subjects import EvaluationImages, Subject, load_subject
from reslab.models.weights import read_card
from reslab.runs import Run
from reslab.tasks import find_task
from reslab.trained import Reference
from reslab.trained.loading import choose_device

__all__ = ["MeasuredRun", "measure_run"]


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """What was measured, and what it brought.

    Args:
        run: the run's folder.
        data: name of the images.
        note: what the card says of the statistics.
        num_images: that were measured.
        batch_size: images a batch.
        val_error_before: with the statistics of the run, in %; None where there are no val images.
        val_error_after: with the new ones.
        out: folder of the new weights.
        what: that error is, in words.
    """

    run: Path
    data: str
    note: str
    num_images: int
    batch_size: int
    val_error_before: float | None
    val_error_after: float | None
    out: Path
    what: str = "error"

    def __str__(self) -> str:
        text = f"{self.data} has no val images to compare on"
        if self.val_error_before is not None:
            text = f"val {self.what} {self.val_error_before:.2f} % before, {self.val_error_after:.2f} % after"
        return f"{text}\nbatch norm: {self.note}\n{self.out}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        values = asdict(self)
        del values["what"]
        return {**values, "run": str(self.run), "out": str(self.out), "batch_norm": values.pop("note")}


def measure_run(
    run_dir: Path | str,
    *,
    out: Path | str | None = None,
    in_place: bool = False,
    data: str | Path | None = None,
    num_images: int = 10_000,
    batch_size: int | None = None,
    device: str | None = None,
    data_dir: Path | None = None,
    progress: bool = False,
) -> MeasuredRun:  # where from, where to, over what, and on what
    """Measures a finished run's batch-norm statistics as strict averages over training images.

    Args:
        run_dir: the run's folder.
        out: folder for the new weights with their card.
        in_place: replace the run's own instead.
        data: name of a data set, or a folder; the run's own by default.
        num_images: of train, drawn at random, the same ones every time.
        batch_size: images a batch; as many as in training by default.
        device: auto, cpu, cuda, cuda:1, mps.
        data_dir: where named data sets are looked for first.
        progress: whether to show it.

    Raises:
        ReslabError: it is no finished run, has no batch norm, or it is not said where to write.
    """
    folder, out = Path(run_dir), None if out is None else Path(out)
    if not Run(folder).exists:
        raise WeightsError(f"{folder} is not the folder of a run.")
    destination = choose_folder(folder, out, in_place)
    _check(num_images, batch_size)
    run, reference = Run(folder), Reference.parse(folder)
    if data is None and reference.data is None:
        raise WeightsError(f"{folder} does not say which data it was trained on; give --data.")
    images = EvaluationImages(str(data or reference.data), "train", reference.held_out, data_dir, progress)
    subject = load_subject(reference, images, training=True)
    if subject.trained.model.spec.norm != "batch":
        raise ReslabError(f"{folder} has no batch norm, and so no statistics to measure.")
    subject.trained.model.to(choose_device(device))
    card = read_card(folder, verify=False)
    wanted = Measurement(
        num_images=num_images,
        batch_size=batch_size or reference.batch_size,
        seed=card["seed"],
        iteration=card["iterations"],
    )
    before = _val_error(subject, progress)
    done = _measure(subject, wanted, progress)
    after = _val_error(subject, progress)
    note = done.describe(subject.data.name)
    save_measured(run, destination, subject.trained, note, after)
    return MeasuredRun(
        run=folder,
        data=subject.data.name,
        note=note,
        num_images=done.num_images,
        batch_size=done.batch_size,
        val_error_before=before,
        val_error_after=after,
        out=destination,
        what=find_task(subject.data.task).words.error,
    )


def _check(num_images: int, batch_size: int | None) -> None:
    if batch_size is not None and batch_size < 2:
        raise ReslabError(f"a batch must have at least 2 images, not {batch_size}: one image has no variance.")
    if num_images < 2:
        raise ReslabError(f"it takes at least 2 images, not {num_images}.")


def _measure(subject: Subject, wanted: Measurement, progress: bool) -> Measurement:
    train, trained = subject.data.split("train"), subject.trained
    with counting("Measuring", wanted.among(len(train)).num_images, enabled=progress) as advance:
        return measure_batch_norm(trained.model, train, trained.normalization, wanted, advance)


def _val_error(subject: Subject, progress: bool) -> float | None:
    if "val" not in subject.data.splits:
        return None
    split = subject.data.split("val")
    with counting("Evaluating", len(split), enabled=progress) as advance:
        task, normalization = find_task(subject.data.task), subject.trained.normalization
        found = evaluate(subject.trained.model, split, normalization, advance=advance, task=task)
    return found.error
