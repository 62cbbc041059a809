"""torch.export programs."""

from collections.abc import Mapping
from pathlib import Path

import torch

from reslab.data.normalization import Normalization
from reslab.deploy.engines import silenced
from reslab.deploy.export_task import ExportReport, Progress, prepare
from reslab.deploy.tracing import TALKATIVE, any_batch, explaining
from reslab.deploy.writing import writing
from reslab.files.torch_file import opened_for_torch
from reslab.models.features import FeatureNetwork

__all__ = ["export_program"]


def export_program(
    model: FeatureNetwork,
    path: Path | str,
    *,
    normalization: Normalization | None = None,
    image_size: tuple[int, int] | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Writes a network as a torch.export program, after loading it back and comparing it with the network.

    `torch.export.load(path).module()` is then a module in evaluation mode that needs no code of this package. Its
    input is that of `export_onnx`.

    Args:
        model: is left as it is.
        path: of the file, which ends in .pt2; replaced if it is there.
        normalization: that the network was trained with, for a program that takes pixels.
        image_size: height and width; those that the network was made for by default.
        metadata: texts kept in the file, as `torch.export.load`'s `extra_files`.
        progress: told what is being done.

    Returns:
        What was written, and the largest difference found.

    Raises:
        ExportError: the file cannot be written, or the two differ by more than `TOLERANCE` times the largest logit.
            No file is then left, and one that was there stays as it was.
    """
    task = prepare(model, path, ".pt2", normalization, image_size, progress)
    with writing(task.path) as temporary, silenced(*TALKATIVE):
        task.tell("Tracing")
        with explaining():
            program = torch.export.export(task.module, (task.traced_images,), dynamic_shapes=any_batch())
        for node in program.graph.nodes:
            node.meta.pop("stack_trace", None)  # lines of source with this machine's paths
        with opened_for_torch(temporary) as stream:  # of a path, torch wants another suffix
            torch.export.save(program, stream, extra_files=dict(metadata or {}))
        with temporary.open("rb") as stream:
            loaded = torch.export.load(stream).module()
        compared = task.compare(loaded, "torch.export program")
    num_nodes = sum(node.op == "call_function" for node in program.graph.nodes)
    return task.report("torch-export", compared, num_nodes)
