"""A network at work: images in, logits out, by ours and by other engines.

Peers run the network as their libraries' first page says, in fp32, with all cores:

    torch-eager           eager, NCHW layout
    torch-channels-last   eager, NHWC layout
    torch-compiled        torch.compile in NHWC layout, with weights frozen into the code
    timm                  timm's own network where it has one, eager, NHWC layout
    onnxruntime           torch.onnx.export, run by ONNX Runtime
    openvino              openvino.convert_model, compiled for the batch, and told to compute in fp32
    openvino-default      the same as it comes, which is bf16 on processors that have it

For one of torchvision's networks, torch, ONNX Runtime and OpenVINO run torchvision's own. Ours are files that take
pixels, as `reslab export` and `reslab quantize` write them: given ones, or those made here of fresh weights:

    reslab-onnxruntime    `reslab export onnx`, run by ONNX Runtime
    reslab-openvino       `reslab export openvino`, run by OpenVINO
    ...-int8              the same after `reslab quantize`
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import nn

from reslab.analysis.complexity import count_macs
from reslab.bench.rates import PRODUCTS, Rate, rate_contender
from reslab.bench.records import best, describe, ratios, share
from reslab.bench.turns import BenchmarkError, CannotRun, Contender, Turns, Work, take_turns
from reslab.deploy.deployed import Deployed
from reslab.deploy.engine_files import ENGINE_FILES
from reslab.deploy.engines import openvino_core, quiet_import
from reslab.deploy.runtime import Engine, load_deployed, read_metadata, read_openvino
from reslab.models import NetSpec, create_model
from reslab.trained import EXPORTED_SUFFIXES, load_trained

__all__ = ["ENGINES", "OUR_ENGINES", "InferenceTask", "compare_inference", "network_of_files", "precision_of"]

_OPERATIONS_A_MAC = 2
_CALIBRATION_IMAGES = 16


@dataclass(frozen=True)
class InferenceTask:
    """What is run.

    Args:
        spec: the network, for the peers.
        name: by which it is known, here and in other libraries.
        batch_size: images at a time.
        input_size: their side.
        files: ours, to be run by each runtime that reads them.
        threads: of every contender.
    """

    spec: NetSpec
    name: str
    batch_size: int
    input_size: int
    files: tuple[Path, ...] = ()
    threads: int = 1


def compare_inference(
    task: InferenceTask, engines: Sequence[str], turns: Turns, *, tell: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Runs a network by turns.

    Args:
        task: what is run.
        engines: of `ENGINES`; of ours none takes part where there are files.
        turns: how many, and how long.
        tell: is told what is being done.

    Returns:
        A record's row: the contenders with images a second, each with its `precision`, whether it is `ours`, its
        `ratio` to the best peer in fp32, and its `share_of_rate`: of the matrix product's rate in its own precision, in
        the same turns, at two operations a multiply-add.

    Raises:
        BenchmarkError: an unknown engine, or a contender that failed.
    """
    for engine in engines:
        if engine not in ENGINES:
            raise BenchmarkError(f"there is no engine {engine!r}; there are {', '.join(ENGINES)}.")
    ours = {
        f"{path.name}, {engine}": partial(_deployed, path, engine, task)
        for path in task.files
        for engine in _engines(path)
    }
    if not task.files:
        ours = {name: partial(ENGINES[name], task) for name in engines if name in OUR_ENGINES}
    peers = {name: partial(ENGINES[name], task) for name in engines if name not in OUR_ENGINES}
    contenders = [Contender(name, prepare) for name, prepare in (ours | peers).items()]
    references = [rate_contender(rate, task.threads) for rate in PRODUCTS]
    outcomes = take_turns([*contenders, *references], turns, tell=tell)
    rates = {outcome.name: outcome for outcome in outcomes[len(contenders) :]}
    outcomes = outcomes[: len(contenders)]
    fastest = best([peer for peer in outcomes[len(ours) :] if peer.details.get("precision") == "fp32"])
    macs = count_macs(task.spec, (task.input_size, task.input_size))
    rows = []
    for outcome in outcomes:
        row = {**describe(outcome), "ours": outcome.name in ours}
        if outcome.rates:
            reference = rates[outcome.details["precision"]]
            row["ratio"] = ratios(outcome, fastest) if fastest else None
            row["share_of_rate"] = share(outcome, _OPERATIONS_A_MAC * macs, reference) if reference.rates else None
        rows.append(row)
    return {
        "model": task.name,
        "macs": macs,
        "batch_size": task.batch_size,
        "input_size": task.input_size,
        "contenders": rows,
        "best_fp32_peer": fastest.name if fastest else None,
        "references": [describe(outcome, "gflops", 1e-9) for outcome in rates.values()],
    }


def _engines(path: Path) -> tuple[Engine, ...]:
    return ("openvino",) if path.suffix == ".xml" else get_args(Engine)


# Peers


def _network(task: InferenceTask) -> nn.Module:
    """torchvision's own network where it has this one, which people would take, and ours otherwise."""
    import torchvision

    if task.name in torchvision.models.list_models(torchvision.models) and task.spec.stem != "cifar":
        return torchvision.models.get_model(task.name).eval()  # type: ignore[no-any-return]
    return create_model(task.spec).eval()


def _images(task: InferenceTask) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(task.batch_size, task.spec.in_channels, task.input_size, task.input_size, generator=generator)


