"""Files that are written together: killed at any rename, the reader gets the old ones or the new ones, never half."""

import os
import shutil

import numpy as np
import pytest

from reslab.data.normalization import Normalization
from reslab.data.packing import pack_shards
from reslab.data.shards import INDEX_NAME
from reslab.deploy import DeployError
from reslab.deploy.openvino_export import export_openvino
from reslab.deploy.runtime import load_deployed
from reslab.deploy.tracing import ExportError
from reslab.deploy.writing import publish
from reslab.errors import DataError
from reslab.models import create_model
from reslab.trained.description import Description, usual_view

pytest.importorskip("openvino")
SIDE = 16
NAME = "resnet8[widths=4-4-4]"


class Killed(BaseException):
    """As if the process ended there."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Two networks' files."""
    folder = tmp_path_factory.mktemp("exported")
    about = Description(
        name="tiny",
        model=NAME,
        preprocessing=usual_view(SIDE, SIDE, 3),
        sees_whole=True,
        num_classes=10,
        classes=tuple("abcdefghij"),
    )
    for name in ("old", "new"):
        export_openvino(
            create_model(NAME),
            folder / f"{name}.xml",
            normalization=Normalization.imagenet(),
            image_size=(SIDE, SIDE),
            metadata=about.metadata(),
        )
    return folder


def logits(path):
    image = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), dtype=np.uint8)
    with load_deployed(path) as deployed:
        return deployed(image).tolist()


def killed_at(monkeypatch, number, call):
    """Runs a call with the process ending at a rename; whether it came to its end before."""
    calls, real = iter(range(1000)), os.replace

    def replace(*arguments):
        if next(calls) == number:
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        try:
            call()
        except Killed:
            return False
    return True


def test_openvinos_pair_is_the_old_one_or_the_new_one(exported, tmp_path, monkeypatch):
    answers = {name: logits(exported / f"{name}.xml") for name in ("old", "new")}
    assert answers["old"] != answers["new"]
    seen, number, whole = [], 0, False
    while not whole:
        folder = tmp_path / str(number)
        publish(exported / "old.xml", folder / "net.xml", (".xml", ".bin"))
        write = lambda folder=folder: publish(exported / "new.xml", folder / "net.xml", (".xml", ".bin"))  # noqa: E731
        whole = killed_at(monkeypatch, number, write)
        found = logits(folder / "net.xml")
        seen.append(next(name for name, answer in answers.items() if answer == found))
        assert not list(folder.glob(".replacing-*"))
        number += 1
    assert seen == ["old", "new", "new", "new"]  # at the journal, at each of the two, and at none


def test_a_pair_of_two_networks_is_refused(exported, tmp_path):
    """As copying one of the two leaves it."""
    shutil.copy(exported / "old.xml", tmp_path / "net.xml")
    shutil.copy(exported / "new.bin", tmp_path / "net.bin")
    with pytest.raises(DeployError, match=r"net.bin is damaged, or belongs to another .xml; export again"):
        load_deployed(tmp_path / "net.xml")


def test_a_folder_in_the_way_is_a_sentence_and_the_other_file_stays(exported, tmp_path):
    publish(exported / "old.xml", tmp_path / "net.xml", (".xml",))
    before = (tmp_path / "net.xml").read_bytes()
    (tmp_path / "net.bin").mkdir()
    with pytest.raises(ExportError, match=r"cannot write .*net.bin: it is a folder"):
        publish(exported / "new.xml", tmp_path / "net.xml", (".xml", ".bin"))
    assert (tmp_path / "net.xml").read_bytes() == before


def test_shards_without_their_index_are_no_data_and_are_packed_again(tmp_path, monkeypatch):
    from PIL import Image

    from reslab.data import load_data

    for role in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / "photos" / role / label).mkdir(parents=True)
            for number in range(2):
                image = Image.fromarray(np.full((140, 140 + number, 3), 50 * number, np.uint8))
                image.save(tmp_path / "photos" / role / label / f"{number}.png")
    data = load_data(str(tmp_path / "photos"), kind="photos", progress=False)
    number, whole = 0, False
    while not whole:
        out = tmp_path / f"packed{number}"
        whole = killed_at(monkeypatch, number, lambda out=out: pack_shards(data, out))
        if not whole:
            assert not (out / INDEX_NAME).exists()
            with pytest.raises(DataError):
                load_data(str(out), kind="photos", progress=False)
            pack_shards(data, out)
        assert load_data(str(out), kind="photos", progress=False).split("train").digest == data.split("train").digest
        number += 1
    assert number == 4  # two shards, the index, and to the end
