"""Int8: what the graphs hold, how good they are, and what the gate lets through."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest

from reslab.deploy import (
    Comparison,
    DeployError,
    Gate,
    QuantizationError,
    compare,
    deploy_network,
    evaluate_deployed,
    load_deployed,
    quantize,
    quantize_onnx,
    quantize_openvino,
)
from reslab.deploy.engines import openvino_core, quiet_import
from reslab.deploy.gate import check
from reslab.errors import DataError, WeightsError
from reslab.models import create_model
from reslab.trained import Trained

onnxruntime = quiet_import("onnxruntime")  # without its telemetry

ENGINES = ["onnxruntime", "openvino"]
pytestmark = pytest.mark.usefixtures("short_turns")
QUANTIZERS = {"onnxruntime": quantize_onnx, "openvino": quantize_openvino}
GOOD = Comparison(
    engine="openvino",
    split="val",
    num_images=1000,
    float32_error=10.0,
    int8_error=10.5,
    agreement=99.0,
    speed_ratio=3.0,
    speed_ratios=(3.0,),
    batch_size=32,
)


@pytest.mark.parametrize("engine", ENGINES)
def test_int8_knows_the_digits_as_well_as_float32(engine, files, digits):
    split = digits.split("test")
    with load_deployed(files.float32[engine]) as float32, load_deployed(files.int8[engine]) as int8:
        errors = [evaluate_deployed(deployed, split).top1_error for deployed in (float32, int8)]
        logits = [deployed(split.images) for deployed in (float32, int8)]
        assert int8.metadata.keys() - float32.metadata.keys() == {"reslab.quantization"}
        about = json.loads(int8.metadata["reslab.quantization"])
        assert (about["engine"], about["calibration_images"]) == (engine, 100)
        assert (int8.preprocessing, int8.classes) == (float32.preprocessing, float32.classes)
    assert errors[0] < 10
    assert errors[1] <= errors[0] + 1
    assert 0 < np.abs(logits[0] - logits[1]).mean() < 0.05 * np.abs(logits[0]).max()


def test_onnxruntime_computes_everything_in_integers(files, tmp_path):
    """Of what it makes of the graph, only the normalisation, shortcut A's slices and the logits stay in float32."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(files.int8["onnxruntime"], options, providers=["CPUExecutionProvider"])
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    before = Counter(node.op_type for node in onnx.load(files.float32["onnxruntime"]).graph.node)
    assert operators["QLinearConv"] == before["Conv"] == 5
    assert operators["QLinearAdd"] == before["Add"] == 2
    assert operators["QLinearGlobalAveragePool"] == operators["QGemm"] == 1
    assert not operators.keys() & {"Conv", "FusedConv", "Add", "Gemm", "Relu", "GlobalAveragePool"}


def test_openvino_computes_everything_in_integers(files):
    compiled = openvino_core().compile_model(files.int8["openvino"], "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = Counter()
    for node in compiled.get_runtime_model().get_ops():
        about = node.get_rt_info()
        if node.get_type_name() == "ExecutionNode" and about["layerType"].value in ("Convolution", "FullyConnected"):
            kinds[about["layerType"].value, about["runtimePrecision"].value] += 1
    assert sum(kinds.values()) == 6  # additions are part of the convolutions before them
    assert {precision for _, precision in kinds} <= {"u8", "i8"}


def test_weights_have_a_scale_for_every_channel_and_no_zero_point(files):
    graph = onnx.load(files.int8["onnxruntime"]).graph
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {name: array for name, array in arrays.items() if array.dtype == np.int8 and array.ndim == 4}
    assert len(weights) == 5
    for name, array in weights.items():
        (node,) = (node for node in graph.node if node.op_type == "DequantizeLinear" and node.input[0] == name)
        assert arrays[node.input[1]].shape == (len(array),)
        assert not arrays[node.input[2]].any()
    activations = {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert {arrays[name].dtype for name in activations} == {np.dtype(np.uint8)}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_original_stays_and_nothing_calibrates_nothing(engine, files, tmp_path):
    path = files.float32[engine]
    before = path.read_bytes()
    with pytest.raises(QuantizationError, match=r"no images to calibrate with|cannot quantise"):
        QUANTIZERS[engine](path, [], tmp_path / f"out{path.suffix}")
    assert list(tmp_path.iterdir()) == []
    assert path.read_bytes() == before
    (tmp_path / path.name).write_text("hello")
    with pytest.raises(DeployError):
        QUANTIZERS[engine](tmp_path / path.name, [], tmp_path / f"out{path.suffix}")


# The gate


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"int8_error": 9.0}, None),
        ({"int8_error": 10.51}, r"error is 10.51 % instead of 10.00 % on 1,000 val images, and 0.5 points"),
        ({"int8_error": float("nan")}, "error is nan"),
        ({"speed_ratio": 1.0}, "at 1.00 times the speed of float32"),
        ({"speed_ratio": float("nan")}, "at nan times"),
        ({"speed_ratio": 0.5, "int8_error": 20.0}, "20.00 % instead .*; it runs at 0.50 times"),
    ],
)
def test_what_is_worse_or_no_faster_is_refused(changes, message):
    comparison = replace(GOOD, **changes)
    if message is None:
        check(comparison, 0.5)
        return
    with pytest.raises(QuantizationError, match=message):
        check(comparison, 0.5)


