import json
import math

import pytest

from reslab.errors import RecipeError
from reslab.training.recipe import Recipe, ScheduleRecipe
from reslab.training.recipe_files import load_recipe, recipe_from_dict, recipe_from_toml
from reslab.training.recipes import RECIPES


def test_cifar_paper_is_section_4_2_to_the_letter():
    recipe = load_recipe("cifar-paper")
    assert recipe.schedule.iterations == 64_000
    assert recipe.schedule.milestones == (32_000, 48_000)
    assert recipe.schedule.factor == 0.1
    assert (recipe.schedule.warmup_rate, recipe.schedule.warmup_until_train_error) == (0.01, 80)
    assert recipe.schedule.warmup_from_depth == 110
    assert (recipe.optimizer.learning_rate, recipe.optimizer.momentum) == (0.1, 0.9)
    assert (recipe.optimizer.weight_decay, recipe.optimizer.decay, recipe.optimizer.nesterov) == (1e-4, "all", False)
    assert (recipe.data.batch_size, recipe.data.pad, recipe.data.flip) == (128, 4, True)
    assert (recipe.data.normalization, recipe.data.val_images) == ("per-pixel-mean", 0)
    assert recipe.monitoring.weights == "last"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_dict(name):
    assert recipe_from_dict(RECIPES[name].to_dict()) == RECIPES[name]


def test_a_recipe_is_rescaled_as_a_whole():
    recipe = load_recipe("cifar-paper").rescaled(1000)
    assert recipe.schedule.iterations == 1000
    assert recipe.schedule.milestones == (500, 750)
    assert (recipe.monitoring.log_every, recipe.monitoring.eval_every) == (10, 100)
    assert recipe.monitoring.checkpoint_every <= 100
    longer = load_recipe("cifar-paper").rescaled(128_000)
    assert longer.schedule.milestones == (64_000, 96_000)
    assert load_recipe("cifar-paper").rescaled(4).schedule.milestones == (2, 3)
    assert load_recipe("cifar-paper").rescaled(1).schedule.milestones == ()


def test_a_toml_file_changes_fields_of_its_base(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'base = "cifar-paper"\n[optimizer]\nlearning_rate = 1\nnesterov = true\n[schedule]\nmilestones = [10, 20]\n'
    )
    recipe = load_recipe(str(path))
    assert recipe.name == "mine"
    assert recipe.optimizer.learning_rate == 1.0
    assert isinstance(recipe.optimizer.learning_rate, float)
    assert recipe.optimizer.nesterov
    assert recipe.schedule.milestones == (10, 20)
    assert recipe.data == load_recipe("cifar-paper").data


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
        ('base = "cifar-paper"\n[optimizer]\nlearning_rate = nan', "must be positive"),
        ('base = "cifar-paper"\n[optimizer]\nnesterov = 1', "true or false"),
        ('base = "cifar-paper"\n[optimizer]\ndecay = "none"', "one of all, weights"),
        ('base = "cifar-paper"\n[data]\nbatch_size = 1.5', "a whole number"),
        ('base = "cifar-paper"\n[data]\nbatch_size = 1', "at least 2"),
        ('base = "cifar-paper"\n[schedule]\nmilestones = 3', "must be a list"),
        ('base = "cifar-paper"\n[schedule]\nmilestones = [48000, 32000]', "increasing"),
        ('base = "cifar-paper"\n[schedule]\niterations = 1000', "use --iterations"),
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


@pytest.mark.parametrize(
    "fields",
    [
        {"iterations": 0},
        {"factor": 0.0},
        {"warmup_rate": float("nan")},
        {"warmup_window": 0},
        {"milestones": (0, 5)},
        {"milestones": (5, 5)},
        {"iterations": 10, "milestones": (10,)},
    ],
)
def test_a_schedule_that_contradicts_itself_is_refused(fields):
    with pytest.raises(RecipeError):
        ScheduleRecipe(**fields)


def test_a_rescaling_to_nothing_is_refused():
    with pytest.raises(RecipeError, match="positive"):
        Recipe(name="x").rescaled(0)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"optimizer": {"learning_rate": math.inf}}, r"optimizer\.learning_rate must be a finite number"),
        ({"optimizer": {"clip_norm": math.inf}}, r"optimizer\.clip_norm must be a finite number"),
        ({"optimizer": {"accumulate": 3}}, "cannot be computed in optimizer"),
        ({"optimizer": {"accumulate": 128}}, "of two images or more"),
        ({"optimizer": {"kind": "lamb", "nesterov": True}}, "needs SGD"),
        ({"data": {"batch_size": 9}, "regularization": {"ghost_batch": 4}}, "leave a single one"),
        ({"regularization": {"ghost_batch": 1}}, "must be 0 or at least 2"),
        ({"data": {"batch_size": 1 << 21}}, "at most 2"),
        ({"schedule": {"iterations": 10**20}}, "below 2"),
        ({"data": {"shorter_side": (480, 256)}}, "the smaller one first"),
        ({"data": {"shorter_side": (1, 2, 3)}}, "two numbers"),
        ({"data": {"area": (0.0, 1.0)}}, "two shares"),
        ({"data": {"images": "photos", "train_size": 300}}, "hold no crop of 300"),
        ({"data": {"test_size": 300}}, "at least data.test_size"),
        ({"regularization": {"ema_decay": 1.0}}, "below 1"),
        ({"regularization": {"mixup": -1.0}}, "between 0 and 100"),
    ],
)
def test_fields_that_cannot_be_are_refused(tables, message):
    with pytest.raises(RecipeError, match=message):
        recipe_from_dict({"name": "wrong", **tables})


def test_every_recipe_survives_being_written_down():
    for recipe in RECIPES.values():
        assert recipe_from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_an_average_keeps_its_share_of_a_shorter_schedule():
    recipe = load_recipe("imagenet-v2")
    short = recipe.rescaled(recipe.schedule.iterations // 1000)
    assert short.regularization.ema_decay == pytest.approx(recipe.regularization.ema_decay**1000, rel=1e-3)
