"""The experiment from the command to the page, in real processes and a real browser."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reslab.cli.main import main

pytestmark = pytest.mark.timeout(400)  # the first test waits for four trainings


def command(out: Path, *more: str) -> list[str]:
    settings = ["--iterations", "20", "--depths", "20", "--out", str(out)]
    return [sys.executable, "-m", "reslab", "paper", "run", "fig1", *settings, *more]


def written(out: Path) -> int:
    """How many bytes of curves there are."""
    return sum(path.stat().st_size for path in out.rglob("metrics.jsonl"))


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Path:
    """fig1's 20-layer nets on the digits, 20 iterations: stopped, then killed, then finished by the same command."""
    out = tmp_path_factory.mktemp("paper") / "fig1"
    for number, code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
        with subprocess.Popen(command(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 60
            before = written(out)
            while written(out) <= before and time.monotonic() < deadline:
                time.sleep(0.02)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert not (out / "results.json").exists()
    done = subprocess.run(command(out, "--json"), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["experiment"] == "fig1"
    return out


def test_the_record_holds_every_run_and_says_how_far_it_is_from_the_paper(experiment):
    results = json.loads((experiment / "results.json").read_text())
    assert [row["arm"] for row in results["rows"]] == ["plain20", "resnet20"]
    for row in results["rows"]:
        assert {"train_error", "train_error_clean", "test_error", "train_seconds"} <= row["values"].keys()
        assert row["counts"] == {"train_error": 32, "train_error_clean": 1_257, "test_error": 360}
        assert (row["iterations"], row["seed"]) == (20, 0)
        assert (experiment / "runs" / row["run"] / "weights.safetensors").is_file()
    recipes = {arm["name"]: arm["recipe"] for arm in results["arms"]}
    assert {recipe["name"] for recipe in recipes.values()} == {"digits-quick"}
    assert {recipe["schedule"]["length"] for recipe in recipes.values()} == {"20 iterations"}
    settings = {row["setting"] for row in results["deviations"]}
    assert {"data", "epochs", "schedule.length", "data.batch_size", "optimizer.learning_rate"} <= settings
    assert results["reduced"].startswith("digits instead of CIFAR-10, 20 iterations, 0.031 % of the paper's 64,000")
    assert results["verdicts"] == []  # all claims of fig1 compare depths or ask for 56 layers
    for item in (item for item in results["series"] if item["measure"] == "errors"):
        assert item["iteration"] == list(range(1, 21))
        assert len(item["loss"]) == 20
    assert sorted(item["measure"] for item in results["series"]) == ["errors"] * 2 + ["predictions"] * 2
    assert str(experiment) not in json.dumps(results)
    assert str(Path.home()) not in json.dumps(results)


def test_the_report_needs_nothing_beside_it(experiment):
    html = (experiment / "report.html").read_text()
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', html) == []
    assert re.findall(r"url\((?!#)[^)]*\)", html) == []
    assert "@import" not in html
    addresses = set(re.findall(r"https?://([^\s\"'<>/]+)", html))
    assert addresses <= {"www.w3.org", "purl.org", "creativecommons.org"}  # names of forms, which nobody asks
    svg = (experiment / "errors.svg").read_text()
    assert svg[svg.index("<svg") :].strip() in html


def test_the_report_is_read_in_a_browser(experiment, browser_page):
    page, problems = browser_page(experiment / "report.html", width=1100)
    assert page.title() == "Degradation and its cure on digits"
    assert page.locator("#verdicts").count() == 0
    assert page.locator("#errors tr").count() == 3
    cells = page.locator("#errors tbody tr").all_inner_texts()
    assert [row.split("\t")[:2] for row in cells] == [
        ["plain20", "about 9"],
        ["resnet20", "8.75"],
    ]
    assert page.locator("#deviations tr").count() > 5
    box = page.locator("figure svg").bounding_box()
    assert box["width"] > 900
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert problems == []


def test_the_report_is_redone_from_the_record_alone(experiment, tmp_path, capsys):
    shutil.copy(experiment / "results.json", tmp_path)
    assert main(["paper", "report", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "reduced: digits instead of CIFAR-10" in text
    for name in ("report.html", "errors.svg"):
        assert (tmp_path / name).read_text() == (experiment / name).read_text()


def test_other_settings_are_not_mixed_into_a_folder(experiment, capsys):
    assert main(["paper", "run", "fig1", "--iterations", "30", "--depths", "20", "--out", str(experiment)]) == 2
    assert "holds other settings (iterations 20 there, 30 now)" in capsys.readouterr().err
    assert main(["paper", "run", "fig4", "--iterations", "20", "--out", str(experiment)]) == 2
    error = capsys.readouterr().err
    assert "holds other settings (experiment fig1 there, fig4 now; depths 20 there, none now)" in error


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema_version": 7}', '{"schema_version": 2, "experiment": "x"}', '{"schema_version": 2}']
)
def test_a_damaged_record_gets_a_sentence(tmp_path, capsys, text):
    (tmp_path / "results.json").write_text(text)
    assert main(["paper", "report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("reslab: ")
    assert "Traceback" not in error


def test_a_record_that_lacks_something_gets_a_sentence(experiment, tmp_path, capsys):
    """Whatever it is, but for the budget, which most have not."""
    content = json.loads((experiment / "results.json").read_text())
    del content["checksum"]  # a change by hand would be told by it
    for name in content.keys() - {"schema_version", "experiment", "budget"}:
        for damaged in ({key: value for key, value in content.items() if key != name}, {**content, name: None}):
            (tmp_path / "results.json").write_text(json.dumps(damaged))
            assert main(["paper", "report", str(tmp_path)]) == 2
            assert f"results.json is damaged: it lacks {name}" in capsys.readouterr().err


@pytest.mark.parametrize("lists", ["arms", "rows", "series", "verdicts", "deviations"])
@pytest.mark.parametrize("entry", [7, {}, "x", None])
def test_a_record_with_rows_of_another_form_gets_a_sentence(experiment, tmp_path, capsys, lists, entry):
    content = json.loads((experiment / "results.json").read_text())
    del content["checksum"]
    (tmp_path / "results.json").write_text(json.dumps({**content, lists: [entry, *content[lists]]}))
    assert main(["paper", "report", str(tmp_path)]) == 2
    assert f"results.json is damaged: one of its {lists} lacks" in capsys.readouterr().err


def test_a_training_that_fails_says_why(tmp_path, capsys):
    for split in ("train", "test"):
        (tmp_path / "data" / split / "one").mkdir(parents=True)
        (tmp_path / "data" / split / "one" / "broken.png").write_bytes(b"no picture")
    assert main(["paper", "run", "fig1", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "broken.png: it is not an image" in error


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_degradation_and_its_cure_are_seen_on_the_digits(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "reslab", "paper", "run", "fig1", "--out", str(tmp_path), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    results = json.loads(done.stdout)
    errors = {row["arm"]: row["values"]["train_error"] for row in results["rows"]}
    assert errors["plain56"] >= errors["plain20"] + 20
    assert abs(errors["resnet56"] - errors["resnet20"]) <= 2
    assert results["verdicts"][0]["outcome"] == "held"
