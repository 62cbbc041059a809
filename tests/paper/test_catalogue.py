"""The catalogue: every experiment is complete, can be planned, and compares different things."""

import inspect
import re
from dataclasses import replace

import pytest

from reslab.errors import ReslabError
from reslab.models import parse_model, spell
from reslab.paper.catalogue import Arm, Ensemble, Experiment, chosen_arms
from reslab.paper.choices import Choices, arm_recipe, full_iterations, recipe_name
from reslab.paper.claims import Less
from reslab.paper.experiments import EXPERIMENTS, NOTES, find_experiment
from reslab.paper.experiments.common import ERRORS, TRAINED, arms
from reslab.paper.figures import FIGURES
from reslab.paper.listing import describe, listing, quoted_tables
from reslab.paper.measures import MEASURES, find_measure
from reslab.paper.planning import Planner
from reslab.paper.reference import find_table

TRAINED_HERE = [name for name, experiment in EXPERIMENTS.items() if experiment.trains]
each = pytest.mark.parametrize("name", EXPERIMENTS)
each_trained = pytest.mark.parametrize("name", TRAINED_HERE)


def test_every_figure_and_table_of_the_paper_is_there():
    wanted = {f"fig{number}" for number in range(1, 8)} | {f"table{number}" for number in range(1, 15)}
    assert wanted <= EXPERIMENTS.keys()
    for name in wanted:
        spoken = re.sub(r"(\D+)(\d+)", lambda found: f"{found[1].capitalize()} {found[2]}", name)
        spoken = spoken.replace("Fig ", "Fig. ")
        assert re.search(rf"{re.escape(spoken)}\b", EXPERIMENTS[name].source), name
    assert {EXPERIMENTS[name].group for name in wanted} == {"figure", "table"}
    assert {EXPERIMENTS[f"table{number}"].how for number in range(7, 15)} == {"quoted"}


def test_the_claims_of_the_text_are_there():
    """Those that the text makes without a table, by what they are about."""
    wanted = {"signals", "longer", "construction", "convergence", "zero", "initialization", "warmup", "shortcuts"}
    assert wanted <= {name for name, experiment in EXPERIMENTS.items() if experiment.group == "text"}


@each
def test_its_parts_exist(name):
    experiment = EXPERIMENTS[name]
    assert experiment.name == name
    assert set(experiment.figures) <= set(FIGURES)
    for table in experiment.quoted:
        assert find_table(table).rows
    taken = {measure.name for measure in experiment.measures}
    assert taken <= MEASURES.keys()
    assert experiment.how == "quoted" or (experiment.arms and experiment.measures)
    assert experiment.quoted or experiment.how != "quoted"
    if experiment.trains:
        assert ERRORS in experiment.measures
    known = {arm.name for arm in experiment.arms}
    assert all(set(measure.arms) <= known for measure in experiment.measures)
    assert all(set(ensemble.arms) <= known for ensemble in experiment.ensembles)


@each
def test_its_measures_take_the_options_that_they_are_given(name):
    experiment = EXPERIMENTS[name]
    for measure in experiment.measures:
        function = find_measure(measure.name).function
        for arm in experiment.arms:
            options = {**measure.options, **arm.options}
            taken = inspect.signature(function).bind(None, **options)  # raises where one is missing or unknown
            assert set(taken.kwargs) == set(options)


@each
def test_its_networks_exist_for_the_images_of_the_paper_and_of_the_digits(name):
    for arm in (arm for arm in EXPERIMENTS[name].arms if arm.net):
        own = parse_model(arm.net)
        assert own.depth > 0
        if EXPERIMENTS[name].trains:
            for channels in (1, 3):
                spec = parse_model(arm.net, defaults={"num_classes": 10, "in_channels": channels})
                assert (spec.num_classes, spec.in_channels, spec.depth) == (10, channels, own.depth)


@each_trained
def test_every_arm_has_a_recipe_of_its_own_on_the_digits(name, digits):
    experiment = EXPERIMENTS[name]
    choices = Choices()
    iterations = full_iterations(experiment, choices, photos=False)
    found = {}
    for arm in experiment.arms:
        recipe = arm_recipe(experiment, arm, choices, digits, iterations)
        assert recipe.iterations == round(iterations * arm.length)
        net = spell(parse_model(arm.net, defaults={"num_classes": 10, "in_channels": 1}))
        found[arm.name] = (net, recipe)
    pairs = list(found.values())
    assert [pair for number, pair in enumerate(pairs) if pair in pairs[:number]] == []


