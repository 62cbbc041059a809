import functools
import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from reslab.analysis.architecture import describe
from reslab.analysis.diagram import draw, make_figure
from reslab.errors import ModelError
from reslab.models import list_models, parse_model


@functools.cache  # of a thousand layers it takes seconds
def architecture(spelling, size=None):
    spec = parse_model(spelling)
    side = size or spec.usual_input_size
    return describe(spec, (side, side), name=spelling)


def texts(spelling):
    return [row.text for unit in architecture(spelling).units for row in unit.rows]


def stage(width, count):
    """As Fig. 3 writes the convolutions of a stage after the first."""
    return [f"3x3 conv, {width}, /2"] + [f"3x3 conv, {width}"] * (count - 1)


FIG3_34_LAYERS = [
    "7x7 conv, 64, /2",
    "pool, /2",
    *["3x3 conv, 64"] * 6,
    *stage(128, 8),
    *stage(256, 12),
    *stage(512, 6),
    "avg pool",
    "fc 1000",
]
FIG3_VGG19 = [
    *["3x3 conv, 64"] * 2,
    "pool, /2",
    *["3x3 conv, 128"] * 2,
    "pool, /2",
    *["3x3 conv, 256"] * 4,
    "pool, /2",
    *["3x3 conv, 512"] * 4,
    "pool, /2",
    *["3x3 conv, 512"] * 4,
    "pool, /2",
    "fc 4096",
    "fc 4096",
    "fc 1000",
]


@pytest.mark.parametrize(
    ("spelling", "boxes"), [("plain34", FIG3_34_LAYERS), ("resnet34", FIG3_34_LAYERS), ("vgg19", FIG3_VGG19)]
)
def test_the_boxes_are_those_of_fig_3(spelling, boxes):
    assert texts(spelling) == boxes


@pytest.mark.parametrize("spelling", list_models())
def test_there_is_a_box_for_every_weighted_layer(spelling):
    spec = parse_model(spelling)
    units = architecture(spelling).units
    rows = [(unit.times, row) for unit in units for row in unit.rows]
    weighted = sum(times for times, row in rows if row.kind != "pool" and "excitation" not in row.text)
    assert weighted == spec.depth
    assert sum(unit.times for unit in units if unit.is_block) == (sum(spec.blocks) if spec.family == "resnet" else 0)


def test_output_sizes_and_stages():
    rows = [row for unit in architecture("resnet18").units for row in unit.rows]
    assert list(dict.fromkeys(row.size[0] for row in rows)) == [112, 56, 28, 14, 7, 1]
    convolutions = [row for row in rows if row.kind == "conv"]
    assert [row.stage for row in convolutions] == [1, *[2] * 4, *[3] * 4, *[4] * 4, *[5] * 4]
    colored = {row.size[0]: row.stage for unit in architecture("vgg16").units for row in unit.rows}
    assert all(colored[row.size[0]] == row.stage for row in convolutions[:-4])  # as in Fig. 3


def shortcuts(spelling):
    return [unit.shortcut and (unit.shortcut.grows, unit.shortcut.text) for unit in architecture(spelling).units]


@pytest.mark.parametrize(
    ("spelling", "first", "second"),
    [
        ("resnet8", (False, ""), (True, "zero padding, /2")),
        ("resnet8[shortcut=B]", (False, ""), (True, "1x1 conv, 32, /2")),
        ("resnet8[shortcut=C]", (False, "1x1 conv, 16"), (True, "1x1 conv, 32, /2")),
        ("resnet8[shortcut=avgpool]", (False, ""), (True, "avg pool, /2\nzero padding")),
        ("resnet8[shortcut=gated]", (False, "gate"), (True, "zero padding, /2\ngate")),
        ("resnet8[shortcut=B,projection_pool=true]", (False, ""), (True, "avg pool, /2\n1x1 conv, 32")),
        ("plain8", None, None),
    ],
)
def test_shortcuts_are_dotted_where_dimensions_grow_and_say_what_they_do(spelling, first, second):
    assert shortcuts(spelling) == [None, first, second, second and (True, second[1].replace("32", "64")), None, None]


def test_the_first_shortcut_of_a_bottleneck_net_grows_too():
    """Its stage keeps the map's size, but has four times the channels."""
    assert [shortcut[0] for shortcut in shortcuts("resnet50") if shortcut].count(True) == 4


