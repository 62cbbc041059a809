"""Records as tables of texts, for a terminal and for pages. Importing this module imports no torch."""

from collections.abc import Callable
from statistics import median
from typing import Any

from reslab.bench.result_table import ResultTable, mean_and_spread, medians, spread
from reslab.bench.training_tables import TRAINING_TABLES

__all__ = ["make_table"]

_PASSES_TOGETHER = 5


def make_table(record: dict[str, Any]) -> ResultTable:
    """The table of a benchmark's record."""
    makers: dict[str, Callable[[dict[str, Any]], ResultTable]] = {
        **TRAINING_TABLES,
        "rates": _rates,
        "inference": _inference,
        "pipeline": _pipeline,
        "memory": _memory,
        "photo-loading": _photos,
        "photo-dense": _photos,
        "photo-memory": _passes,
        "int8-accuracy": _int8_accuracy,
        "transfer": _transfer,
        "fine-tuning-time": _fine_tuning_time,
    }
    return makers[record["benchmark"]](record)


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
    note = f"{medians(record['settings']['turns'])}."
    return ResultTable(("rate", "median", "lowest to highest", "threads", "measured as"), tuple(rows), note)


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
        f"{medians(settings['turns'])} of at least {settings['seconds']:g} s; matrix products between them, in "
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
    note = f"Peaks of the whole process; {medians(record['settings']['turns']).lower()}."
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
    note = f"{medians(record['settings']['turns'])}; {record['settings']['what']}."
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


def _transfer(record: dict[str, Any]) -> ResultTable:
    rows = [
        (
            row["data"],
            mean_and_spread(row["errors"]["weights"]),
            mean_and_spread(row["errors"]["scratch"]),
            f"{row['gain']:.1f} ({row['interval'][0]:.1f} to {row['interval'][1]:.1f})",
        )
        for row in record["rows"]
    ]
    settings = record["settings"]
    pretrained, seeds = settings["pretrained"], len(settings["seeds"])
    images = pretrained["recipe"]["data"]["images"]["train_size"]
    note = (
        f"Top-1 error in %, mean ± standard deviation of {seeds} seeds, and the gain in points with its 95 % interval "
        f"(Student's t). {settings['net']} by the recipe fine-tune at {images} pixels; the weights are of seven other "
        f"classes of CIFAR-10, of which it errs on {pretrained['test_error']:.1f} % of the test images."
    )
    return ResultTable(("data", "with weights", "from scratch", "gain"), tuple(rows), note)


def _fine_tuning_time(record: dict[str, Any]) -> ResultTable:
    settings = record["settings"]
    rows = [
        (
            row["arm"],
            mean_and_spread(row["errors"]),
            f"{min(row['epochs']):.1f} to {max(row['epochs']):.1f}",
            f"{median(row['minutes']):.1f} ({min(row['minutes']):.1f} to {max(row['minutes']):.1f})",
        )
        for row in record["rows"]
    ]
    gain = settings["gain_over_head_alone"]
    note = (
        f"{settings['net']} at {settings['recipe']['data']['images']['train_size']} pixels, "
        f"{record['rows'][0]['train_images']:,} training photos and {settings['val_images']:,} held out, "
        f"{len(settings['seeds'])} seeds; minutes of the whole training with the run's report, on "
        f"{settings['execution']['threads']} threads in {settings['execution']['precision']}. All layers are better by "
        f"{gain['mean']:.1f} points ({gain['interval'][0]:.1f} to {gain['interval'][1]:.1f})."
    )
    return ResultTable(("trained", "val error (%)", "epochs", "minutes"), tuple(rows), note)
