"""Training, from top to bottom: set up, resume, the loop, the end."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.profiler import record_function

from reslab.errors import DataError, DivergenceError
from reslab.models import NetSpec, spell
from reslab.models.build import build
from reslab.models.features import FeatureNetwork
from reslab.models.released import load_released
from reslab.models.resnet import ResNet
from reslab.models.weights import HeadReplacedWarning, LoadReport
from reslab.models.zoo import base_name
from reslab.runs import Run
from reslab.training.checkpoint import load_checkpoint, newest_checkpoint, save_best, save_checkpoint
from reslab.training.execution import Execution
from reslab.training.finish import evaluate_within, finish_run
from reslab.training.fused import fuse_norms
from reslab.training.ghost import use_ghost_batches
from reslab.training.inputs import AnyData, make_batches, measured_normalization
from reslab.training.objective import count_wrong, make_loss, make_mixing
from reslab.training.optimizer import make_optimizer
from reslab.training.progress import TrainingProgress
from reslab.training.recipe import Recipe
from reslab.training.resizing import initial_iterations, resized, work_until
from reslab.training.schedule import Plateau, WarmUp, learning_rate
from reslab.training.state import Meter, TrainingState, step_seed
from reslab.training.stopping import StopRequests

__all__ = ["TrainResult", "Trainer"]

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class TrainResult:
    """How a call of `train` ended.

    Args:
        run: the run's folder.
        iteration: that was reached.
        stopped_by: why it stopped before the end (SIGINT, SIGTERM, an iteration or a time); None if it is finished.
        result: what result.json says; None if it is not finished.
    """

    run: Run
    iteration: int
    stopped_by: str | None
    result: dict[str, Any] | None


class Trainer:
    """One run in progress; its arguments are those of `train`, looked up and checked."""

    def __init__(
        self,
        run: Run,
        spec: NetSpec,
        data: AnyData,
        recipe: Recipe,
        seed: int,
        execution: Execution,
        weights: str | Path | None,
        test_curve: bool,
        progress: bool,
        asked_to_stop: Callable[[], object] = bool,
    ) -> None:
        self.run, self.data, self.recipe, self.execution, self.seed = run, data, recipe, execution, seed
        self.test_curve, self.progress = test_curve, progress
        split = data.split("train")
        self.normalization = measured_normalization(run, split, recipe.data, asked_to_stop)
        self.batches = make_batches(recipe, split, self.normalization, seed, torch.device(execution.device))
        self.initial_iterations = initial_iterations(recipe)
        self.mixing = make_mixing(recipe.regularization, spec.num_classes)
        torch.manual_seed(seed)
        model = build(spec)
        self.loaded: LoadReport | None = None
        if weights:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", HeadReplacedWarning)  # the report says so
                self.loaded = load_released(model, base_name(spell(spec)), weights, progress=progress)
        if recipe.regularization.ghost_batch:
            use_ghost_batches(model, recipe.regularization.ghost_batch)
        layout = torch.channels_last if execution.channels_last else torch.contiguous_format
        model = model.to(device=execution.device, memory_format=layout)  # type: ignore[call-overload]
        if execution.fused_norms:
            fuse_norms(model)
        if execution.segments is not None:
            assert isinstance(model, ResNet)
            model.set_grad_checkpointing(segments=execution.segments)
        scaler = torch.amp.GradScaler(self.device_type, enabled=execution.precision == "fp16")
        optimizer = make_optimizer(model, recipe.optimizer)
        self.state = TrainingState(
            model, optimizer, WarmUp(recipe, spec.depth), Meter(), scaler, Plateau(recipe), self._make_average(model)
        )
        self.step = self._make_step()

    # Set-up

    @property
    def device_type(self) -> str:
        """cpu, cuda, mps."""
        return torch.device(self.execution.device).type

    def _make_step(self) -> Step:
        model = self.state.model
        loss = make_loss(self.recipe.regularization, model.spec.num_classes)
        dtype, reduced = self.execution.dtype, self.execution.precision != "fp32"

        def forward(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            with torch.autocast(self.device_type, dtype, enabled=reduced):
                logits = model(images)
            logits = logits.float()
            return loss(logits, labels), count_wrong(logits, labels)

        return torch.compile(forward, dynamic=False) if self.execution.compiled else forward

    def _make_average(self, model: FeatureNetwork) -> AveragedModel | None:
        decay = self.recipe.regularization.ema_decay
        if not decay:
            return None
        # Statistics of batch norm are averaged too: the averaged weights' own would have to be measured.
        return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)  # type: ignore[no-untyped-call]

    def _resume(self) -> None:
        newest = newest_checkpoint(self.run.checkpoints)
        if newest:
            self.state.load_state_dict(load_checkpoint(newest))
        self.run.forget_rows_after(self.state.iteration)

    # The loop

    def run_until(self, stop: StopRequests) -> TrainResult:
        """Trains to the end of the schedule, or until asked to stop."""
        self._resume()
        state, total = self.state, self.recipe.iterations
        title, work = self.run.record["model"], partial(work_until, self.recipe)
        with TrainingProgress(title, total, state.iteration, self.progress, work) as progress:
            if state.iteration:
                progress.say(f"Resuming {self.run.folder} at iteration {state.iteration}.")
            elif self.loaded:
                progress.say(f"{self.loaded}.")
            for reason in self.execution.reasons if not state.iteration else ():
                progress.say(f"  {reason}")
            state.model.train()
            try:
                self._record_again(progress)
                while state.iteration < total:
                    if (stopped_by := stop.reason(state.iteration)) is not None:
                        self._save()
                        return TrainResult(self.run, state.iteration, stopped_by, None)
                    try:
                        self.iterate()
                        self._record(progress)
                    except DataError:  # a photo that cannot be read: what was learned before it is not lost
                        self._save()
                        raise
                self._save()
            except DivergenceError as error:
                raise self._explained(error) from None
            finally:
                self.batches.close()
            result = finish_run(self.run, state, self.data, self.normalization, self.recipe, self.seed, self.test_curve)
        return TrainResult(self.run, total, None, result)

    def iterate(self) -> None:
        """One update of the weights."""
        state = self.state
        state.meter.start_clock()
        rate = learning_rate(self.recipe, state.iteration, state.warmup.active, state.plateau.drops)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        with record_function("reslab.batch"):
            images, labels = self.batches.batch(state.iteration)
            if state.iteration < self.initial_iterations:
                images = resized(images, self.recipe.data.initial_scale)
        if self.mixing or self.state.model.spec.is_random:  # random as a function of seed and iteration
            torch.manual_seed(step_seed(self.seed, state.iteration))
        num_images = len(labels)
        if self.mixing:
            images, labels = self.mixing(images, labels)
        if not self.execution.channels_last:
            images = images.contiguous()
        loss, num_wrong = self._accumulate(images, labels)
        if self.recipe.optimizer.clip_norm:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), self.recipe.optimizer.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        if state.average:
            state.average.update_parameters(state.model)
        state.meter.add(state.iteration, loss, num_wrong, num_images)
        if self.execution.device == "cpu" or state.warmup.active:
            wrong = state.meter.settle()
            if state.warmup.active and wrong is not None:
                state.warmup.observe(state.iteration, wrong)
        state.meter.stop_clock()
        self.last_rate = rate
        state.iteration += 1

    def _accumulate(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of a batch, in as many parts as the recipe says; the mean loss, and the number of errors."""
        state, num_parts = self.state, self.recipe.optimizer.accumulate
        losses, errors = [], []
        for part, part_labels in zip(images.chunk(num_parts), labels.chunk(num_parts), strict=True):
            loss, num_wrong = self.step(part, part_labels)
            state.scaler.scale(loss / num_parts if num_parts > 1 else loss).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            errors.append(num_wrong)
        if num_parts == 1:
            return losses[0], errors[0]
        return torch.stack(losses).mean(), torch.stack(errors).sum()

    def _record(self, progress: TrainingProgress) -> None:
        """Rows, evaluations and checkpoints that are due after an iteration."""
        state, monitoring = self.state, self.recipe.monitoring
        at_end = state.iteration == self.recipe.iterations
        evaluation_due = state.iteration % int(monitoring.eval_every) == 0 or at_end
        if self._row_due():
            found = self._evaluations() if evaluation_due else {}
            row = {"iteration": state.iteration, "learning_rate": self.last_rate, **state.meter.row(), **found}
            state.seconds += state.meter.seconds
            state.meter = Meter()
            self.run.append_row(row)
            progress.show(row)
        progress.advance(state.iteration)
        if state.iteration % int(monitoring.checkpoint_every) == 0 and not at_end:
            self._save()

    def _record_again(self, progress: TrainingProgress) -> None:
        """What was due when a run ended, in the middle of an evaluation, with an image that could not be read."""
        state, rows = self.state, self.run.rows()
        if self._row_due() and state.meter.num_images and (not rows or rows[-1]["iteration"] < state.iteration):
            self.last_rate = learning_rate(self.recipe, state.iteration - 1, state.warmup.active, state.plateau.drops)
            self._record(progress)

    def _row_due(self) -> bool:
        monitoring, iteration = self.recipe.monitoring, self.state.iteration
        return (
            iteration % int(monitoring.log_every) == 0
            or iteration % int(monitoring.eval_every) == 0
            or iteration == self.recipe.iterations
        )

    def _evaluations(self) -> dict[str, float]:
        errors: dict[str, float] = {}
        if "val" in self.data.splits:
            error = evaluate_within(
                self.recipe, self.state.result, self.data.split("val"), self.normalization
            ).top1_error
            errors["val_error"] = error
            self.state.plateau.observe(error)
            if self.state.best_val_error is None or error < self.state.best_val_error:
                self.state.best_val_error = error
                save_best(self.run.checkpoints, self.state.state_dict())
        if self.test_curve and "test" in self.data.splits:
            errors["test_error"] = evaluate_within(
                self.recipe, self.state.result, self.data.split("test"), self.normalization
            ).top1_error
        return errors

    def _save(self) -> None:
        save_checkpoint(self.run.checkpoints, self.state.state_dict(), keep=self.recipe.monitoring.keep_checkpoints)

    def _explained(self, error: DivergenceError) -> DivergenceError:
        newest = newest_checkpoint(self.run.checkpoints)
        kept = f"the last good checkpoint is {newest}" if newest else "no checkpoint was due before that"
        return DivergenceError(f"training diverged: {error}; {kept}. Try a lower --optimizer.learning-rate.")
