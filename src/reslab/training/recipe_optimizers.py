"""The optimizers that a recipe can have, each with the fields that it uses. Importing this imports no torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from reslab.errors import RecipeError
from reslab.fields import check, knob

__all__ = ["AdamW", "Lamb", "Muon", "OptimizerRecipe", "Sgd"]


@dataclass(frozen=True, kw_only=True)
class _Optimizer:
    """What all of them have."""

    learning_rate: float = knob(0.1, "The highest rate: the schedule's other rates are shares of it.", above=0)
    weight_decay: float = knob(
        1e-4, "Pull of the weights towards 0. Of sgd and muon an L2 penalty, added to the gradients.", least=0
    )
    decay: Literal["all", "weights", "norms"] = knob(
        "all",
        "What decays: every parameter; weights, which are convolutions and the classifier's matrix; or norms, which "
        "are the others, scales and shifts and biases.",
    )
    clip_norm: float = knob(
        0.0, "The gradients' norm over all parameters is scaled down to this where it is larger; 0 for never.", least=0
    )
    accumulate: int = knob(
        1,
        "Parts that a batch is computed in, their gradients added up: less memory, and batch norm over each part "
        "alone.",
        least=1,
    )

    def __post_init__(self) -> None:
        check(self, RecipeError, "optimizer.")
        if getattr(self, "nesterov", False) and getattr(self, "momentum", 0.0) == 0:
            raise RecipeError("optimizer.nesterov does nothing without an optimizer.momentum above 0.")


@dataclass(frozen=True, kw_only=True)
class Sgd(_Optimizer):
    """SGD with momentum (Sec. 3.4, 4.2), in torch's form v = m v + g, w = w - rate v."""

    kind: ClassVar[str] = "sgd"
    momentum: float = knob(0.9, "Share of the last step that is taken again.", least=0, below=1)
    nesterov: bool = knob(False, "Nesterov's momentum; the paper's is plain.")


@dataclass(frozen=True, kw_only=True)
class AdamW(_Optimizer):
    """Adam with weight decay apart from the gradients (arXiv 1711.05101)."""

    kind: ClassVar[str] = "adamw"
    learning_rate: float = knob(1e-3, "The highest rate: the schedule's other rates are shares of it.", above=0)
    weight_decay: float = knob(0.01, "Share of the weights that is taken off, times the rate.", least=0)
    betas: tuple[float, float] = knob(
        (0.9, 0.999), "Decay of the averages of gradients and of their squares.", least=0, below=1
    )
    eps: float = knob(1e-8, "Number added to the root of the latter.", above=0)


@dataclass(frozen=True, kw_only=True)
class Lamb(_Optimizer):
    """LAMB: Adam whose step is scaled, layer by layer, to the weights (arXiv 1904.00962)."""

    kind: ClassVar[str] = "lamb"
    learning_rate: float = knob(5e-3, "The highest rate: the schedule's other rates are shares of it.", above=0)
    weight_decay: float = knob(0.01, "Share of the weights that is added to the step before it is scaled.", least=0)
    betas: tuple[float, float] = knob(
        (0.9, 0.999), "Decay of the averages of gradients and of their squares.", least=0, below=1
    )
    eps: float = knob(1e-6, "Number added to the root of the latter.", above=0)


@dataclass(frozen=True, kw_only=True)
class Muon(_Optimizer):
    """Muon: orthogonal steps for all convolutions but the first, and SGD's for the rest.

    kellerjordan.github.io/posts/muon; orthogonal steps have no weight decay.
    """

    kind: ClassVar[str] = "muon"
    momentum: float = knob(0.9, "Share of the last step that is taken again.", least=0, below=1)
    nesterov: bool = knob(False, "Nesterov's momentum.")
    orthogonal_factor: float = knob(0.25, "The rate of orthogonal steps is so many times the learning rate.", above=0)


OptimizerRecipe: TypeAlias = Sgd | AdamW | Lamb | Muon
