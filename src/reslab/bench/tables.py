"""Records as tables of texts, for a terminal and for pages. Importing this module imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median, stdev
from typing import Any

__all__ = ["SHARES", "ResultTable", "make_table"]

_PASSES_TOGETHER = 5
_OURS_FASTER = "reslab is faster by"


@dataclass(frozen=True)
class ResultTable:
    """A record's figures.

    Args:
        headings: of the columns.
        rows: one text for each column.
        note: what one must know to read them, one line.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def make_table(record: dict[str, Any]) -> ResultTable:
    """The table of a benchmark's record."""
    makers: dict[str, Callable[[dict[str, Any]], ResultTable]] = {
        "rates": _rates,
        "training": _training,
        "profile": _profile,
        "inference": _inference,
        "pipeline": _pipeline,
        "memory": _memory,
        "photo-loading": _photos,
        "photo-dense": _photos,
        "photo-memory": _passes,
        "int8-accuracy": _int8_accuracy,
        "time-to-accuracy": _time_to_accuracy,
        "kernel-choice": _kernel_choice,
    }
    return makers[record["benchmark"]](record)


def _medians(turns: int) -> str:
    return f"Medians of {turns} turns" if turns > 1 else "One turn"


def spread(ratio: dict[str, Any]) -> str:
    """`1.58 (1.55 to 1.66)`."""
    return f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"


def _rates(record: dict[str, Any]) -> ResultTable:
    rows = []
    for row in record["rows"]:
        for found in row["contenders"]:
            if "absent" in found:
                rows.append((found["name"], "-", "", "", f"cannot run: {found['absent']}"))
                continue
            unit = {"copy": "GB/s", "int8": "GOP/s"}.get(found["name"], "GFLOP/s")
            rate = found["gb_per_second" if found["name"] == "copy" else "gflops"]
            turns, details = found["turns"], found["details"]
            lowest, highest = f"{min(turns):.0f}", f"{max(turns):.0f}"
            rows.append(
                (
                    found["name"],
                    f"{rate:.0f} {unit}",
                    f"{lowest} to {highest}",
                    str(details["threads"]),
                    details["measured"],
                )
            )
    note = f"{_medians(record['settings']['turns'])}."
    return ResultTable(("rate", "median", "lowest to highest", "threads", "measured as"), tuple(rows), note)


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
        f"Batches of {settings['batch_size']}, {settings['data']}; {_medians(settings['turns']).lower()} of "
        f"{settings['steps']} steps; {peaks_of(record)}."
    )
    headings = ("network", "contender", "images/s", _OURS_FASTER, *SHARES, "first step")
    return ResultTable(headings, tuple(rows), note)


SHARES = ("of the peak", "of it, by Winograd's count")
"""Headings: of the processor's arithmetic, what is used if all multiply-adds are counted, and if only those are that
Winograd's algorithm leaves."""


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


def _inference(record: dict[str, Any]) -> ResultTable:
    rows = []
    for row in record["rows"]:
        for found in row["contenders"]:
            subject = (row["model"], str(row["batch_size"]), found["name"])
            if "absent" in found:
                rows.append((*subject, "", "-", f"cannot run: {found['absent']}", ""))
                continue
            share = found["share_of_rate"]
            rows.append(
                (
                    *subject,
                    found["details"]["precision"],
                    f"{found['images_per_second']:.4g}",
                    spread(found["ratio"]) if found["ratio"] else "",
                    f"{share:.0%}" if share is not None else "",
                )
            )
    rates = {found["name"]: found for row in record["rows"] for found in row["references"] if "absent" not in found}
    reached = ", ".join(f"{name} {found['gflops']:.0f}" for name, found in rates.items())
    settings = record["settings"]
    note = (
        f"{_medians(settings['turns'])} of at least {settings['seconds']:g} s; matrix products between them, in "
        f"G(FL)OP/s: {reached}."
    )
    headings = ("network", "batch", "contender", "precision", "images/s", "to the fastest fp32 peer", "of the rate")
    return ResultTable(headings, tuple(rows), note)


def _pipeline(record: dict[str, Any]) -> ResultTable:
    rows = []
    for row in record["rows"]:
        for found in row["contenders"]:
            compared = {"dataloader": row["ratio"], "raw": row["share_of_raw"]}.get(found["name"])
            speed = f"{found['images_per_second']:.4g}"
            rows.append((row["network"], found["name"], speed, spread(compared) if compared else ""))
    settings, (first, *_) = record["settings"], record["rows"]
    note = (
        f"{first['num_images']} images of {settings['data']}, batches of {settings['batch_size']}; medians of "
        f"{settings['turns']} turns. decoding makes pixels of files on every core, raw is the network alone, on pixels "
        f"that lie ready; sharing the cores at these rates, both label {first['limit']:.4g} images/s at the most, "
        f"{first['limit_ratio']:.2f} times the dataloader's."
    )
    return ResultTable(("file", "contender", "images/s", "reslab to this one"), tuple(rows), note)


