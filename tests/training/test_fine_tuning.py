"""Fine-tuning: what is trained when and how fast, what is taken from the weights, and what is held out."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm.models
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight

import reslab
from reslab.cli.main import main
from reslab.data import load_data
from reslab.data.augment import balanced_order
from reslab.data.held_out import HeldOut, hold_out_share
from reslab.errors import DataError, RecipeError
from reslab.models import create_model
from reslab.tasks.classification import Classification, class_weights
from reslab.training.fine_tuning import block_distances
from reslab.training.optimizer import make_optimizer, set_rate
from reslab.training.rate_test import find_rate
from reslab.training.recipe import (
    AdamW,
    Duration,
    FineTuningRecipe,
    HardwareRecipe,
    Lamb,
    Muon,
    RegularizationRecipe,
    Sgd,
)
from reslab.training.recipe_files import load_recipe

NET = "resnet18[widths=8-16-16-32]"
SIZE = {"data.images.train_size": "32"}


def small(iterations: int = 12, **fine_tuning):
    """The recipe at 32 pixels, in batches of 8, with a row for each iteration."""
    recipe = load_recipe("fine-tune").resolved(64).rescaled(iterations)
    one, two = Duration(1), Duration(2)
    images = replace(recipe.data.images, train_size=32)
    return replace(
        recipe,
        data=replace(recipe.data, batch_size=8, images=images),
        fine_tuning=replace(recipe.fine_tuning, **fine_tuning),
        hardware=HardwareRecipe(device="cpu", threads=1, workers=0),
        monitoring=replace(recipe.monitoring, log_every=one, eval_every=two, checkpoint_every=one, patience=0),
    )


def picture(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """A picture of coarse patches, whose like no other seed gives."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two classes of 20 pictures, without a val split; of each class five are there twice, smaller and compressed."""
    root = tmp_path_factory.mktemp("two") / "two"
    for number, name in enumerate(("left", "right")):
        (root / name).mkdir(parents=True)
        for index in range(20):
            picture(100 * number + index).save(root / name / f"{index:02}.png")
        for index in range(5):
            again = picture(100 * number + index, (32, 27))
            again.save(root / name / f"{index:02}-small.jpg", quality=60)
    return root


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory, folder) -> Path:
    """A run on three other classes, seen at 32 pixels and normalised by its own images' statistics."""
    root = tmp_path_factory.mktemp("three")
    for number, name in enumerate("abc"):
        (root / "data" / name).mkdir(parents=True)
        for index in range(8):
            picture(1000 + 100 * number + index).save(root / "data" / name / f"{index}.png")
    recipe = small(4)
    recipe = replace(recipe, data=replace(recipe.data, normalization="per-channel", val_share=0.0))
    recipe = replace(recipe, monitoring=replace(recipe.monitoring, weights="last"))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No weights are given")
        reslab.train(NET, root / "data", recipe=recipe, run_dir=root / "run")
    return root / "run"


