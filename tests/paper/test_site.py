"""Many records as a site, in a real browser: nothing leaves, nothing complains, everything fits and can be clicked."""

import itertools
import json
import re
import shutil
from urllib.parse import unquote

import pytest

from reslab.cli.main import main
from reslab.errors import ReslabError, ReslabWarning
from reslab.paper.experiments import EXPERIMENTS
from reslab.paper.learning import lessons
from reslab.paper.record import Record
from reslab.paper.run import run_experiment
from reslab.paper.site import find_records, write_site

DIGITS = {
    "name": "digits",
    "note": "",
    "num_classes": 10,
    "height": 16,
    "width": 16,
    "channels": 1,
    "splits": {role: {"num_images": count, "sha256": "0" * 64} for role, count in (("train", 1257), ("test", 360))},
}
DEPTHS = (8, 20, 56, 110)  # of the small experiment's nets, and of those of `signals`
ODD = "signals of 1 % & more #2"
"""A folder's name that must be written otherwise in addresses and in HTML."""
NAMES = ("tiny-digits", "table1", ODD)

pytestmark = pytest.mark.usefixtures("tiny_in_catalogue")


def signals_record(record_of):
    """Two seeds of each arm of the experiment `signals`, as if they had been measured."""
    experiment = EXPERIMENTS["signals"]
    values, series = {}, []
    for place, arm in enumerate(experiment.arms):
        values[arm.name] = {
            "start_gradient_ratio": [20.0 + place, 22.0 + place],
            "least_response": [0.5, 0.6],
            "train_error": [40.0, 42.0],
        }
        for seed in range(2):
            own = {"arm": arm.name, "seed": seed}
            errors = [90.0 - place, 70.0 + seed, 50.0, 30.0 + place]
            series.append(
                {**own, "measure": "errors", "iteration": [10, 20, 30, 40], "train_error": errors, "loss": [2.0] * 4}
                | {"test_iteration": [20, 40], "test_error": [60.0, 35.0 + place]}
            )
            layers = [[1.0 + place, 0.8, 0.6], [0.9, 0.7, 0.5]]
            series.append({**own, "measure": "signals", "at": [0, 40], "response": layers, "gradient": layers})
    return record_of(experiment, values, series=series, data=DIGITS)


@pytest.fixture(scope="module")
def records(tiny_folder, record_of, tmp_path_factory):
    """Real trainings, something computed, and one of many arms with two seeds."""
    folder = tmp_path_factory.mktemp("records")
    shutil.copytree(tiny_folder, folder / "tiny-digits", ignore=shutil.ignore_patterns("runs"))
    run_experiment("table1", out=folder / "table1", progress=False)
    (folder / ODD).mkdir()
    signals_record(record_of).write(folder / ODD)
    return folder


@pytest.fixture(scope="module")
def site(records, tmp_path_factory):
    """A site of all three; tests read it and do not write there."""
    return write_site([records / name for name in NAMES], tmp_path_factory.mktemp("site"))


@pytest.fixture
def folders(records, tmp_path):
    """The three folders, to be changed."""
    shutil.copytree(records, tmp_path / "records")
    return [tmp_path / "records" / name for name in NAMES]


