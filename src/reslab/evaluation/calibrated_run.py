"""A run whose probabilities are calibrated on its val images: `reslab calibrate`."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from reslab.console import counting
from reslab.data import available_roles
from reslab.data.held_out import NONE_HELD_OUT
from reslab.errors import DataError, WeightsError
from reslab.evaluation.changed_weights import choose_folder, save_changed
from reslab.evaluation.metrics import calibrate as expected_and_found
from reslab.evaluation.subjects import EvaluationImages, Subject, load_subject
from reslab.evaluation.temperature import (
    Logits,
    divide_logits,
    fit_temperature,
    negative_log_likelihood,
    split_logits,
)
from reslab.runs import Run
from reslab.texts import count
from reslab.trained import Reference
from reslab.trained.loading import choose_device

__all__ = ["CalibratedRun", "Sureness", "calibrate"]


@dataclass(frozen=True, kw_only=True)
class Sureness:
    """How well probabilities fit the answers.

    Args:
        nll: mean negative log-likelihood, in nats.
        calibration_error: expected calibration error over 15 bins, in %.
        top1_error: share of wrong answers, in %.
    """

    nll: float
    calibration_error: float
    top1_error: float


@dataclass(frozen=True, kw_only=True)
class CalibratedRun:
    """What was fitted, and what it brought.

    Args:
        run: the run's folder.
        data: name of the images.
        num_images: of val, on which it was fitted.
        temperature: by which the logits were divided now.
        total_temperature: by which they are divided compared with the training's.
        before: with the weights as they were.
        after: with the new ones.
        num_changed: answers that changed by rounding; of equal logits at most.
        out: folder of the new weights.
        note: what a user must know of it, a sentence; or empty.
    """

    run: Path
    data: str
    num_images: int
    temperature: float
    total_temperature: float
    before: Sureness
    after: Sureness
    num_changed: int
    out: Path
    note: str

    def __str__(self) -> str:
        before, after = self.before, self.after
        return (
            f"temperature {self.temperature:.4g}, fitted on {count(self.num_images, 'val image')} of {self.data}\n"
            f"negative log-likelihood {before.nll:.4f} before, {after.nll:.4f} after; expected calibration error "
            f"{before.calibration_error:.2f} % before, {after.calibration_error:.2f} % after; val error "
            f"{after.top1_error:.2f} % as before\n{self.out}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "run": str(self.run), "out": str(self.out)}


def calibrate(
    run_dir: Path | str,
    *,
    out: Path | str | None = None,
    in_place: bool = False,
    data: str | Path | None = None,
    device: str | None = None,
    data_dir: Path | None = None,
    progress: bool = False,
) -> CalibratedRun:
    """Divides a finished run's logits by the temperature with which its probabilities fit its val images best.

    No answer changes. Predictions, evaluations and exported files are of the new weights, and so calibrated, too.

    Args:
        run_dir: the run's folder, or one of weights with their card.
        out: folder for the new weights with their card.
        in_place: replace the run's own instead.
        data: name of a data set, or a folder, with val images; the run's own by default.
        device: auto, cpu, cuda, cuda:1, mps.
        data_dir: where named data sets are looked for first.
        progress: whether to show it.

    Raises:
        ReslabError: it is no finished run, there are no val images, it is not said where to write, or no temperature
            fits.
    """
    folder = Path(run_dir)
    reference = Reference.parse(folder)
    if reference.is_remote and in_place:
        raise WeightsError(f"{folder} lies on the hub; give --out, and push that.")
    if reference.folder is None:
        raise WeightsError(f"{folder} is not the folder of a run, whose weights could be changed.")
    destination = choose_folder(reference.folder, None if out is None else Path(out), in_place)
    subject, note = _on_val(reference, data, data_dir, progress)
    trained, run = subject.trained, Run(reference.folder)
    if trained.about.note:
        raise WeightsError(f"{folder} is not finished; end it with --finish, or go on with --resume.")
    trained.model.to(choose_device(device))
    subject.data.need_one_label("temperatures are")
    labels = subject.data.split("val").labels
    before = _logits(subject, progress)
    temperature = fit_temperature(before, labels)
    divide_logits(trained.model, temperature)
    after = _logits(subject, progress)
    found = CalibratedRun(
        run=folder,
        data=subject.data.name,
        num_images=len(labels),
        temperature=temperature,
        total_temperature=temperature * trained.about.temperature,
        before=_sureness(before, labels),
        after=_sureness(after, labels),
        num_changed=int((before.argmax(axis=1) != after.argmax(axis=1)).sum()),
        out=destination,
        note=note,
    )
    save_changed(run, destination, trained, lambda card: card.update(calibration=_for_card(found, subject)))
    return found


def _on_val(
    reference: Reference, data: str | Path | None, data_dir: Path | None, progress: bool
) -> tuple[Subject, str]:
    """The network with val images, and what is to be said of them; never with those of train or test."""
    spec = str(data or reference.data or "")
    if not spec:
        raise WeightsError(f"{reference.name} does not say which data it was trained on; give --data.")
    roles = available_roles(spec, data_dir)
    held_out = reference.held_out if data is None else NONE_HELD_OUT
    if "val" not in roles and held_out == NONE_HELD_OUT:
        raise DataError(
            f"{spec} has no val images, and neither train nor test images may decide of a temperature; hold some out "
            "of train when you train (--data.val-share), or give --data with a folder that has val/."
        )
    subject = load_subject(reference, EvaluationImages(spec, "val", held_out, data_dir, progress))
    if "test" in roles:
        return subject, ""
    return subject, f"{subject.data.name} has no test images; on val the calibration looks better than it is."


def _logits(subject: Subject, progress: bool) -> Logits:
    split = subject.data.split("val")
    with counting("Evaluating", len(split), enabled=progress) as advance:
        return split_logits(subject.trained.model, split, subject.trained.normalization, advance)


def _sureness(logits: Logits, labels: Any) -> Sureness:
    probabilities = softmax(logits.astype(np.float64), axis=1).astype(np.float32)
    return Sureness(
        nll=negative_log_likelihood(logits, labels),
        calibration_error=expected_and_found(probabilities, labels).error,
        top1_error=100 * float((logits.argmax(axis=1) != labels).mean()),
    )


def _for_card(found: CalibratedRun, subject: Subject) -> dict[str, Any]:
    return {
        "temperature": found.total_temperature,
        "data": found.data,
        "data_sha256": subject.data_sha256,
        "num_val_images": found.num_images,
        "before": asdict(found.before),
        "after": asdict(found.after),
    }
