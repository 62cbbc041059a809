"""Recipes in TOML files, from flags, by default, and what they expect of data and networks."""

import numpy as np
import pytest
from PIL import Image

from reslab import train
from reslab.data import load_data
from reslab.data.imagenet import imagenet_names
from reslab.data.packing import pack_shards
from reslab.errors import DataError, RecipeError
from reslab.models import parse_model
from reslab.training.asked_recipe import AskedRecipe
from reslab.training.expectations import RecipeWarning, lacking_fields, unlike_images
from reslab.training.recipe import (
    Muon,
    Photos,
    Rand,
    Recipe,
    Sgd,
    ShorterSide,
    SmallImages,
    Steps,
    epochs,
    iterations,
)
from reslab.training.recipe_0_1 import OLD_NAMES
from reslab.training.recipe_default import default_recipe
from reslab.training.recipe_files import load_recipe, recipe_from_text, recipe_from_toml
from reslab.training.recipe_overrides import find_field, fitted, is_length, with_overrides
from reslab.training.recipe_text import recipe_to_toml
from reslab.training.recipes import RECIPES


def test_a_toml_file_changes_fields_of_its_base(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'base = "cifar-paper"\n[optimizer]\nlearning_rate = 1\nnesterov = true\n[schedule]\nmilestones = [10, "2k"]\n'
    )
    recipe = load_recipe(str(path))
    assert recipe.name == "mine"
    assert recipe.optimizer == Sgd(learning_rate=1.0, nesterov=True)
    assert isinstance(recipe.optimizer.learning_rate, float)
    assert recipe.schedule.milestones == (iterations(10), iterations(2_000))
    assert recipe.data == load_recipe("cifar-paper").data


def test_a_length_of_ones_own_is_meant_for_any_number_of_images():
    text = 'base = "photos"\n[schedule]\nlength = "10 epochs"\n'
    assert recipe_from_text(text, "here", "x").resolved(64).iterations == 10
    text = 'base = "cifar-paper"\n[schedule]\nlength = 20\nmilestones = []\n'
    assert recipe_from_text(text, "here", "x").schedule.made_for_images == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must say what it changes"),
        ("base = 3", "must say what it changes"),
        ('base = "cifar-papre"', "did you mean cifar-paper"),
        ("base = ", "no valid TOML"),
        ('base = "cifar-paper"\n[optimiser]\n', "did you mean optimizer"),
        ('base = "cifar-paper"\n[optimizer]\nlearningrate = 1', "no field optimizer.learningrate; did you mean"),
        ('base = "cifar-paper"\n[optimizer]\nlearning_rate = "fast"', "optimizer.learning_rate must be a number"),
        ('base = "cifar-paper"\n[optimizer]\nlearning_rate = nan', "must be a number above 0, not nan"),
        ('base = "cifar-paper"\n[optimizer]\nnesterov = 1', "true or false"),
        ('base = "cifar-paper"\n[optimizer]\ndecay = "none"', "must be all, weights or norms, not none"),
        ('base = "cifar-paper"\n[data]\nbatch_size = 1.5', "a whole number"),
        ('base = "cifar-paper"\n[data]\nbatch_size = 1', "from 2 to"),
        ('base = "cifar-paper"\n[data]\npad = 2', r"data\.pad is data\.images\.pad now"),
        ('base = "cifar-paper"\n[schedule]\nmilestones = 3', "values joined by commas, each a length"),
        ('base = "cifar-paper"\n[schedule]\nmilestones = [48000, 32000]', "increasing"),
        ('base = "cifar-paper"\n[schedule]\nlength = 1000', "use --iterations or --epochs"),
        ('base = "cifar-paper"\n[schedule]\niterations = 1000', r"schedule\.iterations is schedule\.length now"),
        ('base = "cifar-paper"\noptimizer = 3', "must be a table"),
    ],
)
def test_a_bad_file_gets_a_sentence(tmp_path, text, message):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message):
        recipe_from_toml(path)


