"""Error rates: those of the training itself, of each test image, by other protocols, and how soon they were reached."""

import numpy as np

from reslab.data import PhotoData
from reslab.errors import ReslabError
from reslab.evaluation.protocol_options import choose_protocol, describe_protocol
from reslab.evaluation.protocols import EvaluationProtocol
from reslab.evaluation.scoring import predict_split
from reslab.paper.measures import Measured
from reslab.paper.packing import packed, packed_scores
from reslab.paper.subjects import MeasuredNetwork
from reslab.training.recipe_files import recipe_from_dict
from reslab.training.schedule import LAST_SHARE

__all__ = ["convergence", "final_errors", "predictions", "protocol_error"]

_SMOOTHED_ROWS = 5


def final_errors(subject: MeasuredNetwork) -> Measured:
    """The run's errors in %, its curves, and what it took."""
    run = subject.run
    if run is None:
        raise ReslabError(f"{subject.job.arm} was not trained.")
    figures, rows, record = run.figures(), run.rows(), run.record
    recipe = recipe_from_dict(record["recipe"])
    names = ("train_error", "train_error_clean", "test_error", "images_per_second", "train_seconds")
    values: dict[str, float] = {name: figures[name] for name in names if name in figures}
    seen = max(1, round(recipe.iterations * LAST_SHARE)) * recipe.data.batch_size
    train = record["data"]["splits"]["train"]["num_images"]
    counts = {
        "train_error": min(seen, train),  # an image that comes again is no further one
        "train_error_clean": figures["num_train_clean_images"],
        "test_error": figures.get("num_test_images", 0),
    }
    tests = [row for row in rows if "test_error" in row]
    return Measured(
        values=values,
        counts={name: count for name, count in counts.items() if name in values},
        series={
            "iteration": [row["iteration"] for row in rows],
            "train_error": [round(row["train_error"], 3) for row in rows],
            "loss": [row["loss"] for row in rows],  # to the bit: `reslab paper verify` compares them
            "learning_rate": [row["learning_rate"] for row in rows],
            "test_iteration": [row["iteration"] for row in tests],
            "test_error": [round(row["test_error"], 3) for row in tests],
            "warmup_ended_at": figures.get("warmup_ended_at"),
        },
    )


def predictions(subject: MeasuredNetwork) -> Measured:
    """Which test images the network is wrong about: nets that were tested on the same images are compared in pairs."""
    split = subject.split("test")
    scores = predict_split(subject.network, split, subject.normalization, _protocol(subject, "one-crop"))
    wrong = scores.argmax(axis=1) != split.labels
    kept = {"scores": packed_scores(scores), "labels": split.labels.tolist()}  # for ensembles
    # Of a training of ours the error is measured already, with its curve.
    values = {} if subject.run else {"test_error": 100 * float(wrong.mean())}
    return Measured(
        values=values,
        counts=dict.fromkeys(values, len(wrong)),
        series={"wrong": packed(wrong), "num_images": len(wrong), **kept},
    )


def protocol_error(subject: MeasuredNetwork, *, protocol: str, images: int | None = None) -> Measured:
    """Top-1 and top-5 error in % under a test protocol.

    Args:
        subject: the network.
        protocol: `crops`, ten of photos and nine shifted views of small images, which one view shows whole; or `dense`,
            fully convolutional at five sizes of the shorter side, in the paper's proportions.
        images: of the test set, the same ones for every network; None for all.
    """
    split = subject.split("test", images)
    crops = "ten-crop" if isinstance(subject.data, PhotoData) else "shifted"
    made = _protocol(subject, crops if protocol == "crops" else protocol)
    scores = predict_split(subject.network, split, subject.normalization, made)
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = order == split.labels[:, np.newaxis]
    values = {
        f"{protocol}_top1": 100 * float(np.mean(~hits[:, 0])),
        f"{protocol}_top5": 100 * float(np.mean(~hits[:, :5].any(axis=1))),
    }
    return Measured(
        values=values, counts=dict.fromkeys(values, len(split)), series={"protocol": describe_protocol(made)}
    )


def _protocol(subject: MeasuredNetwork, name: str) -> EvaluationProtocol:
    whole = not isinstance(subject.data, PhotoData)
    return choose_protocol(name, {}, subject.trained.about, subject.spec, subject.data.image_shape, whole)


def convergence(subject: MeasuredNetwork, *, train_error: float) -> Measured:
    """The iteration at which the training error, as a running mean of rows, first was at or below a value in %."""
    run = subject.run
    if run is None:
        raise ReslabError(f"{subject.job.arm} was not trained.")
    rows = run.rows()
    errors = np.array([row["train_error"] for row in rows])
    means = np.convolve(errors, np.ones(_SMOOTHED_ROWS) / _SMOOTHED_ROWS, mode="valid")
    reached = np.flatnonzero(means <= train_error)
    never = float("nan")
    found = float(rows[int(reached[0]) + _SMOOTHED_ROWS - 1]["iteration"]) if len(reached) else never
    return Measured(values={"iterations_to_error": found}, series={"train_error": train_error})
