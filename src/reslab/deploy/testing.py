"""Tests of networks on the same images, whatever runs them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from reslab.console import counting
from reslab.data import Role
from reslab.deploy.deployed import Deployed
from reslab.deploy.evaluation import deployed_outcome
from reslab.errors import DataError
from reslab.evaluation.outcomes import Outcome, check_same_images, ensemble_outcome, evaluate_network
from reslab.evaluation.protocol_options import choose_protocol
from reslab.evaluation.protocols import EvaluationProtocol, OneCrop
from reslab.evaluation.subjects import EvaluationImages, Subject, choose_images, load_subject
from reslab.trained import Description, Reference
from reslab.trained.loading import choose_device

__all__ = ["Testable", "evaluate_networks"]


class Testable(Protocol):
    """What a test needs of a network.

    Args:
        reference: by which it is named.
        options: of `load_trained`.
    """

    reference: Reference
    options: dict[str, Any]

    @property
    def about(self) -> Description:
        """How it sees images."""
        ...

    @property
    def deployed(self) -> Deployed:
        """The network of an exported file."""
        ...


def evaluate_networks(
    networks: Sequence[Testable],
    *,
    data: str | Path | None = None,
    split: Role | None = None,
    protocol: str = "one-crop",
    protocol_options: dict[str, Any] | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    use_cache: bool = False,
    ensemble: bool = False,
    data_dir: Path | None = None,
    progress: bool = False,
) -> list[Outcome]:  # as many arguments as a test has: what is tested, on what, how, and where
    """Error rates of networks on the same images, or on the runs' own.

    Args:
        networks: to be tested, as `load` gives them.
        data: a data set's name or place; the runs' own by default.
        split: of the data; test where there is one, and val otherwise, by default.
        protocol: one-crop, ten-crop, shifted or dense; of an exported file one-crop.
        protocol_options: as in `reslab.evaluation.protocol_options`.
        device: auto, cpu, cuda, cuda:1, mps.
        batch_size: views a forward pass; the errors do not depend on it.
        use_cache: keep scores in the user's cache, and use those that are there.
        ensemble: put the networks together, and give the outcome of that behind theirs.
        data_dir: where named data sets are looked for first.
        progress: whether to show it.

    Raises:
        ReslabError: something is not there, or does not fit together.
    """
    if batch_size is not None and batch_size < 1:
        raise DataError(f"a batch must have at least one image, not {batch_size}.")
    if ensemble and len(networks) < 2:
        raise DataError("an ensemble takes two networks or more.")
    references = [network.reference for network in networks]
    images = choose_images(references, data=data, split=split, data_dir=data_dir, progress=progress)
    chosen_device = choose_device(device)
    prepared = [_prepared(network, images, protocol, protocol_options or {}) for network in networks]
    if ensemble:
        check_same_images([subject for subject, _ in prepared if isinstance(subject, Subject)])
    if ensemble:
        images.load(networks[0].about.data_kind).need_one_label("ensembles are")
    outcomes = []
    for network, (subject, test) in zip(networks, prepared, strict=True):
        seen = images.load(network.about.data_kind) if subject is None else subject.data
        with counting("Evaluating", len(seen.split(images.role)), enabled=progress) as advance:
            if subject is None:
                found = deployed_outcome(network.deployed, seen, images.role, batch_size=batch_size, advance=advance)
            else:
                found = evaluate_network(
                    subject, test, device=chosen_device, batch_size=batch_size, use_cache=use_cache, advance=advance
                )
        outcomes.append(found)
    return [*outcomes, ensemble_outcome(outcomes)] if ensemble else outcomes


def _prepared(
    network: Testable, images: EvaluationImages, protocol: str, options: dict[str, Any]
) -> tuple[Subject | None, EvaluationProtocol]:
    """A network of PyTorch with its images, None for an exported file; and the protocol."""
    if network.reference.exported:
        if protocol != "one-crop" or options:
            raise DataError(f"{network.reference.name} is an exported file, which is tested with one view as it says.")
        return None, OneCrop()
    subject = load_subject(network.reference, images, **network.options)
    spec, shape, whole = subject.trained.model.spec, subject.data.image_shape, subject.sees_whole
    return subject, choose_protocol(protocol, options, subject.about, spec, shape, whole)
