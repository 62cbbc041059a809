"""Folders of photographs, listed and matched to a network's classes."""

import os
import unicodedata

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder
from torchvision.models import ResNet50_Weights

from reslab.data import load_data
from reslab.data.imagenet import imagenet_names, readable_name
from reslab.data.photos import Paths
from reslab.data.preprocessing import Preprocessing
from reslab.errors import DataError

VIEW = Preprocessing(height=48, width=48, channels=3, resize=56)


def test_photographs_are_listed_as_torchvision_lists_them(photos):
    theirs, ours = ImageFolder(str(photos / "val")), load_data(photos, kind="photos", view=VIEW)
    val = ours.split("val")
    assert ours.classes == tuple(theirs.classes)
    assert val.labels.tolist() == theirs.targets
    assert [str(photos / val.name(index)) for index in range(len(val))] == [path for path, _ in theirs.samples]
    assert ours.describe()["splits"]["val"]["num_images"] == 200


def test_files_in_folders_below_a_class_stand_as_torchvision_has_them(tmp_path):
    for name in ("b/2.png", "b/1.png", "b-c/3.png", "b/a/4.png", "0.png"):
        path = tmp_path / "pets" / "cat" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path)
    split = load_data(tmp_path / "pets", kind="photos", view=VIEW).split("train")
    names = [str(tmp_path / "pets" / split.name(index)) for index in range(len(split))]
    assert names == [path for path, _ in ImageFolder(str(tmp_path / "pets")).samples]


def test_the_view_is_the_preprocessing_of_the_whole_image(photos):
    split = load_data(photos, kind="photos", view=VIEW, roles=["val"]).split("val").subset(np.array([7, 3, 199]))
    with Image.open(photos / split.name(0)) as image:
        np.testing.assert_array_equal(split.read(0, 9)[0], VIEW(image.convert("RGB")))
    assert split.read(0, 9).shape == (3, 48, 48, 3)
    assert split.labels.tolist() == [7, 3, 199]


def test_the_digest_tells_other_files_labels_and_orders_apart(tmp_path):
    for name in ("a/1", "a/2", "b/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4)).save(tmp_path / f"{name}.png")
    split = load_data(tmp_path, kind="photos", view=VIEW).split("train")
    digests = {
        split.digest,
        split.subset(np.array([1, 0, 2])).digest,
        split.with_labels(np.array([0, 1, 1])).digest,
        split.subset(np.array([0, 1])).digest,
    }
    (tmp_path / "a" / "1.png").write_bytes(b"other")
    digests.add(load_data(tmp_path, kind="photos", view=VIEW).split("train").digest)
    assert len(digests) == 5
    (tmp_path / "a" / "1.png").rename(tmp_path / "a" / "0.png")
    assert load_data(tmp_path, kind="photos", view=VIEW).split("train").digest not in digests


def test_imagenets_names_are_torchvisions_in_the_order_of_the_ids():
    assert list(imagenet_names().values()) == ResNet50_Weights.DEFAULT.meta["categories"]
    assert list(imagenet_names()) == sorted(imagenet_names())
    assert readable_name("n01440764") == "tench (n01440764)"
    assert readable_name("my cat") == "my cat"


def test_imagenets_ids_are_timms():
    timm_data = pytest.importorskip("timm.data")
    info = timm_data.ImageNetInfo("imagenet-1k")
    assert info.label_names() == list(imagenet_names())


def test_a_folder_of_200_ids_gets_the_indices_of_all_1000_classes(photos):
    data = load_data(photos, kind="photos", view=VIEW, roles=["val"])
    wnids, names = list(imagenet_names()), list(imagenet_names().values())
    for classes in (wnids, names):
        matched = data.with_classes(classes)
        labels = matched.split("val").labels
        assert [wnids[label] for label in labels] == [data.classes[label] for label in data.split("val").labels]
        assert matched.classes == tuple(classes)
    with pytest.raises(DataError, match=f"has the class '{data.classes[0]}', which the network does not know"):
        data.with_classes(names[500:])


def test_names_are_equal_in_either_unicode_form(tmp_path):
    decomposed = unicodedata.normalize("NFD", "고양이")
    for role in ("train", "val"):
        (tmp_path / role / decomposed).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / role / decomposed / "1.png")
    data = load_data(tmp_path, kind="photos", view=VIEW)
    composed = unicodedata.normalize("NFC", "고양이")
    assert composed != decomposed
    assert data.with_classes(["개", composed]).split("val").labels.tolist() == [1]


def test_class_names_that_cannot_be_told_apart_or_written_down_are_refused(tmp_path):
    for form in ("NFC", "NFD"):
        (tmp_path / "twice" / unicodedata.normalize(form, "고양이")).mkdir(parents=True)
    with pytest.raises(DataError, match="twice, in different Unicode forms"):
        load_data(tmp_path / "twice", kind="photos", view=VIEW)
    os.makedirs(os.path.join(os.fsencode(tmp_path), b"bytes", b"bad\xff"))
    with pytest.raises(DataError, match=r"'bad\\xff' in .* is not UTF-8"):
        load_data(tmp_path / "bytes", kind="photos", view=VIEW)


def test_paths_are_kept_as_they_are():
    names = ["a/1.png", "b c/é.png", "\udcff/undecodable.png", "", "고양이.png"]
    packed = Paths.of(names)
    assert [packed[index] for index in range(len(packed))] == names


def test_missing_and_closed_files_are_named(photos, tmp_path):
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    (tmp_path / "pets" / "cat" / "1.jpg").write_bytes(b"nothing")
    split = load_data(tmp_path / "pets", kind="photos", view=VIEW).split("train")
    with pytest.raises(DataError, match=r"cat/1\.jpg: it is not an image"):
        split.read(0, 1)
    (tmp_path / "pets" / "cat" / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"cat/1\.jpg: No such file"):
        split.read(0, 1)
    for folder in (tmp_path / "none", photos / "val" / "n01440764" / "none"):
        with pytest.raises(DataError, match="nor the path of a folder"):
            load_data(folder, kind="photos", view=VIEW)
