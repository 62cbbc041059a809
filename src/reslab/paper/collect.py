"""From a plan whose jobs are done to its record. Importing this module imports no torch."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reslab.environment import describe_environment
from reslab.paper.catalogue import Arm, Ensemble, Experiment
from reslab.paper.claims import Claim
from reslab.paper.deviations import deviations, reduction
from reslab.paper.jobs import Job
from reslab.paper.judging import judge
from reslab.paper.measurements import read_measure
from reslab.paper.packing import packed, unpacked_scores
from reslab.paper.plan import Plan
from reslab.paper.record import SCHEMA, Record
from reslab.runs import Run

__all__ = ["collect_record", "verdicts_of"]

_NOT_RECORDED = ("scores", "labels")  # large; kept with the measures


def collect_record(experiment: Experiment, plan: Plan) -> Record:
    """The record of an experiment whose jobs are done.

    Raises:
        ReslabError: a job has not been done, or its files are damaged.
    """
    rows: list[dict[str, Any]] = []
    series: list[dict[str, Any]] = []
    order = {arm.name: place for place, arm in enumerate(experiment.arms)}
    jobs = sorted(plan.jobs, key=lambda job: (order[job.arm], job.subject.seed))
    predictions: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for job in jobs:
        row: dict[str, Any] = {"arm": job.arm, "seed": job.subject.seed, "iterations": job.subject.iterations}
        row |= {"net": job.subject.net or job.arm, "run": job.folder, "values": {}, "counts": {}}
        for measure in job.measures:
            found = read_measure(plan.store, measure, job)
            row["values"] |= found["values"]
            row["counts"] |= found["counts"]
            kept = {name: value for name, value in found["series"].items() if name not in _NOT_RECORDED}
            if kept:
                series.append({"arm": job.arm, "seed": job.subject.seed, "measure": measure.name, **kept})
            if "scores" in found["series"]:
                predictions[job.arm].append(found["series"])
        rows.append(row)
    for ensemble in experiment.ensembles:
        more_rows, more_series = _ensemble(ensemble, predictions)
        rows, series = rows + more_rows, series + more_series
    record = Record(
        {
            "schema_version": SCHEMA,
            "experiment": experiment.name,
            "title": experiment.title,
            "source": experiment.source,
            "choices": _public(plan),
            "budget": plan.budget,
            "data": dict(plan.data),
            "iterations": plan.iterations,
            "arms": [_described(arm, jobs) for arm in experiment.arms],
            "exact": experiment.how == "computed",
            "environment": _environment(plan, jobs),
            "reduced": reduction(experiment, plan),
            "deviations": deviations(experiment, plan, jobs),
            "hours": round(sum(row["values"].get("train_seconds", 0.0) for row in rows) / 3600, 4),
            "rows": rows,
            "series": series,
            "verdicts": [],
        }
    )
    return Record({**record.content, "verdicts": verdicts_of(experiment.claims, record)})


def verdicts_of(claims: Sequence[Claim], record: Record) -> list[dict[str, Any]]:
    """What a record says of claims; those about values that were not measured are left out."""
    judged = [claim for claim in claims if all(record.values(arm, claim.value) for arm in claim.arms)]
    made = []
    for claim in judged:
        samples = {arm: record.sample(arm, claim.value) for arm in claim.arms}
        made.append({**judge(claim, samples, num_claims=len(judged)).to_dict(), "value": claim.value})
    return made


def _public(plan: Plan) -> dict[str, Any]:
    """What was chosen, with the names of folders and files alone: a record names no place of a machine."""
    choices = plan.choices.to_dict()
    recipe = choices["recipe"] and Path(choices["recipe"]).name
    names = [_without_place(net) for net in choices["nets"]]
    return {**choices, "data": plan.data.get("name", ""), "recipe": recipe, "nets": names}


def _without_place(net: str) -> str:
    """A network as it was asked for, with the name alone of a run's folder or of a file of weights."""
    name, equals, weights = net.rpartition("=")
    return f"{name}={Path(weights).name}" if equals and "]" not in weights else Path(net).name


def _described(arm: Arm, jobs: Sequence[Job]) -> dict[str, Any]:
    described = arm.to_dict()
    own = {name: _without_place(described[name]) if described[name] else "" for name in ("net", "quoted")}
    return {**described, **own, "recipe": _recipe_of(jobs, arm.name)}


def _recipe_of(jobs: Sequence[Job], arm: str) -> dict[str, Any]:
    found = next((job.subject.recipe for job in jobs if job.arm == arm), None)
    return {} if found is None else dict(found)


def _environment(plan: Plan, jobs: Sequence[Job]) -> dict[str, Any]:
    """Where the trainings were computed, which need not be where the record is made; the last one's."""
    trained = [job for job in jobs if job.folder]
    if not trained:
        return describe_environment()
    record = Run(plan.store / trained[-1].folder).record
    found: dict[str, Any] = record["environment"]
    on_gpu = str(record["execution"]["device"]).startswith("cuda")
    return found if on_gpu else {**found, "gpus": []}


def _ensemble(
    ensemble: Ensemble, predictions: dict[str, list[dict[str, Any]]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows and series of arms tested together, seed by seed."""
    rows, series = [], []
    members = [predictions[arm] for arm in ensemble.arms]
    for seed, together in enumerate(zip(*members, strict=False)):
        count = together[0]["num_images"]
        scores = np.mean([unpacked_scores(item["scores"], count) for item in together], axis=0)
        wrong = _wrong(scores, together[0])
        values = {"test_error": 100 * float(wrong.mean())}
        rows.append(
            {"arm": ensemble.name, "seed": seed, "iterations": 0, "net": " + ".join(ensemble.arms), "run": ""}
            | {"values": values, "counts": {"test_error": count}}
        )
        series.append(
            {"arm": ensemble.name, "seed": seed, "measure": "predictions", "wrong": packed(wrong), "num_images": count}
        )
    return rows, series


def _wrong(scores: NDArray[np.float32], member: dict[str, Any]) -> NDArray[np.bool_]:
    wrong: NDArray[np.bool_] = scores.argmax(axis=1) != np.array(member["labels"])
    return wrong
