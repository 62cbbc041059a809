"""What goes in: data sets, their normalisation, their augmentation, and the batches made of them."""

from reslab.data.dataset import ImageData, Role, Split
from reslab.data.loading import NAMED_DATA, AnyData, absolute_spec, available_roles, kind_and_classes, load_data
from reslab.data.photos import PhotoData

__all__ = [
    "NAMED_DATA",
    "AnyData",
    "ImageData",
    "PhotoData",
    "Role",
    "Split",
    "absolute_spec",
    "available_roles",
    "kind_and_classes",
    "load_data",
]
