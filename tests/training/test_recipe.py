"""Recipes: what they say, what they refuse, and their lengths for a number of images."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reslab.errors import RecipeError
from reslab.training.recipe import (
    AdamW,
    Area,
    Cosine,
    DataRecipe,
    Lamb,
    MonitoringRecipe,
    Photos,
    Plateau,
    Recipe,
    RegularizationRecipe,
    Sgd,
    SmallImages,
    Steps,
    epochs,
    images,
    iterations,
)
from reslab.training.recipe_files import load_recipe, recipe_from_dict
from reslab.training.recipes import RECIPES, SUMMARIES

IMAGENET = 1_281_167
OLD = json.loads((Path(__file__).parent / "data" / "recipes-0.1.0.json").read_text())


def test_cifar_paper_is_section_4_2_to_the_letter():
    recipe = load_recipe("cifar-paper")
    assert recipe.iterations == 64_000
    assert recipe.schedule.milestones == (iterations(32_000), iterations(48_000))
    assert recipe.schedule.factor == 0.1
    assert (recipe.schedule.deep_warmup.rate, recipe.schedule.deep_warmup.train_error) == (0.01, 80)
    assert recipe.schedule.deep_warmup.from_depth == 110
    assert recipe.optimizer == Sgd(learning_rate=0.1, momentum=0.9, weight_decay=1e-4, decay="all", nesterov=False)
    assert (recipe.data.batch_size, recipe.data.images, recipe.data.flip) == (128, SmallImages(pad=4), True)
    assert (recipe.data.normalization, recipe.data.val_images) == ("per-pixel-mean", 0)
    assert recipe.monitoring.weights == "last"


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_survives_being_written_down(name):
    recipe = RECIPES[name]
    assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert SUMMARIES[name].endswith(".")


def test_importing_recipes_imports_no_torch():
    code = "import sys, reslab.training.recipe_default, reslab.training.recipe_overrides, reslab.training.recipe_text"
    subprocess.run([sys.executable, "-c", f"{code}\nassert 'torch' not in sys.modules"], check=True, timeout=60)


# Lengths


@pytest.mark.parametrize(
    ("name", "length", "milestones", "warmup", "eval_every"),
    [
        ("imagenet-90", 450_410, (150_137, 300_274), 0, 5_005),
        ("imagenet-paper", 600_000, (), 0, 5_000),
        ("imagenet-v2", 750_684, (), 6_256, 1_251),
        ("imagenet-a1", 375_342, (), 3_128, 626),
        ("imagenet-a2", 187_671, (), 3_128, 626),
        ("imagenet-a3", 62_557, (), 3_128, 626),
    ],
)
def test_imagenets_recipes_are_as_long_as_their_sources_say(name, length, milestones, warmup, eval_every):
    recipe = RECIPES[name].resolved(IMAGENET)
    assert recipe.iterations == length
    assert tuple(map(int, getattr(recipe.schedule, "milestones", ()))) == milestones
    assert int(recipe.schedule.warmup) == warmup
    assert int(recipe.monitoring.eval_every) == eval_every


@pytest.mark.parametrize("name", RECIPES)
def test_a_resolved_recipe_stays_as_it_is(name):
    recipe = RECIPES[name].resolved(5_000)
    assert recipe.resolved(77) == recipe
    assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_an_epoch_goes_by_the_images_and_not_by_their_repeats():
    base = load_recipe("imagenet-a1")
    once = replace(base, data=replace(base.data, images=replace(base.data.images, repeats=1)))
    assert base.resolved(IMAGENET).iterations == once.resolved(IMAGENET).iterations


def test_lengths_in_images_count_batches():
    recipe = Recipe(name="x", schedule=Cosine(length=images(12_800), warmup=epochs(0.5)))
    resolved = recipe.resolved(1_000)
    assert (resolved.iterations, int(resolved.schedule.warmup)) == (100, 4)


def test_lengths_may_be_given_as_texts_and_numbers_in_python_too():
    texts = Steps(length="90 epochs", milestones=["30 epochs", "60 epochs"], warmup=500)
    assert texts == Steps(length=epochs(90), milestones=(epochs(30), epochs(60)), warmup=iterations(500))
    assert MonitoringRecipe(log_every=5, eval_every="1 epoch").eval_every == epochs(1)


def test_a_recipe_that_is_not_resolved_says_so():
    with pytest.raises(RecipeError, match=r"how many iterations 90 epochs are depends on the data"):
        load_recipe("imagenet-90").iterations  # noqa: B018
    with pytest.raises(RecipeError, match="number of training images must be positive, not 0"):
        load_recipe("imagenet-90").resolved(0)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (
            Steps(length=iterations(100), milestones=(epochs(3),)),
            "schedule.milestones, 3 epochs, is not before the end",
        ),
        (Cosine(length=epochs(2), warmup=iterations(100)), "schedule.warmup, 100 iterations, is not before the end"),
    ],
)
def test_what_is_past_the_end_once_the_images_are_known_is_refused(schedule, message):
    with pytest.raises(RecipeError, match=message):
        Recipe(name="x", schedule=schedule).resolved(6_400)


def test_few_images_leave_an_order_that_a_schedule_can_have():
    recipe = load_recipe("imagenet-90").resolved(6)
    assert (recipe.iterations, recipe.schedule.milestones) == (2, (iterations(1),))
    assert load_recipe("imagenet-v2").resolved(6).schedule.warmup == iterations(1)


def test_a_least_length_stretches_the_whole_schedule():
    recipe = load_recipe("photos")
    for num_images in (6, 1_000, 1_421):
        few = recipe.resolved(num_images)
        assert few.iterations == 2_000
        assert int(few.schedule.warmup) == 111
    assert recipe.resolved(100_000).iterations == round(90 * 100_000 / 64)


def test_a_recipe_is_rescaled_as_a_whole():
    recipe = load_recipe("cifar-paper").rescaled(1000)
    assert recipe.iterations == 1000
    assert recipe.schedule.milestones == (iterations(500), iterations(750))
    assert (recipe.monitoring.log_every, recipe.monitoring.eval_every) == (iterations(10), iterations(100))
    assert int(recipe.monitoring.checkpoint_every) <= 100
    longer = load_recipe("cifar-paper").rescaled(128_000)
    assert longer.schedule.milestones == (iterations(64_000), iterations(96_000))
    assert load_recipe("cifar-paper").rescaled(4).schedule.milestones == (iterations(2), iterations(3))
    assert load_recipe("cifar-paper").rescaled(1).schedule.milestones == ()


def test_a_recipe_in_epochs_is_rescaled_in_epochs():
    recipe = load_recipe("imagenet-90").rescaled(epochs(3))
    assert recipe.schedule.milestones == (epochs(1), epochs(2))
    assert recipe.monitoring.eval_every == epochs(0.3)
    resolved = recipe.resolved(IMAGENET)
    assert (
        resolved.schedule.milestones
        == load_recipe("imagenet-90").resolved(IMAGENET).rescaled(15_014).schedule.milestones
    )
    with pytest.raises(RecipeError, match=r"what share of that 100 iterations are depends on the data"):
        load_recipe("imagenet-90").rescaled(100)


@pytest.mark.parametrize("length", [0, -5, iterations(0), epochs(0)])
def test_a_rescaling_to_nothing_is_refused(length):
    with pytest.raises(RecipeError, match="positive"):
        Recipe(name="x").rescaled(length)


def test_an_average_keeps_its_share_of_a_shorter_schedule():
    recipe = load_recipe("imagenet-v2").resolved(IMAGENET)
    short = recipe.rescaled(recipe.iterations // 1000)
    assert short.regularization.ema_decay == pytest.approx(recipe.regularization.ema_decay**1000, rel=1e-3)


# What is refused


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"length": iterations(0)}, "must be more than nothing"),
        ({"length": "soon"}, "length must be a length of training"),
        ({"factor": 0.0}, "above 0"),
        ({"milestones": (iterations(0), iterations(5))}, "positive and increasing"),
        ({"milestones": (iterations(5), iterations(5))}, "positive and increasing"),
        ({"milestones": (iterations(5), epochs(6))}, "are in different units: say each one's"),
        ({"length": iterations(10), "milestones": (iterations(10),)}, "must lie before the end"),
        ({"length": epochs(90)}, "are in iterations, and schedule.length, 90 epochs, is in epochs"),
        ({"warmup": iterations(64_000)}, "must end before schedule.length"),
        ({"least_iterations": 5}, "least_iterations does nothing"),
    ],
)
def test_a_schedule_that_contradicts_itself_is_refused(fields, message):
    with pytest.raises(RecipeError, match=message):
        Steps(**fields)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"optimizer": {"learning_rate": math.inf}}, r"optimizer\.learning_rate must be a number above 0, not inf"),
        ({"optimizer": {"clip_norm": math.inf}}, r"optimizer\.clip_norm must be a number"),
        ({"optimizer": {"accumulate": 3}}, "cannot be computed in optimizer"),
        ({"optimizer": {"accumulate": 128}}, "of two images or more"),
        ({"optimizer": {"nesterov": True, "momentum": 0.0}}, r"nesterov does nothing without an optimizer\.momentum"),
        (
            {"optimizer": {"kind": "lamb", "learning_rate": 0.01, "nesterov": True}},
            r"optimizer\.nesterov is for optimizer\.kind = sgd or muon, and here it is lamb",
        ),
        ({"optimizer": {"kind": "lamb"}}, r"takes other rates than sgd: give optimizer\.learning_rate too \(0\.1 was"),
        ({"schedule": {"kind": "cosine", "milestones": ["3 epochs"]}}, r"schedule\.milestones is for .* = steps"),
        ({"schedule": {"evaluations": 3}}, r"schedule\.evaluations is for schedule\.kind = plateau"),
        ({"data": {"batch_size": 9}, "regularization": {"ghost_batch": 4}}, "leave a single one"),
        ({"regularization": {"ghost_batch": 1}}, "must be 0 or at least 2"),
        ({"regularization": {"loss": {"target_threshold": 0.2}}}, r"is for regularization\.loss\.kind = binary"),
        ({"data": {"batch_size": 1 << 21}}, "from 2 to 1,048,576"),
        ({"data": {"initial_share": 0.2}}, r"data\.initial_share = 0\.2 does nothing where data\.initial_scale is 1"),
        ({"data": {"images": {"train_size": 64}}}, r"data\.images\.train_size is for data\.images\.kind = photos"),
        ({"data": {"images": {"pad": 0, "pad_with": "black"}}}, "pad_with = black does nothing"),
        ({"data": {"images": {"kind": "photos", "pad": 2}}}, r"data\.images\.pad is for data\.images\.kind = small"),
        ({"schedule": {"length": 10**20}}, "length of training"),
        (
            {"data": {"images": {"kind": "photos", "crop": {"kind": "shorter-side", "shorter_side": [480, 256]}}}},
            "smaller one first",
        ),
        (
            {"data": {"images": {"kind": "photos", "crop": {"shorter_side": [1, 2, 3]}}}},
            "must be 2 whole numbers",
        ),
        ({"data": {"images": {"kind": "photos", "crop": {"kind": "area", "area": [0.0, 1.0]}}}}, "2 numbers above 0"),
        (
            {"data": {"images": {"kind": "photos", "crop": {"area": [0.1, 1.0]}}}},
            r"area is for data\.images\.crop\.kind",
        ),
        (
            {"data": {"images": {"kind": "photos", "color": {"strength": 0.1}}}},
            r"color\.kind = pca, jitter|pca or jitter",
        ),
        ({"data": {"images": {"kind": "photos", "auto_augment": {"kind": "trivial", "magnitude": 3}}}}, "kind = rand"),
        ({"data": {"images": {"kind": "photos", "train_size": 300}}}, "hold no crop of 300"),
        ({"data": {"images": {"kind": "photos", "test_size": 300}}}, r"at least data\.images\.test_size"),
        ({"regularization": {"ema_decay": 1.0}}, "below 1"),
        ({"regularization": {"mixup": -1.0}}, "from 0 to 100"),
        ({"monitoring": {"log_every": "0 epochs"}}, "must be more than nothing"),
        ({"hardware": {"compile": "yes"}}, r"hardware\.compile must be auto, on or off"),
        ({"needs": ["stochastic_depth"]}, "needs must name fields with values"),
    ],
)
def test_fields_that_cannot_be_or_would_do_nothing_are_refused(tables, message):
    from reslab.training.recipe_files import changed

    with pytest.raises(RecipeError, match=message):
        changed(Recipe(name="right"), {"name": "wrong", **tables})


def test_what_another_kind_has_is_left_behind_with_it():
    from reslab.training.recipe_files import changed

    base = load_recipe("imagenet-a1")
    other = changed(base, {"regularization": {"loss": "cross-entropy"}, "data": {"images": {"auto_augment": "none"}}})
    assert other.regularization == RegularizationRecipe(label_smoothing=0.1, mixup=0.2, cutmix=1.0)
    assert other.data.images.repeats == 3
    small = changed(base, {"data": {"images": "small"}})
    assert small.data.images == SmallImages()
    assert isinstance(changed(base, {"optimizer": "adamw"}).optimizer, AdamW)  # whose rates are of LAMB's size


# Version 0.1


@pytest.mark.parametrize("name", [name for name in OLD if name in RECIPES])
def test_runs_of_version_0_1_have_the_recipes_of_today(name):
    num_images = IMAGENET if name.startswith("imagenet") else 50_000
    assert recipe_from_dict(OLD[name]) == RECIPES[name].resolved(num_images)


def test_changed_recipes_of_version_0_1_keep_what_they_said():
    recipe = {name: recipe_from_dict(values) for name, values in OLD.items()}
    assert recipe["cifar-paper, 1,000 iterations"] == RECIPES["cifar-paper"].resolved(50_000).rescaled(1_000)
    assert recipe["imagenet-v2, 600 iterations"] == RECIPES["imagenet-v2"].resolved(IMAGENET).rescaled(600)
    lamb = recipe["lamb of another momentum, no warm-up"]
    assert lamb.optimizer == Lamb(learning_rate=0.01, weight_decay=1e-4, betas=(0.8, 0.999))
    assert lamb.schedule.deep_warmup.kind == "none"
    muon = recipe["muon"]
    assert (muon.optimizer.momentum, muon.optimizer.orthogonal_factor, muon.data.erase) == (0.6, 0.15, 0.25)
    cosine = recipe["both warm-ups, cosine with milestones left"].schedule
    assert isinstance(cosine, Cosine)
    assert (cosine.warmup, cosine.deep_warmup.window, cosine.deep_warmup.from_depth) == (iterations(100), 20, 50)
    plateau = recipe["plateau"].schedule
    assert isinstance(plateau, Plateau)
    assert (plateau.evaluations, plateau.threshold, plateau.drops, plateau.factor) == (3, 0.5, 2, 0.2)
    assert recipe["options that did nothing"].data == DataRecipe()
    photos = recipe["photos in another way"].data.images
    assert isinstance(photos, Photos)
    assert (photos.crop.shorter_side, photos.color.strength, photos.train_size) == ((160, 200), 0.4, 128)
    assert (photos.auto_augment.operations, photos.auto_augment.magnitude, photos.repeats) == (3, 5, 2)
    assert recipe["no milestones"].schedule.milestones == ()
    assert recipe["no milestones"].data.images == SmallImages(pad_with="black")
    assert recipe_from_dict(OLD["imagenet-90"]).data.images.crop == Area()


def test_what_was_written_before_a_field_was_there_means_its_default():
    recipe = recipe_from_dict({"name": "early", "schedule": {"iterations": 100, "milestones": [50]}})
    assert recipe.schedule == Steps(length=iterations(100), milestones=(iterations(50),))
    assert recipe.optimizer == Sgd()
