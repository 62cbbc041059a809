"""The authors' Caffe release: ResNet-50, ResNet-101 and ResNet-152 as `.caffemodel`, and the mean image beside them.

The files are protocol buffers of Caffe's public schema (BVLC/caffe, src/caffe/proto/caffe.proto). Their layers have the
names of the release's prototxt (KaimingHe/deep-residual-networks): `res4b_branch2a` in ResNet-50, `res4b1_branch2a` in
the third and fourth stage of the deeper nets, with `bn` and `scale` instead of `res` for the two halves of batch norm.

The network that these weights belong to is `resnet50[stride=v1,stem_pool=ceil]` and so on. Its input is in BGR, 0..255,
less the mean image; Caffe's epsilon in batch norm is torch's, 1e-5.

Importing this module needs no protobuf; reading a file does.
"""

import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reslab.errors import WeightsError

__all__ = ["CAFFE_SUFFIX", "read_caffemodel", "read_mean_binaryproto"]

CAFFE_SUFFIX = ".caffemodel"

# The part of caffe.proto that holds weights: of each message the fields' numbers and types. `name` and `type` are
# strings there, which are bytes on the wire: damaged ones need not be UTF-8. V1 layers are counted, never read.
_SCHEMA: dict[str, dict[str, tuple[int, str]]] = {
    "BlobShape": {"dim": (1, "repeated int64")},
    "BlobProto": {
        "num": (1, "int32"),
        "channels": (2, "int32"),
        "height": (3, "int32"),
        "width": (4, "int32"),
        "data": (5, "repeated float"),
        "shape": (7, "BlobShape"),
        "double_data": (8, "repeated double"),
    },
    "BatchNormParameter": {"eps": (3, "float")},
    "LayerParameter": {
        "name": (1, "bytes"),
        "type": (2, "bytes"),
        "blobs": (7, "repeated BlobProto"),
        "batch_norm_param": (139, "BatchNormParameter"),
    },
    "NetParameter": {"layers": (2, "repeated bytes"), "layer": (100, "repeated LayerParameter")},
}
_LEGACY_DIMENSIONS = ("num", "channels", "height", "width")
_MAX_BYTES = 2**31 - 1  # of a protocol buffer
_MAX_AXES = 32  # of a blob
_SHOWN = 60  # characters of a name in a message: a damaged one may go on for megabytes
_EPS = 1e-5  # of the network's batch norms

# Stage, block and branch: 2a_branch1, 3b_branch2a or 3b1_branch2a.
_UNIT = r"(?P<stage>[2-5])(?:(?P<letter>[a-z])|b(?P<number>[1-9][0-9]{0,2}))_branch(?P<branch>1|2[abc])"
# Of each type of layer that has weights: how such layers are named, and how many blobs they have.
_TYPES: dict[str, tuple[re.Pattern[str], tuple[int, ...]]] = {
    "Convolution": (re.compile(rf"conv1|res{_UNIT}"), (1, 2)),
    "BatchNorm": (re.compile(rf"bn_conv1|bn{_UNIT}"), (3,)),
    "Scale": (re.compile(rf"scale_conv1|scale{_UNIT}"), (2,)),
    # fc1000 in the release; whoever fine-tunes a net has to give the new classifier another name.
    "InnerProduct": (re.compile(r"fc\w*"), (1, 2)),
}


