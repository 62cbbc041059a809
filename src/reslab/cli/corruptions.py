"""`reslab eval --corruptions`: what it prints."""

import sys
from typing import TYPE_CHECKING

from reslab.cli.output import print_json, print_table
from reslab.errors import ReslabError
from reslab.texts import show_name

if TYPE_CHECKING:
    from reslab.cli.eval import Arguments
    from reslab.deploy.corrupted import CorruptionReport

__all__ = ["run_corruptions"]

_OTHERS = ("ensemble", "scores", "report", "confusion", "batch_size")


def run_corruptions(asked: "Arguments") -> int:
    """Tests networks on corrupted images, one after the other."""
    given = [name for name in _OTHERS if getattr(asked, name)]
    given += ["protocol"] if asked.protocol != "one-crop" or asked.options else []
    if given:
        raise ReslabError(
            f"--corruptions takes one view of an image by itself; leave --{given[0].replace('_', '-')} out."
        )
    from reslab.deploy.corrupted import evaluate_corruptions

    reports = []
    for name in asked.networks:
        with asked.load(name, engine=asked.engine) as network:
            report = evaluate_corruptions(
                network,
                data=asked.data,
                split=asked.split,
                num_images=asked.corrupted_images,
                device=asked.device,
                data_dir=asked.data_dir,
                progress=True,
            )
        reports.append(report)
        if report.note:
            print(report.note, file=sys.stderr)
        if not asked.json:
            _print(report, titled=len(asked.networks) > 1)
    if asked.json:
        records = [report.to_dict() for report in reports]
        print_json(records if len(records) > 1 else records[0])
    return 0


def _print(report: "CorruptionReport", *, titled: bool) -> None:
    from reslab.evaluation.corruptions import CORRUPTIONS

    strengths = tuple(str(step) for step in range(1, 6))
    rows = [
        (name, CORRUPTIONS[name].kind, *(f"{error:.2f}" for error in (*errors, report.mean_of(name))))
        for name, errors in report.errors.items()
    ]
    print_table(("corruption", "kind", *strengths, "mean %"), rows, right=(*strengths, "mean %"))
    print(f"{show_name(report.model)}: {report}" if titled else report)
