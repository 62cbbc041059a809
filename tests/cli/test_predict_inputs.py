"""`reslab predict`: what images may be given as, what is written, abstaining, and submissions."""

import csv
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.cli.main import main
from reslab.deploy import NamedImage


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(trained):
    return str(trained / "run")


@pytest.fixture
def photos(digits, tmp_path):
    """Digits in folders that lie in each other, one of them damaged, and what is no image."""
    test = digits.split("test")
    for index, place in enumerate(("0.png", "inner/1.png", "inner/deep/2.png", "inner/[odd] name.png")):
        path = tmp_path / "photos" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(test.images[index, ..., 0]).save(path)
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    return tmp_path / "photos"


def encoded(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def lines_of(capsys, *arguments, code=0):
    assert main(["predict", *arguments, "--jsonl"]) == code
    captured = capsys.readouterr()
    return [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_quoted_patterns_find_images_at_any_depth(run, photos, capsys):
    rows, _ = lines_of(capsys, run, "photos/**/*.png")
    assert [row["path"] for row in rows] == [
        "photos/0.png",
        "photos/inner/1.png",
        "photos/inner/[odd] name.png",
        "photos/inner/deep/2.png",
    ]
    rows, _ = lines_of(capsys, run, "photos/*")  # notes.txt has no image's name
    assert [row["path"] for row in rows] == ["photos/0.png"]
    rows, _ = lines_of(capsys, run, "photos/inner/[odd] name.png")  # a file that is there is no pattern
    assert (len(rows), rows[0]["error"]) == (1, None)
    rows, error = lines_of(capsys, run, "photos/*.jpeg", "photos/0.png", code=1)
    assert rows[0]["error"] == "no image file matches this pattern."
    assert (rows[1]["error"], error.count("\n")) == (None, 1)


def test_links_in_circles_end(run, photos, capsys):
    (photos / "inner" / "loop").symlink_to(photos)
    rows, _ = lines_of(capsys, run, "photos/**/*.png")
    assert len(rows) == 4


@pytest.mark.parametrize("separator", ["\0", "\n", "\r\n"])
def test_lists_of_paths(separator, run, photos, capsys, tmp_path):
    listed = ["photos/inner/1.png", "photos/inner/[odd] name.png", "photos/inner/deep"]
    (tmp_path / "list.txt").write_text(separator.join([*listed, ""]), newline="")
    rows, _ = lines_of(capsys, run, "photos/0.png", "--paths-from", "list.txt")
    assert [row["path"] for row in rows] == ["photos/0.png", *listed[:2], "photos/inner/deep/2.png"]


def test_standard_input_is_an_image_or_a_list(run, photos, capsys, monkeypatch):
    expected = reslab.load(run).predict(photos / "0.png")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((photos / "0.png").read_bytes())))
    (entry,), _ = lines_of(capsys, run, "-")
    assert (entry["path"], entry["labels"]) == ("-", list(expected.labels))
    assert entry["probabilities"] == pytest.approx(list(expected.probabilities), rel=1e-5)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"photos/0.png\0photos/inner/1.png\0")))
    assert main(["predict", run, "--paths-from", "-", "--csv", "--top", "1"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["path"] for row in rows] == ["photos/0.png", "photos/inner/1.png"]
    assert rows[0]["label"] == expected.label


def test_addresses_are_fetched_only_when_that_is_allowed(run, photos, digits, server, capsys, monkeypatch):
    image = encoded(digits.split("test").images[0, ..., 0])
    server.respond = lambda handler, _: (
        handler.answer(image) if handler.path == "/0.png?size=full" else handler.answer(b"no", status=404)
    )
    good, bad = f"{server.url}/0.png?size=full", f"{server.url}/gone.png"
    assert main(["predict", run, good]) == 2
    assert capsys.readouterr().err == f"reslab: {good} is an address; give --allow-urls to fetch it, or a file.\n"
    assert server.paths == []
    rows, error = lines_of(capsys, run, bad, good, "photos/0.png", "http://[wrong", "--allow-urls", code=1)
    assert [row["path"] for row in rows] == [bad, good, "photos/0.png", "http://[wrong"]
    assert rows[0]["error"] == "could not download it: the server answers 404 Not Found."
    assert rows[1]["labels"] == rows[2]["labels"]
    assert "it is no address" in rows[3]["error"]
    assert error.count("\n") == 2
    monkeypatch.setattr("reslab.deploy.given_images.LARGEST_FILE", len(image) - 1)
    rows, _ = lines_of(capsys, run, good, "--allow-urls", code=1)
    assert "the most that are taken" in rows[0]["error"]


def test_json_lines_stream(run, photos):
    """The first line is there while the list of images still goes on: a pipe whose reader waits for each."""
    network = reslab.load(run)

    def images():
        for _ in range(400):
            yield photos / "0.png"
        raise AssertionError("all was read before the first line was written")

    from reslab.deploy.prediction_files import prediction_stream

    stream = io.StringIO()
    with prediction_stream(stream, "jsonl") as write:
        write(next(network.stream(images(), batch_size=4)))
        assert json.loads(stream.getvalue())["label"] == network.predict(photos / "0.png").label


def test_below_the_threshold_the_network_abstains(run, photos, capsys, tmp_path):
    rows, _ = lines_of(capsys, run, "photos/**/*.png")
    shares = sorted(row["probability"] for row in rows)
    threshold = (shares[1] + shares[2]) / 2
    asked = ["photos/**/*.png", "--threshold", str(threshold)]
    found, _ = lines_of(capsys, run, *asked)
    assert sum(row["abstained"] for row in found) == 2
    for row in found:
        assert row["abstained"] == (row["probability"] < threshold)
        assert row["label"] == (None if row["abstained"] else row["labels"][0])
    assert main(["predict", run, *asked, "--out", "labels.csv"]) == 0
    with open("labels.csv", newline="") as stream:
        table = list(csv.DictReader(stream))
    left = [row for row in table if row["abstained"] == "true"]
    assert [(row["rank"], row["label"]) for row in left] == [("", "")] * 2
    capsys.readouterr()
    assert main(["predict", run, *asked]) == 0
    assert capsys.readouterr().out.count("(abstained)") == 2
    network = reslab.load(run)
    images = np.asarray(Image.open("photos/0.png"))
    for image in ("photos/0.png", images, Image.fromarray(images), (tmp_path / "photos/0.png").read_bytes()):
        assert network.predict(image).label is not None
        sure = network.predict(image, threshold=1.0)
        assert (sure.label, sure.abstained, len(sure.labels)) == (None, True, 5)
    named = network.predict(NamedImage("camera", (tmp_path / "photos/0.png").read_bytes))
    assert (named.name, named.label) == ("camera", network.predict(images).label)
    with pytest.raises(reslab.ReslabError, match=r"from 0 to 1, not 1\.5"):
        network.predict(images, threshold=1.5)


def test_a_terminal_gets_a_table(run, photos, capsys, monkeypatch):
    (photos / "bad.png").write_text("no")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["predict", run, "photos/0.png", "photos/bad.png", "--top", "2"]) == 1
    head, good, bad = capsys.readouterr().out.splitlines()
    assert head.split() == ["image", "label", "probability", "then"]
    assert good.split()[0] == "photos/0.png"
    assert "(it is not an image, or is damaged.)" in bad


