"""Common corruptions: as an independent implementation makes them, the same every time, and as a test of networks."""

import io
import json
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates
from sklearn.datasets import load_sample_image

import reslab
from reslab.cli.main import main
from reslab.errors import DataError
from reslab.evaluation.corruption_layers import disk
from reslab.evaluation.corruptions import CORRUPTIONS, corrupt

KEPT = json.loads((Path(__file__).parent / "data" / "imagecorruptions.json").read_text())
STRENGTHS = range(1, 6)


@pytest.fixture(scope="module")
def photo():
    """(224, 224, 3) of a real photograph."""
    return load_sample_image("china.jpg")[100:324, 200:424]


@pytest.fixture(scope="module")
def small():
    """Four real images of 32x32 pixels."""
    crops = [load_sample_image("flower.jpg")[top : top + 320, 150:470] for top in (20, 60)]
    crops += [load_sample_image("china.jpg")[60:380, left : left + 320] for left in (20, 200)]
    return [np.asarray(Image.fromarray(crop).resize((32, 32))) for crop in crops]


def psnr(image, clean):
    return 10 * np.log10(255**2 / np.mean((image.astype(np.float64) - clean) ** 2))


def draws(name, strength):
    """The random numbers of seed 0 and image 0."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((0, 0, zlib.crc32(name.encode()), strength))))


@pytest.mark.parametrize("name", KEPT["psnr"])
def test_photos_are_those_of_imagecorruptions(name, photo):
    """All but frost, of which it has photographs, and the elastic one, for which it has another rule."""
    for strength in (2, 5):
        found = corrupt(photo, name, strength, "photo")
        own_draws = name == "impulse_noise"
        assert psnr(found, photo) == pytest.approx(KEPT["psnr"][name][strength - 1], abs=0.2 if own_draws else 0.02)
        if not own_draws:
            theirs = np.array(KEPT["pixels"][name][strength - 1])
            assert np.abs(found[16::64, 16::64].ravel().astype(int) - theirs).max() <= 2


def test_elastic_ones_are_opencvs_and_scipys(photo):
    """The affine map and the field of shifts, written with OpenCV as the original is."""
    for strength, (alpha, sigma, reach) in ((1, (488, 170.8, 24.4)), (5, (29.28, 2.44, 4.88))):
        random = draws("elastic_transform", strength)
        points = np.float32([[112 + 74, 112 + 74], [112 + 74, 112 - 74], [112 - 74, 112 - 74]])
        moved = (points + random.uniform(-reach, reach, points.shape)).astype(np.float32)
        image = cv2.warpAffine(
            np.float32(photo / 255),
            cv2.getAffineTransform(points, moved),
            (224, 224),
            borderMode=cv2.BORDER_REFLECT_101,
        )
        dx, dy = (gaussian_filter(random.uniform(-1, 1, (224, 224)), sigma, truncate=3) * alpha for _ in range(2))
        x, y = np.meshgrid(np.arange(224), np.arange(224))
        channels = [
            map_coordinates(image[..., channel], (y + dy, x + dx), order=1, mode="reflect") for channel in range(3)
        ]
        expected = np.clip(np.stack(channels, axis=2), 0, 1) * 255
        found = corrupt(photo, "elastic_transform", strength, "photo")
        # OpenCV's places are rounded to 1/32 pixel.
        assert np.abs(found - expected).mean() < 2
        assert psnr(found, expected) > 33 > psnr(photo, expected) + 10


def test_a_lens_out_of_focus_is_opencvs_kernel(photo):
    for radius, softness in ((0.3, 0.4), (1.5, 0.1), (8, 0.5), (10, 0.5)):
        reach = 8 if radius <= 8 else radius
        places = np.arange(-reach, reach + 1)
        inside = np.float32(places[:, None] ** 2 + places**2 <= radius**2)
        size = (3, 3) if radius <= 8 else (5, 5)
        expected = cv2.GaussianBlur(inside / inside.sum(), ksize=size, sigmaX=softness)
        np.testing.assert_allclose(disk(radius, softness), expected, atol=1e-6)


def test_small_images_have_formulas_of_cifar_10_c(small):
    grey = np.full((64, 64, 3), 128, np.uint8)
    for strength, (deviation, share, quality, contrast) in enumerate(
        [
            (0.04, 0.01, 80, 0.75),
            (0.06, 0.02, 65, 0.5),
            (0.08, 0.03, 58, 0.4),
            (0.09, 0.05, 50, 0.3),
            (0.1, 0.07, 40, 0.15),
        ],
        start=1,
    ):
        assert corrupt(grey, "gaussian_noise", strength, "small").std() / 255 == pytest.approx(deviation, rel=0.03)
        hit = corrupt(grey, "impulse_noise", strength, "small") != 128
        assert hit.mean() == pytest.approx(share, rel=0.15)
        buffer = io.BytesIO()
        Image.fromarray(small[0]).save(buffer, "JPEG", quality=quality)
        np.testing.assert_array_equal(corrupt(small[0], "jpeg_compression", strength, "small"), Image.open(buffer))
        means = small[0].mean(axis=(0, 1))
        expected = np.floor(np.clip((small[0] - means) * contrast + means, 0, 255) + 1e-4)
        np.testing.assert_array_equal(corrupt(small[0], "contrast", strength, "small"), expected)
        brighter = np.array(Image.fromarray(corrupt(small[0], "brightness", strength, "small")).convert("HSV"), int)
        before = np.array(Image.fromarray(small[0]).convert("HSV"), int)
        more = 255 * (0.05, 0.1, 0.15, 0.2, 0.3)[strength - 1]
        assert np.abs(brighter[..., 2] - np.minimum(255, before[..., 2] + more)).max() <= 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_stronger_is_worse_and_everything_is_the_same_every_time(name, small):
    levels = [np.mean([psnr(corrupt(x, name, s, "small", index=n), x) for n, x in enumerate(small)]) for s in STRENGTHS]
    if name != "elastic_transform":  # whose published shifts of the whole image are larger in weak strengths
        assert levels[0] > levels[-1]
    if name in ("gaussian_noise", "shot_noise", "impulse_noise", "brightness", "contrast", "fog"):
        assert levels == sorted(levels, reverse=True)
    first, again, other, seeded = (
        corrupt(small[0], name, 3, "small", **more) for more in ({}, {}, {"index": 1}, {"seed": 1})
    )
    np.testing.assert_array_equal(first, again)
    drawn = name not in ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
    assert (not np.array_equal(first, other)) == (not np.array_equal(first, seeded)) == drawn
    for shape in ((16, 16, 1), (9, 13, 3)):  # grey, and of any shape
        image = np.resize(small[0], shape)
        for strength in (1, 5):
            found = corrupt(image, name, strength, "photo" if shape[2] == 1 else "small")
            assert (found.shape, found.dtype) == (shape, np.uint8)


def test_neither_name_nor_strength_is_guessed(small):
    for name, strength in (("rain", 1), ("fog", 0), ("fog", 6)):
        with pytest.raises(DataError, match="there is no corruption"):
            corrupt(small[0], name, strength, "small")


def test_a_network_is_tested_on_them(trained, capsys):
    run = str(trained / "run")
    asked = ["eval", run, "--corruptions", "--corrupted-images", "4"]
    assert main([*asked, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    report = reslab.evaluate_corruptions(reslab.load(run), num_images=4)
    assert record == json.loads(json.dumps(report.to_dict()))
    assert (record["num_images"], record["split"], record["parameters"]) == (4, "test", "CIFAR-10-C")
    assert list(record["errors"]) == list(CORRUPTIONS)
    assert record["mean_error"] == pytest.approx(np.mean(list(record["errors"].values())))
    # The same by hand, of one corruption: image by image, with labels of the data set.
    data = reslab.load_data("digits").split("test")
    chosen = np.sort(np.random.default_rng(0).permutation(len(data))[:4])
    images = [corrupt(data.images[index], "fog", 2, "small", index=int(index)) for index in chosen]
    found = reslab.load(run).predict(images, top=1)
    wrong = [entry.label != str(data.labels[index]) for entry, index in zip(found, chosen, strict=True)]
    assert record["errors"]["fog"][1] == pytest.approx(100 * np.mean(wrong))


def test_the_table_has_every_corruption(trained, capsys):
    assert main(["eval", str(trained / "run"), "--corruptions", "--corrupted-images", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["corruption", "kind", "1", "2", "3", "4", "5", "mean", "%"]
    assert [line.split()[0] for line in lines[1:16]] == list(CORRUPTIONS)
    assert lines[16].startswith("mean error ")


@pytest.mark.slow
def test_an_exported_file_has_the_same_errors(trained, tmp_path, operators_read_once):
    network = reslab.load(trained / "run")
    network.export(tmp_path / "net.onnx")
    ours, theirs = (
        reslab.evaluate_corruptions(each, data="digits", num_images=30)
        for each in (network, reslab.load(tmp_path / "net.onnx"))
    )
    assert ours.errors == theirs.errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--corruptions", "--protocol", "shifted"], "leave --protocol out"),
        (["--corruptions", "--scores", "s.npz"], "leave --scores out"),
        (["--corruptions", "--corrupted-images", "0"], "--corrupted-images must be a whole number of at least 1"),
        (["--corrupted-images", "5"], "--corrupted-images is for --corruptions"),
    ],
)
def test_a_mistake_gives_a_sentence(arguments, message, trained, capsys):
    assert main(["eval", str(trained / "run"), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)