def _torch(kind: str, task: InferenceTask, folder: Path) -> Work:
    torch.set_num_threads(task.threads)
    if kind == "timm":
        import timm

        if task.spec.stem == "cifar" or not timm.is_model(task.name):
            raise CannotRun(f"timm has no {task.name}")
        model: nn.Module = timm.create_model(task.name).eval()
    else:
        model = _network(task)
    layout = torch.contiguous_format if kind == "torch-eager" else torch.channels_last
    model = model.to(memory_format=layout)
    images = _images(task).contiguous(memory_format=layout)
    if kind == "torch-compiled":
        from torch._inductor import config

        config.freezing = True
        model = torch.compile(model, dynamic=False)  # type: ignore[assignment]

    def step() -> None:
        with torch.no_grad():  # inference_mode would keep the compiler from freezing
            model(images)

    details = {"precision": "fp32", "threads": task.threads, "channels_last": layout is torch.channels_last}
    return Work(step, task.batch_size, details)


def _onnxruntime(task: InferenceTask, folder: Path) -> Work:
    onnxruntime, path, images = quiet_import("onnxruntime"), folder / "peer.onnx", _images(task)
    torch.onnx.export(_network(task), (images,), path, dynamo=True, external_data=False, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    batch = {session.get_inputs()[0].name: images.numpy()}
    return Work(lambda: session.run(None, batch), task.batch_size, {"precision": "fp32", "threads": task.threads})


def _openvino(hint: dict[str, str], task: InferenceTask, folder: Path) -> Work:
    openvino, images = quiet_import("openvino"), _images(task)
    model = openvino.convert_model(_network(task), example_input=images, input=[tuple(images.shape)])
    settings = {"INFERENCE_NUM_THREADS": task.threads, "PERFORMANCE_HINT": "LATENCY", **hint}
    compiled = openvino_core().compile_model(model, "CPU", settings)
    request, batch = compiled.create_infer_request(), [images.numpy()]
    used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    details = {"precision": "bf16" if used == "bf16" else "fp32", "threads": task.threads}
    return Work(lambda: request.infer(batch, share_inputs=True, share_outputs=True), task.batch_size, details)


# Files of ours


def network_of_files(paths: Sequence[Path]) -> str:
    """The spelling of the network that files hold.

    Raises:
        ReslabError: a file that cannot be read, is of another kind, or holds another network than the first.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.suffix not in EXPORTED_SUFFIXES:
            raise BenchmarkError(
                f"a deployed file ends in {' or '.join(EXPORTED_SUFFIXES)}, and {path.name!r} does not."
            )
        if not path.is_file():
            raise BenchmarkError(f"there is no file {path}.")
        metadata = read_metadata(path) if path.suffix == ".onnx" else read_openvino(path)[1]
        if "reslab.model" not in metadata:
            raise BenchmarkError(f"{path} does not say which network it holds; write it with `reslab export`.")
        found.setdefault(metadata["reslab.model"], path)
    if len(found) > 1:
        raise BenchmarkError(f"the files hold different networks ({', '.join(found)}); compare them one by one.")
    return next(iter(found))


def precision_of(deployed: Deployed) -> Rate:
    """What a file computes in."""
    return "int8" if "reslab.quantization" in deployed.metadata else "fp32"


def _deployed(path: Path, engine: Engine, task: InferenceTask, folder: Path) -> Work:
    deployed = load_deployed(path, engine, task.threads)
    shape = (task.batch_size, *deployed.preprocessing.shape)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    details = {
        "precision": precision_of(deployed),
        "threads": task.threads,
        "runtime": engine,
        "input": f"uint8 {shape}",
        "megabytes": round(sum(part.stat().st_size for part in path.parent.glob(f"{path.stem}.*")) / 1e6, 2),
    }
    return Work(lambda: deployed(images), task.batch_size, details)


def _exported(engine: Engine, precision: Rate, task: InferenceTask, folder: Path) -> Work:
    """A file made of fresh weights and calibrated on noise, on neither of which speed depends."""
    ones = (1.0,) * task.spec.in_channels
    trained = load_trained(task.name, mean=ones, std=ones, input_size=task.input_size)
    files = ENGINE_FILES[engine]
    path = folder / f"fp32{files.suffixes[0]}"
    files.export(trained, path)
    if precision == "int8":
        shape = (_CALIBRATION_IMAGES, *trained.about.preprocessing.shape)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        path = files.quantize(path, [images], folder / f"int8{files.suffixes[0]}")
    return _deployed(path, engine, task, folder)


OUR_ENGINES: dict[str, Callable[[InferenceTask, Path], Work]] = {
    "reslab-onnxruntime": partial(_exported, "onnxruntime", "fp32"),
    "reslab-openvino": partial(_exported, "openvino", "fp32"),
    "reslab-onnxruntime-int8": partial(_exported, "onnxruntime", "int8"),
    "reslab-openvino-int8": partial(_exported, "openvino", "int8"),
}
PEER_ENGINES: dict[str, Callable[[InferenceTask, Path], Work]] = {
    "torch-eager": partial(_torch, "torch-eager"),
    "torch-channels-last": partial(_torch, "torch-channels-last"),
    "torch-compiled": partial(_torch, "torch-compiled"),
    "timm": partial(_torch, "timm"),
    "onnxruntime": _onnxruntime,
    "openvino": partial(_openvino, {"INFERENCE_PRECISION_HINT": "f32"}),
    "openvino-default": partial(_openvino, {}),
}
ENGINES = OUR_ENGINES | PEER_ENGINES