def read_caffemodel(path: Path, *, rgb: bool = False) -> dict[str, Tensor]:
    """The named tensors of a `.caffemodel`, with our (torchvision's) names.

    Batch norms' means and variances are divided by the layer's third blob, as Caffe does when it runs the net. A bias
    that a convolution has (conv1 of ResNet-50) stays there as `conv1.bias`; `load_weights` takes it into the batch
    norm's mean.

    Args:
        path: of the file.
        rgb: whether to reverse the input channels of conv1, so that the network takes RGB where the file's takes BGR.
            The scale stays 0..255: for pixels in [0, 1], normalise them by a mean of m / 255 and a std of 1 / 255,
            where m is the mean image of `read_mean_binaryproto(..., rgb=True)` or its mean over each channel.

    Returns:
        float32 tensors on the CPU.

    Raises:
        WeightsError: the file is missing or damaged, is no net in the release's names, or protobuf is not installed.
    """
    net = _parse(path, "NetParameter")
    if net.layers:
        raise WeightsError(
            f"{path} is in Caffe's old V1 format: convert it with Caffe's own upgrade_net_proto_binary first."
        )
    if not net.layer:
        raise WeightsError(f"{path} holds no layers: it is empty, or no .caffemodel.")
    state: dict[str, Tensor] = {}
    widths: dict[str, int] = {}
    for layer in net.layer:
        name = layer.name.decode(errors="replace")
        origin = f"{path}: the layer {name[:_SHOWN]!r}"
        if (modules := _modules_of(layer, name, origin)) is None:
            continue
        module, norm = modules
        for suffix, value in _tensors_of(layer, origin):
            key = f"{module}.{suffix}"
            if key in state:
                raise WeightsError(f"{origin} is not the only one of that place in the net, which has one {key}.")
            if widths.setdefault(norm, len(value)) != len(value):
                raise WeightsError(f"{origin} has {len(value)} channels where those around it have {widths[norm]}.")
            if not torch.isfinite(value).all():
                raise WeightsError(f"{origin} holds NaN or infinite values.")
            state[key] = value
    if not state:
        raise WeightsError(f"{path} holds a net without weights.")
    if rgb:
        weight = state.get("conv1.weight")
        if weight is None or weight.shape[1] != 3:
            raise WeightsError(f"{path} has no first convolution of three input channels, which rgb would reverse.")
        state["conv1.weight"] = weight.flip(1)
    return state


def read_mean_binaryproto(path: Path, *, rgb: bool = False) -> Tensor:
    """The mean image that the authors subtract from a crop (`ResNet_mean.binaryproto`).

    Args:
        path: of the file.
        rgb: whether to reverse the channels, which are BGR in the file.

    Returns:
        A float32 tensor of shape (3, H, W), in 0..255.

    Raises:
        WeightsError: the file is missing or damaged, holds something else, or protobuf is not installed.
    """
    image = _tensor(_parse(path, "BlobProto"), f"{path}: the image")
    if image.dim() == 4 and len(image) == 1:
        image = image[0]
    if image.dim() != 3 or len(image) != 3:
        raise WeightsError(f"{path} holds no image of three channels, but {_shape(image.shape)} values.")
    if not torch.isfinite(image).all():
        raise WeightsError(f"{path}: the image holds NaN or infinite values.")
    return image.flip(0) if rgb else image