def test_a_file_that_is_not_text_or_not_there_gets_a_sentence(tmp_path):
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        load_recipe(str(tmp_path / "absent.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match="no valid TOML"):
        load_recipe(str(tmp_path / "binary.toml"))


@pytest.mark.parametrize("name", RECIPES)
def test_the_written_file_is_read_back_equal(name, tmp_path):
    for recipe in (RECIPES[name], RECIPES[name].resolved(5_000)):
        path = tmp_path / "recipe.toml"
        path.write_text(recipe_to_toml(recipe))
        assert recipe_from_toml(path) == recipe
    text = path.read_text()
    assert "# Images an iteration; two at least, for batch norm. Takes a whole number from 2 to 1,048,576." in text
    assert max(map(len, text.splitlines())) <= 100


def test_names_of_version_0_1_lead_to_fields_of_today():
    for old, new in OLD_NAMES.items():
        assert find_field(old) is None
        assert find_field(new) is not None


# Single fields, as texts


def test_fields_are_changed_by_texts_whatever_their_order():
    recipe = with_overrides(
        load_recipe("imagenet-90"),
        {
            "data.images.crop.shorter-side": "256-300",
            "data.images.auto_augment.magnitude": "9",
            "data.images.auto_augment": "rand",
            "--data.images.crop": "shorter-side",
            "optimizer.kind": "muon",
            "optimizer.orthogonal_factor": "0.5",
            "schedule.milestones": "10 epochs,20 epochs",
            "data.flip": "no",
        },
    )
    assert recipe.data.images.crop == ShorterSide(shorter_side=(256, 300))
    assert recipe.data.images.auto_augment == Rand(magnitude=9)
    assert recipe.optimizer == Muon(orthogonal_factor=0.5)
    assert recipe.schedule.milestones == (epochs(10), epochs(20))
    assert not recipe.data.flip
    assert with_overrides(recipe, {}) == recipe


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("lr", "1", "a recipe has no field --lr; did you mean --optimizer.learning-rate?"),
        ("optimizer.lr", "1", "a recipe has no field --optimizer.lr; did you mean --optimizer.learning-rate?"),
        ("wd", "1", "a recipe has no field --wd; did you mean --optimizer.weight-decay?"),
        ("bs", "1", "a recipe has no field --bs; did you mean --data.batch-size?"),
        ("momentum", "1", "a recipe has no field --momentum; did you mean --optimizer.momentum?"),
        (
            "epochs",
            "1",
            "a recipe has no field --epochs; --iterations N and --epochs N rescale its whole schedule.",
        ),
        ("data.pad-with", "black", "--data.pad-with is --data.images.pad-with now."),
        ("data.batch-size", "many", "--data.batch-size must be a whole number from 2 to 1,048,576, not 'many'."),
        ("optimizer", "adamv", "--optimizer.kind must be sgd, adamw, lamb or muon, not 'adamv'; did you mean adamw?"),
        (
            "data.images.train-size",
            "64",
            "--data.images.train-size is for --data.images = photos, and here that is small: leave it out, or choose "
            "--data.images photos as well.",
        ),
        (
            "optimizer.orthogonal-factor",
            "1",
            "--optimizer.orthogonal-factor is for --optimizer = muon, and here that is sgd: leave it out, or choose "
            "--optimizer muon as well.",
        ),
        (
            "data.initial-share",
            "0.2",
            "--data.initial-share = 0.2 does nothing where --data.initial-scale is 1: leave it out, or choose a scale "
            "below 1.",
        ),
        ("qqq", "1", "a recipe has no field --qqq; `reslab recipes NAME` shows all of them."),
    ],
)
def test_a_flag_that_cannot_be_gets_a_sentence(name, text, sentence):
    with pytest.raises(RecipeError) as refused:
        with_overrides(load_recipe("cifar-paper"), {name: text}, flags=True)
    assert str(refused.value) == sentence


def test_a_field_is_given_once():
    with pytest.raises(RecipeError, match=r"--optimizer\.kind is given twice"):
        with_overrides(load_recipe("cifar-paper"), {"optimizer": "sgd", "optimizer.kind": "sgd"}, flags=True)


def test_what_is_a_length():
    assert is_length("--schedule.milestones")
    assert is_length("monitoring.eval_every")
    assert not is_length("schedule.factor")


