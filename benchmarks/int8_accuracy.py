"""What eight-bit integers cost in accuracy: a network's test error in float32, and in int8 in both engines.

    python benchmarks/int8_accuracy.py NAME --data FOLDER -- RUN
    python benchmarks/int8_accuracy.py NAME --data FOLDER -- resnet20 --weights FILE --mean 0.49,0.48,0.45

NAME is what the record calls the network. What follows `--` is handed to `reslab quantize`, with its own calibration
images and its own gate; the files are then evaluated by `reslab eval` on the test split of FOLDER's data, once. The
network's row in results/bench/int8-accuracy.json is written anew.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from reslab.bench.records import make_record, read_benchmark
from reslab.console import progress_bar
from reslab.deploy.engine_files import ENGINE_FILES
from reslab.files.atomic import write_json

RECORD = Path(__file__).resolve().parents[1] / "results" / "bench" / "int8-accuracy.json"


def reslab(*arguments: object) -> Any:
    command = [sys.executable, "-m", "reslab", *map(str, arguments), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def measure(name: str, network: list[str], data: str) -> dict[str, Any]:
    """A record's row."""
    engines: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, progress_bar() as progress:
        task = progress.add_task("Exporting", total=1 + 2 * len(ENGINE_FILES))
        exported = Path(folder) / "float32.onnx"
        made = reslab("export", "onnx", *network, "--out", exported)
        progress.update(task, description="Evaluating float32", advance=1)
        tested = reslab("eval", exported, "--data", data)
        for engine, files in ENGINE_FILES.items():
            progress.update(task, description=f"Quantising for {engine}", advance=1)
            path = Path(folder) / f"int8{files.suffixes[0]}"
            engines[engine] = reslab("quantize", *network, "--data", data, "--engine", engine, "--out", path)
            progress.update(task, description=f"Evaluating {engine}", advance=1)
            engines[engine]["test_error"] = reslab("eval", path, "--data", data)["top1_error"]
            del engines[engine]["path"]
    return {
        "model": name,
        "net": made["model"],
        "float32_error": tested["top1_error"],
        "int8_error": max(found["test_error"] for found in engines.values()),
        "num_images": tested["num_images"],
        "engines": engines,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the network in the record")
    parser.add_argument("network", nargs="+", help="as for `reslab quantize`, after --")
    parser.add_argument("--data", required=True, help="name or folder, with train and test images")
    asked = parser.parse_args()
    row = measure(asked.name, asked.network, asked.data)
    before = read_benchmark(RECORD)["rows"] if RECORD.exists() else []
    rows = [row, *(other for other in before if other["model"] != row["model"])]
    settings = {"data": Path(asked.data).name}
    write_json(RECORD, make_record("int8-accuracy", settings, sorted(rows, key=lambda row: row["model"])))
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