@pytest.fixture(autouse=True)
def from_scratch_too():
    """Most of these have no weights, and know what that means."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No weights are given")
        yield


def tensors(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "weights.safetensors")


# Which parameters, when and how fast


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet20", "resnet50", "resnet18[order=pre]", "vgg16_bn", "resnet50[order=pre]"]
)
def test_blocks_are_counted_as_timm_counts_them(name):
    model = create_model(name)
    layers = timm.models.group_parameters(model, model.group_matcher(coarse=False), reverse=True)
    assert block_distances(model) == {key: max(layers.values()) - number for key, number in layers.items()}


def test_earlier_blocks_have_smaller_rates():
    model = create_model("resnet18")
    optimizer = make_optimizer(model, AdamW(decay="weights"), FineTuningRecipe(layer_decay=0.5))
    set_rate(optimizer, 0.1)
    rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
    assert rates[id(model.fc.weight)] == rates[id(model.fc.bias)] == 0.1
    assert rates[id(model.layer4[1].conv2.weight)] == pytest.approx(0.05)
    assert rates[id(model.layer4[0].bn1.weight)] == pytest.approx(0.025)
    assert rates[id(model.conv1.weight)] == pytest.approx(0.1 * 0.5**9)
    assert len(rates) == len(list(model.parameters()))
    decays = {group["weight_decay"] for group in optimizer.param_groups}
    assert decays == {0.0, AdamW().weight_decay}


def test_without_a_decay_of_rates_the_groups_are_as_before():
    groups = make_optimizer(create_model("resnet20"), Sgd()).param_groups
    assert len(groups) == 1
    assert "rate_share" not in groups[0]


def test_first_the_classifier_alone_is_trained_and_then_all(folder, pretrained, tmp_path):
    before = tensors(pretrained)
    for iterations, head_first in ((8, 6), (8, 2)):
        run = tmp_path / f"{head_first}"
        reslab.train(
            NET,
            folder,
            recipe=small(iterations, head_first=Duration(head_first)),
            weights=pretrained,
            run_dir=run,
            stop_after="4",
        )
        state = torch.load(next((run / "checkpoints").glob("*4.pt")), weights_only=True)["model"]
        body = {key: torch.equal(state[key], before[key]) for key in before if not key.startswith("fc.")}
        assert all(body.values()) if head_first == 6 else not any(body[key] for key in body if "weight" in key)
        assert torch.isfinite(state["fc.weight"]).all()


@pytest.mark.parametrize("optimizer", [Sgd(), AdamW(), Lamb(), Muon()], ids=lambda recipe: recipe.kind)
def test_any_optimizer_begins_with_the_classifier(optimizer, folder, pretrained, tmp_path):
    """Torch's fused SGD takes no group of which some parameters have been trained before and others not."""
    recipe = replace(small(4, head_first=Duration(2), layer_decay=1.0), optimizer=optimizer)
    done = reslab.train(NET, folder, recipe=recipe, weights=pretrained, run_dir=tmp_path / "run")
    assert done.iteration == 4


def test_frozen_norms_keep_statistics_scales_and_shifts(folder, pretrained, tmp_path):
    before = tensors(pretrained)
    recipe = small(6, norms="frozen", head_first=Duration(1))
    reslab.train(NET, folder, recipe=recipe, weights=pretrained, run_dir=tmp_path / "run")
    after = tensors(tmp_path / "run")
    norms = [key for key in before if ".bn" in key or key.startswith("bn") or "downsample.1" in key]
    assert len(norms) == 20 * 5
    assert all(torch.equal(before[key], after[key]) for key in norms)
    assert not torch.equal(before["layer1.0.conv1.weight"], after["layer1.0.conv1.weight"])


def test_a_stopped_fine_tuning_comes_to_the_same_weights_also_without_those_it_began_with(folder, pretrained, tmp_path):
    pretrained = shutil.copytree(pretrained, tmp_path / "pretrained")
    recipe = small(8, head_first=Duration(3))
    recipe = replace(recipe, data=replace(recipe.data, sampling="balanced"))
    whole = reslab.train(NET, folder, recipe=recipe, weights=pretrained, run_dir=tmp_path / "whole")
    for stop in ("2", "5"):
        reslab.train(
            NET, folder, recipe=recipe, weights=pretrained, run_dir=tmp_path / "parts", resume=True, stop_after=stop
        )
    shutil.rmtree(pretrained)
    parts = reslab.train(run_dir=tmp_path / "parts", resume=True)  # all of it is the run's own
    ours, theirs = tensors(whole.run.folder), tensors(parts.run.folder)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    names = [run.run.record["val_names"] for run in (whole, parts)]
    assert names[0] == names[1] != []


def test_training_ends_when_val_gains_nothing(folder, tmp_path):
    recipe = small(40)
    recipe = replace(
        recipe,
        optimizer=Sgd(learning_rate=1e-12),
        monitoring=replace(recipe.monitoring, patience=3),
        data=replace(recipe.data, normalization="imagenet"),
    )
    done = reslab.train(NET, folder, recipe=recipe, run_dir=tmp_path / "run")
    rows = [row for row in done.run.rows() if "val_error" in row]
    best = min(rows, key=lambda row: row["val_error"])
    assert done.figures["stopped_at"] == done.iteration == best["iteration"] + 3 * 2 < 40
    again = reslab.train(run_dir=tmp_path / "run", resume=True)
    assert again.iteration == done.iteration