# Submissions


def sample(path, header, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *rows])


@pytest.mark.parametrize("suffix", ["", ".png"])
def test_a_submission_of_labels(suffix, run, photos, capsys, tmp_path):
    rows = [[f"2{suffix}", "0"], [f"0{suffix}", "0"], [f"inner/1{suffix}", ""]]
    sample(tmp_path / "sample.csv", ["image", "digit"], rows)
    assert main(["predict", run, "photos", "--submission", "sample.csv", "--out", "out.csv"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("out.csv\n", "1 image of those given have no id in sample.csv.\n")
    network = reslab.load(run)
    expected = [network.predict(f"photos/{name}.png").label for name in ("inner/deep/2", "0", "inner/1")]
    with open("out.csv", newline="") as stream:
        assert list(csv.reader(stream)) == [
            ["image", "digit"],
            *([row[0], label] for row, label in zip(rows, expected, strict=True)),
        ]


def test_a_submission_of_probabilities_keeps_the_columns_order_and_bad_images_defaults(run, photos, capsys, tmp_path):
    (photos / "bad.png").write_text("no")
    columns = [str(number) for number in range(9, -1, -1)]
    sample(tmp_path / "sample.csv", ["id", *columns], [["0", *["0.1"] * 10], ["bad", *["0.1"] * 10]])
    assert main(["predict", run, "photos/*.png", "--submission", "sample.csv", "--out", "out.csv"]) == 1
    error = capsys.readouterr().err
    assert "reslab: photos/bad.png: it is not an image, or is damaged.\n" in error
    assert error.endswith("reslab: 1 row of out.csv are as in the sample.\n")
    with open("out.csv", newline="") as stream:
        good, bad = csv.DictReader(stream)
    found = reslab.load(run).predict("photos/0.png", top=10)
    for label, share in zip(found.labels, found.probabilities, strict=True):
        assert float(good[label]) == pytest.approx(share, rel=1e-5)
    assert list(bad.values()) == ["bad", *["0.1"] * 10]


WRONG_SAMPLES = {
    "absent": (None, "cannot read sample.csv: No such file or directory."),
    "empty": (b"", "is no sample of a submission"),
    "one column": (b"id\n0\n", "is no sample of a submission"),
    "no ids": (b"id,label\n", "has a head and no ids"),
    "twice": (b"id,label\n0,1\n0,1\n", "has the id 0 twice"),
    "missing": (b"id,label\n0,1\n77,1\n78,1\n", "2 ids of 3 in sample.csv have no image among those given, as '77'"),
    "foreign label": (b"id,label\n0,cat\n", "the column label of sample.csv holds 'cat', which is no class"),
    "unknown layout": (b"id,0,1,cat\n0,1,1,1\n", "has the column 'cat'; a submission has an id and a label, or"),
    "lacking": (b"id,0,1,2\n0,1,1,1\n", "has no column '3'"),
    "column twice": (b"id,0,0\n0,1,1\n", "has the column 0 twice"),
    "torn": (b"id,label\n0,1\n1\n", "row 3 of sample.csv has 1 cell where its head has 2"),
    "binary": (b"\xff\xfe\0\0", "is no text in UTF-8"),
    "quotes": (b'id,label\n"0,1\n', "is no CSV file"),
}


@pytest.mark.parametrize("name", WRONG_SAMPLES)
def test_a_sample_that_cannot_be_filled_is_a_sentence(name, run, photos, capsys, tmp_path):
    content, message = WRONG_SAMPLES[name]
    if content is not None:
        (tmp_path / "sample.csv").write_bytes(content)
    assert main(["predict", run, "photos", "--submission", "sample.csv", "--out", "out.csv"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.out, captured.err.count("\n"), (tmp_path / "out.csv").exists()) == ("", 1, False)


def test_an_id_of_two_images_is_told(run, photos, capsys, tmp_path):
    (photos / "deep").mkdir()
    (photos / "deep" / "0.png").write_bytes((photos / "0.png").read_bytes())
    sample(tmp_path / "sample.csv", ["id", "label"], [["0", ""]])
    assert main(["predict", run, "photos", "--submission", "sample.csv", "--out", "out.csv"]) == 2
    assert "the id 0 could be photos/0.png or photos/deep/0.png" in capsys.readouterr().err
    sample(tmp_path / "sample.csv", ["id", "label"], [["deep/0", ""]])
    assert main(["predict", run, "photos", "--submission", "sample.csv", "--out", "out.csv"]) == 0


WRONG = [
    (["-", "-"], "standard input is a single image, or a list of paths"),
    (["-", "--paths-from", "-"], "standard input is a single image, or a list of paths"),
    (["--paths-from", "absent"], "cannot read the list of paths in absent: No such file or directory"),
    (["--paths-from", "."], "it is a folder and not a regular file"),
    (["0.png", "--csv", "--jsonl"], "--csv and --jsonl are two forms of the same"),
    (["0.png", "--csv", "--out", "labels.json"], "--out labels.json is named for json, and --csv is asked for"),
    (["0.png", "--submission", "s.csv"], "--submission needs --out"),
    (["0.png", "--submission", "s.csv", "--out", "o.csv", "--threshold", "0.5"], "leave --threshold"),
    (["0.png", "--threshold", "2"], "--threshold must be a number from 0 to 1"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_mistake_gives_a_sentence(arguments, message, run, capsys):
    assert main(["predict", run, *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_out_takes_every_form(run, photos, capsys):
    for name in ("labels.json", "labels.jsonl", "labels.csv", "labels.txt"):
        assert main(["predict", run, "photos/0.png", "--out", name]) == 0
        assert capsys.readouterr().out == f"{name}\n"
    with open("labels.json") as array, open("labels.jsonl") as lines:
        assert json.load(array) == [json.loads(line) for line in lines]
    with open("labels.csv") as one, open("labels.txt") as other:
        assert one.read() == other.read()
