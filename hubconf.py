"""For torch.hub: torch.hub.load("owner/reslab", "resnet20"), with the arguments that the functions take.

Where reslab is not installed, the package beside this file is used.
"""

import sys
from pathlib import Path

dependencies = ["torch", "numpy", "safetensors"]

try:
    import reslab  # noqa: F401
except ImportError:
    sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from reslab.models.named import CONSTRUCTORS as _CONSTRUCTORS  # noqa: E402 - found by the lines above

globals().update(_CONSTRUCTORS)
