"""A finished run as a page of HTML that needs nothing beside it, and as a model card: `reslab report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reslab.analysis.pages import render_page
from reslab.data import Role
from reslab.errors import ReslabError, WriteError
from reslab.explain.card import CARD_MARK, check_license, model_card
from reslab.explain.contents import contents
from reslab.explain.findings import Findings, find_out, finished_run
from reslab.files.atomic import write_text
from reslab.texts import show_name

__all__ = ["RunReport", "report_run"]

PAGE_NAME, CARD_NAME = "report.html", "README.md"


@dataclass(frozen=True, kw_only=True, eq=False)
class RunReport:
    """What was written, and what it says.

    Args:
        page: the HTML file.
        card: the model card.
        findings: that both are made of.
    """

    page: Path
    card: Path
    findings: Findings

    def __str__(self) -> str:
        return "\n".join([str(self.findings.outcome), show_name(self.page), show_name(self.card)])

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        found = self.findings
        twice = found.duplicates
        return {
            "page": show_name(self.page),
            "card": show_name(self.card),
            **found.outcome.record,
            "interval": [found.interval.low, found.interval.high],
            "level": found.interval.level,
            "suspicious_labels": found.suspicious
            and {"num_images": len(found.suspicious.indices), "split": found.role},
            "suspicious_train_labels": found.train_suspicious
            and {"num_images": len(found.train_suspicious.indices), "looked_at": len(found.train)},
            "duplicates": None
            if twice is None
            else {
                "num_groups": len(twice.groups),
                "num_across_splits": twice.num_across,
                "num_leaked": twice.num_leaked,
                "top1_error_without": twice.error_without,
            },
        }


def report_run(
    run_dir: Path | str,
    *,
    out: Path | str | None = None,
    split: Role | None = None,
    data: str | None = None,
    data_dir: Path | None = None,
    license: str | None = None,
    progress: bool = False,
) -> RunReport:
    """Writes report.html and README.md about a finished run.

    The page has the data, the training, errors with intervals, confusions, calibration, the surest mistakes with class
    activation maps, a map of the images, suspicious labels, images that are there twice, and how to use the network. It
    asks no network for anything. Where images have several labels it has each label's average precision instead of
    errors, confusions and calibration. The card has the front matter of Hugging Face's hub.

    Args:
        run_dir: the run's folder.
        out: folder to write into; the run's own by default.
        split: role of the images that are shown; val by default, and test only where it is asked for.
        data: name of a data set, or a folder; the run's own by default.
        data_dir: where named data sets are looked for first.
        license: of the weights, as the hub spells it (`apache-2.0`); left out of the card by default.
        progress: whether to show it.

    Raises:
        ReslabError: it is no finished run, its data are not there or have no such images, or a README.md is there that
            this has not written.
    """
    folder = Path(run_dir)
    target = Path(out) if out is not None else folder
    page, card = target / PAGE_NAME, target / CARD_NAME
    finished_run(folder)
    _check_ours(card)
    if license is not None:
        check_license(license)
    findings = find_out(folder, split=split, data=data, data_dir=data_dir, progress=progress)
    values = contents(findings)
    html = render_page("reslab.explain", "report.html.j2", weights_sha256=findings.trained.sha256, **values)
    text = model_card(findings, license)
    target.mkdir(parents=True, exist_ok=True)
    write_text(page, html)
    write_text(card, text)
    return RunReport(page=page, card=card, findings=findings)


def _check_ours(card: Path) -> None:
    """Raises WriteError where a card would replace what somebody else wrote."""
    try:
        text = card.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ReslabError(f"cannot read {show_name(card)}: {error.strerror}.") from None
    if CARD_MARK not in text:
        raise WriteError(f"{show_name(card)} was not written by reslab; move it away, or give --out DIR.")
