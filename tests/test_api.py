"""Networks in Python: what may be labelled, and how data are made to fit what a network knows."""

import numpy as np
import pytest
import torch
from PIL import Image

import reslab
from reslab.cli.main import main
from reslab.data import ImageData, Split
from reslab.errors import DataError, ReslabError, WeightsError
from reslab.evaluation.subjects import EvaluationImages, load_subject
from reslab.trained import Reference, load_trained


@pytest.fixture(scope="module")
def network(trained):
    with reslab.load(trained / "run", threads=1) as network:
        yield network


@pytest.fixture
def folder(digits, tmp_path):
    """Three digits as files."""
    for number in range(3):
        Image.fromarray(digits.split("test").images[number, ..., 0]).save(tmp_path / f"{number}.png")
    return tmp_path


# Images


def test_an_image_is_a_path_bytes_an_image_of_pillow_or_an_array(network, folder, digits):
    path, pixels = folder / "0.png", digits.split("test").images[0]
    grey = pixels[..., 0]
    expected = network.predict(path)
    assert expected.path == path
    assert len(expected.labels) == 5
    assert sum(network.predict(path, top=10).probabilities) == pytest.approx(1)
    with Image.open(path) as opened:
        images = [str(path), path.read_bytes(), opened, Image.fromarray(grey), grey, pixels, np.dstack([grey] * 3)]
        # An RGB image of greys, one with transparency, and one of a palette are the same picture.
        images += [opened.convert("RGB"), opened.convert("RGBA"), opened.convert("P")]
        found = [network.predict(image) for image in images]
        together = network.predict(images)
    for one in (*found, *together):
        assert (one.error, one.labels) == (None, expected.labels)
        assert one.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    assert [str(entry.path) for entry in together[1:]] == [str(number) for number in range(1, len(images))]


def test_several_come_in_their_order_and_a_folder_is_all_of_its_images(network, folder):
    paths = [folder / "2.png", folder / "0.png", folder / "1.png"]
    found = network.predict(paths)
    assert [entry.path for entry in found] == paths
    by_path = {entry.path: entry.labels for entry in found}
    for images in (folder, str(folder)):
        assert [(entry.path, entry.labels) for entry in network.predict(images)] == sorted(by_path.items())
    assert [entry.labels for entry in network.predict(iter(paths))] == [by_path[path] for path in paths]
    assert network.predict([]) == []
    assert [entry.labels for entry in network.stream(paths, batch_size=2)] == [by_path[path] for path in paths]


def test_an_array_need_not_have_the_networks_size(network, digits):
    large = np.kron(digits.split("test").images[0, ..., 0], np.ones((8, 8), np.uint8))
    assert network.predict(large).labels[0] == network.predict(digits.split("test").images[0]).labels[0]
    assert network.predict(large[:, 3:]).error is None


NO_IMAGES = {
    "float": (np.zeros((16, 16), np.float32), "uint8, not float32 of shape 16x16"),
    "signed": (np.zeros((16, 16), np.int64), "uint8, not int64 of shape 16x16"),
    "batch": (np.zeros((1, 16, 16, 3), np.uint8), "not uint8 of shape 1x16x16x3"),
    "channels first": (np.zeros((3, 16, 16), np.uint8), "not uint8 of shape 3x16x16"),
    "two channels": (np.zeros((16, 16, 2), np.uint8), "not uint8 of shape 16x16x2"),
    "a row": (np.zeros(16, np.uint8), "not uint8 of shape 16"),
    "a number": (np.zeros((), np.uint8), "a single number"),
    "empty": (np.zeros((0, 16), np.uint8), "the array has no pixels"),
    "no image": (b"hello", "it is not an image"),
    "no bytes": (b"", "it is "),
    "absent": ("absent.png", "absent.png: there is no such file"),
}


@pytest.mark.parametrize(("image", "message"), NO_IMAGES.values(), ids=NO_IMAGES)
def test_what_is_no_image_is_an_error_alone_and_has_one_among_others(network, folder, image, message):
    with pytest.raises(DataError) as error:
        network.predict(image)
    assert message in str(error.value)
    wrong, right = network.predict([image, folder / "0.png"])
    assert (wrong.labels, wrong.error is None) == ((), False)
    assert right.error is None
    assert len(right.labels) == 5


@pytest.mark.parametrize(
    "image", [None, 7, 1.5, torch.zeros(()), torch.zeros(3, 16, 16)], ids=lambda image: type(image).__name__
)
def test_what_is_nothing_of_that_is_told_what_an_image_is(network, folder, image):
    with pytest.raises(DataError, match="an image is a path, bytes, an image of Pillow or an array, not "):
        network.predict(image)
    wrong, right = network.predict([image, folder / "0.png"])
    assert wrong.error.startswith("an image is a path, bytes, an image of Pillow or an array, not ")
    assert right.error is None


def test_a_folder_without_images_is_told(network, tmp_path):
    (found,) = network.predict(tmp_path)
    assert found.error == "it is a folder without images."


@pytest.mark.parametrize("top", [0, -1])
def test_no_labels_are_refused(network, folder, top):
    with pytest.raises(DataError, match="must be positive"):
        network.predict(folder / "0.png", top=top)


