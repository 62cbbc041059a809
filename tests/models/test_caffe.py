"""Files of Caffe's are written here byte by byte, and OpenCV's importer, with its own schema, says what they mean."""

import os
import sys
from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
import torch

from reslab.errors import WeightsError
from reslab.models import caffe, create_model
from reslab.models.caffe import read_caffemodel, read_mean_binaryproto
from reslab.models.weights import load_weights, read_state_dict

TINY = {"widths": (4, 8, 8, 16), "num_classes": 7}
SMALLEST = {"blocks": (1, 2, 1, 1), "widths": (1, 1, 1, 1), "num_classes": 2}
AS_RELEASED = "resnet50[stride=v1,stem_pool=ceil]"


# Protocol buffers, and the fields of caffe.proto: NetParameter has name = 1, layers = 2 (V1) and layer = 100;
# LayerParameter name = 1, type = 2, blobs = 7 and batch_norm_param = 139 (eps = 3); BlobProto num, channels, height and
# width = 1 to 4, data = 5, shape = 7 (dim = 1), double_data = 8; the numbers are packed.


def varint(number: int) -> bytes:
    number %= 2**64
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def entry(number: int, content: bytes | str | int) -> bytes:
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(values: np.ndarray | list[float], style: str = "shape", shape: tuple[int, ...] | None = None) -> bytes:
    """A BlobProto: with a shape, in doubles, or with the four old fields, vectors as 1x1x1xN."""
    values = np.asarray(values)
    shape = values.shape if shape is None else shape
    if style == "legacy":
        sizes = (1,) * (4 - len(shape)) + shape
        return b"".join(entry(i + 1, size) for i, size in enumerate(sizes)) + entry(5, values.astype("<f4").tobytes())
    data = entry(8, values.astype("<f8").tobytes()) if style == "double" else entry(5, values.astype("<f4").tobytes())
    return data + entry(7, entry(1, b"".join(map(varint, shape))))


def layer_bytes(name: str, kind: str, *blobs: bytes, more: bytes = b"") -> bytes:
    return entry(100, entry(1, name) + entry(2, kind) + b"".join(entry(7, item) for item in blobs) + more)


@dataclass
class Caffe:
    """A net under construction: its prototxt, and its layers' names, types and blobs."""

    rng: np.random.Generator
    image: tuple[int, int]
    eps: float | None = None
    text: list[str] = field(default_factory=list)
    layers: list[tuple[str, str, list[np.ndarray]]] = field(default_factory=list)

    def add(self, name, kind, bottoms, top, parameters="", blobs=()):
        bottoms = " ".join(f'bottom: "{bottom}"' for bottom in bottoms)
        self.text.append(f'layer {{ name: "{name}" type: "{kind}" {bottoms} top: "{top}" {parameters} }}')
        self.layers.append((name, kind, [np.asarray(values, np.float32) for values in blobs]))
        return top

    def unit(self, stem, name, bottom, channels, kernel=1, stride=1, relu=True, bias=False, gain=1.0):
        """Convolution, batch norm and scale, with statistics that a factor of their own has multiplied."""
        convolution, norm, scale = stem
        inputs, outputs = channels
        weight = self.rng.normal(0, (2 / (inputs * kernel**2)) ** 0.5, (outputs, inputs, kernel, kernel))
        biases = [self.rng.normal(0, 0.3, outputs)] if bias else []
        self.add(
            f"{convolution}{name}",
            "Convolution",
            [bottom],
            f"{convolution}{name}",
            f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} pad: {kernel // 2} stride: {stride} "
            f"bias_term: {str(bias).lower()} }}",
            [weight, *biases],
        )
        top = f"{convolution}{name}"
        factor = self.rng.choice([0.25, 1.0, 999.98])
        mean, variance = self.rng.normal(0, 0.2, outputs), self.rng.uniform(0.5, 2, outputs)
        eps = "" if self.eps is None else f"eps: {self.eps}"
        self.add(
            f"{norm}{name}",
            "BatchNorm",
            [top],
            top,
            f"batch_norm_param {{ use_global_stats: true {eps} }}",
            [mean * factor, variance * factor, [factor]],
        )
        gamma, beta = gain * self.rng.uniform(0.5, 1.5, outputs), self.rng.normal(0, 0.2, outputs)
        self.add(f"{scale}{name}", "Scale", [top], top, "scale_param { bias_term: true }", [gamma, beta])
        return self.add(f"{top}_relu", "ReLU", [top], top) if relu else top

    @property
    def prototxt(self) -> str:
        height, width = self.image
        start = f'name: "ResNet" input: "data" input_dim: 1 input_dim: 3 input_dim: {height} input_dim: {width}'
        return "\n".join([start, *self.text])

    def encode(self, style: str = "shape", leave_out: str = "") -> bytes:
        eps = b"" if self.eps is None else entry(139, b"\x1d" + np.float32(self.eps).tobytes())
        content = entry(1, "ResNet")
        for name, kind, blobs in self.layers:
            if name != leave_out:
                more = eps if kind == "BatchNorm" else b""
                content += layer_bytes(name, kind, *(blob(values, style) for values in blobs), more=more)
        return content


