"""The test protocols, held to torchvision's crops, to the plain forward pass, and to computations by hand."""

import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from torch.nn import functional
from torchvision.transforms import v2

from reslab.data import Split, load_data
from reslab.data.normalization import Normalization
from reslab.data.preprocessing import Preprocessing
from reslab.errors import DataError
from reslab.evaluation import evaluate
from reslab.evaluation.dense import DENSE_SCALES, Dense, dense_window
from reslab.evaluation.protocols import OneCrop, Shifted, TenCrop
from reslab.evaluation.scoring import average_scores, predict_split
from reslab.models import create_model, parse_model

NET = "resnet18[blocks=1-1-1-1,widths=8-16-24-32,num_classes=7]"
IMAGENET = Normalization.imagenet()
PHOTO = Preprocessing(height=64, width=64, channels=3, resize=73)


@pytest.fixture(scope="module")
def photo_folder(shared, tmp_path_factory):
    """Ten of the photos, of ten classes, a grey one and a small one among them."""
    folder = tmp_path_factory.mktemp("photos")
    with tarfile.open(shared / "data" / "imagenet-sample-200.tar") as archive:
        archive.extractall(folder, filter="data")
    paths = sorted(folder.rglob("*.JPEG"))
    sizes, modes = [], []
    for path in paths:
        with Image.open(path) as image:
            sizes.append(min(image.size))
            modes.append(image.mode)
    chosen = {*range(0, len(paths), 25), modes.index("L"), int(np.argmin(sizes))}
    for path in (path for index, path in enumerate(paths) if index not in chosen):
        path.unlink()
        path.parent.rmdir()
    return folder


@pytest.fixture
def photos(photo_folder):
    split = load_data(photo_folder, kind="photos", view=PHOTO).split("val")
    return split.with_labels(split.labels % 7)


@pytest.fixture
def net():
    """With statistics that make its logits differ from image to image."""
    torch.manual_seed(3)
    model = create_model(NET)
    with torch.no_grad():
        model.train()(torch.randn(16, 3, 64, 64))
        model.fc.weight.mul_(20)
    return model.eval()


def normalized(pixels):
    images = torch.from_numpy(np.array(pixels)).float().permute(0, 3, 1, 2) / 255
    return v2.functional.normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@pytest.mark.parametrize(
    ("resize", "crop", "interpolation"), [(256, 224, "bilinear"), (73, 64, "bicubic"), (64, 64, "bilinear")]
)
def test_ten_crops_are_torchvisions_bit_for_bit(photos, resize, crop, interpolation):
    mode = v2.InterpolationMode(interpolation)
    theirs = v2.Compose([v2.Resize(resize, interpolation=mode), v2.TenCrop(crop)])
    protocol = TenCrop(resize=resize, crop=crop, interpolation=interpolation)
    for index in range(len(photos)):
        image = photos.image(index)
        (views,) = protocol.views(image)
        assert views.shape == (10, crop, crop, 3)
        for view, expected in zip(views, theirs(image), strict=True):
            np.testing.assert_array_equal(view, np.asarray(expected))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("shift", "border"), [(0, 0), (1, 0), (2, 90)])
def test_shifted_images_are_crops_of_torchvisions_padding(photos, channels, shift, border):
    image = photos.image(0).convert("L" if channels == 1 else "RGB").resize((20, 17))
    padded = np.asarray(v2.functional.pad(image, [shift] * 4, fill=(border,) * channels if channels > 1 else border))
    padded = padded.reshape(17 + 2 * shift, 20 + 2 * shift, channels)
    (views,) = Shifted(shift=shift, border=(border,), flips=True).views(image)
    crops = sliding_window_view(padded, (17, 20, channels)).reshape(-1, 17, 20, channels)
    assert len(crops) == (2 * shift + 1) ** 2
    np.testing.assert_array_equal(views[: len(crops)], crops)
    np.testing.assert_array_equal(views[len(crops) :], crops[:, :, ::-1])
    np.testing.assert_array_equal(Shifted(shift=shift, border=(border,) * channels).views(image), [crops])