@each_trained
def test_every_arm_has_a_recipe_of_its_own_in_the_setting_of_the_paper(name, small_color_images):
    """Images of CIFAR-10's shape are trained under the paper's recipe, those of the ImageNet experiments, too."""
    experiment = EXPERIMENTS[name]
    choices = Choices(data="colors")
    assert recipe_name(experiment, choices, photos=False) == "cifar-paper"
    assert full_iterations(experiment, choices, photos=False) == 64_000
    pairs = []
    for arm in experiment.arms:
        recipe = arm_recipe(experiment, arm, choices, small_color_images, 64_000)
        length = round(64_000 * arm.length)
        steps = [int(milestone) for milestone in recipe.schedule.milestones]
        assert (recipe.iterations, steps) == (length, [length // 2, length * 3 // 4])
        assert (recipe.data.batch_size, recipe.optimizer.weight_decay) in ((128, 1e-4), (128, 0.0001))
        pairs.append((spell(parse_model(arm.net, defaults={"num_classes": 10, "in_channels": 3})), recipe))
    assert [pair for number, pair in enumerate(pairs) if pair in pairs[:number]] == []


def test_what_differs_between_arms_is_in_their_recipes(digits, small_color_images):
    warmup, details, cause = (EXPERIMENTS[name] for name in ("warmup", "details", "cause"))
    paper = Choices(data="colors")

    def recipe(experiment, arm, choices=paper, data=small_color_images):
        return arm_recipe(experiment, experiment.arm(arm), choices, data, 64_000)

    assert recipe(warmup, "with warm-up").schedule.deep_warmup != recipe(warmup, "without").schedule.deep_warmup
    halves = "batch norm over halves"
    assert recipe(details, halves).regularization.ghost_batch == 64
    assert recipe(details, halves, Choices(), digits).regularization.ghost_batch == 16
    assert recipe(details, halves, Choices(), digits).data.batch_size == 32
    assert recipe(details, "Nesterov's momentum").optimizer.nesterov
    assert not recipe(details, "as in the recipe").optimizer.nesterov
    clipped = recipe(cause, "plain56, with decay, clipped").optimizer
    assert (clipped.clip_norm, clipped.decay, clipped.weight_decay) == (0.1, "all", 1e-4)
    short = recipe(cause, "plain56, with decay, clipped", Choices(), digits).optimizer
    assert (short.clip_norm, short.decay, short.weight_decay) == (0.1, "norms", 0.025)


def test_choices_of_the_user_reach_the_recipe(digits):
    experiment, arm = EXPERIMENTS["fig1"], EXPERIMENTS["fig1"].arms[0]
    chosen = arm_recipe(experiment, arm, Choices(precision="bf16", threads=3), digits, 100)
    assert (chosen.hardware.precision, chosen.hardware.threads, chosen.iterations) == ("bf16", 3, 100)
    assert arm_recipe(experiment, arm, Choices(), digits, 3).iterations == 20
    with pytest.raises(ReslabError, match="--input-size is for photos"):
        arm_recipe(experiment, arm, Choices(input_size=64), digits, 100)
    with pytest.raises(ReslabError, match="--iterations must be at least 20, not 19"):
        full_iterations(experiment, Choices(iterations=19), photos=False)
    with pytest.raises(ReslabError, match="give --iterations"):
        full_iterations(experiment, Choices(data="folder", recipe="imagenet-90"), photos=False)


@pytest.mark.parametrize(("iterations", "points"), [(20, 2), (100, 8), (225, 20), (2_000, 20)])
def test_tests_along_a_training_look_at_no_more_images_than_it_trains_on(digits, iterations, points):
    """By hand: batches of 32, 360 test images; at most 20 tests, and at least two."""
    experiment = EXPERIMENTS["fig1"]
    recipe = arm_recipe(experiment, experiment.arms[0], Choices(), digits, iterations)
    assert recipe.data.batch_size == 32
    assert iterations // int(recipe.monitoring.eval_every) == points


def test_two_arms_that_are_the_same_training_are_refused(tmp_path):
    """A basic block has no 1x1 that the stride could be on; so these two are one network."""
    same = Experiment(
        name="same",
        title="The same twice",
        source="a test",
        group="beyond",
        arms=(Arm(net="resnet20"), Arm(net="resnet20[shortcut=A]", name="another name")),
        measures=TRAINED,
    )
    planner = Planner(same, Choices(iterations=20), folder=tmp_path, store=tmp_path / "runs")
    with pytest.raises(ReslabError, match="another name and resnet20 are the same network and recipe"):
        planner.plan(20)
    other = replace(same, arms=(same.arms[0], replace(same.arms[1], fields={"optimizer.nesterov": "true"})))
    planner = Planner(other, Choices(iterations=20), folder=tmp_path, store=tmp_path / "runs")
    assert len(planner.plan(20).jobs) == 2


def test_arms_and_claims_of_an_experiment_must_fit():
    with pytest.raises(ValueError, match="two arms of one name"):
        Experiment(name="x", title="x", source="x", group="text", arms=arms("resnet20", "resnet20"))
    claim = Less(text="It is so.", source="x", value="test_error", higher="plain20", lower="resnet20")
    with pytest.raises(ValueError, match="which is no arm"):
        Experiment(name="x", title="x", source="x", group="text", arms=arms("resnet20"), claims=(claim,))


@each
def test_where_the_paper_has_numbers_they_stand_beside_ours(name, record_of):
    experiment = EXPERIMENTS[name]
    record = record_of(experiment, {})
    for column in (column for column in experiment.columns if column.paper):
        found = {arm.name: record.paper_value(arm.name, column) for arm in experiment.arms}
        assert any(found.values()), column.heading


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        ("fig1", "test_error", {"plain20": "about 9", "plain56": "about 13", "resnet20": "8.75", "resnet56": "6.97"}),
        ("table1", "gmacs", {"resnet50": "3.8", "resnet152": "11.3", "vgg16": "15.3", "vgg19": "19.6"}),
        ("table2", "crops_top1", {"plain18": "27.94", "plain34": "28.54", "resnet18": "27.88", "resnet34": "25.03"}),
        (
            "table3",
            "crops_top1",
            {
                "plain34": "28.54",
                "resnet34 A": "25.03",
                "resnet34 B": "24.52",
                "resnet34 C": "24.19",
                "resnet50": "22.85",
                "resnet101": "21.75",
                "resnet152": "21.43",
            },
        ),
        ("table3", "crops_top5", {"plain34": "10.02", "resnet34 B": "7.46", "resnet152": "5.71"}),
        ("table4", "dense_top1", {"resnet34 B": "21.84", "resnet34 C": "21.53", "resnet152": "19.38"}),
        ("table4", "dense_top5", {"resnet34 B": "5.71", "resnet50": "5.25", "resnet152": "4.49"}),
        ("table6", "test_error", {"resnet32": "7.51", "resnet44": "7.17", "resnet110": "6.43", "resnet1202": "7.93"}),
        ("orders", "test_error", {"original": "6.61", "BN after addition": "8.17", "full pre-activation": "6.37"}),
    ],
)
def test_the_numbers_of_the_paper_are_those_of_the_same_networks(name, column, values, record_of):
    experiment = EXPERIMENTS[name]
    record = record_of(experiment, {})
    *_, found = [item for item in experiment.columns if item.value == column]  # of table6 the best, behind the mean
    assert {arm: str(record.paper_value(arm, found)) for arm in values} == values


