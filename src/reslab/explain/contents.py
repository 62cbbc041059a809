"""What a report's page shows, part by part, made of the findings."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from reslab.data.dataset import UNBALANCED, Role, Samples
from reslab.data.imagenet import readable_name
from reslab.data.photos import PhotoSplit
from reslab.environment import describe_machine
from reslab.evaluation.metrics import calibrate, class_errors, confused_pairs, worst_mistakes
from reslab.explain import charts
from reslab.explain.activation import class_activation
from reslab.explain.findings import Findings, error_interval
from reslab.explain.labels import SuspiciousLabels
from reslab.explain.neighbours import picture_of
from reslab.explain.overlay import draw_map, photo_of
from reslab.explain.several_labels import label_rows, surest_mistakes
from reslab.texts import show_name

__all__ = ["contents", "flat_lines", "in_minutes", "training_facts"]

_CLASSES_WITH_PICTURES, _PICTURES = 12, 6
_MISTAKES, _SUSPICIOUS, _GROUPS, _PAIRS = 12, 18, 12, 12
_MOST_OF_A_GROUP = 6
_ALL_UP_TO = 30  # classes of a confusion matrix that are shown whether they occur or not
_ROWS_AT_ONCE = 40  # of a table of classes; the others are folded away
_MAPPED_CLASSES = 10
_SIDE = 168


def contents(findings: Findings) -> dict[str, Any]:
    """All values of the page's template."""
    names = [show_name(readable_name(name)) for name in findings.data.classes]
    record = findings.run.record
    several = findings.suspicious is None
    return {
        "title": show_name(f"{record['model']} on {record['data']['name']}"),
        "run": show_name(findings.run.folder.resolve()),
        "quoted_run": shlex.quote(show_name(findings.run.folder.resolve())),
        "python_run": repr(show_name(findings.run.folder.resolve())),
        "record": record,
        "role": findings.role,
        "evaluation": findings.outcome.evaluation,
        "several": several,
        "interval": findings.interval,
        "names": names,
        "chosen_on_val": findings.role == "val" and findings.kept_best,
        "data": _data(findings, names),
        "training": training_facts(findings),
        "recipe_lines": list(flat_lines(record["recipe"])),
        "curves": charts.curves(rows, findings.outcome.task.words) if (rows := findings.run.rows()) else None,
        "rows_at_once": _ROWS_AT_ONCE,
        "duplicates": _duplicates(findings, names),
        "environment": list(_environment(record.get("environment") or {})),
        **(_of_several_labels(findings, names) if several else _of_one_label(findings, names)),
    }


def _of_one_label(findings: Findings, names: list[str]) -> dict[str, Any]:
    """What there is to say where an image has one label."""
    assert findings.suspicious is not None
    assert findings.train_suspicious is not None
    outcome = findings.outcome
    calibration = calibrate(outcome.scores, findings.split.labels)
    counts = np.bincount(findings.split.labels, minlength=len(names))
    return {
        "always": {"name": names[int(counts.argmax())], "error": 100 * float(1 - counts.max() / counts.sum())},
        "unbalanced": outcome.one_label.class_imbalance > UNBALANCED,
        "classes": _classes(findings, names),
        "confusion": _confusion(findings, names),
        "pairs": _pairs(findings, names),
        "calibration": calibration,
        "reliability": charts.reliability(calibration),
        "mistakes": list(_mistakes(findings, names)),
        "map": _map(findings, names),
        "suspicious": _suspicious(findings.split, findings.suspicious, names, np.arange(len(findings.split))),
        "train_suspicious": _suspicious(findings.train, findings.train_suspicious, names, findings.train_numbers),
        "train_looked_at": len(findings.train),
    }


def _of_several_labels(findings: Findings, names: list[str]) -> dict[str, Any]:
    """The same where it has several."""
    mistakes = [{**found, "file": _name(findings.split, found["index"])} for found in surest_mistakes(findings, names)]
    return {
        "labels": label_rows(findings, names),
        "mistakes": mistakes,
    }


