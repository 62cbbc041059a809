"""Fields that describe themselves: of one line each, flags, files, spellings, checks and documentation are made.

A frozen dataclass declares a field as `momentum: float = knob(0.9, "Of the gradients.", least=0, below=1)`. Its type
and its limits say what it takes; `Knob.parse` reads it from a flag or a spelling, `Knob.admit` takes it from a file or
from Python, and both refuse anything else in words. A field whose type is a dataclass is a table of fields, and one
whose type is a union of dataclasses is a table that names which of them it is: `kind = "cosine"`.

Importing this module imports no torch.
"""

from reslab.fields.knobs import KIND, Knob, Leaf, knob, knobs, leaves
from reslab.fields.tables import build, check, to_plain
from reslab.fields.values import show

__all__ = ["KIND", "Knob", "Leaf", "build", "check", "knob", "knobs", "leaves", "show", "to_plain"]