def test_lengths_among_the_fields_are_of_the_rescaled_schedule():
    fields = {"schedule.milestones": "30,60", "data.batch_size": "64", "monitoring.log_every": "7"}
    recipe = fitted(load_recipe("cifar-paper"), 640, length=epochs(10), fields=fields)
    assert recipe.iterations == 100
    assert recipe.schedule.milestones == (iterations(30), iterations(60))
    assert int(recipe.monitoring.log_every) == 7
    assert int(recipe.monitoring.eval_every) == 10


# What recipes expect


def test_far_fewer_images_than_a_length_in_iterations_is_made_for_are_refused():
    assert unlike_images(load_recipe("cifar-paper"), 45_000) is None
    assert unlike_images(Recipe(name="any", schedule=Steps()), 6) is None
    with pytest.raises(RecipeError) as refused:
        unlike_images(load_recipe("imagenet-paper"), 6)
    assert str(refused.value) == (
        "the recipe imagenet-paper is made for 1,281,167 images, each of which it sees 120 times; the 6 here it would "
        "see 25,600,000 times, in 600k iterations. Rescale its whole schedule with --epochs 120, or --iterations, "
        "or take --recipe photos."
    )


def test_of_a_length_in_epochs_it_is_said_what_becomes_of_it():
    assert unlike_images(load_recipe("imagenet-90"), 6) == (
        "The recipe imagenet-90 is made for 1,281,167 images: with 6, its 90 epochs are 2 iterations. Rescale its "
        "whole schedule with --iterations or --epochs, or take --recipe photos."
    )


def test_a_network_without_the_fields_that_a_recipe_needs_is_named():
    recipe, bare = load_recipe("imagenet-a2"), parse_model("resnet50")
    assert lacking_fields(recipe, "resnet50[stride=v1]", parse_model("resnet50[stride=v1]")) == (
        "The recipe imagenet-a2 is for networks with stochastic_depth=0.05: train "
        "'resnet50[stride=v1,stochastic_depth=0.05]' for that, or say stochastic_depth=0.0 in the spelling if it is "
        "meant."
    )
    assert lacking_fields(recipe, bare, bare) is not None
    for model in ("resnet50[stochastic_depth=0.05]", "resnet50[stochastic_depth=0]"):
        assert lacking_fields(recipe, model, parse_model(model)) is None
    assert lacking_fields(load_recipe("imagenet-a3"), "resnet50", bare) is None