def _data(findings: Findings, names: Sequence[str]) -> dict[str, Any]:
    """Images by class and role, and some of each class."""
    splits = findings.data.splits
    form = findings.data.form
    counts = {role: form.counts(split.labels, len(names)) for role, split in splits.items()}
    rows = [(name, [int(found[index]) for found in counts.values()]) for index, name in enumerate(names)]
    train = findings.data.split("train")
    generator = np.random.default_rng(0)
    present = np.flatnonzero(counts["train"])
    chosen = np.unique(np.linspace(0, len(present) - 1, min(len(present), _CLASSES_WITH_PICTURES)).astype(int))
    samples = []
    for index in present[chosen].tolist():
        shows = train.labels[:, index] > 0 if findings.suspicious is None else train.labels == index
        own = generator.permutation(np.flatnonzero(shows))[:_PICTURES]
        samples.append((names[index], [charts.thumbnail(train, int(place), 96) for place in own]))
    return {
        "roles": list(splits),
        "totals": [len(split) for split in splits.values()],
        "hashes": [(role, split.digest) for role, split in splits.items()],
        "rows": rows,
        "samples": samples,
        "spec": show_name(findings.spec),
        "note": findings.data.note,
        "unseen": findings.unseen,
        "changed": findings.changed,
        "view": _view(findings),
    }


def _view(findings: Findings) -> str:
    """How the network sees an image, in words."""
    seen = findings.trained.about.preprocessing
    channels = "colour" if seen.channels == 3 else "grey"
    if findings.trained.about.sees_whole:
        return f"{seen.width}x{seen.height} pixels, {channels}, whole"
    return (
        f"the central {seen.width}x{seen.height} pixels, {channels}, of the photo with its shorter side resized to "
        f"{seen.resize} pixels ({seen.interpolation})"
    )


def training_facts(findings: Findings) -> list[tuple[str, str]]:
    """What was done, in rows of a table."""
    record, figures = findings.run.record, findings.figures
    recipe = record["recipe"]
    rows = [("network", show_name(record["model"])), ("recipe", show_name(recipe["name"]))]
    if initial := record.get("weights"):
        rows.append(("began with the weights", show_name(initial)))
    done = figures.get("stopped_at") or figures.get("iterations") or record.get("iterations")
    if done:
        batch = recipe.get("data", {}).get("batch_size")
        epochs = f", {done * batch / len(findings.data.split('train')):.3g} epochs" if batch else ""
        rows.append(("length", f"{done:,} iterations of {batch} images{epochs}" if batch else f"{done:,} iterations"))
    if seconds := figures.get("train_seconds"):
        speed = figures.get("images_per_second")
        rows.append(("time", in_minutes(seconds) + (f", {speed:,.0f} images a second" if speed else "")))
    execution = record.get("execution") or {}
    if execution:
        rows.append(("computed on", f"{execution.get('device', '')}, {execution.get('precision', '')}"))
    rows.append(("seed", str(record["seed"])))
    error = "training error" if findings.suspicious is not None else "wrong labels of training images"
    rows.append((f"{error}, augmented, while training", f"{figures['train_error']:.2f} %"))
    if (clean := figures.get("train_error_clean")) is not None:
        rows.append((f"{error}, at the end, as tests see images", f"{clean:.2f} %"))
    kept = "the best on val" if findings.kept_best else "the last ones"
    rows.append(("weights that were kept", kept))
    return rows


