"""Tables whose images have several labels, or none: as a cell of several, or a column a label."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reslab.cli.main import main
from reslab.data import load_data
from reslab.data.check import check_folder
from reslab.data.held_out import HeldOut, hold_out_share
from reslab.data.packing import pack_folder
from reslab.data.table import list_table
from reslab.errors import DataError

LABELS = [("cat", "dog"), ("cat",), (), ("dog", "owl"), ("cat", "dog"), ("cat",), ("owl",), (), ("dog",), ("cat",)]
CELLS = "image,labels\n" + "".join(f"img{i},{'|'.join(labels)}\n" for i, labels in enumerate(LABELS))
FLAGS = "image,owl,cat,dog\n" + "".join(
    f"img{i},{','.join(str(int(name in labels)) for name in ('owl', 'cat', 'dog'))}\n"
    for i, labels in enumerate(LABELS)
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("labels") / "photos"
    root.mkdir()
    rng = np.random.default_rng(0)
    for index in range(10):
        Image.fromarray(rng.integers(0, 256, (150 + index, 200, 3), np.uint8)).save(root / f"img{index}.jpg")
    return root


def table(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder / "labels.csv"


@pytest.mark.parametrize("text", [CELLS, FLAGS, CELLS.replace("|", " | ")], ids=["cells", "columns", "spaces"])
def test_both_forms_say_the_same(text, pictures):
    data = load_data(table(pictures, text))
    assert (data.task, data.classes) == ("multi-label", ("cat", "dog", "owl"))
    train = data.split("train")
    found = {Path(train.name(index)).stem: data.form.names(train.labels[index], data.classes) for index in range(10)}
    assert found == {f"img{index}": ", ".join(labels) or "none" for index, labels in enumerate(LABELS)}
    assert train.labels.dtype == np.uint8
    assert train.digest == load_data(table(pictures, FLAGS)).split("train").digest


def test_a_column_of_one_label_stays_one(pictures):
    one = "image,owl,cat\n" + "".join(f"img{i},{i % 2},{1 - i % 2}\n" for i in range(10))
    data = load_data(table(pictures, one))
    assert (data.task, data.split("train").labels.ndim) == ("classification", 1)


def test_a_second_row_may_say_the_same(pictures):
    data = load_data(table(pictures, CELLS + "img0,dog|cat\nimg2,\n"))
    assert data.split("train").digest == load_data(table(pictures, CELLS)).split("train").digest


def test_roles_have_the_same_labels(pictures):
    rows = [f"img{i},{'|'.join(labels)},{'test' if i > 5 else 'train'}\n" for i, labels in enumerate(LABELS)]
    data = load_data(table(pictures, "image,labels,split\n" + "".join(rows)))
    assert {role: split.labels.shape for role, split in data.splits.items()} == {"train": (6, 3), "test": (4, 3)}


def test_classes_are_found_by_name(pictures):
    data = load_data(table(pictures, CELLS))
    known = data.with_classes(("owl", "yak", "dog", "cat"))
    first = known.split("train").labels[0]
    assert known.form.names(first, known.classes) == "dog, cat"
    assert known.task == data.task
    with pytest.raises(DataError, match="has the class 'owl', which the network does not know"):
        data.with_classes(("cat", "dog"))


def test_val_images_are_held_out_once_and_found_again(pictures):
    data = load_data(table(pictures, CELLS))
    parted, held_out = hold_out_share(data, 0.3)
    assert parted.task == "multi-label"
    assert len(parted.split("train")) + len(parted.split("val")) == 10
    assert len(parted.split("val")) in (3, 4)
    again = held_out.of(data)
    assert again.split("val").digest == parted.split("val").digest
    assert HeldOut(num_images=3).of(data).split("val").labels.shape == (3, 3)
    with pytest.raises(DataError, match="cannot hold out 10 of photos's 10 train images"):
        data.hold_out(10)


def test_the_check_counts_labels(pictures, capsys):
    path = table(pictures, FLAGS.replace("dog\n", "dog,yak\n").replace("0\n", "0,0\n").replace("1\n", "1,0\n"))
    report = check_folder(path)
    assert report.class_counts == {"cat": {"train": 5}, "dog": {"train": 4}, "owl": {"train": 2}, "yak": {"train": 0}}
    assert report.num_without == {"train": 2}
    assert [(found.path, found.problem) for found in report.findings] == [("yak", "unused-label")]
    assert main(["data", "check", str(path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("10 train with 4 labels;")
    assert "2 images have none of the labels\n" in said
    assert "1 unused-label (is a label that no image has):\n  yak" in said
    assert main(["data", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_without_labels"] == {"train": 2}


def test_the_same_picture_with_other_labels_is_found(pictures, tmp_path):
    for name in ("img0.jpg", "img1.jpg"):
        (tmp_path / name).write_bytes((pictures / "img0.jpg").read_bytes())
    report = check_folder(table(tmp_path, "image,labels\nimg0,cat|dog\nimg1,cat\n"))
    assert [found.problem for found in report.findings if found.problem != "single-image"] == ["in-two-classes"]


BAD = {
    "a label twice in a cell": ("image,labels\nimg0,cat|dog\nimg1,cat|cat\n", "has the label 'cat' twice in row 3"),
    "an empty label": ("image,labels\nimg0,cat|dog\nimg1,cat||dog\n", r"an empty label in row 3, 'cat\|\|dog'"),
    "a bar alone": ("image,labels\nimg0,|\n", "an empty label in row 2"),
    "a 2": ("image,cat,dog\nimg0,1,1\nimg1,0,2\nimg2,0,1\n", "has '2' in row 3 of the column 'dog', whose other cells"),
    "an empty flag": ("image,cat,dog\nimg0,1,1\nimg1,,1\nimg2,0,1\n", "has '' in row 3 of the column 'cat'"),
    "a bar in a name": ("image,cat|tom,dog\nimg0,1,1\n", r"has the label 'cat\|tom', and '\|' stands between labels"),
    "two rows of an image": ("image,labels\nimg0,cat|dog\nimg0,cat\n", r"twice, as 'cat\|dog' in train and as 'cat'"),
    "rows of one label each": ("image,labels\nimg0,cat\nimg0,dog\n", "keep one of the rows, with all of the image's"),
    "no image": ("image,labels\nnone,cat|dog\n", "no column of .* names images"),
    "no label at all": ("image,labels\nimg0,\nnone,a|b\n", "names no image that has a class"),
    "captions": (
        "image,labels\n" + "".join(f"img{i},{'|'.join(f'word {i} {j}' for j in range(9))}\n" for i in range(10)),
        "has 90 classes for 10 images: is that the column of the classes",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_a_sentence(name, pictures):
    text, sentence = BAD[name]
    with pytest.raises(DataError, match=sentence) as caught:
        load_data(table(pictures, text))
    assert "\n" not in str(caught.value)


def test_control_characters_of_a_label_do_not_reach_the_terminal(pictures, capsys):
    path = table(pictures, "image,labels\nimg0,\x1b[31mred|dog\nimg1,\x1b[31mred\nimg2,dog\n")
    main(["data", "check", str(path)])
    assert "\x1b" not in capsys.readouterr().out


def test_ten_thousand_labels(pictures):
    names = [f"label{i}" for i in range(10_000)]
    rows = "".join(
        f"img{i}," + ",".join("1" if j % 10 == i or j == 0 else "0" for j in range(10_000)) + "\n" for i in range(10)
    )
    begin = time.monotonic()
    listing = list_table(table(pictures, "image," + ",".join(names) + "\n" + rows))
    assert time.monotonic() - begin < 5
    assert listing.labels("train").shape == (10, 10_000)
    assert int(listing.labels("train").sum()) == 10_000 + 9
    cell = table(pictures, "image,labels\nimg0," + "|".join(names) + "\n")
    with pytest.raises(DataError, match="10,000 classes for 1 image: is that"):
        list_table(cell)
    with pytest.raises(DataError, match="field larger than field limit"):
        list_table(table(pictures, "image,labels\nimg0," + "|".join(f"name{i:020d}" for i in range(10_000)) + "\n"))


def test_shards_have_one_label(pictures, tmp_path):
    with pytest.raises(DataError, match="has several labels an image, and shards are for images with one label"):
        pack_folder(str(table(pictures, CELLS)), tmp_path / "shards")
