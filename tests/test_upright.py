"""Photos that the camera held otherwise, stored as they were taken: upright at every entrance."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import reslab
from reslab.cli.main import main
from reslab.data import load_data
from reslab.data.check import check_folder
from reslab.data.packing import pack_folder
from reslab.data.preprocessing import Preprocessing
from reslab.deploy import Gate
from reslab.evaluation.subjects import EvaluationImages, load_subject
from reslab.trained import Reference

ORIENTATION = 0x0112
SIDE = 32
VIEW = Preprocessing(height=SIDE, width=SIDE, channels=3, resize=SIDE)
NET = "resnet8[widths=4-4-4]"
SMALL = ["digits-quick", "--data.val-images", "0", "--batch-size", "4"]
PHOTOS = ["photos", "--batch-size", "4", "--train-size", "32", "--workers", "0", "--data.images.test-size", "32"]
PHOTOS += ["--data.images.test-resize", "32"]


def make_folder(folder: Path, *, turned: bool) -> None:
    """The same pictures, either as JPEGs on their side with a tag that says so, or upright without one."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for role, count in (("train", 4), ("val", 3)):
        for name in ("cat", "dog"):
            (folder / role / name).mkdir(parents=True)
            for number in range(count):
                coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize((SIDE, SIDE))
                path = folder / role / name / f"{number}.jpg"
                coarse.save(path, exif=exif, quality=95)
                if not turned:
                    with Image.open(path) as image:
                        ImageOps.exif_transpose(image).save(path.with_suffix(".png"))
                    path.unlink()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("held")
    for name in ("turned", "upright"):
        make_folder(root / name, turned=name == "turned")
    return root / "turned", root / "upright"


def train(data: Path, run: Path, recipe: list[str]) -> Path:
    arguments = ["--data", str(data), "--iterations", "2", "--quiet", "--run-dir", str(run)]
    assert main(["train", NET, "--recipe", *recipe, *arguments]) == 0
    return run


@pytest.fixture(scope="module")
def runs(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, quick_curves: None) -> Any:
    """Of each recipe, a run on the turned pictures and one on the upright ones."""
    root = tmp_path_factory.mktemp("runs")
    return {
        name: [train(folder, root / f"{name}-{folder.name}", recipe) for folder in folders]
        for name, recipe in (("small", SMALL), ("photos", PHOTOS))
    }


def test_the_test_is_one(folders: tuple[Path, Path]) -> None:
    turned, upright = (np.asarray(Image.open(next((folder / "train" / "cat").glob("0.*")))) for folder in folders)
    np.testing.assert_array_equal(np.rot90(turned, -1), upright)
    assert np.abs(turned.astype(int) - upright).mean() > 20


def test_both_readers(folders: tuple[Path, Path]) -> None:
    small = [load_data(folder, kind="small").split("train") for folder in folders]
    assert small[0].digest == small[1].digest
    for kind in ("small", "photos"):
        read = [load_data(folder, kind=kind, view=VIEW).split("train").read(0, 8) for folder in folders]
        np.testing.assert_array_equal(*read)


@pytest.mark.parametrize("recipe", ["small", "photos"])
def test_train_sees_them_upright(runs: Any, recipe: str) -> None:
    turned, upright = ((run / "weights.safetensors").read_bytes() for run in runs[recipe])
    assert turned == upright
    results = [json.loads((run / "result.json").read_text()) for run in runs[recipe]]
    assert results[0]["train_error"] == results[1]["train_error"]


@pytest.mark.parametrize("recipe", ["small", "photos"])
@pytest.mark.parametrize("protocol", ["one-crop", "dense"])
def test_eval_sees_them_upright(folders: tuple[Path, Path], runs: Any, recipe: str, protocol: str) -> None:
    network = reslab.load(runs[recipe][1])
    outcomes = [network.evaluate(folder, split="val", protocol=protocol) for folder in folders]
    np.testing.assert_array_equal(outcomes[0].scores, outcomes[1].scores)


@pytest.mark.parametrize("recipe", ["small", "photos"])
def test_predict_sees_them_upright(folders: tuple[Path, Path], runs: Any, recipe: str) -> None:
    with reslab.load(runs[recipe][1]) as network:
        turned, upright = ([found.probabilities for found in network.predict(folder)] for folder in folders)
        assert turned == upright
        path = next((folders[0] / "train" / "cat").glob("0.*"))
        with Image.open(path) as image:
            assert network.predict(image).probabilities == network.predict(path).probabilities
        assert network.predict(path.read_bytes()).probabilities == network.predict(path).probabilities


@pytest.mark.usefixtures("short_turns", "operators_read_once")
def test_quantize_sees_them_upright(folders: tuple[Path, Path], runs: Any, tmp_path: Path) -> None:
    predictions = []
    for folder in folders:
        out, gate = tmp_path / f"{folder.name}.onnx", Gate(force=True, threads=1)
        network = reslab.load(runs["photos"][1])
        network.quantize(out, data=folder, engine="onnxruntime", num_images=8, gate=gate)
        with reslab.load(out) as quantized:
            predictions.append([found.probabilities for found in quantized.predict(folders[0])])
    assert predictions[0] == predictions[1]
    subjects = [
        load_subject(Reference.parse(runs["photos"][1]), EvaluationImages(str(folder), "train"), training=True)
        for folder in folders
    ]
    np.testing.assert_array_equal(*(subject.data.split("train").read(0, 8) for subject in subjects))


def test_pack_and_check_say_the_same(folders: tuple[Path, Path], tmp_path: Path) -> None:
    views = []
    for folder in folders:
        pack_folder(folder, tmp_path / folder.name)
        views.append(load_data(tmp_path / folder.name, view=VIEW).split("train").read(0, 8))
        assert check_folder(folder).findings == ()
    np.testing.assert_array_equal(*views)
    assert check_folder(folders[0]).kinds["turned by the camera"] == 14


def test_check_tells_their_size_as_they_stand(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 30), "red" if name == "cat" else "blue").save(tmp_path / name / "1.jpg", exif=exif)
    assert check_folder(tmp_path).sizes == ((30, 40), (30, 40))
