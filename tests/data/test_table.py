"""Tables of images and their classes, as contests, labelling programs and spreadsheets write them."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.cli.main import main
from reslab.data import available_roles, load_data
from reslab.data.check import check_folder
from reslab.data.listing import DataWarning
from reslab.data.table import list_table
from reslab.errors import DataError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Twelve images: six in one folder, six in folders below."""
    root = tmp_path_factory.mktemp("table") / "photos"
    (root / "images" / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for index in range(12):
        place = root / "images" / ("more" if index >= 6 else "") / f"img{index}.{'png' if index % 2 else 'jpg'}"
        Image.fromarray(rng.integers(0, 256, (40, 200, 3), np.uint8)).save(place)
    return root


def table(folder: Path, text: str, name: str = "labels.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.fixture
def folder(pictures, tmp_path) -> Path:
    return shutil.copytree(pictures, tmp_path / "photos")


def suffix(index: int) -> str:
    return "png" if index % 2 else "jpg"


def breed(index: int) -> str:
    return "cat" if index < 4 else "dog"


def below(index: int) -> str:
    return f"images/{'more/' if index >= 6 else ''}img{index}.{suffix(index)}"


WRITTEN = {
    "ids without suffixes": ("id,breed\n", lambda i: f"img{i},{breed(i)}\n"),
    "names, with another column before": (
        "width,file_name,class\n",
        lambda i: f"200,img{i}.{suffix(i)},{breed(i)}\n",
    ),
    "paths": ("path,label,source\n", lambda i: f"./{below(i)},{breed(i)},web\n"),
    "windows' paths, by semicolons": ("path;label\n", lambda i: f"{below(i)};{breed(i)}\n".replace("/", "\\")),
    "paths of another machine, by tabs": (
        "image\tcategory\n",
        lambda i: f"/home/someone/img{i}.{suffix(i)}\t{breed(i)}\n",
    ),
    "a spreadsheet's index and mark": ("\ufeff,image,class\n", lambda i: f"{i},img{i},{breed(i)}\n"),
    "a column a class": ("image,cat,dog\n", lambda i: f"img{i},{int(i < 4)},{int(i >= 4)}\n"),
    "quoted, with carriage returns": ('"image","class"\r\n', lambda i: f'"img{i}","{breed(i)}"\r\n'),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_tables_as_people_write_them(name, folder):
    header, row = WRITTEN[name]
    data = load_data(table(folder, header + "".join(row(index) for index in range(12))))
    assert data.classes == ("cat", "dog")
    train = data.split("train")
    found = {Path(train.name(index)).stem: data.classes[train.labels[index]] for index in range(len(train))}
    assert found == {f"img{index}": "cat" if index < 4 else "dog" for index in range(12)}
    assert train.image(0).size == (200, 40)


def test_a_column_says_the_roles(folder):
    roles = ["Training"] * 6 + ["validation"] * 3 + ["TEST"] * 3
    path = table(folder, "image,class,split\n" + "".join(f"img{i},{i % 3},{roles[i]}\n" for i in range(12)))
    assert available_roles(path) == ("train", "val", "test")
    data = load_data(path, roles=["train", "val"])
    assert {role: len(split) for role, split in data.splits.items()} == {"train": 6, "val": 3}
    report = check_folder(path)
    assert report.num_images == {"train": 6, "val": 3, "test": 3}
    assert report.class_counts["0"] == {"train": 2, "val": 1, "test": 1}


def test_numbers_are_ordered_as_numbers(folder):
    listing = list_table(table(folder, "image,label\n" + "".join(f"img{i},{i}\n" for i in range(12))))
    assert listing.classes == tuple(map(str, range(12)))


def test_a_column_can_be_named(folder):
    path = table(folder, "image,colour,shape\n" + "".join(f"img{i},{'rg'[i % 2]},{'xyz'[i % 3]}\n" for i in range(12)))
    with pytest.raises(
        DataError, match=r"which column of .*labels\.csv has the classes: colour, shape\? Write it as in"
    ):
        load_data(path)
    assert load_data(f"{path}#shape").classes == ("x", "y", "z")
    assert load_data(f"{path}#colour").classes == ("g", "r")
    with pytest.raises(DataError, match="has no column 'size' of classes; it has colour, shape"):
        load_data(f"{path}#size")


def test_what_is_passed_over_is_said(folder):
    rows = [f"img{i},{'ab'[i % 2]}\n" for i in range(9)] + ["img9,\n", "gone,a\n", "gone2,b\n"]
    with pytest.warns(DataWarning) as caught:
        data = load_data(table(folder, "image,class\n" + "".join(rows)))
    assert len(data.split("train")) == 9
    said = " ".join(str(warning.message) for warning in caught)
    assert "2 rows without an image" in said
    assert "1 row without a class" in said
    assert "no class for 3 images below" in said


BAD = {
    "empty": ("", "needs a first line"),
    "a header alone": ("image,class\n", "has no rows"),
    "one column": ("image\nimg1\n", "two at least and all different"),
    "two columns of a name": ("image,class,class\nimg1,a,b\n", "all different"),
    "a row too long": ("image,class\nimg1,a,b\n", "more columns in row 2"),
    "a row too short": ("image,class,split\nimg1,a\n", "fewer columns in row 2"),
    "no image": ("image,class\nnone,a\nneither,b\n", "no column of .* names images below"),
    "upwards": ("image,class\n../../../etc/passwd,a\n/etc/passwd,b\n", "no column of .* names images below"),
    "two classes of an image": ("image,class\nimg1,a\nimg1.png,b\n", "twice, as 'a' in train and as 'b' in train"),
    "no class at all": ("image,class\nimg1,\nimg2,\n", "names no image that has a class"),
    "an open quote": ('image,class\n"img1,a\n', "is no table|fewer columns"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_a_sentence(name, folder):
    text, sentence = BAD[name]
    path = table(folder, text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match=sentence) as caught:
            load_data(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_a_sentence(folder):
    (folder / "labels.csv").write_bytes(b"image,class\nimg1,\xff\xfe\n")
    with pytest.raises(DataError, match="is no text in UTF-8"):
        load_data(folder / "labels.csv")


def test_a_name_that_two_images_have_is_a_sentence(folder):
    shutil.copy(folder / "images" / "img0.jpg", folder / "images" / "more" / "img0.jpg")
    with pytest.raises(DataError, match="several images that 'img0' may mean"):
        load_data(table(folder, "image,class\nimg0,a\nimg1,b\n"))


def test_a_number_for_each_image_is_no_class(pictures, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for index in range(30):
        Image.new("RGB", (9, 9 + index)).save(folder / f"{index}.png")
    with pytest.raises(DataError, match="30 classes for 30 images: is that the column of the classes"):
        load_data(table(folder, "image,label\n" + "".join(f"{i},{i * 7}\n" for i in range(30))))


def test_a_training_goes_by_a_table(folder, tmp_path, capsys):
    path = table(folder, "id,breed\n" + "".join(f"img{i},{'cat' if i % 2 else 'dog'}\n" for i in range(12)))
    fields = {"hardware.threads": "1", "hardware.workers": "0", "hardware.precision": "fp32", "data.batch_size": "4"}
    with pytest.warns(reslab.errors.ReslabWarning, match="No weights are given"):
        done = reslab.train(
            "resnet18[widths=4-4-8-8]", path, recipe="fine-tune", iterations=3, run_dir=tmp_path / "run",
            fields=fields | {"data.val_share": "0.34", "data.images.train_size": "32"},
        )  # fmt: skip
    assert done.run.record["data_spec"] == str(path)
    assert main(["eval", str(tmp_path / "run"), "--split", "val"]) == 0
    assert f"on {len(done.run.record['val_names'])} val images of photos" in capsys.readouterr().out


def test_a_folder_with_a_table_says_what_to_do(folder, capsys):
    table(folder, "id,breed\nimg1,a\n")
    assert main(["train", "resnet18", "--data", str(folder), "--iterations", "1"]) == 2
    assert "To go by a table, give the file instead of the folder." in capsys.readouterr().err