def _parse(path: Path, message: str) -> Any:
    """A file as a message of the schema."""
    try:
        new = _messages()[message]
    except ImportError:
        raise WeightsError(f"reading {path} needs protobuf: pip install 'reslab[deploy]'.") from None
    if not path.is_file():
        raise WeightsError(f"there is no file {path}.")
    if path.stat().st_size > _MAX_BYTES:
        raise WeightsError(f"{path} is no file of Caffe's: those end at 2 GiB.")
    try:
        parsed = new.FromString(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from None
    except Exception:  # protobuf's DecodeError, or a RecursionError from an older one in pure Python
        raise WeightsError(f"{path} is damaged, or is no file of Caffe's: it cannot be decoded.") from None
    return parsed


@cache
def _messages() -> dict[str, Any]:
    """The schema's messages as classes, in a pool of their own: other libraries may register Caffe's names too."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message, fields in _SCHEMA.items():
        described = file.message_type.add(name=message)
        for name, (number, words) in fields.items():
            label = kinds.LABEL_REPEATED if words.startswith("repeated ") else kinds.LABEL_OPTIONAL
            field = described.field.add(name=name, number=number, label=label)
            kind = words.removeprefix("repeated ")
            if kind in _SCHEMA:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in _SCHEMA}


def _modules_of(layer: Any, name: str, origin: str) -> tuple[str, str] | None:
    """Our module for a layer, and the norm of the unit that it belongs to; None where a layer has no weights."""
    kind = layer.type.decode(errors="replace")
    if kind not in _TYPES:
        if layer.blobs:
            raise WeightsError(
                f"{origin} has weights, but its type {kind[:_SHOWN]!r} occurs in none of the release's nets."
            )
        return None
    pattern, num_blobs = _TYPES[kind]
    if (match := pattern.fullmatch(name)) is None:
        raise WeightsError(f"{origin} of type {kind} has a name that the release's nets do not know.")
    if len(layer.blobs) not in num_blobs:
        expected = " or ".join(map(str, num_blobs))
        raise WeightsError(f"{origin} of type {kind} has {len(layer.blobs)} blobs instead of {expected}.")
    if kind == "InnerProduct":
        return "fc", "fc"
    norm = _module_name(match, convolution=False)
    return (_module_name(match, convolution=True) if kind == "Convolution" else norm), norm


def _module_name(match: re.Match[str], *, convolution: bool) -> str:
    unit = "conv" if convolution else "bn"
    if match["stage"] is None:
        return f"{unit}1"
    index = int(match["number"]) if match["number"] else ord(match["letter"]) - ord("a")
    block = f"layer{int(match['stage']) - 1}.{index}"
    if match["branch"] == "1":
        return f"{block}.downsample.{0 if convolution else 1}"
    return f"{block}.{unit}{'abc'.index(match['branch'][1]) + 1}"


def _tensors_of(layer: Any, origin: str) -> Iterator[tuple[str, Tensor]]:
    """A layer's tensors, by the last part of our names."""
    first, *others = [_tensor(blob, origin) for blob in layer.blobs]
    vectors = [blob.flatten() for blob in others]  # 1x1x1xN in older files
    if layer.type == b"BatchNorm":
        variance, factor = vectors
        if len(factor) != 1:
            raise WeightsError(f"{origin} has {len(factor)} scale factors instead of one.")
        scale = factor.new_zeros(1) if factor.item() == 0 else factor.reciprocal()
        yield "running_mean", first.flatten() * scale
        yield "running_var", _with_eps(variance * scale, layer)
        return
    if layer.type == b"Scale":
        yield "weight", first.flatten()
    elif layer.type == b"InnerProduct":
        yield "weight", _matrix(first, origin)
    elif first.dim() == 4:
        yield "weight", first
    else:
        raise WeightsError(f"{origin} has weights of {_shape(first.shape)}, which is no convolution's shape.")
    for bias in vectors:
        yield "bias", bias


def _with_eps(variance: Tensor, layer: Any) -> Tensor:
    """A variance to which our epsilon is added where Caffe adds the layer's: what differs goes into the variance."""
    param = layer.batch_norm_param
    if not param.HasField("eps") or math.isclose(param.eps, _EPS, rel_tol=1e-6):
        return variance
    difference: float = param.eps - _EPS
    return variance + difference


def _matrix(weight: Tensor, origin: str) -> Tensor:
    """A fully-connected layer's weights: (N, M), 1x1xNxM in older files."""
    if weight.dim() == 4 and weight.shape[:2] == (1, 1):
        weight = weight[0, 0]
    if weight.dim() != 2:
        raise WeightsError(f"{origin} has weights of {_shape(weight.shape)}, which is no matrix.")
    return weight


def _tensor(blob: Any, origin: str) -> Tensor:
    """A blob's values, in its shape."""
    values, dtype = (blob.double_data, np.float64) if len(blob.double_data) else (blob.data, np.float32)
    # Caffe, too, lets the four old fields go before the shape.
    legacy = any(blob.HasField(name) for name in _LEGACY_DIMENSIONS)
    shape = [getattr(blob, name) for name in _LEGACY_DIMENSIONS] if legacy else list(blob.shape.dim)
    if not len(values):
        raise WeightsError(f"{origin} has a blob without values.")
    if len(shape) > _MAX_AXES or min(shape, default=1) < 1 or math.prod(shape) != len(values):
        raise WeightsError(f"{origin} has a blob of {len(values)} values and of another size, {_shape(shape)}.")
    # Element by element, since in protobuf 5 and 6 a conversion to an array goes through a list of Python's numbers.
    tensor: Tensor = torch.from_numpy(np.fromiter(values, dtype, len(values))).float()
    return tensor.reshape(shape)


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes[:_MAX_AXES])) or "a scalar"