def make_net(
    blocks=(3, 4, 6, 3), widths=(64, 128, 256, 512), num_classes=1000, *, letters=True, conv1_bias=True, **options
) -> Caffe:
    """A bottleneck net as in the release's prototxt: 3b, 3c, ... with letters, 3b1, 3b2, ... without."""
    net = Caffe(np.random.default_rng(1), options.pop("image", (65, 49)), **options)
    stem = net.unit(("", "bn_", "scale_"), "conv1", "data", (3, widths[0]), 7, 2, bias=conv1_bias)
    top = net.add("pool1", "Pooling", [stem], "pool1", "pooling_param { kernel_size: 3 stride: 2 pool: MAX }")
    inputs = widths[0]
    for stage, (count, width) in enumerate(zip(blocks, widths, strict=True), start=2):
        for index in range(count):
            letter = "abcdef"[index] if letters or stage in (2, 5) or index == 0 else f"b{index}"
            stride = 2 if index == 0 and stage > 2 else 1
            name, prefixes, shortcut = f"{stage}{letter}", ("res", "bn", "scale"), top
            if index == 0:
                shortcut = net.unit(prefixes, f"{name}_branch1", top, (inputs, 4 * width), 1, stride, relu=False)
            branch = net.unit(prefixes, f"{name}_branch2a", top, (inputs, width), 1, stride)
            branch = net.unit(prefixes, f"{name}_branch2b", branch, (width, width), 3)
            branch = net.unit(prefixes, f"{name}_branch2c", branch, (width, 4 * width), relu=False, gain=0.3)
            top = net.add(f"res{name}", "Eltwise", [shortcut, branch], f"res{name}")
            top = net.add(f"res{name}_relu", "ReLU", [top], top)
            inputs = 4 * width
    top = net.add("pool5", "Pooling", [top], "pool5", "pooling_param { pool: AVE global_pooling: true }")
    weight, bias = net.rng.normal(0, inputs**-0.5, (num_classes, inputs)), net.rng.normal(0, 1, num_classes)
    parameters = f"inner_product_param {{ num_output: {num_classes} }}"
    top = net.add("fc1000", "InnerProduct", [top], "fc1000", parameters, [weight, bias])
    net.add("prob", "Softmax", [top], "prob")
    return net


def opencv_logits(net: Caffe, content: bytes, image: np.ndarray, folder) -> torch.Tensor:
    cv2.setNumThreads(1)
    (folder / "net.prototxt").write_text(net.prototxt)
    (folder / "opencv.caffemodel").write_bytes(content)
    imported = cv2.dnn.readNetFromCaffe(str(folder / "net.prototxt"), str(folder / "opencv.caffemodel"))
    imported.setInput(image)
    return torch.from_numpy(imported.forward("fc1000"))