# Networks


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("", {}, "the name of the network is empty"),
        ("nothing", {}, "nothing is not the folder of a run, and there is no model named 'nothing'"),
        ("runs/nothing", {}, "there is no folder runs/nothing"),
        ("resnet20", {"engine": "openvino"}, "--engine is for exported files"),
        ("net.onnx", {"mean": (0.5,)}, "--mean is for a model's name; net.onnx says it itself"),
        ("net.onnx", {"num_classes": 3}, "--num-classes is for a model's name; net.onnx says it itself"),
    ],
)
def test_what_is_no_network_gets_a_sentence(name, options, message):
    with pytest.raises(ReslabError) as error:
        reslab.load(name, **options)
    assert message in str(error.value)


def test_weights_without_a_model_are_asked_for_it(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"which network is .*net\.pth for\? Write it as MODEL="):
        reslab.load(tmp_path / "net.pth")


def test_an_exported_file_is_no_network_of_pytorch():
    with pytest.raises(WeightsError, match=r"net\.onnx is an exported file, which PyTorch does not run"):
        assert reslab.load("net.onnx").trained


# Data


@pytest.fixture(scope="module")
def about(trained):
    return load_trained(trained / "run").about


def relabelled(digits, names, keep=range(10)):
    """The digits of some classes under other names, in another order: sorted by those names."""
    order = sorted(keep, key=lambda label: names[label])
    test = digits.split("test")
    chosen = np.isin(test.labels, list(keep))
    labels = np.array([order.index(label) if label in order else -1 for label in range(10)])[test.labels[chosen]]
    return ImageData("other", tuple(names[label] for label in order), {"test": Split(test.images[chosen], labels)})


def test_classes_are_found_by_name(about, digits):
    data = relabelled(digits, digits.classes)
    backwards = ImageData(
        "other", data.classes[::-1], {"test": Split(data.split("test").images, 9 - data.split("test").labels)}
    )
    assert backwards.classes[0] == "9"
    fitting = about.fit(backwards)
    assert fitting.classes == about.classes
    np.testing.assert_array_equal(fitting.split("test").labels, digits.split("test").labels)


def test_data_may_have_fewer_classes_than_the_network(about, digits):
    data = relabelled(digits, digits.classes, keep=(7, 3))
    assert data.classes == ("3", "7")
    fitting = about.fit(data)
    assert (fitting.classes, fitting.num_classes) == (about.classes, 10)
    assert set(fitting.split("test").labels.tolist()) == {3, 7}


def test_a_class_that_the_network_does_not_know_is_named(about, digits):
    names = list(digits.classes)
    names[4] = "four"
    with pytest.raises(DataError, match=r"has the class 'four', which the network does not know\. .*knows '0', '1'"):
        about.fit(relabelled(digits, names))
    with pytest.raises(DataError, match=r"has the class 'four', which the network does not know\. .*knows '0', '1'"):
        about.fit(relabelled(digits, names, keep=(4, 5)))


def test_colour_is_made_grey_for_a_grey_network_and_grey_rgb_for_the_others(about, digits, tiny_data):
    grey = about.fit(digits.with_channels(3))
    np.testing.assert_array_equal(grey.split("test").images, digits.split("test").images)
    colour = load_trained("resnet8", mean=(0.5,), overrides={"num_classes": 10}).about.fit(digits)
    assert colour.image_shape == (16, 16, 3)
    for channel in range(3):
        np.testing.assert_array_equal(colour.split("test").images[..., channel], digits.split("test").images[..., 0])


def test_images_of_another_size_have_no_mean_for_every_pixel(about, tiny_data):
    data = tiny_data(size=8, channels=1, num_classes=2)
    named = ImageData("tiny", ("1", "2"), dict(data.splits))
    with pytest.raises(DataError, match="16x16x1"):
        about.fit(named)


@pytest.mark.parametrize("name", ["RUN", "resnet8"])
def test_what_is_calibrated_on_train_images_is_judged_on_val_ones(name, trained):
    """And test images are not looked at for it."""
    reference = Reference.parse(trained / "run" if name == "RUN" else name)
    subject = load_subject(reference, EvaluationImages("digits", "train"), training=True)
    assert set(subject.data.splits) == {"train", "val"}
    assert set(load_subject(reference, EvaluationImages("digits", "test")).data.splits) == {"test"}


def test_the_error_does_not_depend_on_the_datas_order_of_classes(trained, digits, tmp_path, capsys, monkeypatch):
    """A folder that lacks some classes numbers the others otherwise; a run is right about them all the same."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run, test = trained / "run", digits.split("test")
    with reslab.load(run, threads=1) as network:
        found = network.predict(list(test.images), top=1)
    wrong = [entry.labels[0] != digits.classes[label] for entry, label in zip(found, test.labels, strict=True)]
    whole = network.evaluate(split="test")
    assert whole.record["top1_error"] == pytest.approx(100 * np.mean(wrong))
    some = [number for number, label in enumerate(test.labels) if label in (3, 7, 9)]
    for number in some:
        path = tmp_path / "data" / "test" / str(test.labels[number]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(test.images[number, ..., 0]).save(path)
    outcome = network.evaluate(tmp_path / "data")
    assert outcome.record["num_images"] == len(some)
    assert outcome.record["top1_error"] == pytest.approx(100 * np.mean([wrong[number] for number in some]))
    # Neither does it if colour is written down.
    for path in (tmp_path / "data").rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    assert network.evaluate(tmp_path / "data").record["loss"] == pytest.approx(outcome.record["loss"])
    assert main(["eval", str(run), "--data", str(tmp_path / "data"), "--split", "train"]) == 2
    assert "has no train images" in capsys.readouterr().err
