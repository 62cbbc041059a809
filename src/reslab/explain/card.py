"""A model card: what a network is, what it was trained on, how good it is, and how to load it."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from reslab.analysis.pages import render_text
from reslab.errors import ReslabError
from reslab.explain.contents import training_facts
from reslab.explain.findings import Findings
from reslab.texts import show_name

__all__ = ["CARD_MARK", "check_license", "model_card"]

CARD_MARK = "<!-- written by `reslab report` -->"
"""By which a card is known to be ours."""

_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_WORD = re.compile(r"[^\w.-]+")
_MOST_CLASSES = 100


def model_card(findings: Findings, license: str | None = None) -> str:
    """The card in Markdown, with the front matter of Hugging Face's hub.

    Args:
        findings: about the run.
        license: of the weights, as `check_license` takes it; left out by default.
    """
    record, outcome = findings.run.record, findings.outcome
    name = findings.run.folder.resolve().name
    classes = [_escaped(item) for item in findings.data.classes]
    values = {
        "front": "\n".join(_yaml(_front(findings, license))),
        "mark": CARD_MARK,
        "title": _escaped(f"{record['model']} on {record['data']['name']}"),
        "model": _escaped(record["model"]),
        "data": _escaped(record["data"]["name"]),
        "note": _escaped(findings.data.note),
        "num_classes": f"{len(classes):,}",
        "classes": ", ".join(classes[:_MOST_CLASSES]),
        "more_classes": max(0, len(classes) - _MOST_CLASSES),
        "splits": [(role, f"{len(split):,}", split.digest) for role, split in findings.data.splits.items()],
        "changed": findings.changed,
        "facts": [(_escaped(key), _escaped(value)) for key, value in training_facts(findings)],
        "role": findings.role,
        **(_several(findings) if findings.suspicious is None else _one_label(findings)),
        "several": findings.suspicious is None,
        "low": f"{findings.interval.low:.1f}",
        "high": f"{findings.interval.high:.1f}",
        "num_images": f"{outcome.evaluation.num_images:,}",
        "chosen_on_val": findings.role == "val" and findings.kept_best,
        "leaked": findings.duplicates.num_leaked if findings.duplicates else 0,
        "run": name.replace("`", "'"),
        "quoted": shlex.quote(show_name(name)),
        "python": json.dumps(show_name(name), ensure_ascii=False),
        "weights_sha256": findings.trained.sha256,
        "view": findings.trained.about.preprocessing,
    }
    return render_text("reslab.explain", "README.md.j2", **values)


def _one_label(findings: Findings) -> dict[str, str]:
    evaluation = findings.outcome.one_label
    return {
        "error": f"{evaluation.top1_error:.2f}",
        "top5": f"{evaluation.top5_error:.2f}" if len(findings.data.classes) > 5 else "",
        "mean_class_error": f"{evaluation.mean_class_error:.2f}",
        "calibration": f"{findings.outcome.record['calibration_error']:.1f}",
    }


def _several(findings: Findings) -> dict[str, str]:
    record = findings.outcome.record
    return {"precision": f"{record['mean_average_precision']:.2f}", "label_error": f"{record['label_error']:.2f}"}


def check_license(license: str) -> None:
    """Raises ReslabError for what cannot be a license's name on the hub."""
    if not _LICENSE.fullmatch(license):
        raise ReslabError(f"a license is a name such as apache-2.0 or cc-by-4.0, not {show_name(license)!r}.")


def _front(findings: Findings, license: str | None) -> dict[str, Any]:
    """The hub's front matter; what is not known is left out."""
    record, outcome = findings.run.record, findings.outcome
    family = record.get("net", {}).get("family", "resnet")
    data = _WORD.sub("-", show_name(record["data"]["name"])).strip("-.") or "images"
    if findings.suspicious is None:
        precision = round(outcome.record["mean_average_precision"] / 100, 6)
        metric = {"type": "mAP", "name": f"mean average precision on {findings.role}", "value": precision}
    else:
        accuracy = round(1 - outcome.one_label.top1_error / 100, 6)
        metric = {"type": "accuracy", "name": f"top-1 accuracy on {findings.role}", "value": accuracy}
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": data, "name": show_name(record["data"]["name"]), "split": findings.role},
            "metrics": [metric],
        }
    ]
    return {
        **({"license": license} if license else {}),
        "library_name": "reslab",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "pytorch", family, "reslab"],
        "datasets": [data],
        "metrics": [metric["type"]],
        "model-index": [{"name": show_name(record["model"]), "results": results}],
    }


def _yaml(table: dict[str, Any]) -> Iterator[str]:
    """Plain values as YAML, of which JSON is a part: one key a line, and texts always in quotes."""
    for key, value in table.items():
        yield f"{key}: {json.dumps(value, ensure_ascii=True)}"


def _escaped(text: object) -> str:
    """A text that is no markup within Markdown, whatever it holds."""
    return re.sub(r"([\\`*_{}\[\]<>#|~!&$])", r"\\\1", show_name(text))