@each
def test_its_note_says_how_it_is_run(name):
    title, _, rest = NOTES[name].partition("\n\n")
    verb = "list" if EXPERIMENTS[name].how == "quoted" else "run"
    commands = re.findall(r"^    (reslab paper (?:run|list) (\S+).*)$", rest, re.MULTILINE)
    assert commands, rest
    assert "\n" not in title.strip()
    shared = {other for other in EXPERIMENTS if NOTES[other] == NOTES[name]}  # as of Figures 2, 3 and 5
    assert {experiment for _, experiment in commands} & shared
    assert all(command.startswith(f"reslab paper {verb} ") for command, _ in commands)


def test_the_arms_of_some_depths_take_with_them_the_claims_about_others():
    whole = find_experiment("fig6")
    assert chosen_arms(whole) is whole
    some = chosen_arms(whole, (20, 56))
    assert [arm.name for arm in some.arms] == ["plain20", "plain56", "resnet20", "resnet56"]
    assert {claim for claim in whole.claims if set(claim.arms) <= {arm.name for arm in some.arms}} == set(some.claims)
    assert 0 < len(some.claims) < len(whole.claims)
    with pytest.raises(ReslabError, match="no network of 21 layers; its depths are 20, 32, 44, 56, 110, 1202"):
        chosen_arms(whole, (20, 21))


def test_an_ensemble_stays_if_all_its_members_do():
    whole = find_experiment("table5")
    assert chosen_arms(whole, (20, 32, 44, 56)).ensembles == whole.ensembles
    some = chosen_arms(whole, (20, 32))
    assert (some.ensembles, some.claims) == ((), ())
    claim = Less(text="It is so.", source="x", value="test_error", higher="resnet20", lower="two")
    pair = replace(whole, ensembles=(Ensemble(name="two", arms=("resnet20", "resnet32")),), claims=(claim,))
    assert chosen_arms(pair, (20, 32)).claims == (claim,)


def test_an_unknown_name_gets_near_ones():
    with pytest.raises(ReslabError, match=r"no experiment 'fig8'.*fig"):
        find_experiment("fig8")
    with pytest.raises(ReslabError, match="no measure 'eror'"):
        find_measure("eror")


def test_the_list_has_every_experiment_in_the_order_of_the_groups():
    rows = listing()
    assert [row["name"] for row in rows] == list(EXPERIMENTS)
    groups = [row["group"] for row in rows]
    assert groups == sorted(groups, key=("figure", "table", "text", "beyond").index)
    assert {row["cost"] for row in rows if row["shown"] == "quoted"} == {"-"}
    described = describe("table3")
    assert [claim["value"] for claim in described["claims"]] == ["crops_top1"] * 4
    assert described["note"].startswith("Table 3")
    assert quoted_tables("table3")[0].headings == ("", "top1 error", "top5 error")
