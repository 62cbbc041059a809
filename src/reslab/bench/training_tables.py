"""Records of trainings as tables. Importing this module imports no torch."""

from statistics import median
from typing import Any

from reslab.bench.result_table import ResultTable, mean_and_spread, medians, spread

__all__ = ["SHARES", "TRAINING_TABLES", "peaks_of"]

_OURS_FASTER = "reslab is faster by"
SHARES = ("of the peak", "of it, by Winograd's count")
"""Headings: of the processor's arithmetic, what is used if all multiply-adds are counted, and if only those are that
Winograd's algorithm leaves."""


def _training(record: dict[str, Any]) -> ResultTable:
    rows = []
    for row in record["rows"]:
        for found in row["contenders"]:
            name = found["name"]
            if "absent" in found:
                rows.append((row["model"], name, "-", f"cannot run: {found['absent']}", "", "", ""))
                continue
            compared = row["ratios"].get(name)
            first = found.get("first_step_seconds")
            precision = row.get("precision", "fp32")
            rows.append(
                (
                    row["model"],
                    name if compared or precision == "fp32" else f"{name}, {precision}",
                    f"{found['images_per_second']:.4g}",
                    spread(compared) if compared else "",
                    "" if compared else f"{row['share_of_peak']:.0%}",
                    "" if compared else f"{row['share_of_fewest']:.0%}",
                    f"{first:.1f} s" if first is not None else "",
                )
            )
    settings = record["settings"]
    note = (
        f"Batches of {settings['batch_size']}, {settings['data']}; {medians(settings['turns']).lower()} of "
        f"{settings['steps']} steps; {peaks_of(record)}."
    )
    headings = ("network", "contender", "images/s", _OURS_FASTER, *SHARES, "first step")
    return ResultTable(headings, tuple(rows), note)


def peaks_of(record: dict[str, Any]) -> str:
    """What the processor's arithmetic reached in the turns of trainings, in each precision that ours trained in."""
    found: dict[str, list[str]] = {}
    for row in record["rows"]:
        precision = row["precision"] if "gflops" in row["peaks"].get(row["precision"], {}) else "fp32"
        peak = row["peaks"][precision]
        found.setdefault(f"{precision} ({peak['details']['measured']})", []).append(f"{peak['gflops']:.0f}")
    reached = [f"{name} {' and '.join(dict.fromkeys(rates))} GFLOP/s" for name, rates in found.items()]
    return f"peak in the same turns: {'; '.join(reached)}"


def _profile(record: dict[str, Any]) -> ResultTable:
    first, settings = record["rows"][0]["contenders"][0], record["settings"]
    names = list(first["details"]["profile"]["parts"])
    rows = []
    for row in record["rows"]:
        for found in row["contenders"]:
            subject = (row["model"], found["name"])
            if "absent" in found:
                rows.append((*subject, "-", f"cannot run: {found['absent']}", *[""] * len(names), "", ""))
                continue
            precision = row["precision"] if found["name"] == row["contenders"][0]["name"] else "fp32"
            profiled = found["details"]["profile"]
            rate = row["peaks"]["bf16" if precision == "bf16" else "fp32"]["gflops"]
            cells = []
            for part in profiled["parts"].values():
                share, own = f"{part['milliseconds'] / profiled['milliseconds']:.0%}", part.get("gflops")
                cells.append(f"{share} at {own:.0f}" if own else share)
            least = [6e3 * row[key] * settings["batch_size"] / (1e9 * rate) for key in ("macs", "winograd_macs")]
            rows.append(
                (*subject, f"{profiled['milliseconds']:.0f}", *cells, f"{rate:.0f}", *map("{:.0f}".format, least))
            )
    note = (
        f"Shares of a step, and the rate of torch's convolutions in GFLOP/s beside the processor's peak, at which all "
        f"multiply-adds, and those that Winograd's algorithm leaves, would take the least. Batches of "
        f"{settings['batch_size']}, {settings['data']}; means of "
        f"{settings['steps']} steps under torch's profiler."
    )
    headings = ("network", "contender", "ms a step", *names, "peak", "least, ms", "by Winograd's count")
    return ResultTable(headings, tuple(rows), note)


