"""Files of every kind, damaged at random: read, and either found to say what they said, or refused in a sentence.

A reader runs more of them with RESLAB_FUZZ=1000, from another start with RESLAB_FUZZ_SEED=7.
"""

import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from reslab import load_data, load_weights, train
from reslab.data.decoding import decode_image, decode_rgb
from reslab.data.packing import pack_folder
from reslab.deploy import load_deployed
from reslab.deploy.formats import export
from reslab.errors import DataError, ReslabError
from reslab.evaluation import evaluate
from reslab.files.torch_file import save_torch_file
from reslab.models import create_model
from reslab.models.conversion import write_state_dict
from reslab.paper.record import Record
from reslab.runs import Run
from reslab.trained import load_trained
from reslab.training.recipe_files import load_recipe

ROUNDS = int(os.environ.get("RESLAB_FUZZ", "60"))
SEED = int(os.environ.get("RESLAB_FUZZ_SEED", "0"))
MODEL = "resnet8[widths=4-8-16,in_channels=1]"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + ROUNDS)]


@dataclass(frozen=True)
class Kind:
    """Files of a kind.

    Args:
        fill: writes good ones into a folder.
        read: says what they say, in plain values.
        verified: whether their checksums find every change, so that what is read is what was written.
    """

    fill: Callable[[Path], object]
    read: Callable[[Path], Any]
    verified: bool = True


def run_of(folder: Path) -> Path:
    return train(MODEL, "digits", iterations=12, run_dir=folder / "run", fields={"hardware.threads": "1"}).run.folder


def read_run(folder: Path) -> Any:
    trained, run = load_trained(folder / "run"), Run(folder / "run")
    images = load_data("digits").splits["test"]
    return evaluate(trained.model, images, trained.normalization).top1_error, run.rows(), run.figures(), run.record


def stop_of(folder: Path) -> object:
    fields = {"hardware.threads": "1", "monitoring.checkpoint_every": "4"}
    return train(MODEL, "digits", iterations=12, run_dir=folder / "run", fields=fields, stop_after="8")


def resumed(folder: Path) -> Any:
    return (train(run_dir=folder / "run", resume=True).run.folder / "weights.safetensors").read_bytes()


def tensors_of(path: Path) -> Any:
    model = create_model(MODEL)
    load_weights(model, path)
    return {name: value.tolist() for name, value in model.state_dict().items()}


def photo(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 14, 3), dtype=np.uint8).repeat(4, 0))


def images_in(folder: Path) -> None:
    for place, suffix in enumerate(("png", "jpg", "gif", "webp", "bmp", "tiff", "ppm")):
        photo(place).save(folder / f"photo.{suffix}")


def pixels_of(folder: Path) -> Any:
    found = []
    for path in sorted(folder.iterdir()):
        try:
            found += [decode_image(path, 3).tobytes(), decode_rgb(path.read_bytes()).tobytes()]
        except DataError as error:  # whose message goes behind the file's name
            raise DataError(f"{path}: {error}") from None
    return found


