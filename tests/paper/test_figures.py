"""The figures show what the records say: means over seeds, bands from the lowest to the highest, and no more."""

import re
from dataclasses import replace
from statistics import mean

import numpy as np
import pytest
from matplotlib.colors import to_hex

from reslab.analysis.plots import svg_text
from reslab.analysis.signals import THEORETICAL_GROWTH
from reslab.errors import ReslabError
from reslab.paper.catalogue import Arm
from reslab.paper.experiments import EXPERIMENTS
from reslab.paper.figures import FIGURES, draw_figures
from reslab.paper.report import page
from reslab.paper.run import run_experiment
from reslab.training.recipes import RECIPES

SEEDS = 3


def series(measure, arms, rows, seeds=SEEDS):
    """Items of a measure for every arm and seed, by a function of the arm's place and the seed."""
    return [
        {"arm": arm, "seed": seed, "measure": measure, **rows(place, seed)}
        for place, arm in enumerate(arms)
        for seed in range(seeds)
    ]


def line(axes, label):
    """A line's points, by its label."""
    (found,) = [item for item in axes.lines if item.get_label() == label]
    return np.asarray(found.get_xdata(), dtype=float), np.asarray(found.get_ydata(), dtype=float)


def bands(axes):
    """Of every band in order its x, lowest and highest y."""
    found = []
    for collection in axes.collections:
        vertices = collection.get_paths()[0].vertices
        x = np.unique(vertices[:, 0])
        ends = [vertices[vertices[:, 0] == place, 1] for place in x]
        found.append((x, np.array([own.min() for own in ends]), np.array([own.max() for own in ends])))
    return found


def running_mean(values):
    """Of three rows that are of equally many iterations."""
    return [mean(values[max(0, end - 2) : end + 1]) for end in range(len(values))]


def errors_of(place, seed):
    return {
        "iteration": [10, 20, 30, 40],
        "train_error": [90.0 - place - seed, 70.0 - 2 * seed, 50.0 + place, 30.0 + 3 * seed],
        "test_iteration": [20, 40],
        "test_error": [80.0 - place - seed, 40.0 + seed],
    }


def test_errors(record_of):
    experiment = EXPERIMENTS["fig1"]
    arms = [arm.name for arm in experiment.arms]
    recipe = RECIPES["digits-quick"].resolved(1_000)
    described = [{**arm.to_dict(), "recipe": recipe.to_dict()} for arm in experiment.arms]
    figure = FIGURES["errors"](record_of(experiment, {}, series=series("errors", arms, errors_of), arms=described))
    left, right = figure.axes
    assert (left.get_title(), right.get_title()) == ("plain nets", "residual nets")
    for place, arm in enumerate(arms):
        axes = left if arm.startswith("plain") else right
        own = [errors_of(place, seed) for seed in range(SEEDS)]
        x, y = line(axes, f"{arm}, training")
        smoothed = np.array([running_mean(item["train_error"]) for item in own])
        assert x.tolist() == [10, 20, 30, 40]
        np.testing.assert_allclose(y, smoothed.mean(axis=0))
        x, y = line(axes, f"{arm}, test")
        tests = np.array([item["test_error"] for item in own])
        assert x.tolist() == [20, 40]
        np.testing.assert_allclose(y, tests.mean(axis=0))
        first = 2 * (place % 2)
        for (x, low, high), values in zip(bands(axes)[first : first + 2], (smoothed, tests), strict=True):
            np.testing.assert_allclose(low, values.min(axis=0))
            np.testing.assert_allclose(high, values.max(axis=0))
            assert len(x) == values.shape[1]
    drops = [item.get_xdata()[0] for item in left.lines if item.get_linestyle() == ":"]
    assert drops == [int(milestone) for milestone in recipe.schedule.milestones]
    colors = {item.get_label(): to_hex(item.get_color()) for item in left.lines}
    assert colors["plain20, training"] == colors["plain20, test"] != colors["plain56, test"]
    assert left.get_ylim() == (0, pytest.approx(1.05 * 90))


def test_the_mean_of_rows_is_weighted_by_their_iterations(record_of):
    """A row that the end cut short to one iteration counts a tenth of the others."""
    item = {"iteration": [10, 20, 21], "train_error": [60.0, 30.0, 100.0], "test_iteration": [], "test_error": []}
    experiment = EXPERIMENTS["fig1"]
    figure = FIGURES["errors"](record_of(experiment, {}, series=series("errors", ["plain20"], lambda *_: item, 1)))
    (panel,) = [axes for axes in figure.axes if axes.get_title() == "plain nets"]
    np.testing.assert_allclose(line(panel, "plain20, training")[1], [60, 45, (600 + 300 + 100) / 21])
    assert bands(panel) == []