def test_training_refuses_or_warns_before_there_is_a_run(tiny_data, tmp_path):
    with pytest.raises(RecipeError, match="the recipe cifar-paper is made for 50,000 images"):
        train("resnet8", tiny_data(), recipe="cifar-paper", run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    recipe = Recipe(name="needy", needs=("dropout=0.5",))
    fields = {"data.batch_size": "8", "hardware.threads": "1"}
    with pytest.warns(RecipeWarning, match="The recipe needy is for networks with dropout=0.5"):
        done = train("resnet8", tiny_data(), recipe=recipe, iterations=2, fields=fields, run_dir=tmp_path / "run")
    asked = done.run.record["recipe_asked"]
    assert (asked["rescaled_to"], asked["fields"]) == ("2 iterations", fields)
    assert (asked["recipe"]["schedule"]["length"], asked["recipe"]["needs"]) == ("64k iterations", ["dropout=0.5"])
    assert done.run.record["recipe"]["schedule"]["length"] == "2 iterations"
    with pytest.raises(RecipeError, match="in iterations or in epochs, not in both"):
        train("resnet8", tiny_data(), recipe=recipe, iterations=2, epochs=2, run_dir=tmp_path / "run")


def test_a_recipe_may_leave_the_kind_of_images_to_the_data(tmp_path, tiny_data):
    recipe = recipe_from_text('base = "cifar-paper"\n[data]\nimages = "any"', "here", "open")
    photos = folder_of_images(tmp_path / "photos", ("cat", "dog"), 300)
    assert AskedRecipe.of(recipe, photos).unscaled().data.images == Photos()
    assert AskedRecipe.of(recipe, tiny_data()).unscaled().data.images == SmallImages()
    fields = {"data.images.pad": "1"}
    assert AskedRecipe.of(recipe, "digits", fields=fields).fitted(5_000).data.images == SmallImages(pad=1)


# The default


def folder_of_images(folder, classes, side):
    for name in classes:
        (folder / name).mkdir(parents=True)
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(folder / name / "a.png")
        (folder / name / "ATTRIBUTION.txt").write_text("no image")
    return folder


def test_data_have_one_default_recipe_by_name_folder_or_loaded(tmp_path, digits, tiny_data):
    assert default_recipe("digits") == default_recipe(digits) == "digits-quick"
    assert default_recipe("cifar10") == default_recipe("fashion-mnist") == default_recipe(tiny_data()) == "cifar-paper"
    assert default_recipe("imagenet") == "imagenet-90"
    small = folder_of_images(tmp_path / "small" / "train", ("cat", "dog"), 28).parent
    photos = folder_of_images(tmp_path / "photos", ("cat", "dog"), 300)
    assert default_recipe(small) == "cifar-paper"
    assert default_recipe(photos) == default_recipe(str(photos)) == default_recipe("https://server/shards") == "photos"
    with pytest.raises(DataError, match="no data at"):
        default_recipe(tmp_path / "absent")
    assert default_recipe(load_data(photos, kind="photos")) == "photos"
    imagenet = folder_of_images(tmp_path / "big" / "train", imagenet_names(), 130).parent
    assert default_recipe(imagenet) == default_recipe(load_data(imagenet, kind="photos")) == "imagenet-90"
    pack_shards(load_data(imagenet, kind="photos"), tmp_path / "shards")
    assert default_recipe(tmp_path / "shards") == "imagenet-90"


def test_a_base_that_leads_back_is_a_sentence_with_the_way(tmp_path):
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(f'base = "{first}"\n')
    with pytest.raises(RecipeError, match=r"first.toml: its base is itself, in the end"):
        load_recipe(str(first))
    first.write_text(f'base = "{second}"\n')
    second.write_text(f'base = "{first}"\n')
    with pytest.raises(
        RecipeError, match=r"first.toml: .*second.toml: its base is itself.*first.toml -> .*second.toml"
    ):
        load_recipe(str(first))
    second.write_text('base = "cifar-paper"\n[optimizer]\nlearning_rate = 1\n')
    assert load_recipe(str(first)).optimizer.learning_rate == 1


@pytest.mark.parametrize(
    "content",
    [
        b'base = "cifar-paper"\nx = ' + b"[" * 20_000,
        b'base = "cifar-paper"\nx = ' + b"{a = " * 20_000,
        b'base = "cifar-paper"\n' + b"[" + b".".join([b"a"] * 20_000) + b"]\n",
        b'base = "cifar-paper"\nname = "\xff"\n',
        b"",
        bytes(100),
        b"[]",
        b"base = 3\n",
        b"base = []\n",
        b'base = "cifar-paper"\noptimizer = 3\n',
        b'base = "cifar-paper"\noptimizer = []\n',
        b'base = "cifar-paper"\n[optimizer]\nkind = 3\n',
        b'base = "cifar-paper"\n[optimizer]\nkind = {}\n',
        b'base = "cifar-paper"\n[optimizer]\nkind = []\n',
        b'base = "cifar-paper"\n[optimizer]\nlearning_rate = "x"\n',
        b'base = "cifar-paper"\n[optimizer]\nlearning_rate = nan\n',
        b'base = "cifar-paper"\n[optimizer]\nlearning_rate = 1979-05-27\n',
        b'base = "cifar-paper"\n[schedule]\nmilestones = {}\n',
        b'base = "cifar-paper"\n[schedule]\nlength = ' + b"9" * 4000 + b"\n",
        b'base = "cifar-paper"\nname = 3\n',
        b"x = " + b"1" * (2 << 20),
    ],
)
def test_whatever_a_recipes_file_holds_the_sentence_names_it(tmp_path, content):
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=r"mine.toml") as caught:
        load_recipe(str(path))
    assert len(str(caught.value)) < 10_000
