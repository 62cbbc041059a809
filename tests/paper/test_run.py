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
    return [sys.executable, "-m", "reslab", "paper", "run", "fig1", "--iterations", "20", "--out", str(out), *more]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory) -> Path:
    """fig1 on the digits, 20 iterations: stopped once, killed once, then finished by the same command."""
    out = tmp_path_factory.mktemp("paper") / "fig1"
    for number, code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)):
        with subprocess.Popen(command(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 60
            started = len(list(out.rglob("metrics.jsonl")))
            while len(list(out.rglob("metrics.jsonl"))) <= started and time.monotonic() < deadline:
                time.sleep(0.05)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert not (out / "results.json").exists()
    done = subprocess.run(command(out, "--json"), capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["experiment"] == "fig1"
    return out


def test_the_record_holds_every_run_and_says_how_far_it_is_from_the_paper(experiment):
    results = json.loads((experiment / "results.json").read_text())
    assert [row["network"] for row in results["rows"]] == ["plain20", "plain56", "resnet20", "resnet56"]
    for row in results["rows"]:
        assert {"train_error", "train_error_clean", "test_error", "iterations", "seed", "data", "recipe"} <= row.keys()
        assert (row["iterations"], row["num_test_images"]) == (20, 360)
    settings = {row["setting"] for row in results["deviations"]}
    assert {"data", "epochs", "schedule.length", "data.batch_size", "optimizer.learning_rate"} <= settings
    assert results["reduced"].startswith("digits instead of CIFAR-10, 20 iterations instead of 64,000")
    assert len(results["verdicts"]) == 6
    assert len(results["curves"]) == 4
    assert str(experiment) not in json.dumps(results)


def test_the_report_needs_nothing_beside_it(experiment):
    html = (experiment / "report.html").read_text()
    assert "http:" not in html
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', html) == []


def test_the_report_is_read_in_a_browser(experiment, chromium_path):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = chromium.new_page(viewport={"width": 1100, "height": 900})
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("requestfailed", lambda request: problems.append(request.url))
        page.goto((experiment / "report.html").as_uri())
        assert page.title() == "Degradation and its cure on digits"
        assert page.locator("#verdicts tr").count() == 7
        assert page.locator("#errors tr").count() == 5
        assert page.locator("#errors").inner_text().count("(Table 6)") == 2
        width = page.locator("#figure").evaluate("image => image.naturalWidth")
        assert width > 1000
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert problems == []
        chromium.close()


def test_the_report_is_redone_from_the_record_alone(experiment, tmp_path, capsys):
    shutil.copy(experiment / "results.json", tmp_path)
    assert main(["paper", "report", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "reduced: digits instead of CIFAR-10" in text
    assert (tmp_path / "report.html").read_text() == (experiment / "report.html").read_text()


def test_other_settings_are_not_mixed_into_a_folder(experiment, capsys):
    assert main(["paper", "run", "fig1", "--iterations", "30", "--out", str(experiment)]) == 2
    assert "holds other settings (--data digits" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 7}', '{"schema_version": 1, "experiment": "x"}'])
def test_a_damaged_record_gets_a_sentence(tmp_path, capsys, text):
    (tmp_path / "results.json").write_text(text)
    assert main(["paper", "report", str(tmp_path)]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_training_that_fails_says_why(tmp_path, capsys):
    for split in ("train", "test"):
        (tmp_path / "data" / split / "one").mkdir(parents=True)
        (tmp_path / "data" / split / "one" / "broken.png").write_bytes(b"no picture")
    assert main(["paper", "run", "fig1", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "broken.png: it is not an image" in error
    assert "seed 0 failed" in error


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_degradation_and_its_cure_are_seen_on_the_digits(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "reslab", "paper", "run", "fig1", "--out", str(tmp_path), "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    errors = {row["network"]: row["train_error"] for row in json.loads(done.stdout)["rows"]}
    assert errors["plain56"] >= errors["plain20"] + 20
    assert abs(errors["resnet56"] - errors["resnet20"]) <= 2
