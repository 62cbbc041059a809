"""Maps of single answers, held to captum: Grad-CAM of each kind of network, and occlusion through every engine."""

import itertools

import captum.attr
import numpy as np
import pytest
import torch

import reslab
from reslab.data.batches import to_channels_last
from reslab.deploy.deployed import deploy_network
from reslab.errors import ReslabError
from reslab.explain import class_activation, occlusion_maps
from reslab.explain.occlusion import usual_window
from reslab.tasks import Classification

NETS = {
    "basic": ("resnet8[num_classes=7]", lambda model: model.layer3),
    "bottleneck": ("resnet20[block=bottleneck,blocks=1-1-1,num_classes=5]", lambda model: model.layer3),
    "pre-activation": ("resnet8[order=pre]", lambda model: model.relu),
    "four stages": ("resnet18[blocks=1-1-1-1,widths=8-8-16-16,num_classes=4]", lambda model: model.layer4),
}


@pytest.mark.parametrize("kind", NETS)
def test_class_activation_is_captums_grad_cam(kind, network_of, pixels):
    spelling, layer = NETS[kind]
    trained, images = network_of(spelling), pixels(3)
    classes = np.array([[0, 2], [3, 1], [1, 1]])
    logits, maps = class_activation(trained, images, classes)
    inputs = to_channels_last(trained.normalization(images))
    grad_cam = captum.attr.LayerGradCam(trained.model, layer(trained.model))
    for column, of_each in enumerate(classes.T):
        theirs = grad_cam.attribute(inputs, target=torch.from_numpy(of_each)).detach().numpy()
        _, _, height, width = theirs.shape
        np.testing.assert_allclose(maps[:, column] / (height * width), theirs[:, 0], rtol=1e-4, atol=1e-6)
    bias = trained.model.fc.bias.detach().numpy()
    means = maps.mean(axis=(2, 3))
    np.testing.assert_allclose(means, np.take_along_axis(logits, classes, 1) - bias[classes], rtol=1e-4, atol=1e-5)


def test_other_heads_are_asked_for_their_gradients(network_of, pixels):
    """VGG's hidden layers; and a head that pools in another way."""
    trained, images = network_of("vgg16[widths=4-4-4-8-8,blocks=1-1-1-1-1,num_classes=3]", side=64), pixels(2, 64)
    classes = np.array([[0], [2]])
    _, maps = class_activation(trained, images, classes)
    inputs = to_channels_last(trained.normalization(images))
    grad_cam = captum.attr.LayerGradCam(trained.model, trained.model.features[-1])
    theirs = grad_cam.attribute(inputs, target=torch.tensor([0, 2])).detach().numpy()
    np.testing.assert_allclose(maps / maps.shape[-1] ** 2, theirs, rtol=1e-4, atol=1e-9)
    trained = network_of("resnet8")
    trained.model.reset_classifier(10, "avgmax")
    images = pixels(2)
    inputs = to_channels_last(trained.normalization(images))
    theirs = captum.attr.LayerGradCam(trained.model, trained.model.layer3).attribute(
        inputs, target=torch.tensor([1, 4])
    )
    _, maps = class_activation(trained, images, np.array([[1], [4]]))
    np.testing.assert_allclose(maps / 64, theirs.detach().numpy(), rtol=1e-4, atol=1e-6)


def test_the_answer_is_explained_where_no_class_is_given(network_of, pixels):
    trained, images = network_of("resnet8"), pixels(4)
    logits, maps = class_activation(trained, images)
    again = class_activation(trained, images, logits.argmax(axis=1)[:, np.newaxis])[1]
    np.testing.assert_array_equal(maps, again)
    assert not any(parameter.grad is not None for parameter in trained.model.parameters())


@pytest.mark.parametrize(("side", "window", "step"), [(16, 4, 2), (16, 5, 3), (15, 4, 4), (16, 16, 1), (16, 1, 1)])
def test_occlusion_is_captums(side, window, step, network_of, pixels):
    """Also where the last windows reach beyond the edge."""
    trained = network_of("resnet8[blocks=1-1-1,widths=4-8-8,num_classes=6]", side=side)
    image = pixels(1, 16)[0, :side, :side]
    fill, classes = (90, 120, 30), (3, 0, 5)
    with deploy_network(trained, 1) as deployed:
        ours = occlusion_maps(deployed, image, classes, window=window, step=step, fill=fill)

        def scores(inputs):
            seen = inputs.permute(0, 2, 3, 1).round().to(torch.uint8).numpy()
            return torch.from_numpy(Classification().array_probabilities(deployed(np.ascontiguousarray(seen))))

        inputs = torch.from_numpy(image).permute(2, 0, 1)[None].double()
        baseline = torch.tensor(fill).double()[None, :, None, None].expand_as(inputs)
        for place, target in enumerate(classes):
            theirs = captum.attr.Occlusion(scores).attribute(
                inputs,
                sliding_window_shapes=(3, window, window),
                strides=(3, step, step),
                baselines=baseline,
                target=target,
                perturbations_per_eval=8,
            )
            np.testing.assert_allclose(ours[place], theirs[0, 0].numpy(), atol=1e-5)


@pytest.mark.slow
def test_occlusion_asks_exported_files_as_well(network, run, digits, operators_read_once):
    image = digits.split("test").images[3]
    network.export(run / "net.onnx")
    wanted = occlusion_maps(network.deployed, image, [4, 7])
    assert wanted.shape == (2, 16, 16)
    assert np.abs(wanted).max() > 0.01
    network.export(run / "net.xml")
    for name, engine in (("net.onnx", "onnxruntime"), ("net.onnx", "openvino"), ("net.xml", "openvino")):
        with reslab.load(run / name, engine=engine) as exported:
            np.testing.assert_allclose(occlusion_maps(exported.deployed, image, [4, 7]), wanted, atol=1e-4)


def test_scores_need_not_be_a_softmax(network, digits):
    """A network with several labels an image has a sigmoid for each."""
    image = digits.split("test").images[0]
    logits = network.deployed(image[np.newaxis])
    found = occlusion_maps(network.deployed, image, [1], window=16, scores=lambda rows: 1 / (1 + np.exp(-rows)))
    covered = np.full_like(image, round(image.mean()))
    wanted = [1 / (1 + np.exp(-rows[0, 1])) for rows in (logits, network.deployed(covered[np.newaxis]))]
    assert found[0, 0, 0] == pytest.approx(wanted[0] - wanted[1], abs=1e-6)


@pytest.mark.parametrize(("window", "step"), [(0, 1), (4, 5), (4, 0), (-1, None)])
def test_windows_that_do_not_fit_are_refused(window, step, network, digits):
    with pytest.raises(ReslabError, match="do not fit"):
        occlusion_maps(network.deployed, digits.split("test").images[0], [0], window=window, step=step)


def test_the_usual_window_is_a_seventh():
    assert [usual_window(*size) for size in ((224, 224), (128, 256), (16, 16), (1, 5))] == [32, 18, 2, 1]


def test_every_pixel_is_covered(network, digits):
    """A score that counts what is left of the image: each pixel's map is the mean of its windows."""
    image = np.full((16, 16, 1), 255, np.uint8)
    for window, step in itertools.product((1, 3, 7), (1, 2, 3)):
        if step <= window:
            found = occlusion_maps(
                network.deployed, image, [0], window=window, step=step, scores=lambda rows: rows * 0 + 1
            )
            assert np.isfinite(found).all()