def test_depths(record_of):
    experiment = EXPERIMENTS["table6"]
    values = {
        "resnet56": {"test_error": [7.0, 7.2, 7.4]},
        "resnet20": {"test_error": [9.0]},
        "resnet110": {"test_error": [6.5, 6.7]},
    }
    (axes,) = FIGURES["depths"](record_of(experiment, values)).axes
    x, y = line(axes, "resnet, here")
    assert x.tolist() == [20, 56, 110]
    np.testing.assert_allclose(y, [9.0, 7.2, 6.6])
    x, y = line(axes, "resnet, paper")
    assert dict(zip(x, y, strict=True)) == {20: 8.75, 56: 6.97, 110: 6.61}  # of 110 layers the mean, as ours are
    points = sorted(value for item in axes.lines if item.get_marker() == "." for value in item.get_ydata())
    assert points == [6.5, 6.7, 7.0, 7.2, 7.4, 9.0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["20", "32", "44", "56", "110", "1202"]


def test_bars(record_of):
    experiment = EXPERIMENTS["shortcuts"]
    values = {
        "A": {"test_error": [8.0, 9.0], "train_error": [1.0, 2.0], "thousand_parameters": [464.154]},
        "none": {"test_error": [20.0], "train_error": [30.0]},
    }
    figure = FIGURES["bars"](record_of(experiment, values))
    assert [axes.get_xlabel() for axes in figure.axes] == [column.heading for column in experiment.columns[:3]]
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names == [arm.name for arm in experiment.arms]
    for axes, value in zip(figure.axes, ("test_error", "train_error", "thousand_parameters"), strict=True):
        drawn = {names[round(bar.get_y() + bar.get_height() / 2)]: bar.get_width() for bar in axes.patches}
        assert drawn == {arm: mean(own[value]) for arm, own in values.items() if value in own}
        points = {tuple(item.get_xdata()) for item in axes.lines}
        assert points == {tuple(own[value]) for own in values.values() if value in own}
        assert axes.get_xscale() == "linear"


def test_bars_of_very_different_values_are_on_a_logarithmic_axis(record_of):
    experiment = EXPERIMENTS["initialization"]
    first, second = (arm.name for arm in experiment.arms[:2])
    values = {first: {"gradient_ratio": [1e-9]}, second: {"gradient_ratio": [20.0]}}
    figure = FIGURES["bars"](record_of(experiment, values))
    assert figure.axes[0].get_xscale() == "log"
    for broken in ([None, 1e-9], [1e-9, None]):
        values[first] = {"gradient_ratio": broken}
        figure = FIGURES["bars"](record_of(experiment, values))
        assert figure.axes[0].get_xscale() == "log"
        assert svg_text(figure)
    values[first] = {"gradient_ratio": [0.0]}
    assert FIGURES["bars"](record_of(experiment, values)).axes[0].get_xscale() == "linear"
    values[first] = values[second] = {"gradient_ratio": [None]}
    assert svg_text(FIGURES["bars"](record_of(experiment, values)))


def test_responses(record_of):
    experiment = EXPERIMENTS["fig7"]
    arms = ["plain20", "resnet20"]

    def rows(place, seed):
        return {"layer": ["a", "b", "c"], "response": [0.5 + place, 0.2 * (seed + 1), 0.9], "estimate": [9, 9, 9]}

    top, bottom = FIGURES["responses"](record_of(experiment, {}, series=series("responses", arms, rows))).axes
    for place, arm in enumerate(arms):
        values = np.array([rows(place, seed)["response"] for seed in range(SEEDS)])
        x, y = line(top, arm)
        assert x.tolist() == [1, 2, 3]
        np.testing.assert_allclose(y, values.mean(axis=0))
        np.testing.assert_allclose(bands(top)[place][1], values.min(axis=0))
        np.testing.assert_allclose(line(bottom, arm)[1], (-np.sort(-values, axis=1)).mean(axis=0))
    assert [item.get_linestyle() for item in top.lines] == ["--", "-"]


def test_responses_of_two_networks_of_one_depth_look_different(record_of):
    names = [f"net{number}" for number in range(12)]
    arms = tuple(Arm(name=name, net="resnet20") for name in names)
    experiment = replace(EXPERIMENTS["fig7"], arms=arms, claims=())
    rows = series("responses", names, lambda *_: {"layer": ["a", "b"], "response": [0.4, 0.3]}, 1)
    top, _ = FIGURES["responses"](record_of(experiment, {}, series=rows)).axes
    colors = [item.get_color() for item in top.lines]
    assert len(set(colors)) == 11  # its depth's, and ten others
    assert colors[0] == colors[-1]


def test_responses_of_weights_alone_are_called_estimates(record_of):
    experiment = EXPERIMENTS["fig7"]
    rows = series("responses", ["resnet20"], lambda *_: {"layer": ["a", "b"], "estimate": [0.4, 0.3]}, 1)
    top, _ = FIGURES["responses"](record_of(experiment, {}, series=rows)).axes
    assert line(top, "resnet20, from batch norm alone")[1].tolist() == [0.4, 0.3]


def test_signals(record_of):
    experiment = EXPERIMENTS["signals"]

    def rows(place, seed):
        start, middle, end = [1.0, 0.5 + seed], [7.0, 7.0], [2.0 + place, 4.0]
        return {"at": [0, 5, 9], "response": [start, middle, end], "gradient": [end, middle, [0.0, 3.0]]}

    record = record_of(experiment, {}, series=series("signals", ["plain20", "resnet20"], rows))
    panels = FIGURES["signals"](record).axes
    expected = {
        "response (std), at the start": [1.0, 1.5],
        "gradient, in stds of the output, at the start": [2.0, 4.0],
        "response (std), trained": [2.0, 4.0],
        "gradient, in stds of the output, trained": [np.nan, 3.0],  # 0 is on no logarithmic axis
    }
    assert [axes.get_title() for axes in panels] == list(expected)
    for axes, values in zip(panels, expected.values(), strict=True):
        x, y = line(axes, "plain20")
        assert x.tolist() == [0, 1]
        np.testing.assert_allclose(y, values)
        assert axes.get_yscale() == "log"


def test_growth(record_of):
    experiment = EXPERIMENTS["explosion"]

    def rows(place, seed):
        return {"layer": ["a", "b", "c"], "gradient": [8.0 + seed, 4.0, 2.0 + place], "stage_growth": []}

    (axes,) = FIGURES["growth"](record_of(experiment, {}, series=series("growth", ["plain20", "resnet20"], rows))).axes
    np.testing.assert_allclose(line(axes, "plain20")[1], [1, 2, 4.5])
    np.testing.assert_allclose(line(axes, "resnet20")[1], [1, 4 / 3, 3])
    (theory,) = [item for item in axes.lines if item.get_label().startswith("theory")]
    np.testing.assert_allclose(theory.get_ydata(), [1, THEORETICAL_GROWTH, THEORETICAL_GROWTH**2])
    assert round(THEORETICAL_GROWTH, 3) == 1.211


def test_branches(record_of):
    experiment = EXPERIMENTS["zero"]

    def rows(place, seed):
        found = {"ratio": [0.5, 0.1 * (seed + 1)], "cosine": [0.6, 0.9], "lesion_error": [30.0, 10.0 + place]}
        return {"block": ["a", "b"], **found, "grows": [True, False], "whole_error": 9.0}

    figure = FIGURES["branches"](record_of(experiment, {}, series=series("branches", ["resnet20", "resnet56"], rows)))
    expected = ([0.5, 0.2], [0.6, 0.9], [30, 11])
    for axes, values in zip(figure.axes, expected, strict=True):
        np.testing.assert_allclose(line(axes, "resnet56")[1], values)
    _, low, high = bands(figure.axes[0])[0]
    np.testing.assert_allclose((low, high), [[0.5, 0.1], [0.5, 0.3]])


def test_layer_costs(record_of):
    experiment = EXPERIMENTS["table1"]
    costs = {"vgg16": [100.0, 900.0], "resnet18": [1.5, 2.5, 1_996.0]}
    rows = [{"arm": arm, "seed": 0, "measure": "layer-costs", "mmacs": own} for arm, own in costs.items()]
    figure = FIGURES["layer-costs"](record_of(experiment, {}, series=rows))
    drawn = {axes.get_title(): [bar.get_height() for bar in axes.patches] for axes in figure.axes if axes.patches}
    assert drawn == {"vgg16: 1 billion in all": costs["vgg16"], "resnet18: 2 billion in all": costs["resnet18"]}


def test_lesions(record_of):
    experiment = EXPERIMENTS["lesions"]

    def rows(place, seed):
        paths = {"path_length": [0, 1, 2], "path_share": [0.2, 0.5 + 0.1 * seed, 0.3 - 0.1 * seed]}
        lesions = {"1": [20.0, 30.0 + seed], "2": [50.0]}
        swaps = {"1": [12.0], "2": [15.0, 17.0]}
        return {"whole_error": 10.0 + place, "lesions": lesions, "swaps": swaps, **(paths if place == 0 else {})}

    record = record_of(experiment, {}, series=series("lesions", ["resnet20", "plain20"], rows))
    left, middle, right = FIGURES["lesions"](record).axes
    for axes, means in ((left, [10, 25.5, 50]), (middle, [10, 12, 16])):
        x, y = line(axes, "resnet20")
        assert x.tolist() == [0, 1, 2]
        np.testing.assert_allclose(y, means)
    np.testing.assert_allclose(line(left, "plain20")[1], [11, 25.5, 50])
    np.testing.assert_allclose(line(right, "resnet20")[1], [0.2, 0.6, 0.2])
    assert len(right.lines) == 1  # there are no paths in a net without shortcuts


def test_toy_losses(record_of):
    experiment = EXPERIMENTS["identity"]
    arms = [arm.name for arm in experiment.arms]

    def rows(place, seed):
        return {"step": [0, 10], "loss": [1.0 + seed, 0.1 * (place + 1)]}

    figure = FIGURES["toy-losses"](record_of(experiment, {}, series=series("identity", arms, rows)))
    without, with_norm = figure.axes
    assert (without.get_title(), with_norm.get_title()) == ("without batch norm", "with batch norm")
    for place, arm in enumerate(experiment.arms):
        axes = with_norm if arm.options["batch_norm"] else without
        label = f"{arm.options['kind']}, {arm.options['layers']} layers"
        np.testing.assert_allclose(line(axes, label)[1], [2.0, 0.1 * (place + 1)])
    styles = {item.get_label(): item.get_linestyle() for axes in figure.axes for item in axes.lines}
    assert {style for label, style in styles.items() if label.startswith("plain")} == {"--"}
    assert {style for label, style in styles.items() if label.startswith("residual")} == {"-"}


def test_autocorrelations(record_of):
    experiment = EXPERIMENTS["shattering"]
    arms = [arm.name for arm in experiment.arms]

    def rows(place, seed):
        return {"lag": [0, 1], "autocorrelation": [1.0, 0.9 - 0.01 * place - 0.1 * seed]}

    figure = FIGURES["autocorrelations"](record_of(experiment, {}, series=series("shattering", arms, rows)))
    assert [axes.get_title() for axes in figure.axes] == ["plain", "residual", "looks-linear"]
    for place, arm in enumerate(arms):
        kind, words = arm.split(", ")
        (axes,) = [item for item in figure.axes if item.get_title() == kind]
        np.testing.assert_allclose(line(axes, words)[1], [1, 0.8 - 0.01 * place])


MEASURE_OF = {
    "errors": "errors",
    "responses": "responses",
    "signals": "signals",
    "growth": "growth",
    "branches": "branches",
    "layer-costs": "layer-costs",
    "lesions": "lesions",
    "toy-losses": "identity",
    "autocorrelations": "shattering",
}
"""What a drawing is made of; `depths` and `bars` are made of values."""


@pytest.mark.parametrize("name", sorted(FIGURES.keys() - {"architectures"}))  # which are drawn from descriptions
def test_a_record_without_what_it_shows_has_no_such_figure(name, record_of):
    users = [experiment for experiment in EXPERIMENTS.values() if name in experiment.figures]
    assert users, "a drawing that no experiment has"
    for experiment in users:
        record = record_of(experiment, {})
        assert FIGURES[name](record) is None
        assert list(draw_figures(record)) == []
        assert name not in MEASURE_OF or MEASURE_OF[name] in {measure.name for measure in experiment.measures}


@pytest.mark.parametrize(
    ("name", "experiment", "item"),
    [
        ("errors", "fig1", errors_of(0, 0) | {"train_error": [90.0, None, 70.0, None]}),
        ("errors", "fig1", errors_of(0, 0) | {"train_error": [None] * 4, "test_error": [None, 30.0]}),
        ("responses", "fig7", {"layer": ["a", "b"], "response": [None, 0.5]}),
        ("responses", "fig7", {"layer": ["a", "b"], "response": [None, None]}),
        ("signals", "signals", {"response": [[None, 1.0]] * 2, "gradient": [[0.0, None]] * 2}),
        ("growth", "explosion", {"gradient": [None, 1.0, 2.0]}),
        ("growth", "explosion", {"gradient": [5.0, 1.0, None]}),
        ("growth", "explosion", {"gradient": [5.0, 1.0, 0.0]}),
        ("branches", "zero", {"ratio": [None, 0.5], "cosine": [None, None], "lesion_error": [90.0, 8.0]}),
        ("lesions", "lesions", {"whole_error": None, "lesions": {"1": [None, 3.0]}, "swaps": {"1": [None]}}),
        ("toy-losses", "identity", {"step": [0, 1], "loss": [1.0, None]}),
        ("autocorrelations", "shattering", {"lag": [0, 1], "autocorrelation": [None, None]}),
    ],
)
@pytest.mark.parametrize("seeds", [1, 2])
def test_values_that_are_no_numbers_leave_gaps(name, experiment, item, seeds, record_of):
    """JSON has no nan: records have None there. One arm was measured, the others were not."""
    whole = EXPERIMENTS[experiment]
    rows = series(MEASURE_OF[name], [whole.arms[0].name], lambda *_: item, seeds)
    figure = FIGURES[name](record_of(whole, {}, series=rows))
    assert svg_text(figure).startswith("<?xml")


def test_titles_say_what_is_shown_how_far_it_is_reduced_and_the_seeds(record_of):
    experiment = EXPERIMENTS["fig1"]
    arms = [arm.name for arm in experiment.arms]
    for seeds, words in ((1, "1 seed"), (3, "3 seeds: mean, lowest to highest")):
        values = {arm: {"test_error": [50.0] * seeds} for arm in arms}
        record = record_of(
            experiment, values, series=series("errors", arms, errors_of, seeds), reduced="digits instead of CIFAR-10"
        )
        ((name, svg),) = draw_figures(record)
        assert name == "errors"
        assert "Degradation and its cure (Fig. 1 and Fig. 6)" in svg
        assert f"reduced: digits instead of CIFAR-10; {words}<" in svg


@pytest.mark.parametrize("name", [r"a $\frac$ folder", "写真", "A &amp; <b>"])
def test_names_of_data_are_drawn_as_they_are(name, record_of):
    experiment = EXPERIMENTS["fig1"]
    rows = series("errors", ["plain20"], errors_of)
    ((_, svg),) = draw_figures(record_of(experiment, {}, series=rows, reduced=f"{name} instead of CIFAR-10"))
    escaped = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert f"{escaped} instead of CIFAR-10" in svg


def test_a_drawing_is_the_same_each_time(record_of):
    experiment = EXPERIMENTS["fig1"]
    record = record_of(experiment, {}, series=series("errors", ["plain20", "resnet20"], errors_of))
    assert list(draw_figures(record)) == list(draw_figures(record))


def test_figure_3_is_drawn_from_the_networks(tmp_path):
    done = run_experiment("fig3", out=tmp_path, progress=False)
    ((name, svg),) = draw_figures(done.record)
    assert name == "architectures"
    assert svg.lstrip().startswith("<?xml")
    for text in ("VGG-19", "plain34", "resnet34", "7x7 conv, 64, /2", "fc 4096"):
        assert f">{text}<" in svg.replace("vgg19", "VGG-19"), text
    # Of VGG-19's 16, plain-34's and ResNet-34's 32 layers of 3x3 each has its box.
    assert len(re.findall(r">3x3 conv, \d+(?:, /2)?<", svg)) == 16 + 32 + 32
    assert (tmp_path / "architectures.svg").read_text() == svg
    report = (tmp_path / "report.html").read_text()
    assert report.count("<figure") == 1
    assert "<?xml" not in report
    values = {row["arm"]: row["values"]["gmacs"] for row in done.record.all_rows}
    assert {name: round(number, 3) for name, number in values.items()} == {
        "vgg19": 19.632,
        "plain34": 3.644,
        "resnet34": 3.644,
    }


def test_a_quoted_experiment_is_not_run():
    with pytest.raises(ReslabError, match="table8 is quoted and not run here: `reslab paper list table8`"):
        run_experiment("table8")
    with pytest.raises(Exception, match=r"nothing\.html"):
        page("nothing.html")