def shards_in(folder: Path) -> None:
    for place, name in enumerate(("cat", "dog")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(3):
            photo(10 * place + number).save(folder / "photos" / name / f"{number}.jpg")
    pack_folder(folder / "photos", folder / "shards")
    shutil.rmtree(folder / "photos")


def shards_of(folder: Path) -> Any:
    split = load_data(folder / "shards", kind="photos").splits["train"]
    return split.read(0, len(split)).tobytes(), split.labels.tolist()


def recipe_in(folder: Path) -> None:
    (folder / "own.toml").write_text('base = "cifar-paper"\nname = "own"\n[data]\nbatch_size = 64\n')


def exported(name: str) -> Callable[[Path], object]:
    def fill(folder: Path) -> None:
        export(load_trained(run_of(folder)), folder / name)
        shutil.rmtree(folder / "run")

    return fill


def logits_of(path: Path) -> Any:
    with load_deployed(path) as network:
        return network(np.zeros((1, *network.preprocessing.shape), np.uint8)).tolist()


KINDS = {
    "finished run": Kind(run_of, read_run),
    "stopped run": Kind(stop_of, resumed),
    "weights of torch": Kind(
        lambda folder: save_torch_file(create_model(MODEL).state_dict(), folder / "net.pth"),
        lambda folder: tensors_of(folder / "net.pth"),
        verified=False,
    ),
    "safetensors": Kind(
        lambda folder: write_state_dict(create_model(MODEL), folder / "net.safetensors"),
        lambda folder: tensors_of(folder / "net.safetensors"),
        verified=False,
    ),
    "images": Kind(images_in, pixels_of, verified=False),
    "shards": Kind(shards_in, shards_of),
    "recipe": Kind(recipe_in, lambda folder: load_recipe(folder / "own.toml").to_dict(), verified=False),
    "onnx": Kind(
        exported("net.onnx"),
        lambda folder: logits_of(folder / "net.onnx"),
        verified=False,
    ),
    "openvino": Kind(
        exported("net.xml"),
        lambda folder: logits_of(folder / "net.xml"),
        verified=False,
    ),
    "record": Kind(
        lambda folder: shutil.copytree(
            Path(__file__).resolve().parents[1] / "results" / "identity", folder, dirs_exist_ok=True
        ),
        lambda folder: Record.read(folder).content,
    ),
}


def damage(path: Path, others: list[Path], rng: np.random.Generator) -> str:
    """Does something to a file; says what."""
    content = bytearray(path.read_bytes())
    at = int(rng.integers(len(content))) if content else 0
    match rng.integers(9):
        case 0 | 1 | 2 if content:
            content[at] ^= 1 << int(rng.integers(8))
            done = f"a bit flipped at {at}"
        case 3:
            content = content[:at]
            done = f"cut at {at}"
        case 4:
            content += bytes(rng.integers(0, 256, int(rng.integers(1, 200)), dtype=np.uint8))
            done = "bytes added"
        case 5:
            content[at : at + 64] = bytes(min(64, len(content) - at))
            done = f"zeros at {at}"
        case 6:
            content[at : at + 16] = bytes(rng.integers(0, 256, 16, dtype=np.uint8))
            done = f"noise at {at}"
        case 7:
            other = others[int(rng.integers(len(others)))]
            content = bytearray(other.read_bytes())
            done = f"replaced by {other.name}"
        case _:
            path.unlink()
            if rng.integers(2):
                return "removed"
            path.mkdir()
            return "replaced by a folder"
    path.write_bytes(content)
    return done


@pytest.fixture(scope="module", params=KINDS)
def good(request, tmp_path_factory):
    """The kind, a folder of good files, and what they say."""
    kind, folder = KINDS[request.param], tmp_path_factory.mktemp("good")
    torch.manual_seed(3)
    kind.fill(folder)
    probe = tmp_path_factory.mktemp("probe") / "files"
    shutil.copytree(folder, probe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return kind, folder, kind.read(probe)


def test_damage_is_named_or_changes_nothing(good, tmp_path):
    kind, folder, said = good
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    names = [name for name in names if name.suffix not in (".svg", ".lock") and name.name != ".lock"]
    refused = 0
    for number in range(ROUNDS):
        rng = np.random.default_rng((SEED, number))
        copy = tmp_path / str(number)
        shutil.copytree(folder, copy)
        name = names[int(rng.integers(len(names)))]
        done = damage(copy / name, [copy / other for other in names], rng)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = kind.read(copy)
        except ReslabError as error:
            sentence = str(error)
        except BaseException as error:
            raise AssertionError(f"{number}: {name}, {done}") from error
        else:
            sentence = ""
            assert not kind.verified or found == said, f"{number}: {name}, {done}, and nothing was said"
        refused += bool(sentence)
        named = not sentence or str(copy) in sentence or name.name in sentence
        assert named, f"{number}: {name}, {done}: {sentence}"
        assert "\x1b" not in sentence
        shutil.rmtree(copy)
    assert refused > ROUNDS // 10