def _memory(record: dict[str, Any]) -> ResultTable:
    rows = []
    for row in record["rows"]:
        for found in row["contenders"]:
            details, ratio = found["details"], row["time_ratios"].get(found["name"])
            predicted = details.get("predicted_bytes")
            rows.append(
                (
                    row["model"],
                    found["name"],
                    str(details["batch_size"]),
                    f"{details['peak_bytes'] / 2**30:.2f} GiB",
                    f"{predicted / 2**30:.2f} GiB" if predicted else "",
                    f"{found['images_per_second']:.4g}",
                    spread(ratio) if ratio else "",
                )
            )
    headings = ("network", "contender", "batch", "peak", "predicted", "images/s", "time an image, to all-kept")
    note = f"Peaks of the whole process; {_medians(record['settings']['turns']).lower()}."
    return ResultTable(headings, tuple(rows), note)


def _photos(record: dict[str, Any]) -> ResultTable:
    unit, words = ("images_per_second", "images/s")
    if record["benchmark"] == "photo-dense":
        unit, words = ("gmacs_per_second", "G multiply-adds/s")
    rows = []
    for row in record["rows"]:
        for found in row["contenders"]:
            compared = row["ratios"].get(found["name"])
            rows.append((row["work"], found["name"], f"{found[unit]:.4g}", spread(compared) if compared else ""))
    first = record["rows"][0]["contenders"][0]["name"]
    note = f"{_medians(record['settings']['turns'])}; {record['settings']['what']}."
    return ResultTable(("work", "contender", words, f"{first} to this one"), tuple(rows), note)


def _passes(record: dict[str, Any]) -> ResultTable:
    settings, (row,) = record["settings"], record["rows"]
    sizes = [size / 2**20 for size in row["resident_bytes"]]
    first = median(sizes[:_PASSES_TOGETHER])
    rows = []
    for start in range(0, len(sizes), _PASSES_TOGETHER):
        some = sizes[start : start + _PASSES_TOGETHER]
        growth = f"{median(some) / first - 1:+.1%}"
        passes = f"{start + 1} to {start + len(some)}"
        rows.append((passes, f"{median(some):,.0f} MiB", f"{min(some):,.0f} to {max(some):,.0f}", growth))
    note = (
        f"Resident memory of the process and its {settings['workers']} workers, all that they share counted thrice, "
        f"after each pass over {settings['num_files']:,} files."
    )
    return ResultTable(("passes", "median", "lowest to highest", "to the first"), tuple(rows), note)


def _int8_accuracy(record: dict[str, Any]) -> ResultTable:
    engines = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
    rows = [
        (
            row["net"],
            f"{row['float32_error']:.2f}",
            *(f"{row['engines'][engine]['test_error']:.2f}" for engine in engines),
            f"{row['int8_error'] - row['float32_error']:+.2f}",
        )
        for row in record["rows"]
    ]
    calibrated = {engine["calibration_images"] for row in record["rows"] for engine in row["engines"].values()}
    note = (
        f"Top-1 error in % on the {record['rows'][0]['num_images']:,} test images of {record['settings']['data']}; "
        f"calibrated on {', '.join(map(str, sorted(calibrated)))} train images."
    )
    headings = ("network", "float32", *(f"int8, {name}" for name in engines.values()), "rise of the worse one")
    return ResultTable(headings, tuple(rows), note)


def _mean_and_spread(numbers: list[float]) -> str:
    return f"{mean(numbers):.2f}" + (f" ± {stdev(numbers):.2f}" if len(numbers) > 1 else "")


def _kernel_choice(record: dict[str, Any]) -> ResultTable:
    rows = [
        (
            row["data"],
            row["recipe"],
            f"{row['iterations']:,}",
            *(_mean_and_spread(row["val_error"][kernels]) for kernels in ("torch", "winograd")),
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


def _time_to_accuracy(record: dict[str, Any]) -> ResultTable:
    rows = [
        (
            f"{row['minutes']:.1f}",
            f"{row['iterations']:,}",
            f"{row['initial_iterations']:,} at {row['initial_scale']:g}" if row["initial_iterations"] else "",
            *(_mean_and_spread([100 - error for error in row[key]]) for key in ("test_error", "test_error_shifted")),
            _mean_and_spread(row["train_error"]),
            _mean_and_spread(row["train_error_clean"]),
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
