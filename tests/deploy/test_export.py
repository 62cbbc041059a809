import hashlib
import json
import os
import re
import stat
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from reslab.data.normalization import Normalization
from reslab.deploy import (
    DeployError,
    ExportError,
    ExportReport,
    export_onnx,
    export_openvino,
    export_program,
    load_deployed,
    onnx_export,
)
from reslab.deploy.engines import quiet_import
from reslab.deploy.export_task import TOLERANCE
from reslab.models import ResNet, create_model, parse_model

onnxruntime = quiet_import("onnxruntime")  # without its telemetry

BATCHES = (1, 2, 3, 5)
TINY = "resnet8[blocks=1,widths=8]"
# Spelling, height and width: every kind of shortcut, block, stem, pooling and norm, as small as they go.
NETWORKS = [
    ("resnet20[blocks=1-2-1]", (16, 24)),
    ("resnet20[shortcut=avgpool,blocks=1-2-1]", (16, 16)),
    ("resnet20[shortcut=gated,blocks=1-2-1]", (16, 16)),
    ("resnet20[shortcut=B,blocks=1-2-1]", (15, 15)),
    ("resnet50[stem=cifar,blocks=1-1,widths=16-32,num_classes=7]", (17, 17)),
    ("resnet50[stem=deep,projection_pool=true,stem_pool=ceil,blocks=1-1,widths=16-32]", (65, 65)),
    ("resnext50_32x4d[blocks=1-1-1,widths=16-32-64,replace_stride_with_dilation=false-true]", (64, 64)),
    ("preact_resnet18[squeeze_excitation=16,blocks=1-2,widths=16-32]", (64, 64)),
    ("resnet8[norm=group,activation=gelu,stochastic_depth=0.5,dropout=0.5]", (16, 16)),
    ("vgg16[blocks=1-1-1-1-1,widths=8-8-8-8-8]", (224, 224)),
    ("vgg16_bn[blocks=1-1-1-1-1,widths=8-8-8-8-8]", (64, 64)),
]


def make(spelling):
    """A network as if trained: with statistics and scales that a wrong folding of norms would show."""
    model = create_model(spelling)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, 0, 0.3)
    return model


def logits_of(model, images):
    model.eval()
    with torch.inference_mode():
        return model(torch.from_numpy(images)).numpy()


def session_of(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # several wait for each other actively, on cores that are busy
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@dataclass(frozen=True)
class Exported:
    model: nn.Module
    path: Path
    report: ExportReport

    @property
    def content(self):
        return onnx.load(self.path)


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda network: network[0])
def exported(request, tmp_path_factory):
    """One export for all that is asked of it, since each takes seconds."""
    spelling, size = request.param
    torch.manual_seed(0)
    model, path = make(spelling), tmp_path_factory.mktemp("export") / "net.onnx"
    return Exported(model, path, export_onnx(model, path, image_size=size, metadata={"reslab.model": spelling}))


def test_an_onnx_file_computes_what_the_network_computes(exported, rng):
    session = session_of(exported.path)
    for num_images in BATCHES:
        images = rng.normal(size=(num_images, *exported.report.input_shape)).astype(np.float32)
        (found,) = session.run(["logits"], {"images": images})
        expected = logits_of(exported.model, images)
        assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()
        # Rows differ, so that a graph that mixes up images would be found out.
        assert num_images == 1 or np.abs(expected[0] - expected[1]).max() > 10 * TOLERANCE * np.abs(expected).max()


def test_inputs_and_outputs_have_their_names_and_any_batch(exported):
    session = session_of(exported.path)
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, tuple(images.shape[1:])) == ("images", exported.report.input_shape)
    assert (logits.name, logits.shape[1:]) == ("logits", [exported.model.spec.num_classes])
    assert isinstance(images.shape[0], str)
    assert images.shape[0] == logits.shape[0]


def test_the_report_says_what_was_written(exported):
    report = exported.report
    assert (report.path, report.format, report.opset) == (exported.path, "onnx", 18)
    assert report.num_bytes == exported.path.stat().st_size
    assert report.num_nodes == len(exported.content.graph.node)
    assert 0 <= report.largest_difference <= TOLERANCE * report.largest_logit
    assert json.loads(json.dumps(report.to_dict()))["path"] == str(exported.path)


