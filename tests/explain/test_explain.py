"""`reslab explain` and `Network.explain`: what is drawn, what is said, and what goes wrong in a sentence."""

import json

import numpy as np
import pytest
from PIL import Image

import reslab
from reslab.cli.main import main
from reslab.data.preprocessing import Preprocessing
from reslab.errors import DataError
from reslab.explain import explain
from reslab.explain.neighbours import TrainingImages
from reslab.explain.overlay import draw_map, photo_of
from reslab.explain.sheet import write_sheet


@pytest.fixture
def photos(digits, tmp_path, monkeypatch):
    """Digits of the training images, one of them also large, and a file that is none; in the present folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    images = digits.split("train").images[..., 0]
    Image.fromarray(images[0]).save(folder / "0.png")
    Image.fromarray(images[5]).resize((300, 200)).save(folder / "1.png")
    Image.fromarray(images[7]).save(folder / "more" / "0.png")
    (folder / "bad.jpg").write_text("hello")
    return folder


def test_photos_get_pictures_and_a_damaged_one_a_sentence(run, network, photos, capsys):
    assert main(["explain", str(run), "photos", "--neighbours", "2", "--threads", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "reslab: photos/bad.jpg: it is not an image, or is damaged.\n"
    lines = [line.split("\t") for line in captured.out.splitlines()]
    assert [line[0] for line in lines] == ["photos/0.png", "photos/1.png", "photos/more/0.png"]
    assert [line[2] for line in lines] == [f"explained/{name}.jpg" for name in ("0-cam", "1-cam", "0-cam-2")]
    for line in lines:
        predicted = network.predict(line[0], top=1)
        assert line[1] == f"{predicted.labels[0]} {predicted.probabilities[0]:.4f}"
        with Image.open(line[2]) as image:  # four pictures in a row: photo, map, two neighbours
            assert image.width > 2.5 * image.height


def test_its_own_pictures_are_not_explained_again(run, photos, capsys):
    (photos / "bad.jpg").unlink()
    for _ in range(2):
        assert main(["explain", str(run), ".", "--threads", "1"]) == 0
        assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == [
            "photos/0.png",
            "photos/1.png",
            "photos/more/0.png",
        ]
    assert main(["explain", str(run), "explained/0-cam.jpg", "--threads", "1"]) == 0  # which is asked for by its name
    assert capsys.readouterr().out.startswith("explained/0-cam.jpg\t")


def test_json_has_everything_but_the_pictures(run, photos, capsys):
    arguments = ["--class", "7", "--method", "occlusion", "--out", "out", "--json", "--threads", "1"]
    assert main(["explain", str(run), "photos/0.png", *arguments]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["path"] == "photos/0.png"
    assert found["picture"] == "out/0-occlusion.jpg"
    assert [item["label"] for item in found["explained"]] == ["7"]
    place = found["labels"].index("7") if "7" in found["labels"] else None
    assert place is None or found["explained"][0]["probability"] == pytest.approx(found["probabilities"][place])
    assert (found["method"], found["error"], found["neighbours"]) == ("occlusion", None, [])


def test_a_training_image_is_its_own_nearest_neighbour(network, digits):
    split = digits.split("train")
    chosen = [0, 5, 7, 300]
    found = network.explain([split.images[index] for index in chosen], neighbours=3)
    assert [item.neighbours[0].name for item in found] == list(map(str, chosen))
    assert all(item.neighbours[0].similarity == pytest.approx(1, abs=1e-5) for item in found)
    assert [item.neighbours[0].label for item in found] == [digits.classes[split.labels[index]] for index in chosen]
    assert all(len(item.neighbours) == 3 for item in found)
    np.testing.assert_array_equal(np.asarray(found[1].neighbours[0].image)[..., 0], split.images[5, ..., 0])


def test_one_image_is_one_explanation_and_its_faults_are_raised(network, digits, photos):
    found = network.explain(digits.split("test").images[0])
    assert found.maps[0].label == found.labels[0]
    assert found.maps[0].values.shape == (4, 4)
    assert [image.size for image in found.overlays()] == [(560, 560)]
    with pytest.raises(DataError, match=r"cannot use the image photos/bad\.jpg: it is not an image"):
        network.explain("photos/bad.jpg")
    assert [item.error is None for item in network.explain("photos")] == [True, True, False, True]


def test_nothing_is_read_before_it_is_asked_for(network):
    def images():
        yield np.zeros((16, 16), np.uint8)
        raise AssertionError("too early")

    explain(network, images())


WRONG = [
    (["RUN"], "of which images?"),
    (["RUN", "photos", "--class", "77"], "has no class '77'; did you mean 7?"),
    (["RUN", "photos", "--class", "dog"], "has no class 'dog'; it knows 0, 1, 2, 3, 4, ..."),
    (["RUN", "photos", "--method", "magic"], "--method must be cam or occlusion, not magic"),
    (["RUN", "photos", "--window", "4"], "a window and a step are for the method occlusion"),
    (["RUN", "photos", "--method", "occlusion", "--step", "9"], "a window of 2 pixels and a step of 9 do not fit"),
    (["RUN", "photos", "--neighbours", "-1"], "--neighbours must be a whole number from 0 to 20"),
    (["resnet20", "photos"], "give its --weights too"),
    (["absent.onnx", "photos"], "there is no file absent.onnx"),
    (["absent.onnx", "photos", "--method", "cam"], "is an exported file, whose inner maps cannot be seen"),
    (["photos", "photos"], "photos is not the folder of a run"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_a_mistake_gives_a_sentence(arguments, message, run, photos, capsys):
    code = main(["explain", *(word.replace("RUN", str(run)) for word in arguments)])
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert captured.err.startswith("reslab: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_neighbours_need_a_run_and_its_data(run, network, photos, tmp_path, capsys):
    names = ("weights.safetensors", "card.json", "normalization.safetensors")
    (tmp_path / "alone").mkdir()
    for name in names:
        (tmp_path / "alone" / name).write_bytes((run / name).read_bytes())
    assert main(["explain", str(tmp_path / "alone"), "photos/0.png", "--neighbours", "1"]) == 2
    assert "does not know its training images" in capsys.readouterr().err
    assert main(["explain", str(tmp_path / "alone"), "photos/0.png"]) == 0


def test_an_output_folder_that_is_a_file_is_a_sentence(run, photos, capsys):
    assert main(["explain", str(run), "photos/1.png", "--out", "photos/0.png"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_other_training_images_than_the_run_had_are_told(network, monkeypatch):
    record = network.reference.run.record
    changed = {**record["data"], "splits": {**record["data"]["splits"], "train": {"sha256": "0" * 64}}}
    monkeypatch.setattr("reslab.runs.Run.data", property(lambda run: changed))
    with pytest.warns(reslab.errors.ReslabWarning, match="has other training images now than"):
        TrainingImages.of(network, progress=False)


VIEW = Preprocessing(height=8, width=8, channels=3, resize=10)


def test_what_is_drawn_is_where_it_is():
    """A red photo, of which the network sees the middle; the map speaks for its left and against its right."""
    image = Image.new("RGB", (40, 20), (200, 0, 0))
    photo = photo_of(image, VIEW, 400)
    assert photo.picture.size == (400, 200)
    left, top, right, bottom = VIEW.seen_box(40, 20)
    assert photo.seen == (left / 40, top / 20, right / 40, bottom / 20)
    drawn = np.asarray(draw_map(photo, np.array([[1.0, 0.0, -1.0]] * 3, np.float32))).astype(int)
    inside = slice(round(400 * photo.seen[0]), round(400 * photo.seen[2]))
    outside = drawn[100, 10]
    assert outside.max() - outside.min() <= 1  # grey
    assert outside.max() < 50
    warm, middle, cold = drawn[100, inside.start + 5], drawn[100, 200], drawn[100, inside.stop - 6]
    assert middle.tolist() == pytest.approx([200, 0, 0], abs=4)
    assert warm[1] > 80  # inferno's bright end is yellow
    assert cold[2] > cold[0]


@pytest.mark.parametrize("values", [np.zeros((2, 2)), np.full((1, 1), np.nan), np.full((3, 1), np.inf)])
def test_a_map_of_nothing_leaves_the_photo_as_it_is(values):
    photo = photo_of(Image.new("L", (16, 16), 90), Preprocessing(height=16, width=16, channels=1, resize=16), 64)
    drawn = np.asarray(draw_map(photo, values.astype(np.float32)))
    assert (drawn == 90).all()


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (1, 1), (4000, 3000)])
def test_photos_of_any_shape_can_be_drawn(size):
    photo = photo_of(Image.new("RGB", size), VIEW, 560)
    assert max(photo.picture.size) == 560
    assert draw_map(photo, np.eye(4, dtype=np.float32)).size == photo.picture.size


def test_photos_are_explained_upright(network, digits, tmp_path):
    image = Image.fromarray(digits.split("test").images[3, ..., 0]).resize((64, 64), Image.Resampling.NEAREST)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    image.save(tmp_path / "upright.png")
    turned, upright = (network.explain(tmp_path / f"{name}.png") for name in ("turned", "upright"))
    np.testing.assert_array_equal(turned.maps[0].values, upright.maps[0].values)
    np.testing.assert_array_equal(np.asarray(turned.photo.picture), np.asarray(upright.photo.picture))


def test_a_sheet_has_its_pictures_side_by_side_and_names_in_any_script(tmp_path):
    images = [Image.new("RGB", (300, 200), "red"), Image.new("RGB", (16, 8), "blue")]
    write_sheet(images, [["a" * 200, "flower"], ["Blüte", "цветок $x$"]], tmp_path / "new" / "sheet.jpg")
    with Image.open(tmp_path / "new" / "sheet.jpg") as sheet:
        pixels = np.asarray(sheet.convert("RGB"), int)
    width = pixels.shape[1]
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 60) & (pixels[..., 2] < 60)
    blue = (pixels[..., 2] > 200) & (pixels[..., 0] < 60) & (pixels[..., 1] < 60)
    assert (red.sum(), blue.sum()) == (pytest.approx(300 * 200, rel=0.02), pytest.approx(320 * 160, rel=0.02))
    assert np.argwhere(red)[:, 1].max() < np.argwhere(blue)[:, 1].min()
    assert np.argwhere(red)[:, 0].max() == pytest.approx(np.argwhere(blue)[:, 0].max(), abs=2)  # on one line
    below = pixels[np.argwhere(red)[:, 0].max() + 4 :].min(axis=2) < 100
    assert below[:, : width // 2].any()
    assert below[:, width // 2 :].any()
    assert not below[:, :12].any()  # the long line is shortened