def test_of_shifted_images_the_softmax_is_averaged_or_the_logits(tiny_data):
    split = tiny_data(size=16).split("test")
    torch.manual_seed(5)
    model = create_model("resnet8", num_classes=4).eval()
    with torch.no_grad():
        model.fc.weight.mul_(20)
    normalization = Normalization.measure(split.images, "per-channel")
    padded = np.pad(split.images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    logits = []
    for top in range(3):
        for left in range(3):
            inputs = torch.from_numpy(normalization(padded[:, top : top + 16, left : left + 16])).permute(0, 3, 1, 2)
            with torch.inference_mode():
                logits.append(model(inputs).double())
    by_hand = {
        "probabilities": torch.stack([found.softmax(dim=1) for found in logits]).mean(dim=0),
        "logits": torch.stack(logits).mean(dim=0).softmax(dim=1),
    }
    assert (by_hand["probabilities"] - by_hand["logits"]).abs().max() > 1e-3
    for average, expected in by_hand.items():
        scores = predict_split(model, split, normalization, Shifted(average=average))
        np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_of_ten_crops_the_softmax_is_averaged_or_the_logits(photos, net):
    transform = v2.Compose([v2.Resize(73), v2.TenCrop(64)])
    softmax, logits = [], []
    for index in range(len(photos)):
        with torch.inference_mode():
            found = net(normalized(np.stack([np.asarray(crop) for crop in transform(photos.image(index))]))).double()
        softmax.append(found.softmax(dim=1).mean(dim=0).numpy())
        logits.append(found.mean(dim=0).softmax(dim=0).numpy())
    assert np.abs(np.array(softmax) - np.array(logits)).max() > 1e-3
    for average, expected in (("probabilities", softmax), ("logits", logits)):
        scores = predict_split(net, photos, IMAGENET, TenCrop(resize=73, crop=64, average=average))
        assert (scores.dtype, scores.shape) == (np.float32, (len(photos), 7))
        np.testing.assert_allclose(scores, expected, atol=2e-6)


def test_one_crop_is_the_evaluation_of_the_preprocessing(photos, net):
    expected = evaluate(net, photos, IMAGENET)
    for protocol in (OneCrop(PHOTO), OneCrop()):
        scores = predict_split(net, photos, IMAGENET, protocol)
        with torch.inference_mode():
            plain = net(normalized(photos.read(0, len(photos)))).softmax(dim=1).numpy()
        np.testing.assert_allclose(scores, plain, atol=1e-5)
        answers = scores.argmax(axis=1)
        assert 100 * (answers != photos.labels).mean() == pytest.approx(expected.top1_error)


def square(split, side):
    """The middle of each image, as images in memory."""
    view = Preprocessing(height=side, width=side, channels=3, resize=side)
    return Split(np.stack([view(split.image(index)) for index in range(4)]), split.labels[:4])


@pytest.mark.parametrize("pool", ["sliding", "global"])
@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_dense_at_the_training_size_is_the_plain_forward_pass(photos, net, pool, average):
    images = square(photos, 224)
    protocol = Dense(scales=(224,), pool=pool, average=average, window=dense_window(net.spec, (224, 224)))
    assert protocol.window == (7, 7)
    with torch.inference_mode():
        expected = net(normalized(images.images)).softmax(dim=1).numpy()
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(predict_split(net, images, IMAGENET, protocol), expected, atol=1e-5)


def test_dense_with_global_pooling_is_the_plain_forward_pass_at_any_size(photos, net):
    protocol = Dense(scales=(96,), pool="global", average="logits", window=(2, 2))
    scores = predict_split(net, photos, IMAGENET, protocol)
    for index in range(len(photos)):
        image = v2.functional.resize(photos.image(index), 96)
        with torch.inference_mode():
            expected = net(normalized(np.asarray(image)[np.newaxis])).softmax(dim=1).numpy()
        np.testing.assert_allclose(scores[index], expected[0], atol=1e-5)


@pytest.mark.parametrize("average", ["probabilities", "logits"])
def test_a_dense_score_is_the_mean_over_windows_scales_and_mirror_images(photos, net, average):
    """Window by window, each through the network's own head."""
    protocol = Dense(scales=(64, 128), average=average, flips=True, window=(2, 2))
    scores = predict_split(net, photos, IMAGENET, protocol)
    for index in (0, 3):
        parts = []
        for scale in (64, 128):
            resized = np.asarray(v2.functional.resize(photos.image(index), scale))
            for pixels in (resized, resized[:, ::-1]):
                with torch.inference_mode():
                    features = net.forward_features(normalized(pixels[np.newaxis]))
                    rows, columns = features.shape[2] - 1, features.shape[3] - 1
                    places = [
                        net.forward_head(features[:, :, row : row + 2, column : column + 2]).double()[0]
                        for row in range(rows)
                        for column in range(columns)
                    ]
                chosen = [place.softmax(dim=0) if average == "probabilities" else place for place in places]
                parts.append(torch.stack(chosen).mean(dim=0))
        assert len(places) > 4
        expected = torch.stack(parts).mean(dim=0)
        expected = expected if average == "probabilities" else expected.softmax(dim=0)
        np.testing.assert_allclose(scores[index], expected.numpy(), atol=2e-6)


def test_a_vgg_is_dense_as_a_convolution(photos):
    """Its first fully-connected layer is a convolution of 7x7 then; the paper's reference tests so."""
    model = create_model("vgg16[blocks=1-1-1-1-1,widths=4-4-4-4-8,num_classes=5]").eval()
    with torch.no_grad():
        for name in ("0", "3", "6"):
            layer = model.classifier.get_submodule(name)
            layer.weight.normal_(0, layer.in_features**-0.5)
    window = dense_window(model.spec, (224, 224))
    assert window == (7, 7)
    with torch.inference_mode():
        x = model.forward_features(normalized(np.asarray(v2.functional.resize(photos.image(0), 256))[np.newaxis]))
        first, second, third = (model.classifier.get_submodule(name) for name in ("0", "3", "6"))
        x = functional.conv2d(x, first.weight.reshape(4096, 8, 7, 7), first.bias).relu()
        x = functional.conv2d(x, second.weight[..., None, None], second.bias).relu()
        x = functional.conv2d(x, third.weight[..., None, None], third.bias)
        expected = x.softmax(dim=1).mean(dim=(2, 3))[0].numpy()
    scores = predict_split(model, photos.subset(np.array([0])), IMAGENET, Dense(scales=(256,), window=window))
    np.testing.assert_allclose(scores[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "protocol",
    [OneCrop(PHOTO), TenCrop(resize=73, crop=64), Dense(scales=(64, 96), flips=True, window=(2, 2))],
    ids=lambda protocol: protocol.name,
)
def test_scores_do_not_depend_on_the_batch_size_and_every_image_is_told_once(photos, net, protocol):
    told = []
    expected = predict_split(net, photos, IMAGENET, protocol, batch_size=1, advance=told.append)
    assert sum(told) == len(photos)
    assert np.ptp(expected, axis=0).max() > 0.01
    for batch_size in (None, 3, 1000):
        told.clear()
        scores = predict_split(net, photos, IMAGENET, protocol, batch_size=batch_size, advance=told.append)
        np.testing.assert_allclose(scores, expected, atol=2e-6)
        assert sum(told) == len(photos)


@pytest.mark.parametrize("channels", [1, 3])
def test_small_images_take_every_protocol(tiny_data, channels):
    split = tiny_data(size=16, channels=channels).split("test")
    torch.manual_seed(5)
    model = create_model("resnet8", num_classes=4, in_channels=channels).eval()
    normalization = Normalization.measure(split.images, "per-pixel-mean")
    window = dense_window(model.spec, (16, 16))
    assert window == (4, 4)
    whole = predict_split(model, split, normalization, OneCrop())
    assert 100 * (whole.argmax(axis=1) != split.labels).mean() == pytest.approx(
        evaluate(model, split, normalization).top1_error
    )
    # One crop of the whole image, ten times, is five times the image and five times its mirror image.
    mirrored = Split(split.images[:, :, ::-1], split.labels)
    both = (whole + predict_split(model, mirrored, normalization, OneCrop())) / 2
    np.testing.assert_allclose(predict_split(model, split, normalization, TenCrop(resize=16, crop=16)), both, atol=1e-5)
    dense = predict_split(model, split, normalization, Dense(scales=(16,), window=window))
    np.testing.assert_allclose(dense, whole, atol=1e-5)


def test_at_another_size_a_mean_per_pixel_is_its_mean_over_pixels(tiny_data):
    split = tiny_data(size=16).split("test")
    torch.manual_seed(5)
    model = create_model("resnet8", num_classes=4).eval()
    per_pixel = Normalization.measure(split.images, "per-pixel-mean")
    per_channel = replace(per_pixel, mean=per_pixel.mean.mean(axis=(0, 1)))
    protocol = TenCrop(resize=16, crop=12)
    np.testing.assert_allclose(
        predict_split(model, split, per_pixel, protocol), predict_split(model, split, per_channel, protocol), atol=1e-6
    )
    assert np.abs(
        predict_split(model, split, per_pixel, OneCrop()) - predict_split(model, split, per_channel, OneCrop())
    ).max() > 1e-4  # fmt: skip


def test_a_very_long_image_has_ten_crops_and_no_dense_score(tmp_path, net):
    (tmp_path / "long").mkdir()
    Image.new("RGB", (60_000, 2), (200, 100, 50)).save(tmp_path / "long" / "thin.png")
    split = load_data(tmp_path, kind="photos", view=PHOTO).split("train")
    (views,) = TenCrop(resize=73, crop=64).views(split.image(0))
    assert views.shape == (10, 64, 64, 3)
    assert (views == np.array([200, 100, 50])).all()
    with pytest.raises(DataError, match=r"thin\.png: it is too long for dense testing"):
        predict_split(net, split, IMAGENET, Dense())


def test_a_damaged_photo_is_named_and_the_network_left_as_it_was(tmp_path, net):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "broken.jpg").write_text("hello")
    split = load_data(tmp_path, kind="photos", view=PHOTO).split("train")
    net.train()
    with pytest.raises(DataError, match=r"broken\.jpg"):
        predict_split(net, split, IMAGENET, OneCrop(PHOTO))
    assert net.training


def test_an_ensemble_of_a_network_with_itself_is_the_network(photos, net):
    scores = predict_split(net, photos, IMAGENET, OneCrop(PHOTO))
    np.testing.assert_array_equal(average_scores([scores, scores, scores]), scores)
    other = scores[:, ::-1]
    np.testing.assert_allclose(average_scores([scores, other]), (scores + other) / 2, atol=1e-7)


def test_the_paper_scales_are_the_default():
    assert Dense().to_dict() == {
        "name": "dense",
        "scales": [224, 256, 384, 480, 640],
        "pool": "sliding",
        "average": "probabilities",
        "flips": False,
        "window": [7, 7],
        "interpolation": "bilinear",
    }
    assert DENSE_SCALES == (224, 256, 384, 480, 640)
    assert TenCrop().to_dict()["average"] == "probabilities"
    assert len({TenCrop(), TenCrop(resize=256), Dense(), OneCrop(), OneCrop(PHOTO)}) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TenCrop(resize=200, crop=224), "hold no crop of 224x224"),
        (lambda: TenCrop(resize=0, crop=0), "whole numbers from 1"),
        (lambda: Shifted(shift=-1), "by 0 to 8 pixels, and not by -1"),
        (lambda: Shifted(shift=1.5), "by 0 to 8 pixels, and not by 1.5"),
        (lambda: Shifted(border=()), "whole numbers from 0 to 255"),
        (lambda: Shifted(border=(256,)), "whole numbers from 0 to 255"),
        (lambda: Shifted(shift=2).views(Image.new("L", (2, 9))), "2x9 pixels has nothing left after a shift by 2"),
        (lambda: Shifted(border=(1, 2, 3)).views(Image.new("L", (9, 9))), "has 3 channels, and the image 1"),
        (lambda: Dense(scales=()), "needs scales"),
        (lambda: Dense(scales=(224, 224)), "all different"),
        (lambda: Dense(scales=(1 << 20,)), "whole numbers from 1"),
        (lambda: dense_window(parse_model("vgg16[widths=4-4-4-4-4]"), (8, 8)), "too small for this network"),
    ],
)
def test_a_protocol_that_cannot_be_gets_a_sentence(make, message):
    with pytest.raises(DataError, match=message):
        make()