def test_the_graph_is_valid_and_holds_nothing_twice(exported):
    content = exported.content
    onnx.checker.check_model(content, full_check=True)
    names = [node.name for node in content.graph.node]
    assert len(set(names)) == len(names)
    arrays = [numpy_helper.to_array(tensor) for tensor in content.graph.initializer]
    assert len({tensor.name for tensor in content.graph.initializer}) == len(arrays)
    assert len({(array.shape, array.dtype.str, array.tobytes()) for array in arrays}) == len(arrays)
    (kept,) = content.metadata_props
    assert (kept.key, parse_model(kept.value)) == ("reslab.model", exported.model.spec)


def test_nodes_are_named_after_the_networks_modules_and_nothing_else_is_told(exported):
    nodes = {node.name: node.op_type for node in exported.content.graph.node}
    modules = dict(exported.model.named_modules())
    convolutions = {name for name, module in modules.items() if isinstance(module, nn.Conv2d)}
    assert {name for name, kind in nodes.items() if kind == "Conv"} == convolutions
    for name, kind in nodes.items():
        owner = name.rpartition(".")[0] if name not in modules else name
        assert owner in modules, f"{kind} {name}"
    content = exported.path.read_bytes()
    assert os.fsencode(os.path.dirname(torch.__file__)) not in content
    assert b"reslab/models" not in content


def test_norms_after_a_convolution_are_folded_into_it(exported):
    """In a pre-activation net those before a block's first convolution stay, since they follow an addition."""
    spec = exported.model.spec
    left = [node.op_type for node in exported.content.graph.node].count("BatchNormalization")
    assert left == (sum(spec.blocks) + 1 if spec.order == "pre" else 0)


@pytest.mark.parametrize(("spelling", "size"), [("resnet8", (16, 16)), ("vgg16[blocks=1-1,widths=8-8]", (64, 64))])
def test_a_program_loads_without_our_code_and_computes_the_same(spelling, size, tmp_path, rng):
    model = make(spelling)
    path = tmp_path / "net.pt2"
    report = export_program(model, path, image_size=size, metadata={"reslab.model": spelling})
    extra = {"reslab.model": ""}
    program = torch.export.load(path, extra_files=extra).module()
    for num_images in BATCHES:
        images = rng.normal(size=(num_images, 3, *size)).astype(np.float32)
        with torch.no_grad():
            found = program(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(found, logits_of(model, images), atol=TOLERANCE * report.largest_logit)
    assert extra == {"reslab.model": spelling}
    assert (report.format, report.opset, report.num_bytes) == ("torch-export", None, path.stat().st_size)
    with zipfile.ZipFile(path) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".json"))
    assert os.fsencode(os.path.dirname(torch.__file__)) not in text


def test_the_network_stays_as_it_was(tmp_path):
    model = make(TINY).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    export_onnx(model, tmp_path / "net.onnx", image_size=(16, 16))
    export_program(model, tmp_path / "net.pt2", image_size=(16, 16))
    assert model.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_the_size_is_the_usual_one_and_features_need_no_classifier(tmp_path):
    report = export_onnx(make("resnet8[blocks=1,widths=8,num_classes=0,in_channels=1]"), tmp_path / "net.onnx")
    assert report.input_shape == (1, 32, 32)
    (output,) = session_of(tmp_path / "net.onnx").get_outputs()
    assert (output.name, output.shape[1]) == ("features", 8)


class WrongWhenTraced(ResNet):
    """A network that exporters trace as another one, a little off."""

    def forward(self, x):
        logits = super().forward(x)
        return logits * (1 + 3 * TOLERANCE) if torch.compiler.is_exporting() else logits


class FrozenBatch(ResNet):
    """A network whose traced graph fits the traced batch only."""

    def forward(self, x):
        logits = super().forward(x)
        return logits + torch.zeros(int(x.shape[0]), 1) if torch.compiler.is_exporting() else logits


class Untraceable(ResNet):
    """A network whose path depends on the pixels."""

    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


EXPORTS = [(export_onnx, "net.onnx"), (export_openvino, "net.xml"), (export_program, "net.pt2")]


