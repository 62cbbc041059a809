"""The catalogue as lists: what there is, what each needs, and what it costs. Importing this module imports no torch."""

from typing import Any

from reslab.paper.catalogue import CIFAR, Experiment
from reslab.paper.choices import format_time
from reslab.paper.experiments import EXPERIMENTS, NOTES, find_experiment
from reslab.paper.rates import Rate, kept_rates
from reslab.paper.reference import find_table
from reslab.paper.tables import Table, quoted_table

__all__ = ["catalogue_table", "describe", "listing", "quoted_tables"]

_SHOWN = {
    "trained": "trained",
    "measured": "measured, fresh nets",
    "computed": "computed",
    "evaluated": "evaluated",
    "quoted": "quoted",
}


def listing() -> list[dict[str, Any]]:
    """A row for every experiment, as plain values."""
    rates = kept_rates()
    return [_row(experiment, rates) for experiment in EXPERIMENTS.values()]


def catalogue_table() -> Table:
    """The same as a table."""
    keys = ("name", "source", "shown", "title", "cost")
    headings = ("name", "in the paper", "here", "what it shows", "the paper's setting costs here")
    note = (
        "Costs are from speeds that `reslab paper run` has measured here; without a budget it measures them and asks."
    )
    return Table(headings, tuple(tuple(row[key] for key in keys) for row in listing()), note=note)


def describe(name: str) -> dict[str, Any]:
    """All that is known of an experiment, as plain values.

    Raises:
        ReslabError: there is none of this name.
    """
    experiment = find_experiment(name)
    row = _row(experiment, kept_rates())
    facts = {"claims": f"{row['num_claims']} of {row['num_arms']} arms", "needs": row["needs"], "cost": row["cost"]}
    facts |= {"on a GPU": row["gpu"]} if row["gpu"] else {}
    return {
        **row,
        "note": NOTES[name],
        "lines": [NOTES[name], "", *(f"{word + ':':<10}{text}" for word, text in facts.items())],
        "arms": [arm.to_dict() for arm in experiment.arms],
        "measures": [measure.to_dict() for measure in experiment.measures],
        "claims": [claim.to_dict() for claim in experiment.claims],
        "quoted": list(experiment.quoted),
    }


def quoted_tables(name: str) -> list[Table]:
    """The tables of the paper and of others that an experiment is set beside."""
    return [quoted_table(find_table(table)) for table in find_experiment(name).quoted]


def _row(experiment: Experiment, rates: list[Rate]) -> dict[str, Any]:
    return {
        "name": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "group": experiment.group,
        "shown": _SHOWN[experiment.how],
        "needs": _needs(experiment),
        "gpu": experiment.setting.gpu if experiment.how == "trained" else "",
        "num_arms": len(experiment.arms),
        "num_claims": len(experiment.claims),
        "cost": _cost(experiment, rates),
    }


def _needs(experiment: Experiment) -> str:
    """What must be at hand, in words."""
    if experiment.how == "quoted" or not experiment.needs_images:
        return "nothing"
    return f"nothing for the digits; other images by --data, {experiment.setting.data} for the paper's setting"


def _cost(experiment: Experiment, rates: list[Rate]) -> str:
    """What the paper's setting takes on this machine, from speeds that were measured before."""
    if experiment.how != "trained":
        return "-" if experiment.how == "quoted" else "seconds"
    setting = experiment.setting
    if setting is not CIFAR:
        return "not measured"
    by_net = {rate.net: rate for rate in rates if rate.image == setting.image and rate.batch_size == setting.batch_size}
    total = 0.0
    for arm in experiment.arms:
        rate = by_net.get(arm.net)
        if rate is None:
            return "not measured"
        trainings = arm.seeds or experiment.seeds
        total += trainings * rate.training_seconds(round(setting.iterations * arm.length), 200_000)
    return f"about {format_time(total)} of one process"
