"""Tables: one model, as Markdown and HTML; the paper's numbers beside ours; and Table 1's arithmetic to the digit."""

import json
import re
from html.parser import HTMLParser

import pytest

from reslab.errors import ReslabError
from reslab.paper.experiments import EXPERIMENTS
from reslab.paper.reference import TABLES, find_table
from reslab.paper.run import run_experiment
from reslab.paper.tables import Table, main_table, quoted_table, verdict_table, with_spread

TABLE = Table(
    ("net", "|F| / |x|", "a < b"), (("plain|20", "1,234.5", "A & B"), ("<b>", "-", '"x"')), right=(1,), note="x < y & z"
)


class Cells(HTMLParser):
    """Texts of a table's cells, and the classes of their elements."""

    def __init__(self, html):
        super().__init__()
        self.rows, self.classes = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.classes.append(dict(attributes).get("class"))

    def handle_data(self, data):
        if self.rows and self.rows[-1] and data.strip():
            self.rows[-1][-1] += data


def cells_of_markdown(text):
    """As a reader of Markdown splits the lines."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [split[0], *split[2:]], split[1]


def test_markdown_keeps_every_cell_in_its_column():
    rows, marks = cells_of_markdown(TABLE.to_markdown())
    assert rows == [list(TABLE.headings), *map(list, TABLE.rows)]
    assert marks == ["---", "---:", "---"]
    assert TABLE.to_markdown().endswith("\n\nx < y & z\n")


def test_html_escapes_what_would_be_markup():
    html = TABLE.to_html("numbers")
    assert 'id="numbers"' in html
    assert "<b>" not in html
    parsed = Cells(html.partition("</table>")[0])
    assert parsed.rows == [list(TABLE.headings), *map(list, TABLE.rows)]
    assert parsed.classes == [None, "number", None] * 3
    assert html.endswith("<p>x &lt; y &amp; z</p>")


@pytest.mark.parametrize(
    ("values", "digits", "text"),
    [
        ([], 2, "-"),
        ([8.756], 2, "8.76"),
        ([9.0, 10.0, 11.0], 2, "10.00 ± 1.00"),
        ([9.0, 9.0], 1, "9.0 ± 0.0"),
        ([25_557_032.0], 0, "2.6e+07"),
        ([464.154], 1, "464.2"),
        ([1_234.5], 1, "1,234"),
        ([6_995.5, 7_001.5, 6_998.5], 1, "6,998 ± 3"),
        ([1.5e7, 2.5e7], 1, "2e+07 ± 7.1e+06"),
        ([1.5e-7], 3, "1.5e-07"),
        ([0.0], 3, "0.000"),
        ([-0.25], 2, "-0.25"),
        ([float("nan")], 0, "never"),
        ([float("inf"), 1.0, 2.0], 0, "1 of 3 never"),
        ([float("nan")] * 2, 0, "2 of 2 never"),
    ],
)
def test_a_value_with_its_spread_over_seeds(values, digits, text):
    assert with_spread(values, digits) == text


def test_the_numbers_of_the_paper_and_of_others_stand_beside_ours(record_of):
    experiment = EXPERIMENTS["fig1"]
    values = {
        "plain20": {"test_error": [9.0, 10.0, 11.0], "train_error": [1.25, 1.75, 2.25]},
        "resnet56": {"test_error": [7.125], "train_error": [0.5]},
    }
    table = main_table(record_of(experiment, values))
    assert table.headings == (
        "arm",
        "paper: test error, CIFAR-10 %",
        "others, CIFAR-10 %",
        "test error %",
        "training error %",
        "n",
    )
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == [arm.name for arm in experiment.arms]
    assert (rows["plain20"][0], *rows["plain20"][2:]) == ("about 9", "10.00 ± 1.00", "1.75 ± 0.50", "3")
    assert (rows["resnet56"][0], *rows["resnet56"][2:]) == ("6.97", "7.12", "0.50", "1")
    assert (rows["plain56"][0], *rows["plain56"][2:]) == ("about 13", "-", "-", "0")
    assert rows["plain20"][1] == "9.50 to 9.90 (4)"
    assert table.right == (1, 2, 3, 4, 5)


def test_what_a_column_is_measured_in_is_kept_in_the_paper_s_own(record_of):
    """Multiply-adds are no per cents."""
    record = record_of(EXPERIMENTS["table1"], {"resnet50": {"gmacs": [3.858]}})
    assert main_table(record).headings[:3] == (
        "arm",
        "paper: multiply-adds, billions, ImageNet",
        "multiply-adds, billions",
    )
    record = record_of(EXPERIMENTS["table3"], {"resnet50": {"crops_top5": [7.0]}})
    assert main_table(record).headings[1:3] == ("paper: top-5, ImageNet %", "top-5 %")


def test_what_was_never_reached_is_said_in_words(record_of):
    experiment = EXPERIMENTS["convergence"]
    values = {
        "plain18": {"iterations_to_error": [None, 400.0, None]},
        "resnet18": {"iterations_to_error": [300.0, 320.0, 340.0]},
    }
    rows = {row[0]: row for row in main_table(record_of(experiment, values)).rows}
    assert (rows["plain18"][1], rows["resnet18"][1]) == ("2 of 3 never", "320 ± 20")


def test_headings_with_bars_stay_in_their_column(record_of):
    """|F| / |x|, of the experiment `zero`."""
    record = record_of(EXPERIMENTS["zero"], {"resnet20": {"mean_ratio": [0.5], "test_error": [8.0]}})
    rows, marks = cells_of_markdown(main_table(record).to_markdown())
    assert rows[0] == ["arm", "mean |F| / |x|", "test error %", "n"]
    assert {len(row) for row in rows} == {len(marks)} == {4}


def test_ensembles_are_the_last_rows(record_of):
    experiment = EXPERIMENTS["table5"]
    values = {"all four together": {"test_error": [6.0]}, "resnet20": {"test_error": [9.0]}}
    rows = main_table(record_of(experiment, values)).rows
    assert [row[0] for row in rows] == ["resnet20", "resnet32", "resnet44", "resnet56", "all four together"]
    assert rows[-1][1:] == ("6.00", "1")


def test_the_best_of_several_seeds_stands_beside_the_paper_s_best(record_of):
    """Table 6: of ResNet-110 the paper gives the best of five, and the mean."""
    experiment = EXPERIMENTS["table6"]
    values = {"resnet110": {"test_error": [6.5, 6.75, 6.25]}, "resnet20": {"test_error": [8.5]}}
    table = main_table(record_of(experiment, values))
    rows = {row[0]: dict(zip(table.headings, row, strict=True)) for row in table.rows}
    assert rows["resnet110"]["test error %"] == "6.50 ± 0.25"
    assert rows["resnet110"]["best %"] == "6.25"
    assert rows["resnet110"]["paper: test error, CIFAR-10 %"] == "6.61 ± 0.16"
    assert rows["resnet110"]["paper: best, CIFAR-10 %"] == "6.43"
    assert rows["resnet20"]["paper: best, CIFAR-10 %"] == "8.75"


def test_verdicts_as_a_table(record_of):
    experiment = EXPERIMENTS["fig1"]
    values = {"plain20": {"train_error": [10.0]}, "plain56": {"train_error": [50.0]}}
    table = verdict_table(record_of(experiment, values, counts={"train_error": 1_000}))
    ((claim, source, outcome, figures, basis),) = table.rows
    assert (claim, source) == (experiment.claims[0].text, experiment.claims[0].source)
    assert outcome == "held"
    assert figures.startswith("train error of plain20 10.00 %, plain56 50.00 %: difference +40.00 points")
    assert "1 seed" in basis


@pytest.mark.parametrize("name", TABLES)
def test_every_quoted_table_is_shown_whole(name):
    quoted = find_table(name)
    table = quoted_table(quoted)
    assert [row[0] for row in table.rows] == [row.label for row in quoted.rows]
    assert table.note.startswith(quoted.title)
    assert {len(row) for row in table.rows} == {len(table.headings)}
    shown = "".join(cell for row in table.rows for cell in row[1:])
    marked = sum(value.from_memory for row in quoted.rows for value in row.values if value is not None)
    assert shown.count("†") == marked
    assert ("from memory" in table.note) == (marked > 0)
    rows, _ = cells_of_markdown(table.to_markdown())
    assert rows == [list(table.headings), *map(list, table.rows)]


def test_numbers_are_quoted_with_the_digits_that_they_are_printed_with():
    table = quoted_table(find_table("table6"))
    rows = {row[0]: row[1:] for row in table.rows}
    assert table.headings == ("", "num layers", "parameters millions", "test error", "mean test error")
    assert rows["ResNet-110"] == ("110", "1.7", "6.43", "6.61 ± 0.16")
    assert rows["Maxout"] == ("-", "-", "9.38", "-")


@pytest.fixture(scope="module")
def table1(tmp_path_factory):
    return run_experiment("table1", out=tmp_path_factory.mktemp("table1"), progress=False)


COUNTS = {  # multiply-adds in billions and parameters, counted by hand and by other libraries
    "plain18": (1.795, 11_515_688),
    "plain34": (3.644, 21_623_848),
    "resnet18": (1.795, 11_515_688),
    "resnet34": (3.644, 21_623_848),
    "resnet50": (3.858, 25_557_032),
    "resnet101": (7.570, 44_549_160),
    "resnet152": (11.282, 60_192_808),
    "vgg16": (15.470, 138_357_544),  # parameters of VGG: torchvision's documentation
    "vgg19": (19.632, 143_667_240),
}


def test_table_1_counts_to_the_digit(table1):
    rows = {row["arm"]: row["values"] for row in table1.record.all_rows}
    found = {arm: (round(values["gmacs"], 3), round(values["parameters"])) for arm, values in rows.items()}
    assert found == COUNTS
    depths = {arm: values["num_layers"] for arm, values in rows.items()}
    assert depths == {arm: int(re.search(r"\d+", arm)[0]) for arm in COUNTS}
    assert rows["plain34"]["stage_cost_ratio"] == 1
    assert rows["resnet50"]["bottleneck_weights"] == 69_632
    assert rows["resnet50"]["basic_weights"] == 73_728
    assert rows["resnet50"]["projection_ratio"] == pytest.approx(135_168 / 69_632)
    by_layer = {item["arm"]: sum(item["mmacs"]) for item in table1.record.series("layer-costs")}
    assert {arm: round(costs / 1000, 3) for arm, costs in by_layer.items()} == {
        arm: gmacs for arm, (gmacs, _) in COUNTS.items()
    }


def test_all_claims_of_table_1_hold(table1):
    verdicts = table1.record.content["verdicts"]
    assert [item["claim"] for item in verdicts] == [claim.text for claim in EXPERIMENTS["table1"].claims]
    assert {item["outcome"] for item in verdicts} == {"held"}
    assert {item["basis"] for item in verdicts} == {"computed"}


def test_table_1_as_it_is_shown(table1):
    rows = {row[0]: row[1:] for row in main_table(table1.record).rows}
    assert rows["resnet152"] == ("11.3", "11.282", "60.193", "152", "1")
    assert rows["vgg19"] == ("19.6", "19.632", "143.667", "19", "1")
    assert rows["plain34"] == ("-", "3.644", "21.624", "34", "1")


def test_what_the_text_says_of_the_tables_holds_in_them(tmp_path):
    record = run_experiment("quotes", out=tmp_path, progress=False).record
    assert [item["outcome"] for item in record.content["verdicts"]] == ["held"] * 9
    assert record.values("ResNet-152, single", "top5_error") == [4.49]
    assert record.values("ResNet-101 on COCO", "map") == [27.2]


def test_a_computed_record_is_the_same_each_time(tmp_path):
    records = [run_experiment("table1", depths=(18,), out=tmp_path / name, progress=False).record for name in "ab"]
    assert records[0].content == records[1].content
    written = json.loads((tmp_path / "a" / "results.json").read_text())
    assert {name: value for name, value in written.items() if name != "checksum"} == records[0].content
    assert str(tmp_path) not in (tmp_path / "a" / "results.json").read_text()
    assert records[0].heading == "Architectures and their arithmetic (Table 1, Sec. 3.3 and 4.1)"
    assert [row["arm"] for row in records[0].all_rows] == ["plain18", "resnet18"]


def test_options_out_of_range_get_a_sentence(tmp_path):
    with pytest.raises(ReslabError, match="--seeds must be between 1 and 4096, not 0"):
        run_experiment("table1", out=tmp_path, seeds=0)
    with pytest.raises(ReslabError, match="give --budget or --iterations"):
        run_experiment("table1", out=tmp_path, budget="1m", iterations=20)
    with pytest.raises(ReslabError, match="table1 is about networks of its own; --nets is for"):
        run_experiment("table1", out=tmp_path, nets=["resnet20"])