def fits(page):
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def luminance(page, of):
    """WCAG's relative luminance of a colour of the page's body."""
    words = page.evaluate(f"getComputedStyle(document.body).{of}")
    parts = [int(word) / 255 for word in re.findall(r"\d+", words)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_the_overview_lists_the_whole_catalogue_and_every_record(site, browser_page):
    assert site.num_records == 3
    assert str(site) == f"3 records: {site.index}"
    page, problems = browser_page(site.index)
    names = [
        text
        for group in ("figure", "table", "text", "beyond")
        for text in page.locator(f"#{group} td:first-child code").all_inner_texts()
    ]
    assert names == list(EXPERIMENTS)
    links = page.locator("td a").all_inner_texts()
    assert sorted(links) == sorted(["tiny-digits", "table1", ODD])
    row = page.locator("#table tr", has_text="Architectures and their arithmetic")
    assert "8 held" in row.inner_text()
    assert page.get_by_text("quoted only").count() == 8
    assert problems == []


def test_every_link_leads_to_a_page_that_is_there(site, browser_page):
    page, problems = browser_page(site.index)
    targets = page.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert len(set(targets)) == 4
    for target in sorted(set(targets)):
        path = site.index.parent / unquote(target.rpartition("/")[2])
        assert path.is_file(), target
        page.goto(target)
        back = page.get_by_role("link", name="all experiments")
        assert back.count() == 1
        back.click()
        page.wait_for_load_state()  # the next page would break it off, which counts as a request that failed
        assert page.url == site.index.as_uri()
    assert problems == []


@pytest.mark.parametrize(
    ("width", "dark"),
    [
        (400, True),
        (1200, False),
        pytest.param(400, False, marks=pytest.mark.slow),
        pytest.param(1200, True, marks=pytest.mark.slow),
    ],
)
def test_pages_fit_and_can_be_read(site, browser_page, width, dark, tmp_path):
    for path in sorted(site.index.parent.glob("*.html")):
        page, problems = browser_page(path, width=width, dark=dark)
        assert fits(page), path.name
        text, ground = luminance(page, "color"), luminance(page, "backgroundColor")
        assert (text > ground) == dark
        lighter, darker = max(text, ground), min(text, ground)
        assert (lighter + 0.05) / (darker + 0.05) > 7  # WCAG's AAA
        assert problems == []
        page.screenshot(path=tmp_path / f"{path.stem}-{width}-{'dark' if dark else 'light'}.png", full_page=True)
        page.context.close()


def test_a_page_shows_its_record(site, browser_page):
    page, _ = browser_page(site.index.parent / "tiny-digits.html")
    assert page.locator("h1").inner_text() == "Eight layers"
    assert page.locator("#errors tbody tr").count() == 2
    assert page.locator("#verdicts tr").count() == 2
    assert page.locator("figure svg").count() == 2
    assert page.get_by_text("reslab paper run tiny").count() == 1
    page, _ = browser_page(site.index.parent / "table1.html")
    assert page.locator("#verdicts .held").count() == 8
    assert page.locator("#deviations").count() == 0
    assert page.get_by_text("Computed from the networks’ descriptions").count() == 1


def test_what_is_beyond_the_paper_is_not_said_to_be_of_it(record_of, browser_page, tmp_path):
    for name in ("orders", "fig1"):
        (tmp_path / name).mkdir()
        record_of(EXPERIMENTS[name], {"original": {"test_error": [6.0]}}, reduced="").write(tmp_path / name)
    site = write_site([tmp_path / "orders", tmp_path / "fig1"], tmp_path / "site")
    page, _ = browser_page(site.index.parent / "orders.html")
    assert page.locator(".lead").inner_text() == "arXiv 1603.05027, Table 2"
    page, _ = browser_page(site.index.parent / "fig1.html")
    assert page.locator(".lead").inner_text().startswith("Fig. 1 and Fig. 6 of “Deep Residual Learning")
    assert page.locator("p").nth(2).inner_text().startswith("5 arms, 1 seed at most")


@pytest.mark.parametrize("name", ["index", "tiny-digits"])
def test_on_a_phone_verdicts_and_records_are_seen_without_scrolling(name, site, browser_page):
    page, _ = browser_page(site.index.parent / f"{name}.html", width=400)
    cells = page.locator("#beyond td, #table td" if name == "index" else "#verdicts td")
    ends = cells.evaluate_all("found => found.map(cell => cell.getBoundingClientRect().right)")
    assert len(ends) > 3
    assert max(ends) <= 400


def paths(page):
    return page.locator("#charts path").evaluate_all("found => found.map(path => path.getAttribute('d'))")


def test_what_is_chosen_is_drawn(site, browser_page):
    page, problems = browser_page(site.index.parent / "learn.html")
    assert page.locator("#charts svg").count() == 4
    assert page.locator("#depth").get_attribute("max") == str(len(DEPTHS) - 1)
    assert "depth: 110 layers" in page.locator("fieldset").inner_text()  # the deepest with both nets comes first
    seen = {tuple(paths(page))}
    words = {page.locator("#words").inner_text()}
    for place in (0, 3, 2, 1):
        page.locator("#depth").fill(str(place))
        assert f"depth: {DEPTHS[place]} layers" in page.locator("fieldset").inner_text()
        seen.add(tuple(paths(page)))
        words.add(page.locator("#words").inner_text())
    assert len(seen) == len(words) == len(DEPTHS)
    page.locator("#start").select_option("He, without BN")
    without = paths(page)
    assert tuple(without) not in seen
    assert "not trained at this depth and start" in page.locator("#words").inner_text()  # no such residual net
    page.locator("#start").select_option("He")
    before = paths(page)
    page.locator("#first").select_option("A")
    after = paths(page)
    assert before != after
    assert after[0] == after[1]  # both are the same net now
    page.locator("#second").select_option("none")
    assert [after[0], paths(page)[0]] == [before[1], before[1]]
    assert problems == []


def test_curves_are_drawn_where_the_record_has_them(site, browser_page):
    """Plain-20's training error, the mean of two seeds, put on the axes by hand."""
    page, _ = browser_page(site.index.parent / "learn.html")
    page.locator("#depth").fill(str(DEPTHS.index(20)))
    assert "20 layers" in page.locator("fieldset").inner_text()
    drawn = paths(page)[0]
    places = [tuple(map(float, point.split())) for point in re.findall(r"[ML]([\d.]+ [\d.]+)", drawn)]
    wanted = [
        (44 + 306 * (x - 10) / 30, 220 - 190 * y / 100)
        for x, y in zip((10, 20, 30, 40), (90, 70.5, 50, 30), strict=True)
    ]
    assert places == [pytest.approx(point, abs=0.06) for point in wanted]
    assert (
        "training error 30.0 %, test error 35.0 % after 40 iterations (2 seeds" in page.locator("#words").inner_text()
    )


def test_without_trainings_the_page_says_so(folders, browser_page, tmp_path):
    site = write_site(folders[1:2], tmp_path / "site")
    page, problems = browser_page(site.index.parent / "learn.html")
    assert page.locator("#words").inner_text() == "None of the records has networks that were trained."
    assert problems == []


def test_gradients_at_the_start_need_no_training(record_of, browser_page, tmp_path):
    experiment = EXPERIMENTS["explosion"]
    series = [
        {"arm": arm.name, "seed": 0, "measure": "growth", "layer": ["a", "b", "c"], "gradient": [100.0, 10.0, 1.0]}
        for arm in experiment.arms
    ]
    (tmp_path / "explosion").mkdir()
    record_of(experiment, {}, series=series, data=DIGITS).write(tmp_path / "explosion")
    page, problems = browser_page(write_site([tmp_path / "explosion"], tmp_path / "site").index.parent / "learn.html")
    assert page.locator("#words").inner_text().count("not trained at this depth and start") == 2
    assert [len(found) for found in (paths(page), set(paths(page)))] == [2, 1]
    assert page.locator("#charts").inner_text().count("not measured for this choice") == 3
    assert problems == []


def test_axes_have_round_numbers(site, browser_page):
    page, _ = browser_page(site.index.parent / "learn.html")
    told = page.locator("#charts svg").nth(2).locator("text").all_text_contents()
    numbers = [float(word) for word in told if re.fullmatch(r"[\d.]+", word)]
    assert numbers[0] == 0
    assert len({round(high - low, 6) for low, high in itertools.pairwise(numbers)}) == 1
    assert f"{numbers[1]:.0e}"[0] in "125"


def test_lessons_are_of_usual_networks_alone(record_of):
    """A start is one that the page can be set to, and nothing else about a net is special."""
    for name in ("details", "initialization", "blocks", "orders", "shortcuts"):
        experiment = EXPERIMENTS[name]
        series = [
            {"arm": arm.name, "seed": 0, "measure": "errors", "iteration": [1], "train_error": [9.0]}
            | {"test_iteration": [], "test_error": [], "loss": [1.0]}
            for arm in experiment.arms
        ]
        found = lessons({name: record_of(experiment, {}, series=series, data=DIGITS)})
        places = [(item["depth"], item["shortcut"], item["start"]) for item in found]
        arms = {item["arm"] for item in found}
        if name == "details":
            assert arms == {"as in the recipe", "He's start by fan-in"}
        elif name == "initialization":
            assert len(set(places)) == len(places) == 12
        elif name == "blocks":
            assert arms == {"two layers", "plain"}
        elif name == "orders":
            assert arms == {"original"}
        else:
            assert [place[1] for place in places] == ["A", "B", "C", "avgpool", "gated", "none"]


@pytest.mark.parametrize("name", ["index", "learn"])
def test_a_record_cannot_take_the_place_of_the_overview(name, folders, tmp_path):
    shutil.copytree(folders[1], tmp_path / "records" / name)
    with pytest.raises(ReslabError, match=f"a folder of a record cannot be called {name}"):
        write_site([folders[0], tmp_path / "records" / name], tmp_path / "site")


def test_two_records_of_one_name_are_refused(folders, tmp_path):
    shutil.copytree(folders[1], tmp_path / "others" / "table1")
    with pytest.raises(ReslabError, match="two of the folders are called table1"):
        write_site([*folders, tmp_path / "others" / "table1"], tmp_path / "site")


def test_damaged_records_get_a_sentence(folders, tmp_path, capsys):
    path = folders[2] / "results.json"
    path.write_text(path.read_text()[:1000])
    assert main(["paper", "report", *map(str, folders), "--out", str(tmp_path / "site")]) == 2
    assert f"reslab: {path} is damaged" in capsys.readouterr().err
    assert not (tmp_path / "site").exists()
    with pytest.raises(ReslabError, match="there is no"):
        write_site([tmp_path / "nothing"], tmp_path / "site")


def test_records_are_found_in_folders(folders, tmp_path):
    records = tmp_path / "records"
    bench, broken = records / "bench", records / "broken"
    for folder, text in ((bench, '{"schema_version": 1, "rows": []}'), (broken, "{")):
        folder.mkdir()
        (folder / "results.json").write_text(text)
    (records / "empty").mkdir()
    # What cannot be read is not passed over: it may be a record, and reading it says what is wrong.
    assert find_records([records]) == sorted([*folders, broken])
    with pytest.warns(ReslabWarning, match=r"no record of an experiment is in \S+bench, \S+empty\."):
        assert find_records(sorted(records.iterdir())) == sorted([*folders, broken])
    with pytest.raises(ReslabError, match="there are no records of experiments in"):
        find_records([bench])


def test_texts_of_records_are_no_markup(folders, browser_page, tmp_path):
    record = Record.read(folders[2])
    evil = "</script><script>console.log('out')</script><!--<script>"
    series = [{**item, "arm": evil if item["arm"] == "plain20" else item["arm"]} for item in record.content["series"]]
    arms = [{**arm, "name": evil} if arm["name"] == "plain20" else arm for arm in record.content["arms"]]
    Record({**record.content, "title": evil, "series": series, "arms": arms, "reduced": evil}).write(folders[2])
    site = write_site(folders, tmp_path / "site")
    for name in ("index.html", "learn.html", f"{ODD}.html"):
        page, problems = browser_page(site.index.parent / name)
        assert problems == []
    assert page.locator("h1").inner_text() == evil
    assert json.loads(Record.read(folders[2]).content["title"].join('""')) == evil