def _kernel_choice(record: dict[str, Any]) -> ResultTable:
    rows = [
        (
            row["data"],
            row["recipe"],
            f"{row['iterations']:,}",
            *(mean_and_spread(row["val_error"][kernels]) for kernels in ("torch", "winograd")),
            f"{row['difference']:+.2f} (standard error {row['standard_error']:.2f})",
            "go" if row["go"] else "no go",
        )
        for row in record["rows"]
    ]
    first, settings = record["rows"][0], record["settings"]
    note = (
        f"{settings['model']}, {len(first['seeds'])} seeds each, in fp32; mean ± standard deviation of the error in % "
        f"on {first['num_images']:,} images held out of train. Go: the difference is within "
        f"{settings['within_standard_errors']:g} standard errors."
    )
    headings = (
        "data",
        "recipe",
        "iterations",
        "val error, torch, %",
        "val error, Winograd, %",
        "difference",
        "verdict",
    )
    return ResultTable(headings, tuple(rows), note)


def _convolutions(record: dict[str, Any]) -> ResultTable:
    rows = []
    for row in record["rows"]:
        errors = [", ".join(f"{error:.1e}" for error in _listed(row["errors"][way])) for way in ("torch", "winograd")]
        if "network" in row:
            rows.append((row["network"], "whole gradient", row["precision"], "", "", "", *errors))
            continue
        images, channels, side = row["layer"]
        times = [
            " / ".join(f"{1e6 * median(turns):,.0f}" for turns in row["seconds"][way].values())
            for way in ("torch", "winograd")
        ]
        what = f"{images} x {channels} x {side} x {side}"
        rows.append((row["where"], what, row["precision"], *times, spread(row["ratio"]), *errors))
    note = (
        f"Forward / both gradients; {medians(record['settings']['turns']).lower()} on {record['settings']['threads']} "
        "threads. Errors relative to double precision, of outputs, gradients by input and by weights."
    )
    times_headings = ("torch, µs", "Winograd, µs", "faster by")
    return ResultTable(
        ("where", "layer", "precision", *times_headings, "errors of torch", "errors of Winograd"), tuple(rows), note
    )


def _listed(errors: Any) -> list[float]:
    return errors if isinstance(errors, list) else [errors]


def _time_to_accuracy(record: dict[str, Any]) -> ResultTable:
    rows = [
        (
            f"{row['minutes']:.1f}",
            f"{row['iterations']:,}",
            f"{row['initial_iterations']:,} at {row['initial_scale']:g}" if row["initial_iterations"] else "",
            *(mean_and_spread([100 - error for error in row[key]]) for key in ("test_error", "test_error_shifted")),
            mean_and_spread(row["train_error"]),
            mean_and_spread(row["train_error_clean"]),
            str(len(row["seed"])),
        )
        for row in record["rows"]
    ]
    settings = record["settings"]
    what = f"{settings['model']} on {settings['data']['name']}, recipe {settings['recipe']['name']}"
    views = f"shifted: by up to {settings['shifted']['shift']} pixel in all directions"
    note = f"{what}; mean ± standard deviation; {views}."
    headings = (
        "minutes",
        "iterations",
        "of them with smaller images",
        "test accuracy, %",
        "shifted",
        "training error, %",
        "and not augmented",
        "seeds",
    )
    return ResultTable(headings, tuple(rows), note)


def _demo(record: dict[str, Any]) -> ResultTable:
    rows = [
        (row["name"], row["commit"], f"{row['median']:.0f}", f"{min(row['seconds']):.0f} to {max(row['seconds']):.0f}")
        for row in record["rows"]
    ]
    settings = record["settings"]
    ratios = settings["ratios"]
    note = (
        f"`{settings['command']}`, medians of {settings['turns']} turns, from nothing to the report; before / now "
        f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})."
    )
    return ResultTable(("checkout", "commit", "seconds", "lowest to highest"), tuple(rows), note)


TRAINING_TABLES = {
    "demo": _demo,
    "training": _training,
    "profile": _profile,
    "kernel-choice": _kernel_choice,
    "convolutions": _convolutions,
    "time-to-accuracy": _time_to_accuracy,
}
"""By the records' kinds."""
