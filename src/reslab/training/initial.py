"""The state that a training begins with: the network with its first weights, and what belongs to it."""

import warnings
from dataclasses import replace
from pathlib import Path

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reslab.errors import WeightsError
from reslab.files.reading import naming
from reslab.models import NetSpec, spell
from reslab.models.build import build
from reslab.models.features import FeatureNetwork
from reslab.models.hub import HUB_PREFIX, fetch_from_hub
from reslab.models.released import find_card, is_file_of_weights, load_pretrained
from reslab.models.residual import ResNet
from reslab.models.weights import (
    CARD_NAME,
    WEIGHTS_NAME,
    ChannelsAdaptedWarning,
    HeadReplacedWarning,
    LoadReport,
    load_weights,
)
from reslab.models.zoo import base_name
from reslab.trained.loading import load_trained
from reslab.trained.published import describe_card
from reslab.training.asked_recipe import Beginning
from reslab.training.ghost import use_ghost_batches
from reslab.training.kernels.networks import fuse_norms, use_winograd
from reslab.training.optimizer import make_optimizer
from reslab.training.plan import Asked, Plan
from reslab.training.schedule import Plateau, WarmUp
from reslab.training.state import Meter, TrainingState

__all__ = ["check_initial_weights", "find_beginning", "initial_state"]


def initial_state(
    plan: Plan, *, weights: bool = True, progress: bool = False
) -> tuple[TrainingState, LoadReport | None]:
    """A network before its first iteration, on its device.

    Args:
        plan: of the run; its seed decides random weights.
        weights: whether the initial weights are loaded; a checkpoint's take their place.
        progress: whether to show a download's progress.

    Returns:
        The state, and what became of the initial weights, where the plan has some.

    Raises:
        WeightsError: the initial weights cannot be loaded.
    """
    recipe = plan.recipe
    model, loaded = _make_model(plan, weights, progress)
    scaler = torch.amp.GradScaler(torch.device(plan.execution.device).type, enabled=plan.execution.precision == "fp16")
    state = TrainingState(
        model,
        make_optimizer(model, recipe.optimizer, recipe.fine_tuning, scaled=scaler.is_enabled()),
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
            _first_network(asked, True, progress)


def find_beginning(model: str | NetSpec, weights: str | Path | None) -> Beginning:
    """What is known of initial weights before they are loaded.

    Args:
        model: the network as it was asked for.
        weights: as `train` takes them.

    Raises:
        WeightsError: they are a run's or a name's, and there is no such one.
    """
    if not weights:
        return Beginning()
    text = str(weights)
    folder = _folder(text)
    if folder is not None:
        return Beginning(text, load_trained(folder).about)
    if is_file_of_weights(text):
        return Beginning(text)
    return Beginning(text, describe_card(find_card(base_name(model if isinstance(model, str) else spell(model)), text)))


def _folder(weights: str) -> Path | None:
    """The folder of a run or of weights with a card, where weights are named by that; from the hub it is fetched."""
    path = fetch_from_hub(weights) if weights.startswith(HUB_PREFIX) else Path(weights)
    named = path.parent if path.name == WEIGHTS_NAME and (path.parent / CARD_NAME).is_file() else path
    return named if named.is_dir() else None


def _first_network(asked: Asked, weights: bool, progress: bool) -> tuple[FeatureNetwork, LoadReport | None]:
    torch.manual_seed(asked.seed)
    model = build(asked.spec)
    if not asked.weights or not weights:
        return model, None
    fresh = {name: value.clone() for name, value in model.get_classifier().state_dict().items()}
    folder = _folder(str(asked.weights))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HeadReplacedWarning)  # the report says so, as of channels
        warnings.simplefilter("ignore", ChannelsAdaptedWarning)
        if folder is None:
            report = load_pretrained(model, base_name(spell(asked.spec)), asked.weights, progress=progress)
        else:
            with naming(folder, WeightsError):
                report = load_weights(model, load_trained(folder).model.state_dict())
    about = asked.beginning.about if asked.beginning else None
    if about and about.classes and about.classes != asked.data.classes and not report.replaced_head:
        model.get_classifier().load_state_dict(fresh)
        named = f"the classifier is of other classes ({', '.join(map(repr, about.classes[:3]))}, ...) and starts afresh"
        report = replace(report, replaced_head=named)
    return model, report


def _make_model(plan: Plan, weights: bool, progress: bool) -> tuple[FeatureNetwork, LoadReport | None]:
    execution, ghost_batch = plan.execution, plan.recipe.regularization.ghost_batch
    model, loaded = _first_network(plan.asked, weights, progress)
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
