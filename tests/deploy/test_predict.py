"""From image files to labels."""

import json
import os
import threading

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.deploy import deploy_network, find_images, load_deployed, predict
from reslab.errors import DataError

ENGINES = ["onnxruntime", "openvino"]


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """Test digits as files of several kinds in two folders, some of them larger, with damaged ones among them."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "b").mkdir()
    split = digits.split("test")
    for index, pixels in enumerate(split.images[:60, ..., 0]):
        image = Image.fromarray(pixels)
        if index % 3 == 0:
            image = image.resize((64, 64), Image.Resampling.BICUBIC)
        suffix = ("png", "JPG", "bmp")[index % 3]
        image.save(
            folder / ("b" if index % 2 else ".") / f"{index:03}.{suffix}", **{"quality": 95} if index % 3 == 1 else {}
        )
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def damaged(folder, tmp_path):
    """Files that cannot be used, by what is said of them."""
    jpeg = (folder / "b" / "001.JPG").read_bytes()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    Image.new("1", (20_000, 10_000)).save(tmp_path / "bomb.png")
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(tmp_path / "deep.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "none").mkdir()
    return {
        tmp_path / "empty.png": "is not an image, or is damaged",
        tmp_path / "text.png": "is not an image, or is damaged",
        tmp_path / "cut.jpg": "cannot be read",
        tmp_path / "bomb.png": "too many",
        tmp_path / "deep.png": "more than 8 bits",
        tmp_path / "pipe.png": "not a regular file",
        tmp_path / "none": "folder without images",
        tmp_path / "absent.png": "no such file",
    }


def paths_of(folder):
    return sorted(folder.glob("*.*[!t]"), key=lambda path: path.name) + sorted((folder / "b").iterdir())


@pytest.mark.parametrize("engine", [*ENGINES, "torch"])
def test_labels_are_those_of_the_images_in_order(engine, files, folder, digits):
    deployed = deploy_network(files.trained) if engine == "torch" else load_deployed(files.float32[engine])
    with deployed:
        found = list(predict(deployed, find_images([folder]), top=3))
        logits = deployed(digits.split("test").images)
    assert [prediction.path for prediction in found] == paths_of(folder)
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    for prediction in found:
        index = int(prediction.path.stem)
        assert prediction.error is None
        assert len(prediction.labels) == 3
        assert list(prediction.probabilities) == sorted(prediction.probabilities, reverse=True)
        if index % 3 == 2:  # exact pixels
            best = np.argsort(-logits[index])[:3]
            assert prediction.labels == tuple(str(label) for label in best)
            np.testing.assert_allclose(prediction.probabilities, shares[index][best], rtol=1e-3, atol=1e-6)
    labels = digits.split("test").labels
    wrong = [int(prediction.labels[0]) != labels[int(prediction.path.stem)] for prediction in found]
    assert np.mean(wrong) < 0.15


@pytest.mark.parametrize("engine", ENGINES)
def test_neither_threads_nor_batches_change_a_label(engine, files, folder):
    paths = list(find_images([folder]))
    results = []
    for threads, batch_size, decoders in ((1, 1, 1), (2, 7, 3), (2, 1000, 2)):
        with load_deployed(files.int8[engine], threads=threads) as deployed:
            found = list(predict(deployed, paths, batch_size=batch_size, decoders=decoders))
        results.append([(prediction.path, prediction.labels[0]) for prediction in found])
        np.testing.assert_allclose([sum(prediction.probabilities) for prediction in found], 1, atol=0.3)
    assert results[0] == results[1] == results[2]


def test_a_file_that_cannot_be_used_has_an_error_and_the_others_go_on(files, folder, damaged):
    good = list(find_images([folder]))
    given = [good[0], *damaged, good[1]]
    with load_deployed(files.float32["openvino"]) as deployed:
        for batch_size in (1, 3, 100):
            found = list(predict(deployed, given, batch_size=batch_size))
            assert [prediction.path for prediction in found] == given
            assert found[0].error is found[-1].error is None
            assert found[0].labels
            for prediction, message in zip(found[1:-1], damaged.values(), strict=True):
                assert message in prediction.error
                assert prediction.labels == prediction.probabilities == ()
                assert str(prediction.path) not in prediction.error
        assert [prediction.error is None for prediction in predict(deployed, list(damaged))] == [False] * len(damaged)
        assert list(predict(deployed, [])) == []


def test_an_answer_that_is_no_number_is_an_error(trained, folder):
    network = reslab.load(trained / "run", threads=1)
    network.trained.model.fc.weight.data.fill_(float("inf"))
    images = paths_of(folder)[:2]
    found = network.predict(images)
    assert ["is no number" in entry.error for entry in found] == [True, True]
    json.dumps([entry.to_dict() for entry in found], allow_nan=False)
    with pytest.raises(DataError, match="is no number"):
        network.predict(images[0])


def test_images_are_turned_as_the_camera_was_held(files, folder, tmp_path, digits):
    upright = Image.fromarray(digits.split("test").images[2, ..., 0])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "held.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    with load_deployed(files.float32["onnxruntime"]) as deployed:
        held, plain = predict(deployed, [tmp_path / "held.png", tmp_path / "upright.png"])
    assert (held.labels, held.probabilities) == (plain.labels, plain.probabilities)


def test_only_some_batches_are_read_ahead_and_threads_end(files, folder):
    image = next(find_images([folder]))
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield image

    before = threading.active_count()
    with load_deployed(files.int8["onnxruntime"]) as deployed:
        predictions = predict(deployed, endless(), batch_size=4, decoders=2)
        assert taken == 0
        for _ in range(50):
            next(predictions)
        assert taken <= 50 + 4 * 4 + 2
        predictions.close()
    assert threading.active_count() == before


def test_folders_are_searched_and_files_taken_as_they_are(folder, tmp_path):
    assert list(find_images([folder])) == paths_of(folder)
    assert list(find_images([folder / "notes.txt"])) == [folder / "notes.txt"]
    (tmp_path / "link").symlink_to(tmp_path)  # a loop
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    assert list(find_images([str(tmp_path), tmp_path / "a.png"])) == [tmp_path / "a.png"] * 2


@pytest.mark.parametrize("options", [{"top": 0}, {"batch_size": 0}, {"decoders": -1}])
def test_counts_must_be_positive(options, files):
    with load_deployed(files.int8["onnxruntime"]) as deployed, pytest.raises(DataError, match="must be positive"):
        predict(deployed, [], **options)
