"""`reslab report`: a page that a browser shows without a network, and a card that the hub's library reads."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

import reslab
from reslab.cli.main import main
from reslab.data import load_data
from reslab.errors import ReslabError
from reslab.explain import findings, report_run
from reslab.explain.charts import places
from reslab.runs import Run

SIDE = 24
EVIL = "<img src=x onerror=console.log(1)>|$"
"""A class of that name may come from anybody's archive."""
CLASSES = (EVIL, "_rings")
PLANTED = 4  # val images that train has, too


def shape(kind, generator):
    """A picture of a filled or an empty square, in any colours."""
    ground, ink = generator.integers(0, 256, (2, 3), dtype=np.uint8)
    pixels = np.empty((SIDE, SIDE, 3), np.uint8)
    pixels[:] = ground
    pixels[::2, :: generator.integers(2, 6)] = generator.integers(0, 256, 3)
    top, left = generator.integers(2, 8, 2)
    pixels[top : top + 13, left : left + 13] = ink
    if kind == "_rings":
        pixels[top + 3 : top + 10, left + 3 : left + 10] = ground
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A folder of small images whose test is damaged, and some of whose pictures are in train and in val."""
    folder = tmp_path_factory.mktemp("shapes") / "shapes"
    generator = np.random.default_rng(0)
    for role, count in (("train", 60), ("val", 24), ("test", 2)):
        for name in CLASSES:
            (folder / role / name).mkdir(parents=True)
            for number in range(count):
                shape(name, generator).save(folder / role / name / f"{number}.png")
    for number in range(PLANTED):
        with Image.open(folder / "train" / EVIL / f"{number}.png") as image:
            image.save(folder / "val" / EVIL / f"again-{number}.bmp")
    for path in (folder / "test").rglob("*.png"):
        path.write_text("nobody reads this")
    return folder


@pytest.fixture(scope="module")
def shapes_run(shapes, quick_curves, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "a run & more"
    reslab.train(
        "resnet8[widths=8-8-16]",
        shapes,
        recipe="digits-quick",
        iterations=20,
        run_dir=out,
        fields={"hardware.threads": "1"},
    )
    return out


@pytest.fixture(scope="module")
def reported(run, tmp_path_factory):
    """The digits' report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return report_run(run)