def test_patience_without_val_images_is_refused(tiny_data, tmp_path):
    recipe = load_recipe("digits-quick")
    recipe = replace(recipe, monitoring=replace(recipe.monitoring, patience=2))
    with pytest.raises(RecipeError, match=r"monitoring\.patience needs val images"):
        reslab.train("resnet8", tiny_data(val=False), recipe=recipe, run_dir=tmp_path / "run")


# Classes of few images


def test_class_weights_are_scikit_learns():
    labels = np.array([0] * 124 + [1] * 5 + [2] * 30)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(labels, 3), expected, rtol=1e-6)
    assert class_weights(labels, 4)[3] == 0


def test_the_weighted_loss_counts_all_classes_alike():
    labels = np.array([0, 0, 0, 1])
    loss = Classification().make_loss(RegularizationRecipe(class_weights="balanced"), 2, labels)
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.5], [0.0, 0.3], [0.7, 0.1]])
    each = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none")
    assert loss(logits, torch.from_numpy(labels)).item() == pytest.approx(((each[:3].mean() + each[3]) / 2).item())


def test_a_balanced_epoch_shows_all_classes_equally_often():
    labels = np.random.default_rng(0).permutation([0] * 124 + [1] * 5 + [2] * 31)
    order, before = balanced_order(3, 2, labels)
    assert len(order) == len(labels)
    assert sorted(np.bincount(labels[order]).tolist()) == [53, 53, 54]
    for image in np.flatnonzero(labels == 1):
        times = before[order == image]
        assert times.tolist() == list(range(len(times)))
        assert len(times) in (10, 11)
    assert before[labels[order] == 0].max() == 0
    again, _ = balanced_order(3, 3, labels)
    assert not np.array_equal(order, again)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"data.val_images": "5", "data.val_share": "0.2"}, "both say how much is held out"),
        ({"data.sampling": "balanced", "regularization.class_weights": "balanced"}, "choose one of both"),
        ({"regularization.class_weights": "balanced", "regularization.mixup": "0.2"}, "not mixed"),
        ({"fine_tuning.head_first": "10 epochs"}, "must end before"),
        ({"fine_tuning.layer_decay": "0"}, "must be a number above 0"),
        ({"fine_tuning.norms": "some"}, "trained or frozen"),
    ],
)
def test_what_contradicts_itself_is_refused(fields, sentence, folder, tmp_path):
    with pytest.raises(RecipeError, match=sentence):
        reslab.train(NET, folder, recipe="fine-tune", fields=fields, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# What is held out


def test_pictures_of_the_same_stay_on_one_side(folder):
    data, held_out = hold_out_share(load_data(folder, kind="photos"), 0.2)
    names = {role: {data.split(role).name(index) for index in range(len(data.split(role)))} for role in data.splits}
    assert names["val"] == set(held_out.names)
    assert not names["train"] & names["val"]
    assert len(names["train"] | names["val"]) == 50
    assert 8 <= len(names["val"]) <= 13
    for name in ("left", "right"):
        assert 3 <= sum(path.startswith(name) for path in names["val"]) <= 8
        for index in range(5):
            pair = {f"{name}/{index:02}.png", f"{name}/{index:02}-small.jpg"}
            assert pair <= names["train"] or pair <= names["val"]


def test_others_find_the_images_that_a_run_held_out(folder, tmp_path, capsys):
    data = shutil.copytree(folder, tmp_path / "data")
    done = reslab.train(NET, data, recipe=small(2), run_dir=tmp_path / "run")
    picture(9999).save(data / "left" / "new.png")  # a photo more changes nothing of what was held out
    outcome = reslab.load(tmp_path / "run").evaluate(split="val")
    assert outcome.evaluation.num_images == done.figures["num_val_images"] == len(done.run.record["val_names"])
    assert outcome.evaluation.top1_error == pytest.approx(done.figures["val_error"])
    (data / done.run.record["val_names"][0]).unlink()
    assert main(["eval", str(tmp_path / "run"), "--split", "val"]) == 2
    assert "lacks 1 image that the run held out for validation" in capsys.readouterr().err


def test_too_few_different_photos_of_a_class_are_a_sentence(tmp_path):
    for name in ("many", "few"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index in range(6):
            picture(index if name == "many" else 50).save(tmp_path / "data" / name / f"{index}.png")
    with pytest.raises(DataError, match="'few' has too few different photos"):
        hold_out_share(load_data(tmp_path / "data", kind="photos"), 0.3)


def test_what_is_held_out_is_written_and_read():
    for held_out in (HeldOut(num_images=5), HeldOut(names=("a/1.png", "b/2.png")), HeldOut()):
        assert HeldOut.read(json.loads(json.dumps(held_out.to_dict()))) == held_out


# What is taken from the weights


def test_photos_are_seen_as_the_weights_saw_them(folder, pretrained, tmp_path):
    done = reslab.train(
        NET, folder, recipe="fine-tune", weights=pretrained, iterations=2, run_dir=tmp_path / "run",
        fields={"hardware.workers": "0", "hardware.precision": "fp32"},
    )  # fmt: skip
    cards = [json.loads((run / "card.json").read_text()) for run in (pretrained, tmp_path / "run")]
    assert cards[0]["normalization"] == cards[1]["normalization"]
    assert cards[0]["preprocessing"] == cards[1]["preprocessing"]
    assert cards[0]["normalization"]["mean"] != pytest.approx([0.485, 0.456, 0.406])
    assert done.run.record["recipe"]["data"]["images"]["train_size"] == 32


def test_the_classifier_is_kept_for_the_same_classes_alone(folder, pretrained, tmp_path):
    own = Path(json.loads((pretrained / "run.json").read_text())["data_spec"])
    others = tmp_path / "others"
    for name, other in zip("abc", ("d", "e", "f"), strict=True):
        shutil.copytree(own / name, others / other)
    recipe = replace(small(2), optimizer=AdamW(learning_rate=1e-9, weight_decay=0.0))
    for data, kept in ((own, True), (others, False)):
        run = tmp_path / data.name
        reslab.train(NET, data, recipe=recipe, weights=str(pretrained), run_dir=run)
        same = torch.allclose(tensors(run)["fc.weight"], tensors(pretrained)["fc.weight"], atol=1e-6)
        assert same == kept


def test_what_is_not_known_of_weights_is_said(folder, pretrained, tmp_path):
    plain = tmp_path / "plain.safetensors"
    shutil.copy(pretrained / "weights.safetensors", plain)
    with pytest.warns(reslab.errors.ReslabWarning, match="does not say how its inputs were normalised: ImageNet's"):
        done = reslab.train(NET, folder, recipe=small(2), weights=plain, run_dir=tmp_path / "run")
    assert done.run.record["recipe"]["data"]["normalization"] == "imagenet"


def test_without_weights_it_says_what_to_expect(folder, tmp_path):
    with pytest.warns(reslab.errors.ReslabWarning, match="No weights are given, so that the network learns to see"):
        done = reslab.train(NET, folder, recipe=small(2), run_dir=tmp_path / "run")
    recipe = done.run.record["recipe"]
    assert recipe["fine_tuning"] == {"head_first": "0 iterations", "layer_decay": 1.0, "norms": "trained"}
    assert recipe["data"]["images"]["test_size"] == 32


# The range test


def test_a_rate_is_found_and_nothing_else_is_left(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["train", "resnet8[widths=4-8-8]", "--data", "digits", "--find-rate", "--quiet"]
    assert main([*command, "--hardware.threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert "--optimizer.learning-rate" in printed
    (drawn,) = tmp_path.rglob("*.*")
    assert drawn.name.endswith("-rates.png")
    with Image.open(drawn) as image:
        assert min(image.size) > 300


def test_the_rate_lies_below_where_the_loss_is_lowest(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_rate("resnet8[widths=4-8-8]", "digits", run_dir=tmp_path / "run", fields={"hardware.threads": "1"})
    lowest = found.rates[found.smoothed.argmin()]
    assert found.rate == pytest.approx(lowest / 10, rel=0.06)
    assert 0.0005 < found.rate < 0.3
    assert np.all(np.diff(found.rates) > 0)


def test_a_rate_is_not_found_for_a_run_that_goes_on(capsys):
    assert main(["train", "resnet8", "--data", "digits", "--find-rate", "--stop-after", "5"]) == 2
    assert "leave out --stop-after" in capsys.readouterr().err
