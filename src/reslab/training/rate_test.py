"""A range test of the learning rate: the loss while the rate rises from next to nothing to far too much.

L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186, Sec. 3.3.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reslab.analysis.plots import plot_rate_test
from reslab.console import counting
from reslab.data import AnyData
from reslab.errors import DivergenceError, RecipeError
from reslab.models import NetSpec
from reslab.models.devices import own_random_numbers
from reslab.runs import Run
from reslab.training.initial import check_initial_weights
from reslab.training.loop import Trainer
from reslab.training.preparation import Wanted, new_plan, prepare
from reslab.training.recipe import iterations

__all__ = ["RateTest", "find_rate"]

_ITERATIONS = 100
_LOWEST, _HIGHEST = 1e-4, 1e2  # of the recipe's own rate
_SMOOTHING = 0.9
_DIVERGED = 4.0  # times the lowest loss, where the test ends
_LEAST_FALL = 10  # iterations; the first losses are not yet smooth
_FROM_LOWEST = 10.0  # how far below the rate of the lowest loss one should stay


@dataclass(frozen=True, eq=False)
class RateTest:
    """What a range test found.

    Args:
        rates: (n,) of the iterations.
        losses: (n,) of the batches.
        rate: that is suggested.
        recipe_rate: the recipe's own.
        picture: of both; None where none was drawn.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    rate: float
    recipe_rate: float
    picture: Path | None = None

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """(n,) losses as a moving average, each weighing 0.9 of the next."""
        return smoothed(self.losses)

    def __str__(self) -> str:
        drawn = f"\n{self.picture}" if self.picture else ""
        return (
            f"The loss falls, and is far from diverging, at a rate of {self.rate:.2g}: --optimizer.learning-rate "
            f"{self.rate:.2g} (the recipe's own is {self.recipe_rate:g}).{drawn}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "rate": self.rate,
            "recipe_rate": self.recipe_rate,
            "rates": self.rates.tolist(),
            "losses": self.losses.tolist(),
            "picture": str(self.picture) if self.picture else None,
        }


def find_rate(
    model: str | NetSpec | None = None,
    data: str | Path | AnyData | None = None,
    *,
    run_dir: str | Path | None = None,
    data_dir: Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> RateTest:
    """Trains a network for 100 iterations whose rate rises from 1e-4 to 100 times the recipe's, and throws it away.

    All layers are trained from the first iteration on. The rate that is suggested is a tenth of the one at which the
    smoothed loss is lowest: there it falls still, and a whole training is not close to diverging.

    Args:
        model: as in `train`.
        data: likewise.
        run_dir: of the training that it is for; the picture is put beside it, as RUN-rates.png.
        data_dir: where named data sets are looked for first.
        progress: whether to show it.
        **settings: of the training, as `train` takes them: recipe, weights, fields, seed, classes, iterations, epochs.

    Raises:
        ReslabError: a bad argument; or no loss that falls, of which nothing follows.
    """
    ready = prepare(Wanted(model, data, **settings), run_dir, data_dir=data_dir, progress=progress)
    recipe = ready.asked.recipe.rescaled(_ITERATIONS)
    recipe = replace(recipe, fine_tuning=replace(recipe.fine_tuning, head_first=iterations(0)))
    ready = replace(ready, asked=replace(ready.asked, recipe=recipe))
    check_initial_weights(ready.asked, progress=progress)
    own = recipe.optimizer.learning_rate
    rates = own * np.geomspace(_LOWEST, _HIGHEST, _ITERATIONS)
    with TemporaryDirectory() as folder:
        plan = new_plan(ready, Run(Path(folder)))
        with own_random_numbers(plan.execution.device), plan.execution.in_force():
            losses = _losses(Trainer(plan, progress=progress), rates, progress)
    rates = rates[: len(losses)]
    picture = ready.run.folder.with_name(f"{ready.run.folder.name}-rates.png")
    found = RateTest(rates, losses, suggested_rate(rates, losses), own, picture)
    picture.parent.mkdir(parents=True, exist_ok=True)
    plot_rate_test(rates, losses, found.smoothed, found.rate, ready.run.folder.name, picture)
    return found


def _losses(trainer: Trainer, rates: NDArray[np.float64], progress: bool) -> NDArray[np.float64]:
    """Of each iteration, until they are many times the lowest one."""
    losses: list[float] = []
    meter = trainer.state.meter
    trainer.state.model.train()
    try:
        with counting("Trying rates", len(rates), enabled=progress) as advance:
            for rate in rates:
                before = meter.loss_sum
                trainer.iterate(float(rate))
                meter.settle()
                losses.append(meter.loss_sum - before)
                advance(1)
                means = smoothed(np.array(losses))
                if means[-1] > _DIVERGED * means.min():
                    break
    except DivergenceError:
        pass  # as is to be expected of the highest rates
    finally:
        trainer.batches.close()
    return np.array(losses)


def smoothed(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) numbers as a moving average that begins without a bias, as Adam's."""
    found, mean = np.empty(len(losses)), 0.0
    for index, loss in enumerate(losses):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        found[index] = mean / (1 - _SMOOTHING ** (index + 1))
    return found


def suggested_rate(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> float:
    """The rate of a range test, rounded to two digits.

    Args:
        rates: (n,) rising.
        losses: (n,) at them.

    Raises:
        RecipeError: the loss never falls.
    """
    means = smoothed(losses)
    lowest = int(means.argmin()) if len(means) else 0
    if lowest < _LEAST_FALL or means[lowest] > 0.99 * means[_LEAST_FALL]:
        raise RecipeError("the loss never falls while the rate rises, so that no rate can be suggested.")
    rate = float(rates[lowest]) / _FROM_LOWEST
    return round(rate, 1 - math.floor(math.log10(rate)))
