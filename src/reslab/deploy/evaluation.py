"""Tests of deployed networks: a single view of each image, as the file itself says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reslab.data import AnyData, ImageData, Role
from reslab.data.dataset import Samples
from reslab.deploy.deployed import Deployed
from reslab.deploy.gate import logits_of
from reslab.errors import DataError
from reslab.evaluation.outcomes import Outcome, judge
from reslab.files.hashing import file_digest
from reslab.tasks import Score, find_task

__all__ = ["deployed_outcome", "evaluate_deployed"]

_BATCH = 64


def evaluate_deployed(
    deployed: Deployed, split: Samples, *, batch_size: int = _BATCH, advance: Callable[[int], object] | None = None
) -> Score:
    """How good a deployed network is, by its task, as `reslab.evaluation.evaluate` says it of PyTorch's.

    Args:
        deployed: the network.
        split: the images, of the shape that it takes.
        batch_size: images a pass; the result does not depend on it.
        advance: told of the number of images done after every batch.
    """
    logits = torch.from_numpy(logits_of(deployed, split, batch_size, advance))
    task = find_task(deployed.about.task)
    return task.score([(logits, task.collate(split.labels))])


def deployed_outcome(
    deployed: Deployed,
    data: AnyData,
    role: Role = "test",
    *,
    batch_size: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> Outcome:
    """A deployed network on a data set, as `reslab.evaluation.outcomes.evaluate_network` tests PyTorch's.

    Args:
        deployed: the network.
        data: with the images; classes are matched by name.
        role: of the images.
        batch_size: images a pass; 64 by default.
        advance: told of the number of images done after every batch.

    Raises:
        DataError: the data do not fit, or an image cannot be used.
    """
    if batch_size is not None and batch_size < 1:
        raise DataError(f"a batch must have at least one image, not {batch_size}.")
    if isinstance(data, ImageData) and data.image_shape[:2] != deployed.preprocessing.shape[:2]:
        ours, theirs = ("x".join(map(str, shape)) for shape in (deployed.preprocessing.shape, data.image_shape))
        raise DataError(f"{deployed.name} takes images of {ours}, but those of {data.name} are {theirs}.")
    digest = data.split(role).digest
    fitting = deployed.about.fit(data)
    logits = logits_of(deployed, fitting.split(role), batch_size or _BATCH, advance)
    details: dict[str, Any] = {
        "protocol": "one-crop",
        "data_sha256": digest,
        "engine": deployed.engine,
        "device": "cpu",
        "weights_sha256": deployed.about.sha256,
    }
    if Path(deployed.name).is_file():
        details["file_sha256"] = file_digest(Path(deployed.name))
    scores = find_task(deployed.about.task).array_probabilities(logits).astype(np.float32)
    return judge(deployed.name, scores, fitting, role, details)