@pytest.fixture(scope="module")
def shapes_report(shapes_run, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        return report_run(shapes_run, out=shapes_run.parent / "out", license="apache-2.0")


def test_it_is_beside_the_run_and_says_what_eval_says(reported, run, network):
    assert (reported.page, reported.card) == (run / "report.html", run / "README.md")
    outcome = network.evaluate(split="val")
    assert reported.findings.outcome.evaluation.top1_error == outcome.evaluation.top1_error
    np.testing.assert_allclose(reported.findings.outcome.scores, outcome.scores, atol=1e-5)
    wrong = round(outcome.evaluation.top1_error / 100 * 180)
    wanted = stats.binomtest(wrong, 180).proportion_ci(0.95, method="exact")
    assert reported.findings.interval.low == pytest.approx(100 * wanted.low)
    assert reported.findings.interval.high == pytest.approx(100 * wanted.high)
    assert (reported.findings.unseen, reported.findings.changed) == (("test",), ())


@pytest.mark.parametrize(("width", "dark"), [(400, True), (1200, False)])
def test_a_browser_shows_it_without_a_network(reported, shapes_report, browser_page, width, dark):
    for report in (reported, shapes_report):
        page, problems = browser_page(report.page, width=width, dark=dark)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.locator("figure svg").count() == 4
        images = page.locator("img")
        assert images.count() > 20
        assert images.evaluate_all("all => all.every(image => image.complete && image.naturalWidth > 0 && image.alt)")
        links = page.locator("nav a").evaluate_all("all => all.map(link => link.getAttribute('href').slice(1))")
        assert len(links) == 10
        assert all(page.locator(f"[id='{link}']").count() == 1 for link in links)
        assert [problem for problem in problems if not problem.startswith("data:")] == []
        page.context.close()
    assert not re.search(r"<script|(src|href)=\"(?!data:|#)", reported.page.read_text())


def test_the_page_shows_what_was_found(reported, browser_page):
    page, _ = browser_page(reported.page)
    found = reported.findings
    assert page.locator(".answer").inner_text().startswith(f"{found.outcome.evaluation.top1_error:.2f} % of 180 images")
    assert page.locator(".counts tr", has_text="all").locator("td").all_inner_texts() == ["all", "1,257", "180"]
    assert page.locator(".by-class tbody tr").count() == 10
    errors = page.locator(".by-class tbody td:nth-child(3)").all_inner_texts()
    assert errors == sorted(errors, key=lambda text: -float(text.removesuffix(" %")))
    assert page.locator(".mistake").count() == min(
        12, int((found.outcome.scores.argmax(1) != found.split.labels).sum())
    )
    assert page.locator(".mistake img").count() == 3 * page.locator(".mistake").count()
    assert page.get_by_text("Nothing here has looked at them").count() == 1
    assert f"reslab predict {found.run.folder.resolve()} photo.jpg" in page.locator("#use + pre").inner_text()
    labels = page.locator("h3", has_text="In val").locator("xpath=following-sibling::div[1]").locator("figure")
    assert labels.count() == min(18, len(found.suspicious.indices))


def test_pictures_that_train_has_too_are_counted(shapes_report, shapes, browser_page):
    found = shapes_report.findings
    assert found.duplicates.num_leaked == PLANTED
    split = found.data.split("val")
    names = [f"again-{number}.bmp" for number in range(PLANTED)]
    order = sorted(os.listdir(shapes / "val" / EVIL))
    others = np.ones(len(split), bool)
    place = sorted([EVIL, "_rings"]).index(EVIL) * 24
    others[[place + order.index(name) for name in names]] = False
    wrong = found.outcome.scores.argmax(axis=1) != split.labels
    assert found.duplicates.error_without == pytest.approx(100 * wrong[others].mean())
    page, _ = browser_page(shapes_report.page)
    text = page.locator("body").inner_text()
    assert f"{PLANTED} images of val show a picture that train has, too." in text
    assert page.locator("#twice ~ .group").count() >= PLANTED
    assert page.locator("#twice ~ .group").first.inner_text().count("train: ") == 1


def test_of_many_training_images_some_are_looked_at(shapes_run, tmp_path, monkeypatch, browser_page):
    """And are called by their places among all of them."""
    monkeypatch.setattr(findings, "_MOST_TRAIN", 40)
    report = report_run(shapes_run, out=tmp_path)
    found = report.findings
    assert len(found.train) == len(set(found.train_numbers.tolist())) == 40
    np.testing.assert_array_equal(found.train.images, found.data.split("train").images[found.train_numbers])
    page, _ = browser_page(report.page)
    assert "It looked at 40 of the 120 images, drawn at random." in page.locator("body").inner_text()
    told = page.locator("h3", has_text="In train").locator("xpath=following-sibling::div[1]").locator("small")
    places = [int(re.search(r"image (\d+)", text)[1]) for text in told.all_inner_texts()]
    assert places == found.train_numbers[found.train_suspicious.indices[:18]].tolist()
    assert len(places) > 0


def test_names_are_no_markup(shapes_report, browser_page):
    page, problems = browser_page(shapes_report.page)
    assert page.locator("td", has_text=EVIL).count() >= 2
    assert page.locator("img:not([src^='data:'])").count() == 0
    assert [problem for problem in problems if not problem.startswith("data:")] == []
    card = shapes_report.card.read_text()
    assert "<img" not in card.replace("\\<img", "")
    assert "console.log(1)\\>\\|\\$" in card


def test_test_images_are_looked_at_only_where_they_are_asked_for(shapes_run, shapes_report, tmp_path):
    """They are damaged: whoever reads one stops."""
    assert "test" not in shapes_report.findings.data.splits
    with pytest.raises(ReslabError, match=r"cannot use the image \S*test"):
        report_run(shapes_run, split="test", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_train_can_be_shown_and_replaces_an_older_report(shapes_run, shapes_report, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    shutil.copy(shapes_report.card, tmp_path / "out")
    assert main(["report", str(shapes_run), "--split", "train", "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["split"], told["num_images"]) == ("train", 120)
    assert told["interval"][0] < told["top1_error"] < told["interval"][1]
    assert (told["duplicates"]["num_leaked"], told["duplicates"]["num_across_splits"]) == (0, PLANTED)
    assert "These are training images" in Path(told["page"]).read_text()
    assert "These are training images" in Path(told["card"]).read_text()
    assert ("license" in shapes_report.card.read_text(), "license" in Path(told["card"]).read_text()) == (True, False)


@pytest.mark.slow
def test_test_can_be_shown(run, network, tmp_path):
    report = report_run(run, split="test", out=tmp_path)
    outcome = network.evaluate(split="test")
    assert report.findings.outcome.evaluation.top1_error == outcome.evaluation.top1_error
    assert report.findings.outcome.evaluation.num_images == 360
    assert set(report.findings.data.splits) == {"train", "val", "test"}
    assert "The test images by what the classifier sees" in report.page.read_text()
    assert "Nothing here has looked at them" not in report.page.read_text()


def test_the_hub_reads_the_card(reported, shapes_report, run):
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(reported.card)
    data = card.data.to_dict()
    assert (data["library_name"], data["datasets"], data["metrics"]) == ("reslab", ["digits"], ["accuracy"])
    assert "license" not in data
    (result,) = card.data.eval_results
    assert result.metric_value == pytest.approx(1 - reported.findings.outcome.evaluation.top1_error / 100, abs=1e-6)
    assert (result.task_type, result.dataset_split) == ("image-classification", "val")
    assert hub.ModelCard.load(shapes_report.card).data.license == "apache-2.0"
    text = card.text
    for split in load_data("digits", roles=["train", "val"]).splits.values():
        assert split.digest in text
    assert f"{reported.findings.interval.low:.1f} to {reported.findings.interval.high:.1f} %" in text
    assert json.loads((run / "card.json").read_text())["sha256"] in text


def test_a_readme_of_others_is_not_replaced(shapes_run, tmp_path, capsys):
    (tmp_path / "README.md").write_text("my notes")
    assert main(["report", str(shapes_run), "--out", str(tmp_path)]) == 2
    assert "README.md was not written by reslab; move it away, or give --out DIR." in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "my notes"


def test_what_cannot_be_reported_is_a_sentence(run, shapes, shapes_run, tmp_path, capsys):
    def refused(*arguments):
        assert main(["report", *map(str, arguments)]) == 2
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        return captured.err

    assert "is not the folder of a run" in refused(tmp_path)
    with pytest.raises(ReslabError, match="resnet20 is not the folder of a run"):
        reslab.load("resnet20").report()
    shutil.copytree(run, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "result.json").unlink()
    assert "is not finished; go on with" in refused(tmp_path / "unfinished")
    assert "no data at 'absent'" in refused(run, "--data", "absent")
    assert "a license is a name such as apache-2.0" in refused(run, "--license", "my own: yes", "--out", tmp_path / "o")
    two = tmp_path / "two"
    shutil.copytree(shapes / "train", two / "train")
    assert f"{two} has no val images; give --split train." in refused(shapes_run, "--data", two)
    assert "'cat'" in refused(run, "--data", _other_classes(tmp_path), "--split", "train")


@pytest.mark.parametrize(
    ("entry", "value"), [("environment", ["a"]), ("execution", 3), ("seed", "a"), ("environment", {"cores": "2"})]
)
def test_a_record_with_something_else_in_it_is_a_sentence(entry, value, run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    Run(tmp_path / "run").note(**{entry: value})
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"reslab: {tmp_path / 'run' / 'run.json'}")
    assert captured.err.count("\n") == 1


@pytest.mark.slow
def test_a_run_of_version_0_1_0_has_a_report(tmp_path):
    old = Path(__file__).resolve().parents[1] / "training" / "data" / "run-0.1.0-finished"
    report = report_run(old, data="digits", out=tmp_path)
    assert report.findings.outcome.evaluation.num_images == 180
    assert "24 iterations" in report.page.read_text()


def _other_classes(folder):
    for name in ("cat", "dog"):
        (folder / "pets" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("L", (16, 16), 10 * number).save(folder / "pets" / name / f"{number}.png")
    return folder / "pets"


def test_images_that_changed_since_are_told(shapes, shapes_run, tmp_path):
    shutil.copytree(shapes, tmp_path / "shapes")
    (tmp_path / "shapes" / "val" / "_rings" / "3.png").unlink()
    report = reslab.load(shapes_run, threads=1).report(data=str(tmp_path / "shapes"), out=tmp_path / "out")
    assert str(report).splitlines()[1:] == [str(tmp_path / "out" / name) for name in ("report.html", "README.md")]
    assert report.findings.changed == ("val",)
    assert "The val images are others now than the run was trained with." in report.page.read_text()
    assert "The images of val are others now" in report.card.read_text()


@pytest.mark.parametrize("count", [0, 1, 2, 9, 10, 60])
def test_images_have_places_in_the_plane_and_the_same_ones_again(count, rng):
    features = rng.normal(size=(count, 5)).astype(np.float32)
    chosen, found, method = places(features)
    assert (len(chosen), found.shape) == (count, (count, 2))
    assert np.isfinite(found).all()
    assert method == ("PCA" if count < 10 else "t-SNE")
    np.testing.assert_array_equal(found, places(features)[1])
    assert np.isfinite(places(np.ones((count, 3), np.float32))[1]).all()


def test_groups_stay_together_on_the_map(rng):
    centres = np.repeat(np.eye(3, 8) * 20, 20, axis=0)
    _, found, _ = places((centres + rng.normal(size=centres.shape)).astype(np.float32))
    own = np.stack([found[20 * group : 20 * group + 20].mean(axis=0) for group in range(3)])
    distances = np.linalg.norm(found[:, None] - own, axis=2)
    assert (distances.argmin(axis=1) == np.repeat(range(3), 20)).all()