def our_logits(model: torch.nn.Module, image: np.ndarray) -> torch.Tensor:
    """Of a BGR image, which a network read by `load_weights` sees as RGB."""
    with torch.inference_mode():
        return model.eval()(torch.from_numpy(image).flip(1))


def draw_image(size: tuple[int, int]) -> np.ndarray:
    """A crop less its mean, in 0..255."""
    rng = np.random.default_rng(2)
    return (rng.integers(0, 256, (1, 3, *size)) - 118.0).astype(np.float32)


def error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert theirs.std() > 0.1
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.fixture
def write(tmp_path):
    def write_file(content: bytes, name: str = "ResNet.caffemodel"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_file


# What a file means


def test_resnet50_computes_what_opencv_computes(tmp_path, write):
    net = make_net(image=(97, 113))
    content = net.encode()
    model = create_model(AS_RELEASED)
    report = load_weights(model, write(content))
    assert (report.layout, report.folded) == ("caffe", ("conv1.bias",))
    image = draw_image(net.image)
    assert error(our_logits(model, image), opencv_logits(net, content, image, tmp_path)) < 1e-4


NETS = {
    "resnet101's names": {"blocks": (3, 4, 23, 3), "letters": False, "conv1_bias": False},
    "resnet152's names": {"blocks": (3, 8, 36, 3), "letters": False, "conv1_bias": False},
    "resnet50's names": {},
    "another epsilon": {"eps": 1e-2},
}


@pytest.mark.parametrize("options", NETS.values(), ids=NETS)
@pytest.mark.parametrize("image", [(65, 49), (64, 48)])
def test_small_nets_compute_what_opencv_computes(tmp_path, write, options, image):
    net = make_net(**TINY, **options, image=image)
    content = net.encode()
    model = create_model(AS_RELEASED, blocks=options.get("blocks", (3, 4, 6, 3)), **TINY)
    load_weights(model, write(content), replace_head=False)
    pixels = draw_image(image)
    assert error(our_logits(model, pixels), opencv_logits(net, content, pixels, tmp_path)) < 1e-4


@pytest.mark.parametrize("other", ["resnet50[stride=v1]", "resnet50[stem_pool=ceil]"])
def test_another_stride_or_pooling_computes_something_else(tmp_path, write, other):
    net = make_net(**TINY)
    model = create_model(other, **TINY)
    load_weights(model, write(net.encode()))
    image = draw_image(net.image)
    assert error(our_logits(model, image), opencv_logits(net, net.encode(), image, tmp_path)) > 1e-2


def test_a_scale_factor_of_zero_means_no_statistics_as_in_caffe(tmp_path, write):
    net = make_net(**TINY)
    blobs = next(blobs for name, _, blobs in net.layers if name == "bn3b_branch2b")
    blobs[2][:] = 0
    path = write(net.encode())
    state = read_caffemodel(path)
    assert not state["layer2.1.bn2.running_mean"].any()
    assert not state["layer2.1.bn2.running_var"].any()
    model = create_model(AS_RELEASED, **TINY)
    load_weights(model, path)
    image = draw_image(net.image)
    assert error(our_logits(model, image), opencv_logits(net, net.encode(), image, tmp_path)) < 1e-4


@pytest.mark.parametrize("letters", [True, False], ids=["3b", "3b1"])
def test_tensors_have_our_names_and_the_files_values(write, letters):
    net = make_net(**TINY, letters=letters)
    blobs = {name: blobs for name, _, blobs in net.layers}
    state = read_caffemodel(write(net.encode()))
    second, last = ("b", "f") if letters else ("b1", "b5")
    for ours, (layer, index) in {
        "conv1.weight": ("conv1", 0),
        "conv1.bias": ("conv1", 1),
        "bn1.weight": ("scale_conv1", 0),
        "layer1.0.downsample.0.weight": ("res2a_branch1", 0),
        "layer1.0.downsample.1.bias": ("scale2a_branch1", 1),
        "layer1.2.conv3.weight": ("res2c_branch2c", 0),
        "layer2.1.conv1.weight": (f"res3{second}_branch2a", 0),
        "layer3.5.bn2.bias": (f"scale4{last}_branch2b", 1),
        "layer4.2.conv2.weight": ("res5c_branch2b", 0),
        "fc.weight": ("fc1000", 0),
        "fc.bias": ("fc1000", 1),
    }.items():
        assert torch.equal(state[ours], torch.from_numpy(blobs[layer][index]))
    mean, variance, factor = map(torch.from_numpy, blobs[f"bn3{second}_branch2a"])
    torch.testing.assert_close(state["layer2.1.bn1.running_mean"], mean / factor)
    torch.testing.assert_close(state["layer2.1.bn1.running_var"], variance / factor)
    expected = create_model("resnet50", **TINY).state_dict()
    assert {*state, *(key for key in expected if "num_batches" in key)} == {*expected, "conv1.bias"}


@pytest.mark.parametrize("style", ["legacy", "double"])
def test_old_and_double_blobs_are_read_as_the_others(write, style):
    net = make_net(**SMALLEST)
    new, old = read_caffemodel(write(net.encode())), read_caffemodel(write(net.encode(style)))
    assert new.keys() == old.keys()
    assert all(torch.equal(new[key], old[key]) and old[key].dtype == torch.float32 for key in new)


def test_a_classifier_that_was_tuned_further_may_have_another_name(write):
    net = make_net(**SMALLEST)
    assert "fc.weight" in read_caffemodel(write(net.encode().replace(b"fc1000", b"fc_cat")))


# Colours


def test_rgb_turns_the_input_channels(write):
    path = write(make_net(**TINY).encode())
    bgr, rgb = read_caffemodel(path), read_caffemodel(path, rgb=True)
    assert torch.equal(rgb.pop("conv1.weight"), bgr.pop("conv1.weight").flip(1))
    assert all(torch.equal(rgb[key], bgr[key]) for key in bgr)


def test_an_rgb_net_takes_pixels_in_0_to_1_with_a_mean_and_a_std(tmp_path, write):
    net = make_net(**TINY)
    pixels = np.random.default_rng(3).integers(0, 256, (3, *net.image)).astype(np.float32)  # RGB
    mean = np.random.default_rng(4).uniform(90, 130, (3, *net.image)).astype(np.float32)  # BGR
    theirs = opencv_logits(net, net.encode(), np.ascontiguousarray(pixels[::-1] - mean)[None], tmp_path)

    model = create_model(AS_RELEASED, **TINY)
    report = load_weights(model, write(net.encode()))
    assert report.folded == ("conv1.bias",)
    m = read_mean_binaryproto(write(blob(mean, "legacy"), "mean.binaryproto"), rgb=True).numpy()
    image = (pixels / 255 - m / 255) / (1 / 255)
    with torch.inference_mode():
        ours = model.eval()(torch.from_numpy(image[None].astype(np.float32)))
    assert error(ours, theirs) < 1e-4


@pytest.mark.parametrize("style", ["legacy", "shape", "double"])
def test_the_mean_image_is_read(write, style):
    mean = np.random.default_rng(0).uniform(90, 130, (3, 224, 224)).astype(np.float32)
    path = write(blob(mean, style), "ResNet_mean.binaryproto")
    assert torch.equal(read_mean_binaryproto(path), torch.from_numpy(mean))
    assert torch.equal(read_mean_binaryproto(path, rgb=True), torch.from_numpy(mean).flip(0))


BAD_MEANS = {
    "empty": b"",
    "text": b"a mean image",
    "gray": blob(np.ones((1, 4, 4))),
    "vector": blob(np.ones(3)),
    "two": blob(np.ones((2, 3, 4, 4))),
    "too few values": blob(np.ones((3, 4, 4)), shape=(3, 224, 224)),
    "infinite": blob(np.full((3, 4, 4), np.inf)),
    "a net": layer_bytes("conv1", "Convolution", blob(np.ones((1, 3, 7, 7)))),
}


@pytest.mark.parametrize("content", BAD_MEANS.values(), ids=BAD_MEANS)
def test_a_bad_mean_image_gets_a_sentence(write, content):
    with pytest.raises(WeightsError, match=r"bad\.binaryproto.*\.$"):
        read_mean_binaryproto(write(content, "bad.binaryproto"))


# Files that are wrong

CONV1 = layer_bytes("conv1", "Convolution", blob(np.ones((2, 3, 7, 7))))
NORM1 = layer_bytes("bn_conv1", "BatchNorm", blob(np.ones(2)), blob(np.ones(2)), blob(np.ones(1)))
WRONG = {
    "empty": (b"", "holds no layers"),
    "text": (b"not a file of weights", "damaged"),
    "torch": (b"PK\x03\x04\x00\x00\x08\x08\x00\x00", "damaged|holds no layers"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(80), "damaged|holds no layers"),
    "mean image": (blob(np.ones((3, 4, 4)), "legacy"), "holds no layers"),
    "V1": (entry(1, "CaffeNet") + entry(2, entry(4, "conv1") + entry(6, blob(np.ones(3)))), "old V1 format"),
    "no weights": (layer_bytes("prob", "Softmax"), "a net without weights"),
    "unknown name": (layer_bytes("res6a_branch1", "Convolution", blob(np.ones((1, 1, 1, 1)))), "'res6a_branch1'.*name"),
    "block 0": (layer_bytes("res3b0_branch2a", "Convolution", blob(np.ones((1, 1, 1, 1)))), "'res3b0_branch2a'.*name"),
    "another's name": (layer_bytes("bn2a_branch1", "Scale", blob(np.ones(1)), blob(np.ones(1))), "of type Scale"),
    "unknown type": (CONV1 + layer_bytes("bn", "BN", blob(np.ones(2))), "its type 'BN' occurs in none"),
    "no blobs": (layer_bytes("conv1", "Convolution"), "'conv1'.*0 blobs instead of 1 or 2"),
    "a blob less": (layer_bytes("scale_conv1", "Scale", blob(np.ones(2))), "1 blobs instead of 2"),
    "a blob more": (layer_bytes("scale_conv1", "Scale", *[blob(np.ones(2))] * 3), "3 blobs instead of 2"),
    "no values": (layer_bytes("conv1", "Convolution", entry(7, entry(1, b"\x02\x03"))), "a blob without values"),
    "NaN": (layer_bytes("conv1", "Convolution", blob(np.full((2, 3, 7, 7), np.nan))), "NaN or infinite"),
    "too great": (layer_bytes("conv1", "Convolution", blob(np.full((2, 3, 7, 7), 1e200), "double")), "NaN or infinite"),
    "NaN as factor": (layer_bytes("bn_conv1", "BatchNorm", *map(blob, ([1.0], [1.0], [np.nan]))), "NaN or infinite"),
    "two factors": (layer_bytes("bn_conv1", "BatchNorm", *map(blob, ([1.0], [1.0], [1, 1]))), "2 scale factors"),
    "other channels": (CONV1 + layer_bytes("scale_conv1", "Scale", *[blob(np.ones(3))] * 2), "3 channels.*have 2"),
    "bias too short": (layer_bytes("fc1000", "InnerProduct", blob(np.ones((3, 2))), blob([1.0])), "1 channels.*have 3"),
    "no convolution": (layer_bytes("conv1", "Convolution", blob(np.ones((2, 3)))), "2x3, which is no convolution's"),
    "no matrix": (layer_bytes("fc1000", "InnerProduct", blob(np.ones(6))), "6, which is no matrix"),
    "twice": (CONV1 + NORM1 + CONV1, "'conv1' is not the only one"),
    "two classifiers": (
        layer_bytes("fc1", "InnerProduct", blob(np.ones((2, 2)))) * 2,
        "'fc1' is not the only one",
    ),
    "huge shape": (layer_bytes("conv1", "Convolution", blob(np.ones(4), shape=(2**62, 2**62, 7, 7))), "another size"),
    "negative shape": (layer_bytes("conv1", "Convolution", blob(np.ones(4), shape=(-2, -2, 1, 1))), "another size"),
    "zero shape": (layer_bytes("conv1", "Convolution", blob(np.ones(4), shape=(0, 4, 1, 1))), "another size"),
    "many axes": (layer_bytes("scale_conv1", "Scale", *[blob(np.ones(1), shape=(1,) * 999)] * 2), "another size"),
    "huge blob": (entry(100, entry(1, "conv1"))[:-5] + b"\x3a\xff\xff\xff\xff\x07" + bytes(9), "damaged"),
    "deep": (b"\x0b" * 100_000, "damaged"),
    "half a float": (layer_bytes("conv1", "Convolution", entry(5, bytes(6)) + entry(1, 1)), "damaged"),
    "no text": (layer_bytes("conv1", "Convolution").replace(b"conv1", b"\xff\xfe\xff\xfe\xff"), "name"),
    "long name": (layer_bytes("x" * 10_000, "Convolution"), "name that the release"),
}


@pytest.mark.parametrize(("content", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_gets_a_sentence_that_names_it(write, content, message):
    with pytest.raises(WeightsError, match=message) as caught:
        read_state_dict(write(content, "bad.caffemodel"))
    assert "bad.caffemodel" in str(caught.value)
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_files_that_cannot_be_read_get_a_sentence(tmp_path):
    with pytest.raises(WeightsError, match=r"there is no file .*none\.caffemodel"):
        read_caffemodel(tmp_path / "none.caffemodel")
    (tmp_path / "folder.caffemodel").mkdir()
    with pytest.raises(WeightsError, match=r"there is no file .*folder\.caffemodel"):
        read_caffemodel(tmp_path / "folder.caffemodel")
    with (tmp_path / "sparse.caffemodel").open("wb") as stream:
        os.truncate(stream.fileno(), 2**31)
    with pytest.raises(WeightsError, match=r"sparse\.caffemodel.*end at 2 GiB"):
        read_caffemodel(tmp_path / "sparse.caffemodel")


def test_rgb_needs_a_first_convolution_of_three_channels(write):
    for content in (NORM1, layer_bytes("conv1", "Convolution", blob(np.ones((2, 1, 7, 7))))):
        with pytest.raises(WeightsError, match="no first convolution of three input channels"):
            read_caffemodel(write(content), rgb=True)


def test_every_truncated_file_is_refused(write):
    net = make_net(**SMALLEST)
    content = net.encode(leave_out="prob")
    model = create_model(AS_RELEASED, **SMALLEST)
    load_weights(model, write(content), replace_head=False)
    borders = np.flatnonzero([content[i : i + 2] == varint(100 << 3 | 2) for i in range(len(content))])
    for end in sorted({*range(0, len(content), 37), *borders.tolist(), len(content) - 1}):
        with pytest.raises(WeightsError):
            load_weights(model, write(content[:end]), replace_head=False)


def test_flipped_bits_are_loaded_or_refused(write):
    net = make_net(**SMALLEST)
    content = net.encode()
    model = create_model(AS_RELEASED, **SMALLEST)
    rng = np.random.default_rng(5)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), rng.integers(1, 4)):
            damaged[position] ^= 1 << rng.integers(0, 8)
        try:
            load_weights(model, write(bytes(damaged)), replace_head=False)
        except WeightsError:
            refused += 1
    assert refused > 100


def test_without_protobuf_the_message_says_what_to_install(write, monkeypatch):
    path = write(make_net(**SMALLEST).encode())
    caffe._messages.cache_clear()
    monkeypatch.setitem(sys.modules, "google.protobuf", None)
    with pytest.raises(WeightsError, match=r"needs protobuf: pip install 'reslab\[deploy\]'\."):
        read_state_dict(path)
