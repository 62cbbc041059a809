"""What a recipe says of the machine. Importing this imports no torch."""

from dataclasses import dataclass
from typing import Literal

from reslab.environment import parse_size
from reslab.errors import RecipeError, ReslabError
from reslab.fields import check, knob

__all__ = ["HardwareRecipe", "Switch"]

Switch = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class HardwareRecipe:
    """Where and how it is computed; `auto` is decided once, when a run starts, and kept in the run."""

    device: str = knob("auto", "Device: auto, cpu, cuda, cuda:1, mps.")
    threads: int = knob(0, "Threads on a CPU; 0 for one a core.", least=0, most=1024)
    channels_last: Switch = knob("auto", "NHWC layout in memory.")
    compile: Switch = knob(
        "auto",
        "Compilation by torch.compile; auto compiles where norms are not fused otherwise and the time saved is "
        "clearly more than compiling takes.",
    )
    fused_norms: Switch = knob(
        "auto",
        "Batch norm, the addition of a shortcut and ReLU as one kernel of our own, on a CPU and where nothing is "
        "compiled; it takes a C++ compiler.",
    )
    kernels: Literal["auto", "torch", "winograd"] = knob(
        "auto",
        "Convolutions of 3x3 in training on a CPU: torch's, or by Winograd's algorithm with fewer products, which "
        "takes a C++ compiler, and on maps of 2x2 and 1x1 as one product; auto takes that where it is faster. "
        "Evaluation and exported files always have torch's.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = knob(
        "fp32",
        "Precision of convolutions and products; weights, statistics and the loss stay fp32. auto: bf16 where the "
        "processor has instructions for it. fp16 scales the loss, for GPUs without bf16.",
    )
    workers: int = knob(
        -1,
        "Processes that decode photos; 0 to decode in the training process, -1 for one a core.",
        least=-1,
        most=256,
    )
    memory: str = knob(
        "",
        "Limit for the whole process, as in 2GiB (on a GPU, for its memory, where it is predicted and not enforced): "
        "blocks are computed again for the gradients where it is needed, which changes the time and not the weights. "
        "Processes that decode photos are not counted. Empty for none.",
    )

    def __post_init__(self) -> None:
        check(self, RecipeError, "hardware.")
        if self.memory:
            try:
                parse_size(self.memory)
            except ReslabError as error:
                raise RecipeError(f"hardware.memory: {error}") from None