def _environment(about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Where the run was trained, in rows of a table; runs of version 0.1.0 say less."""
    if "processor" in about:
        yield "machine", describe_machine(about)
    versions = [f"{name} {version}" for name, version in (about.get("packages") or {}).items()]
    if versions:
        yield "versions", ", ".join([f"Python {about.get('python', '?')}", *versions])
    if about.get("commit"):
        yield "commit", str(about["commit"])


def in_minutes(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 90:
        return f"{seconds:.3g} seconds"
    return f"{seconds / 60:.3g} minutes" if seconds < 5400 else f"{seconds / 3600:.3g} hours"


def flat_lines(table: dict[str, Any], path: str = "") -> Iterator[str]:
    """A recipe's fields, one a line."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from flat_lines(value, f"{path}{name}.")
        else:
            yield show_name(f"{path}{name} = {value}")


def _classes(findings: Findings, names: Sequence[str]) -> list[dict[str, Any]]:
    """Errors by class, the largest first."""
    matrix = findings.outcome.one_label.confusion.copy()
    np.fill_diagonal(matrix, 0)
    rows = []
    for found in class_errors(findings.outcome.one_label.confusion):
        taken = matrix[found.index]
        interval = error_interval(found.error, found.num_images)
        rows.append(
            {
                "name": names[found.index],
                "num_images": found.num_images,
                "error": found.error,
                "low": interval.low,
                "high": interval.high,
                "taken_for": names[int(taken.argmax())] if taken.any() else "",
                "times": int(taken.max()),
            }
        )
    return sorted(rows, key=lambda row: -row["error"])


def _confusion(findings: Findings, names: list[str]) -> Markup:
    matrix, shown = findings.outcome.one_label.confusion, names
    occurring = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    if len(names) > _ALL_UP_TO and len(occurring) < len(names):
        matrix, shown = matrix[np.ix_(occurring, occurring)], [names[index] for index in occurring]
    return charts.confusion(matrix, shown)


def _pairs(findings: Findings, names: Sequence[str]) -> list[tuple[str, str, int, float]]:
    found = confused_pairs(findings.outcome.one_label.confusion, _PAIRS)
    return [(names[pair.truth], names[pair.predicted], pair.num_images, pair.share) for pair in found]


def _mistakes(findings: Findings, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The surest mistakes, with what spoke for the answer and for the true class."""
    split, scores = findings.split, findings.outcome.scores
    preprocessing = findings.trained.about.preprocessing
    worst = worst_mistakes(scores, split.labels, _MISTAKES)
    if not len(worst):
        return
    both = np.stack([scores[worst].argmax(axis=1), split.labels[worst]], axis=1)
    _, all_maps = class_activation(findings.trained, split.subset(worst).read(0, len(worst)), both)
    for index, (answer, truth), maps in zip(worst.tolist(), both.tolist(), all_maps, strict=True):
        whole = split.image(index) if isinstance(split, PhotoSplit) else picture_of(split, index)
        photo = photo_of(whole, preprocessing, 2 * _SIDE)
        small = not isinstance(split, PhotoSplit)
        yield {
            "file": _name(split, index),
            "truth": names[truth],
            "answer": names[answer],
            "probability": float(scores[index, answer]),
            "true_probability": float(scores[index, truth]),
            "photo": charts.picture(whole if small else photo.picture, _SIDE, enlarged=_SIDE),
            "for_answer": charts.picture(draw_map(photo, maps[0]), _SIDE),
            "for_truth": charts.picture(draw_map(photo, maps[1]), _SIDE),
        }


def _map(findings: Findings, names: list[str]) -> dict[str, Any]:
    """The images in the plane; of many classes the ones with the most wrong answers have a colour."""
    chosen, points, method = charts.places(findings.embedding.features)
    labels = findings.split.labels[chosen]
    wrong = findings.outcome.scores[chosen].argmax(axis=1) != labels
    present = np.unique(labels)
    trouble = np.bincount(labels, wrong, len(names))[present]
    shown = np.sort(present[np.argsort(-trouble, kind="stable")[:_MAPPED_CLASSES]]).tolist()
    return {
        "figure": charts.map_of_images(points, labels, wrong, names, shown),
        "method": method,
        "num_images": len(chosen),
        "all": len(chosen) == len(findings.split),
        "all_classes": len(shown) == len(present),
    }


def _suspicious(
    split: Samples, found: SuspiciousLabels, names: Sequence[str], numbers: NDArray[np.int64]
) -> dict[str, Any]:
    """The labels that are doubted most; `numbers` are the images' places in the whole split."""
    shown = list(zip(found.indices.tolist(), found.suggested.tolist(), strict=True))[:_SUSPICIOUS]
    return {
        "total": len(found.indices),
        "shown": [
            {
                "file": _name(split, index, int(numbers[index])),
                "label": names[int(split.labels[index])],
                "suggested": names[guess],
                "quality": float(found.quality[index]),
                "picture": charts.thumbnail(split, index),
            }
            for index, guess in shown
        ],
    }


def _duplicates(findings: Findings, names: Sequence[str]) -> dict[str, Any] | None:
    found = findings.duplicates
    if found is None:
        return None
    return {
        "total": len(found.groups),
        "images": sum(map(len, found.groups)),
        "across": found.num_across,
        "leaked": found.num_leaked,
        "error_without": found.error_without,
        "groups": [_group(findings, group, names) for group in found.groups[:_GROUPS]],
    }


def _group(findings: Findings, group: Iterable[tuple[Role, int]], names: Sequence[str]) -> dict[str, Any]:
    members = list(group)
    shown = [(role, findings.data.split(role), index) for role, index in members[:_MOST_OF_A_GROUP]]
    return {
        "more": len(members) - len(shown),
        "members": [
            {
                "role": role,
                "file": _name(split, index),
                "label": findings.data.form.names(split.labels[index], names),
                "picture": charts.thumbnail(split, index, 112),
            }
            for role, split, index in shown
        ],
    }


def _name(split: Samples, index: int, number: int | None = None) -> str:
    """A file's name on a page, or an image's number, counted from 0."""
    if isinstance(split, PhotoSplit):
        return show_name(split.name(index))
    return f"image {index if number is None else number:,}"