@pytest.mark.parametrize(("export", "name"), EXPORTS, ids=["onnx", "openvino", "program"])
@pytest.mark.parametrize(
    ("network", "message"),
    [
        (WrongWhenTraced, r"differs from the network by .* where the largest logit is"),
        (FrozenBatch, r"cannot trace this network|cannot run the file on 1 images|makes logits of shape|differs"),
        (Untraceable, r"cannot trace this network for batches of any size: Could not guard"),
    ],
)
def test_a_wrong_export_is_refused_and_leaves_what_was_there(export, name, network, message, tmp_path):
    model = network(parse_model(TINY))
    (tmp_path / name).write_bytes(b"an older export")
    with pytest.raises(ExportError, match=message):
        export(model, tmp_path / name, image_size=(16, 16))
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes() == b"an older export"


@pytest.mark.parametrize("damage", [0.01, float("nan")])
def test_a_changed_weight_in_the_file_is_found_out(damage, tmp_path, monkeypatch):
    read = onnx_export._session

    def damaged(path):
        content = onnx.load(path)
        weight = next(tensor for tensor in content.graph.initializer if tensor.name == "layer1.0.conv1.weight")
        values = numpy_helper.to_array(weight).copy()
        values[0] += damage
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        onnx.save(content, path)
        return read(path)

    monkeypatch.setattr(onnx_export, "_session", damaged)
    with pytest.raises(ExportError, match="differs from the network"):
        export_onnx(make(TINY), tmp_path / "net.onnx", image_size=(16, 16))
    assert list(tmp_path.iterdir()) == []


def test_logits_that_are_not_numbers_cannot_be_compared(tmp_path):
    model = make(TINY)
    nn.init.constant_(model.fc.bias, float("inf"))
    with pytest.raises(ExportError, match="NaN or infinite"):
        export_onnx(model, tmp_path / "net.onnx")


def test_images_that_do_not_fit_get_a_sentence(tmp_path):
    with pytest.raises(ExportError, match=r"15x15 images do not fit this network: .*size of tensor"):
        export_program(make("resnet8[shortcut=avgpool]"), tmp_path / "net.pt2", image_size=(15, 15))


def test_the_opset_is_the_one_asked_for(tmp_path):
    told = []
    path = tmp_path / "net.onnx"
    report = export_onnx(make(TINY), path, image_size=(16, 16), opset=21, progress=told.append)
    (imported,) = onnx.load(path).opset_import
    assert imported.version == report.opset == 21
    assert told == ["Tracing", "Comparing"]


@pytest.mark.parametrize("opset", [0, 17, 1000])
def test_an_opset_that_cannot_be_written_gets_a_sentence(opset, tmp_path):
    with pytest.raises(ExportError, match=f"must be between 18 and .*, not {opset}"):
        export_onnx(make(TINY), tmp_path / "net.onnx", opset=opset)


def test_an_opset_that_the_exporter_falls_back_from_gets_a_sentence(tmp_path, capfd):
    newest = onnx.defs.onnx_opset_version()
    with pytest.raises(ExportError, match=f"cannot be written with opset {newest}, only with 18"):
        export_onnx(
            make("resnet8[blocks=1,widths=8,activation=gelu]"), tmp_path / "net.onnx", image_size=(16, 16), opset=newest
        )
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_missing_libraries_get_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(DeployError, match=re.escape("needs onnxruntime: pip install 'reslab[deploy]'")):
        export_onnx(make(TINY), tmp_path / "net.onnx")


@pytest.mark.parametrize(("export", "name"), EXPORTS, ids=["onnx", "openvino", "program"])
def test_a_path_that_cannot_be_written_gets_a_sentence(export, name, tmp_path):
    model = make(TINY)
    (tmp_path / "file").write_text("")
    (tmp_path / f"folder{name}").mkdir()
    for path, message in (
        (tmp_path / "file" / name, "cannot write"),
        (tmp_path / f"folder{name}", "is a folder"),
        (tmp_path / "net.bin", "must end in"),
    ):
        with pytest.raises(ExportError, match=message):
            export(model, path, image_size=(16, 16))
    if os.geteuid() != 0:  # who may write everywhere
        locked = tmp_path / "locked"
        locked.mkdir()
        locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(ExportError, match=r"cannot write .*Permission denied"):
            export(model, locked / name, image_size=(16, 16))