def test_a_comparison_counts_errors_and_agreement(files, digits):
    split = digits.split("test")
    path = files.float32["onnxruntime"]
    told = []
    with load_deployed(path) as float32, load_deployed(files.int8["onnxruntime"]) as int8:
        found = compare(float32, int8, split, role="test", advance=told.append)
        logits = [deployed(split.images).argmax(axis=1) for deployed in (float32, int8)]
    assert found.float32_error == pytest.approx(100 * (logits[0] != split.labels).mean())
    assert found.int8_error == pytest.approx(100 * (logits[1] != split.labels).mean())
    assert found.agreement == pytest.approx(100 * (logits[0] == logits[1]).mean())
    assert found.error_rise == pytest.approx(found.int8_error - found.float32_error)
    assert (sum(told), found.num_images, found.engine) == (2 * len(split), len(split), "onnxruntime")
    assert found.speed_ratio == sorted(found.speed_ratios)[len(found.speed_ratios) // 2]
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_network_that_is_slower_is_seen_to_be_and_refused(files, digits):
    """One of nineteen times the multiply-adds in the place of the int8 file."""
    split = digits.split("val")
    larger = create_model("resnet20[in_channels=1,widths=32-64-128]").eval()
    slow = deploy_network(Trained(larger, files.trained.about), threads=1)
    with load_deployed(files.float32["onnxruntime"], threads=1) as float32, slow:
        found = compare(float32, slow, split, role="val")
    assert max(found.speed_ratios) < 0.5
    with pytest.raises(QuantizationError, match=f"it runs at {found.speed_ratio:.2f} times the speed of float32. --fo"):
        check(found, max_drop=100)


def without(data, role):
    return replace(data, splits={name: split for name, split in data.splits.items() if name != role})


def spoilt(data):
    """The same data with train images that say nothing of the others: black."""
    splits = {role: replace(split, images=split.images * (role != "train")) for role, split in data.splits.items()}
    return replace(data, splits=splits)


@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def test_a_worse_network_is_refused_and_leaves_what_was_there(engine, small_net, digits, tmp_path):
    data = spoilt(digits)
    out = tmp_path / ("int8.xml" if engine == "openvino" else "int8.onnx")
    out.write_bytes(b"an older file")
    arguments = {"engine": engine, "num_images": 20}
    with pytest.raises(QuantizationError, match=r"the int8 network was not written: its top-1 error is .* val images"):
        quantize(small_net, data, out, gate=Gate(threads=1), **arguments)
    assert [path.name for path in tmp_path.iterdir()] == [out.name]
    assert out.read_bytes() == b"an older file"
    if engine == "openvino":
        return
    report = quantize(small_net, data, out, gate=Gate(force=True, threads=1), **arguments)
    assert report.forced
    assert report.comparison.error_rise > 0.5
    with load_deployed(out) as deployed:
        assert deployed.classes == digits.classes


def test_a_network_is_calibrated_on_train_and_compared_on_other_images(small_net, digits, tmp_path):
    data = without(digits, "val")
    unnamed = Trained(small_net.model, replace(small_net.about, classes=None, sha256="abc"))
    told = []
    report = quantize(
        unnamed,
        data,
        tmp_path / "int8.onnx",
        engine="onnxruntime",
        num_images=50,
        gate=Gate(max_drop=2, force=True),  # a net this small may be no faster
        progress=lambda text, done, total: told.append((text, done, total)),
    )
    assert (report.comparison.split, report.calibration_images) == ("train", 50)
    assert report.comparison.num_images == len(digits.split("train")) - 50
    assert report.comparison.error_rise <= 2
    assert report.num_bytes == (tmp_path / "int8.onnx").stat().st_size < report.float32_bytes
    assert [text for text, *_ in told[:2]] == ["Exporting", "Quantising"]
    assert told[-1][1:] == (2 * report.comparison.num_images,) * 2
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["versions"].keys() == {"onnxruntime", "onnx"}
    with load_deployed(tmp_path / "int8.onnx") as deployed:
        assert deployed.classes == digits.classes  # from the data, where the weights do not say
        assert deployed.metadata["reslab.weights_sha256"] == "abc"


def test_what_does_not_fit_gets_a_sentence(small_net, digits, tiny_data, tmp_path):
    unknown = Trained(small_net.model, replace(small_net.about, normalization=None))
    for source, data, options, error, message in (
        (unknown, digits, {}, WeightsError, "does not say how its inputs were normalised"),
        (small_net, tiny_data(), {}, DataError, "tiny has images of|normalisation is for images of shape"),
        (small_net, digits, {"num_images": 0}, QuantizationError, "at least one image"),
        (small_net, without(digits, "val"), {"num_images": 5000}, QuantizationError, "none are left to compare on"),
        (small_net, digits, {"engine": "onnxruntime"}, QuantizationError, "must end in .onnx"),
    ):
        with pytest.raises(error, match=message):
            quantize(source, data, tmp_path / "int8.xml", **options)
    with pytest.raises(DataError, match="has no train images"):
        quantize(small_net, without(digits, "train"), tmp_path / "int8.xml")
    assert list(tmp_path.iterdir()) == []
