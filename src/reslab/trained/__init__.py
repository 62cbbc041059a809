"""A trained network and how it sees images: from a run, a weight file, a card, a released name.

Importing this package imports no torch; loading a network does.
"""

from typing import TYPE_CHECKING

from reslab.lazy import lazy_names

if TYPE_CHECKING:
    from reslab.trained.description import Description
    from reslab.trained.loading import Trained, load_trained
    from reslab.trained.reference import EXPORTED_SUFFIXES, Reference

__all__ = ["EXPORTED_SUFFIXES", "Description", "Reference", "Trained", "load_trained"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "EXPORTED_SUFFIXES": "reslab.trained.reference",
        "Description": "reslab.trained.description",
        "Reference": "reslab.trained.reference",
        "Trained": "reslab.trained.loading",
        "load_trained": "reslab.trained.loading",
    },
)