def test_weights_beyond_what_a_file_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "_LARGEST_FILE", 5_000)
    with pytest.raises(ExportError, match="export it as torch-export"):
        export_onnx(make(TINY), tmp_path / "net.onnx", image_size=(16, 16))


# Pixels

PER_CHANNEL = Normalization.per_channel((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 3)
PER_PIXEL = Normalization(
    np.random.default_rng(0).uniform(size=(16, 24, 3)).astype(np.float32), np.ones(3, dtype=np.float32)
)


@pytest.mark.parametrize(
    ("spelling", "normalization"),
    [(TINY, PER_PIXEL), ("resnet8[blocks=1-1,widths=8-16]", PER_CHANNEL)],
    ids=["per-pixel", "per-channel"],
)
def test_a_file_for_pixels_computes_what_the_network_makes_of_normalised_images(spelling, normalization, tmp_path, rng):
    model = make(spelling)
    images = rng.integers(0, 256, (5, 16, 24, 3), dtype=np.uint8)
    # The definition, in double precision and apart from the class that normalises.
    normalized = (images / 255 - normalization.mean.astype(np.float64)) / normalization.std
    expected = logits_of(model, normalized.transpose(0, 3, 1, 2).astype(np.float32))
    for export, name in EXPORTS:
        report = export(model, tmp_path / name, normalization=normalization, image_size=(16, 24))
        assert (report.input, report.input_shape) == ("uint8", (16, 24, 3))
    (found,) = session_of(tmp_path / "net.onnx").run(["logits"], {"images": images})
    (in_openvino,) = compiled(tmp_path / "net.xml")(images).values()
    program = torch.export.load(tmp_path / "net.pt2").module()(torch.from_numpy(images)).detach().numpy()
    for logits in (found, in_openvino, program):
        assert np.abs(logits - expected).max() <= TOLERANCE * np.abs(expected).max()


def compiled(path):
    from reslab.deploy.engines import openvino_core

    return openvino_core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def test_a_graph_for_pixels_has_the_networks_names_and_one_multiplication_more(tmp_path):
    model = make(TINY)
    export_onnx(model, tmp_path / "float.onnx", image_size=(16, 16))
    export_onnx(model, tmp_path / "pixels.onnx", normalization=PER_CHANNEL, image_size=(16, 16))
    plain, pixels = (onnx.load(tmp_path / name).graph for name in ("float.onnx", "pixels.onnx"))
    added = ["normalize.transpose", "normalize.cast", "normalize.mul", "normalize.sub"]
    assert [node.name for node in pixels.node] == added + [node.name for node in plain.node]
    weights = [{tensor.name for tensor in graph.initializer if "weight" in tensor.name} for graph in (plain, pixels)]
    assert {name.removesuffix("_bias") for name in weights[0]} == {name.removesuffix("_bias") for name in weights[1]}


def test_a_normalisation_for_another_size_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"normalisation is for images of shape 16x24x3, but these are 16x16x3"):
        export_onnx(make(TINY), tmp_path / "net.onnx", normalization=PER_PIXEL, image_size=(16, 16))
    assert list(tmp_path.iterdir()) == []


def test_an_openvino_file_keeps_what_it_is_told(tmp_path):
    from reslab.deploy.runtime import read_openvino

    kept = {"reslab.model": TINY, "reslab.classes": '["<&>", "\\"quoted\\"", "ü"]'}
    report = export_openvino(make(TINY), tmp_path / "net.xml", image_size=(16, 16), metadata=kept)
    assert report.num_bytes == sum((tmp_path / name).stat().st_size for name in ("net.xml", "net.bin"))
    model, found = read_openvino(tmp_path / "net.xml")
    digest = found.pop("reslab.bin_sha256")
    assert digest == hashlib.sha256((tmp_path / "net.bin").read_bytes()).hexdigest()
    assert found == kept
    weights = sum(tensor.numel() for name, tensor in make(TINY).state_dict().items() if "conv" in name or "fc" in name)
    assert report.num_bytes > 4 * weights  # float32, not halves
    assert model.input(0).get_any_name() == "images"


def test_a_file_for_normalised_images_is_no_deployable(tmp_path):
    export_onnx(make(TINY), tmp_path / "net.onnx", image_size=(16, 16))
    with pytest.raises(DeployError, match="write it with `reslab export` and --input uint8"):
        load_deployed(tmp_path / "net.onnx")
