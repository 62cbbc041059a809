"""Objects in files of weights that are no weights: those that are left out when a file is read, and all others."""

from collections.abc import Callable
from typing import Any

from reslab.files.pickle_survey import Survey

__all__ = ["STAND_INS", "Unread", "unread"]


class Unread:
    """Stands for an object that was not made: the settings of a training, a number of numpy, a date."""

    def __init__(self, *_: Any) -> None: ...

    def __setstate__(self, _: Any) -> None: ...


class _Table(dict[Any, Any]):
    """Makes a plain dict of whatever is one and has settings of its own."""

    def __new__(cls, *_: Any) -> Any:
        return {}


def _list(*_: Any) -> list[Any]:
    return []


_LEFT_OUT = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    *(f"numpy{core}.multiarray.{name}" for core in (".core", "._core") for name in ("_reconstruct", "scalar")),
    *(f"numpy{core}.numeric._frombuffer" for core in (".core", "._core")),
    *("numpy.ndarray", "numpy.dtype"),
    *(f"pathlib.{kind}{name}" for kind in ("", "Pure") for name in ("Path", "PosixPath", "WindowsPath")),
    *(f"pathlib._local.{kind}{name}" for kind in ("", "Pure") for name in ("Path", "PosixPath", "WindowsPath")),
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *(
        f"builtins.{name}"
        for name in ("frozenset", "slice", "range", "object", "list", "dict", "tuple", "int", "float")
    ),
    *("builtins.str", "builtins.bool", "builtins.bytes", "copyreg._reconstructor"),
    *("uuid.UUID", "decimal.Decimal", "fractions.Fraction", "torch.torch_version.TorchVersion"),
)
_TABLES = (
    "collections.defaultdict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)
# What torch's safe reader calls instead, by the names of pickles: none of it does anything with what it is given.
STAND_INS: tuple[tuple[Callable[..., Any], str], ...] = (
    *((Unread, name) for name in _LEFT_OUT),
    *((_Table, name) for name in _TABLES),
    (_list, "collections.deque"),
)
_KNOWN = {name for _, name in STAND_INS}
# Of what torch admits by itself, that of which weights are made.
_TORCHS = {
    *("collections.OrderedDict", "collections.Counter", "_codecs.encode", "builtins.set", "builtins.bytearray"),
    *("builtins.complex", "torch.Size", "torch.device", "torch.Tensor", "torch.nn.parameter.Parameter"),
    *("torch._tensor._rebuild_from_type_v2", "torch.serialization._get_layout"),
}
_MODULES_OF_NETWORKS = ("torch.nn.modules.", "torchvision.models.", "timm.models.")
_SAVE = "save `model.state_dict()` with torch.save"


def unread(found: Survey) -> str:
    """Why a file is not read, by what its pickle asks for; nothing where it may be read."""
    others = [name for name in found.names if name not in _KNOWN and not _is_torchs(name)]
    if not others:
        return ""
    network = next((name for name in others if name.startswith(_MODULES_OF_NETWORKS)), "")
    if network and found.top not in _KNOWN | _TORCHS:
        return (
            f"it is a whole network that was pickled ({found.top or network}), and to load it would run whatever code "
            f"the file names; load it where its own code is, and {_SAVE}"
        )
    return f"it holds a {others[0]} object, and to make one would run whatever code the file names; {_SAVE}"


def _is_torchs(name: str) -> bool:
    module, _, last = name.rpartition(".")
    return (
        name in _TORCHS
        or (module == "torch._utils" and last.startswith("_rebuild_"))
        or (module in ("torch", "torch.storage") and (last.endswith("Storage") or last in _TYPES))
        or (module == "torch" and last.endswith("Tensor"))
    )


_TYPES = {
    *("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"),
    *("complex64", "complex128", "quint8", "qint8", "qint32", "per_tensor_affine", "per_channel_affine"),
    *("strided", "sparse_coo", "float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64"),
}
