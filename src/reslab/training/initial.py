"""The state that a training begins with: the network with its first weights, and what belongs to it."""

import warnings

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reslab.models import spell
from reslab.models.build import build
from reslab.models.features import FeatureNetwork
from reslab.models.released import load_pretrained
from reslab.models.residual import ResNet
from reslab.models.weights import ChannelsAdaptedWarning, HeadReplacedWarning, LoadReport
from reslab.models.zoo import base_name
from reslab.training.ghost import use_ghost_batches
from reslab.training.kernels.networks import fuse_norms, use_winograd
from reslab.training.optimizer import make_optimizer
from reslab.training.plan import Asked, Plan
from reslab.training.schedule import Plateau, WarmUp
from reslab.training.state import Meter, TrainingState

__all__ = ["check_initial_weights", "initial_state"]


def initial_state(plan: Plan, *, progress: bool = False) -> tuple[TrainingState, LoadReport | None]:
    """A network before its first iteration, on its device.

    Args:
        plan: of the run; its seed decides random weights.
        progress: whether to show a download's progress.

    Returns:
        The state, and what became of the initial weights, where the plan has some.

    Raises:
        WeightsError: the initial weights cannot be loaded.
    """
    recipe = plan.recipe
    model, loaded = _make_model(plan, progress)
    scaler = torch.amp.GradScaler(torch.device(plan.execution.device).type, enabled=plan.execution.precision == "fp16")
    state = TrainingState(
        model,
        make_optimizer(model, recipe.optimizer),
        WarmUp(recipe, plan.asked.spec.depth),
        Meter(),
        scaler,
        Plateau(recipe),
        _make_average(model, recipe.regularization.ema_decay),
    )
    return state, loaded


def check_initial_weights(asked: Asked, *, progress: bool = False) -> None:
    """Loads the initial weights that are asked for, if any, and drops them: before a run has a folder.

    Args:
        asked: of the run.
        progress: whether to show a download's progress.

    Raises:
        WeightsError: they cannot be loaded.
    """
    if asked.weights:
        with torch.random.fork_rng(devices=[]):
            _first_network(asked, progress)


def _first_network(asked: Asked, progress: bool) -> tuple[FeatureNetwork, LoadReport | None]:
    torch.manual_seed(asked.seed)
    model = build(asked.spec)
    if not asked.weights:
        return model, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HeadReplacedWarning)  # the report says so, as of channels
        warnings.simplefilter("ignore", ChannelsAdaptedWarning)
        return model, load_pretrained(model, base_name(spell(asked.spec)), asked.weights, progress=progress)


def _make_model(plan: Plan, progress: bool) -> tuple[FeatureNetwork, LoadReport | None]:
    execution, ghost_batch = plan.execution, plan.recipe.regularization.ghost_batch
    model, loaded = _first_network(plan.asked, progress)
    if ghost_batch:
        use_ghost_batches(model, ghost_batch)
    layout = torch.channels_last if execution.channels_last else torch.contiguous_format
    model = model.to(device=execution.device, memory_format=layout)  # type: ignore[call-overload]
    if execution.fused_norms:
        fuse_norms(model)
    if execution.kernels == "winograd":
        use_winograd(model)
    if execution.segments is not None:
        assert isinstance(model, ResNet)
        model.set_grad_checkpointing(segments=execution.segments)
    return model, loaded


def _make_average(model: FeatureNetwork, decay: float) -> AveragedModel | None:
    if not decay:
        return None
    # Statistics of batch norm are averaged too: the averaged weights' own would have to be measured.
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]
