"""Training, from top to bottom: set up, resume, the loop, the end."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.profiler import record_function

from reslab.checkpoints import (
    DamagedCheckpointWarning,
    newest_checkpoint,
    newest_whole_checkpoint,
    save_best,
    save_checkpoint,
)
from reslab.data.dataset import Role
from reslab.errors import CheckpointError, DataError, DivergenceError
from reslab.files.reading import naming, reading
from reslab.files.rows import RowLog
from reslab.files.shapes import check_shape
from reslab.models.weights import NORMALIZATION_NAME
from reslab.runs import HeldRun
from reslab.tasks.task import Batch
from reslab.training.fine_tuning import choose_trained
from reslab.training.finish import describe_weights, evaluate_within, finish_run
from reslab.training.initial import initial_state
from reslab.training.inputs import make_batches, measured_normalization
from reslab.training.objective import make_mixing
from reslab.training.optimizer import check_optimizer, set_rate
from reslab.training.plan import Plan
from reslab.training.progress import TrainingProgress
from reslab.training.resizing import initial_iterations, resized, work_until
from reslab.training.result import TrainResult
from reslab.training.schedule import learning_rate
from reslab.training.state import STATE, Meter, step_seed
from reslab.training.stopping import StopRequests
from reslab.training.tracking import Tracker

__all__ = ["Trainer"]

Step = Callable[[Tensor, Batch], tuple[Tensor, Tensor]]


class Trainer:
    """One run in progress; nothing is written before `run_until`.

    Args:
        plan: what the run is to be.
        progress: whether to show progress on stderr.
        asked_to_stop: called from time to time while photos are read; may raise.
        tracker: is given the rows as well.
    """

    held: HeldRun
    rows: RowLog

    def __init__(
        self,
        plan: Plan,
        *,
        progress: bool = False,
        asked_to_stop: Callable[[], object] = bool,
        tracker: Tracker | None = None,
    ) -> None:
        self.plan, self.progress, self.tracker = plan, progress, tracker or Tracker()
        self.run, self.data, self.recipe, self.execution = plan.run, plan.data, plan.recipe, plan.execution
        self.seed, self.task = plan.asked.seed, plan.task
        split = self.data.split("train")
        self.normalization = measured_normalization(self.run, split, self.recipe.data, asked_to_stop)
        device = torch.device(self.execution.device)
        self.batches = make_batches(self.recipe, split, self.normalization, self.seed, device, self.task)
        self.initial_iterations = initial_iterations(self.recipe)
        self.mixing = make_mixing(self.recipe.regularization, plan.asked.spec.num_classes)
        begun = newest_checkpoint(self.run.checkpoints) is not None  # and needs its initial weights no more
        self.state, self.loaded = initial_state(plan, weights=not begun, progress=progress)
        self.step = self._make_step()

    # Set-up

    @property
    def device_type(self) -> str:
        """cpu, cuda, mps."""
        return torch.device(self.execution.device).type

    def _make_step(self) -> Step:
        model = self.state.model
        targets, count_wrong = self.data.split("train").labels, self.task.count_wrong
        loss = self.task.make_loss(self.recipe.regularization, model.spec.num_classes, targets)
        dtype, reduced = self.execution.dtype, self.execution.precision != "fp32"

        def forward(images: Tensor, targets: Batch) -> tuple[Tensor, Tensor]:
            with torch.autocast(self.device_type, dtype, enabled=reduced):
                logits = model(images)
            logits = logits.float()
            return loss(logits, targets), count_wrong(logits, targets)

        return torch.compile(forward, dynamic=False) if self.execution.compiled else forward

    def _resume(self) -> list[str]:
        """Goes on from the newest checkpoint that is whole; sentences on those that are not."""
        notes: list[str] = []
        found = newest_whole_checkpoint(
            self.run.checkpoints, asked=self.run.asked, unsealed_too=not self.run.has_checksums, say=notes.append
        )
        if found is None:
            self.rows.keep_none()
            return notes
        path, saved = found
        if saved.get("normalization", self.normalization.digest) != self.normalization.digest:
            raise CheckpointError(
                f"{self.run.folder / NORMALIZATION_NAME} is not the one that {path} was trained with; put back a copy "
                "of it."
            )
        check_shape(path, saved, STATE, CheckpointError)
        with naming(path, CheckpointError), reading(path, CheckpointError):
            choose_trained(self.state.model, self.recipe.fine_tuning, int(saved["iteration"]) - 1)
            check_optimizer(self.state.optimizer, saved["optimizer"])
            self.state.load_state_dict(saved)
        if "rows" in saved:
            check_shape(path, saved["rows"], {"num_rows": int, "checksum": str}, CheckpointError, at="rows")
            self.rows.keep(saved["rows"], str(path))
        else:  # of version 0.1.0
            self.rows.keep_where(lambda row: row["iteration"] <= self.state.iteration)
        return notes

    # The loop

    def run_until(self, stop: StopRequests, held: HeldRun) -> TrainResult:
        """Trains to the end of the schedule, or until asked to stop.

        Args:
            stop: says when.
            held: the run's folder, while this process may write to it.

        Raises:
            ReslabError: the run cannot be resumed or finished, diverges, or its folder is removed.
        """
        self.held, self.rows = held, self.run.row_log()
        notes = self._resume()
        state, total = self.state, self.recipe.iterations
        title, work = self.run.record["model"], partial(work_until, self.recipe)
        with TrainingProgress(title, total, state.iteration, self.progress, work, self.task.words) as progress:
            for note in notes:
                self._warn(note, progress)
            if state.iteration:
                progress.say(f"Resuming {self.run.folder} at iteration {state.iteration}.")
            elif self.loaded:
                progress.say(f"{self.loaded}.")
            for reason in self.execution.reasons if not state.iteration else ():
                progress.say(f"  {reason}")
            self.tracker.begin(self.run.rows())
            state.model.train()
            try:
                self._record_again(progress)
                while state.iteration < total and not self._gains_nothing():
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
                self.tracker.close()
            figures = finish_run(self.plan, held, state, self.normalization, self.rows)
            self.held.check()
        return TrainResult(self.run, state.iteration, None, figures)

    def finish_early(self, held: HeldRun) -> TrainResult:
        """Ends a stopped run where it is: its last checkpoint, or the one that is best on val, becomes its weights.

        Args:
            held: the run's folder, while this process may write to it.

        Raises:
            CheckpointError: it has no checkpoint, or none that is whole.
        """
        self.held, self.rows = held, self.run.row_log()
        try:
            notes = self._resume()
            if not self.state.iteration:
                raise CheckpointError(f"{self.run.folder} has no checkpoint yet, and so no weights to finish with.")
            with TrainingProgress(self.run.record["model"], 1, 0, self.progress) as progress:
                for note in notes:
                    self._warn(note, progress)
                progress.say(f"Finishing {self.run.folder} at iteration {self.state.iteration}.")
            self.tracker.begin(self.run.rows())
            figures = finish_run(self.plan, held, self.state, self.normalization, self.rows, progress=self.progress)
        finally:
            self.batches.close()
            self.tracker.close()
        return TrainResult(self.run, self.state.iteration, None, figures)

    def iterate(self, rate: float | None = None) -> None:
        """One update of the weights, at the schedule's rate or another."""
        state = self.state
        state.meter.start_clock()
        if rate is None:
            rate = learning_rate(self.recipe, state.iteration, state.warmup.active, state.plateau.drops)
        set_rate(state.optimizer, rate)
        choose_trained(state.model, self.recipe.fine_tuning, state.iteration)
        with record_function("reslab.batch"):
            images, targets = self.batches.batch(state.iteration)
            if state.iteration < self.initial_iterations:
                images = resized(images, self.recipe.data.initial_scale)
        if self.mixing or self.state.model.spec.is_random:  # random as a function of seed and iteration
            torch.manual_seed(step_seed(self.seed, state.iteration))
        num_images, num_answers = len(images), self.task.num_answers(targets)
        if self.mixing:
            images, targets = self.mixing(images, targets)
        if not self.execution.channels_last:
            images = images.contiguous()
        loss, num_wrong = self._accumulate(images, targets)
        if self.recipe.optimizer.clip_norm:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), self.recipe.optimizer.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        if state.average:
            state.average.update_parameters(state.model)
        state.meter.add(state.iteration, loss, num_wrong, num_images, num_answers)
        if self.execution.device == "cpu" or state.warmup.active:
            wrong = state.meter.settle()
            if state.warmup.active and wrong is not None:
                state.warmup.observe(state.iteration, wrong * num_images / num_answers)
        state.meter.stop_clock()
        self.last_rate = rate
        state.iteration += 1

    def _accumulate(self, images: Tensor, targets: Batch) -> tuple[Tensor, Tensor]:
        """Gradients of a batch, in as many parts as the recipe says; the mean loss, and the number of errors."""
        state, num_parts = self.state, self.recipe.optimizer.accumulate
        losses, errors = [], []
        for part, part_targets in zip(images.chunk(num_parts), self.task.parts(targets, num_parts), strict=True):
            loss, num_wrong = self.step(part, part_targets)
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
            self.held.check()
            self.rows.append(row)
            self.tracker.add(row)
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
        errors = {"val_error": self._error("val")} if "val" in self.data.splits else {}
        if self.plan.asked.test_curve and "test" in self.data.splits:
            errors["test_error"] = self._error("test")
        # Noted when all images could be read: else all of this is done again on a resume.
        if "val_error" in errors:
            self.state.plateau.observe(errors["val_error"])
            if self.state.best_val_error is None or errors["val_error"] < self.state.best_val_error:
                self.state.best_val_error, self.state.best_iteration = errors["val_error"], self.state.iteration
                self.held.check()
                save_best(self.run.checkpoints, self._snapshot())
        return errors

    def _gains_nothing(self) -> bool:
        """Whether so many evaluations have not been better than the best one that training ends."""
        monitoring, best = self.recipe.monitoring, self.state.best_iteration
        if not monitoring.patience or best is None:
            return False
        return self.state.iteration >= best + monitoring.patience * int(monitoring.eval_every)

    def _error(self, role: Role) -> float:
        return evaluate_within(self.plan, self.state.eval_model, self.data.split(role), self.normalization).error

    def _save(self) -> None:
        self.held.check()
        self.rows.sync()  # a checkpoint counts on the rows before it
        save_checkpoint(self.run.checkpoints, self._snapshot(), keep=self.recipe.monitoring.keep_checkpoints)

    def _snapshot(self) -> dict[str, Any]:
        """What a checkpoint holds: the state, and what it belongs to."""
        belongs = {"asked": self.run.asked, "rows": self.rows.mark, "normalization": self.normalization.digest}
        # With these it is a trained network: a stopped run can be evaluated, exported and so on.
        seen = {"mean": torch.from_numpy(self.normalization.mean), "std": torch.from_numpy(self.normalization.std)}
        return {
            **self.state.state_dict(),
            **belongs,
            "seen": seen,
            "card": describe_weights(self.plan, self.normalization),
        }

    def _warn(self, sentence: str, progress: TrainingProgress) -> None:
        if self.progress:
            progress.say(sentence)
        else:
            warnings.warn(sentence, DamagedCheckpointWarning, stacklevel=2)

    def _explained(self, error: DivergenceError) -> DivergenceError:
        newest = newest_checkpoint(self.run.checkpoints)
        kept = f"the last good checkpoint is {newest}" if newest else "no checkpoint was due before that"
        return DivergenceError(f"training diverged: {error}; {kept}. Try a lower --optimizer.learning-rate.")