def test_parts_that_fig_3_does_not_have():
    assert texts("resnext50_32x4d[stem=deep,blocks=1-1-1-1,replace_stride_with_dilation=false-true-true]") == [
        *("3x3 conv, 32, /2", "3x3 conv, 32", "3x3 conv, 64", "pool, /2"),
        *("1x1 conv, 128", "3x3 conv, 128, 32 groups", "1x1 conv, 256"),
        *("1x1 conv, 256", "3x3 conv, 256, 32 groups, /2", "1x1 conv, 512"),
        *("1x1 conv, 512", "3x3 conv, 512, 32 groups", "1x1 conv, 1024"),
        *("1x1 conv, 1024", "3x3 conv, 1024, 32 groups, dilation 2", "1x1 conv, 2048"),
        *("avg pool", "fc 1000"),
    ]
    assert texts("resnet8[squeeze_excitation=4]")[1:4] == ["3x3 conv, 16", "3x3 conv, 16", "squeeze-excitation, 4"]
    assert texts("resnet8[num_classes=0]")[-1] == "avg pool"
    assert "avg pool" in [row.text for unit in architecture("vgg16", 64).units for row in unit.rows]


def test_equal_blocks_of_very_deep_nets_become_one():
    units = [unit for unit in architecture("resnet1202").units if unit.is_block]
    assert [unit.times for unit in units] == [200, 1, 199, 1, 199]
    assert all(unit.times == 1 for unit in architecture("resnet152").units)


PICTURES = [
    ("vgg19", "plain34", "resnet34"),
    ("resnet50", "resnet20[shortcut=gated]", "resnet1202"),
    (
        "preact_resnet50[squeeze_excitation=16,blocks=1-2-1-1]",
        "resnext50_32x4d[replace_stride_with_dilation=false-true-true,blocks=1-1-1-1]",
    ),
]


@pytest.mark.parametrize("spellings", PICTURES, ids=["-".join(spellings) for spellings in PICTURES])
def test_no_text_overlaps_another_or_leaves_the_picture(spellings):
    figure = make_figure([architecture(spelling) for spelling in spellings])
    renderer = figure.canvas.get_renderer()
    (axes,) = figure.axes
    extents = [(text.get_text(), text.get_window_extent(renderer)) for text in axes.texts]
    for name, extent in extents:
        assert extent.x0 >= 0, name
        assert extent.y0 >= 0, name
        assert extent.x1 <= figure.bbox.x1, name
        assert extent.y1 <= figure.bbox.y1, name
    for (one, first), (other, second) in itertools.combinations(extents, 2):
        assert not first.overlaps(second), f"{one!r} and {other!r}"


def test_an_svg_has_text_as_text_and_is_the_same_every_time(tmp_path):
    pictures = [architecture(spelling) for spelling in ("resnet8", "plain8")]
    for name in ("one.svg", "two.svg"):
        draw(pictures, tmp_path / name)
    content = (tmp_path / "one.svg").read_bytes()
    assert content == (tmp_path / "two.svg").read_bytes()
    root = ElementTree.fromstring(content)
    found = ["".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert found.count("3x3 conv, 16") == 2 * 3
    assert found.count("3x3 conv, 32, /2") == 2
    assert {"resnet8", "plain8", "zero padding, /2", "image, 32x32x3", "fc 10"} <= set(found)
    dotted = content.count(b"stroke-dasharray")
    assert dotted == 2  # where resnet8 doubles its channels


@pytest.mark.parametrize(("name", "magic"), [("net.png", b"\x89PNG"), ("net.pdf", b"%PDF"), ("net.PNG", b"\x89PNG")])
def test_the_suffix_decides_the_format(name, magic, tmp_path):
    draw([architecture("resnet8")], tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(magic)
    if name == "net.png":
        with Image.open(tmp_path / name) as picture:
            assert picture.height > picture.width > 300


def test_another_suffix_gets_a_sentence(tmp_path):
    with pytest.raises(ModelError, match=r"must end in \.svg, \.png or \.pdf"):
        draw([architecture("resnet8")], tmp_path / "net.gif")
    assert list(tmp_path.iterdir()) == []


def test_images_too_small_for_a_network_get_a_sentence():
    with pytest.raises(ModelError, match="too small"):
        architecture("vgg16", 8)
