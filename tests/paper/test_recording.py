"""Finished experiments become records of a repository, with their figures, and without places of a machine."""

import json
import shutil

import pytest

from reslab.cli.main import main
from reslab.errors import ReslabError
from reslab.paper.choices import Choices
from reslab.paper.collect import collect_record
from reslab.paper.experiments import EXPERIMENTS
from reslab.paper.markdown import record_block
from reslab.paper.plan import read_plan
from reslab.paper.planning import Planner
from reslab.paper.record import Record
from reslab.paper.recording import record_results
from reslab.paper.report import write_report
from reslab.paper.work import do_job


@pytest.fixture
def finished(tiny, tiny_folder, tmp_path):
    """The small experiment's record, as if it had been run from files that a commit has."""
    folder = tmp_path / "run"
    shutil.copytree(tiny_folder, folder)
    change(folder, commit="0123456789ab")
    return folder


def change(folder, **environment):
    record = Record.read(folder)
    environment = {**record.content["environment"], **environment}
    Record({**record.content, "environment": environment}).write(folder)


def test_a_record_is_written_with_its_figures(finished, tmp_path):
    (tmp_path / "results" / "tiny-digits").mkdir(parents=True)
    (tmp_path / "results" / "tiny-digits" / "stale.svg").write_text("<svg/>")
    done = record_results(finished, out=tmp_path / "results")
    assert done.path == tmp_path / "results" / "tiny-digits" / "results.json"
    assert str(done).startswith(f"{done.path} written: Eight layers; digits instead of CIFAR-10, 30 iterations")
    assert done.to_dict() == {"path": str(done.path), "replaced": False, "experiment": "tiny"}
    assert {path.name for path in done.path.parent.iterdir()} == {"results.json", "errors.svg", "bars.svg"}
    for name in ("errors.svg", "bars.svg"):
        assert (done.path.parent / name).read_bytes() == (finished / name).read_bytes()
    found = Record.read(done.path.parent)
    assert found.figure_files == ["errors.svg", "bars.svg"]
    assert {**found.content, "figures": None} == {**Record.read(finished).content, "figures": None}
    again = record_results(finished, out=tmp_path / "results")
    assert again.replaced
    assert "replaced: Eight layers" in str(again)


def test_a_record_can_be_shown_without_the_runs(finished, tmp_path):
    done = record_results(finished, out=tmp_path / "results", name="first")
    shutil.rmtree(finished)
    assert done.path.parent.name == "first"
    write_report(done.path.parent)
    text = record_block(done.record, done.path.parent, "../")
    assert "| plain8 |" in text
    assert "- **undecided**: The residual net trains better" in text or "- **held**" in text
    assert f"![Eight layers](../{done.path.parent}/errors.svg)" in text


def test_what_nobody_could_run_again_is_no_record(finished, tmp_path):
    change(finished, commit="0123456789ab-dirty")
    with pytest.raises(ReslabError, match=r"files that no commit has \(0123456789ab-dirty\).*commit first"):
        record_results(finished, out=tmp_path / "results")
    assert not (tmp_path / "results").exists()
    assert main(["paper", "record", str(finished), "--out", str(tmp_path / "results")]) == 2


@pytest.mark.parametrize("name", ["a/b", "../x", "/x", ".", "..", ".hidden", "a/"])
def test_a_name_is_that_of_a_folder(name, finished, tmp_path):
    with pytest.raises(ReslabError, match="--name must be the name of a folder"):
        record_results(finished, out=tmp_path / "results", name=name)
    assert not (tmp_path / "results").exists()


def test_an_experiment_that_is_not_finished_is_no_record(finished, tmp_path):
    (finished / "results.json").unlink()
    with pytest.raises(ReslabError, match="run the experiment first"):
        record_results(finished, out=tmp_path / "results")


def test_the_command_says_what_it_wrote(finished, tmp_path, capsys):
    assert main(["paper", "record", str(finished), "--out", str(tmp_path / "results"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["replaced"] is False


def test_a_record_names_no_place_of_a_machine(tiny, tiny_folder, tmp_path):
    """Trainings by a recipe in a file, and networks that were trained already and lie somewhere."""
    assert str(tiny_folder) not in (tiny_folder / "results.json").read_text()
    runs = [str(tiny_folder / "runs" / job.folder) for job in read_plan(tiny_folder).jobs]
    for kind, run in zip(("plain", "resnet"), runs, strict=True):
        shutil.copy(f"{run}/weights.safetensors", tmp_path / f"{kind}.safetensors")
    nets = tuple(f"{kind}8[in_channels=1]={tmp_path}/{kind}.safetensors" for kind in ("plain", "resnet"))
    choices = Choices(nets=nets, recipe=str(tmp_path / "recipe.toml"), mean=(0.0,), std=(1.0,))
    planner = Planner(EXPERIMENTS["table5"], choices, folder=tmp_path, store=tmp_path / "runs")
    plan = planner.plan(0)
    assert all(do_job(plan, job) for job in plan.jobs)
    record = collect_record(planner.experiment, plan)
    text = json.dumps(record.content)
    assert str(tmp_path) not in text
    assert str(tiny_folder) not in text
    assert record.content["choices"]["nets"] == [
        "plain8[in_channels=1]=plain.safetensors",
        "resnet8[in_channels=1]=resnet.safetensors",
    ]
    assert record.content["choices"]["recipe"] == "recipe.toml"
    assert record.arm_names == [
        "plain8[in_channels=1] (plain.safetensors)",
        "resnet8[in_channels=1] (resnet.safetensors)",
        "all together",
    ]
    assert [record.depth(arm) for arm in record.arm_names] == [8, 8, 0]


def test_the_folder_of_a_run_is_called_by_its_name(tiny_folder, tmp_path):
    run = tiny_folder / "runs" / read_plan(tiny_folder).jobs[0].folder
    shutil.copytree(run, tmp_path / "a" / "a")
    choices = Choices(nets=(str(tmp_path / "a" / "a"),))
    planner = Planner(EXPERIMENTS["table5"], choices, folder=tmp_path, store=tmp_path / "runs")
    plan = planner.plan(0)
    assert do_job(plan, plan.jobs[0])
    record = collect_record(planner.experiment, plan)
    assert record.content["choices"]["nets"] == record.arm_names == ["a"]
    assert str(tmp_path) not in json.dumps(record.content)


def test_a_record_that_was_changed_by_hand_is_refused(tiny_folder, tmp_path):
    text = (tiny_folder / "results.json").read_text()
    changed = text.replace('"test_error": ', '"test_error": 1', 1)
    assert changed != text
    (tmp_path / "results.json").write_text(changed)
    with pytest.raises(ReslabError, match="its checksum differs"):
        Record.read(tmp_path)
