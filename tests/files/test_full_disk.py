"""Writers in C++ and Rust meet a full disk: the system's error comes out, and what was there stays."""

import errno

import numpy as np
import pytest
import torch

import reslab
from reslab.deploy import ExportError, export_onnx, export_openvino, export_program
from reslab.errors import WriteError
from reslab.files.safetensors_file import save_safetensors
from reslab.files.torch_file import load_sealed, load_torch_file, save_sealed, save_torch_file
from reslab.models import create_model

TENSORS = {"a": torch.arange(100_000.0), "b": torch.ones(3)}


def test_what_torch_saves_through_our_stream_is_what_it_saves_itself(tmp_path):
    save_torch_file({**TENSORS, "words": ["x", 1, None]}, tmp_path / "ours.pt")
    torch.save({**TENSORS, "words": ["x", 1, None]}, tmp_path / "theirs.pt")
    ours, theirs = (load_torch_file(tmp_path / name) for name in ("ours.pt", "theirs.pt"))
    assert torch.equal(ours["a"], theirs["a"])
    assert ours["words"] == theirs["words"]
    assert abs((tmp_path / "ours.pt").stat().st_size - (tmp_path / "theirs.pt").stat().st_size) < 1000
    save_sealed(TENSORS, tmp_path / "sealed.pt")
    assert torch.equal(load_sealed(tmp_path / "sealed.pt")["b"], TENSORS["b"])


@pytest.mark.parametrize(
    "save",
    [
        lambda path: save_torch_file(TENSORS, path),
        lambda path: save_sealed(TENSORS, path),
        lambda path: save_safetensors(TENSORS, path, {}),
        lambda path: save_safetensors({"a": np.zeros(100_000)}, path, {}),
    ],
    ids=["torch", "sealed", "safetensors", "safetensors of arrays"],
)
def test_the_systems_error_comes_out(save, tmp_path, largest_file):
    with largest_file(50_000), pytest.raises(OSError, match="File too large") as caught:
        save(tmp_path / "file")
    assert caught.value.errno == errno.EFBIG


@pytest.mark.slow
@pytest.mark.parametrize(
    ("export", "suffix"), [(export_onnx, ".onnx"), (export_openvino, ".xml"), (export_program, ".pt2")]
)
def test_an_export_is_whole_or_leaves_what_was_there(export, suffix, tmp_path, largest_file):
    path = tmp_path / f"net{suffix}"
    path.write_bytes(b"old")
    with largest_file(100_000), pytest.raises(ExportError, match=r"cannot write \S+net\.\w+: File too large\."):
        export(create_model("resnet8"), path)
    assert [(item.name, item.read_bytes()) for item in tmp_path.iterdir()] == [(path.name, b"old")]


def test_a_training_whose_disk_is_full_stops_with_a_sentence_and_goes_on_afterwards(tmp_path, largest_file):
    settings = {"iterations": 12, "fields": {"monitoring.checkpoint_every": "4"}}
    whole = reslab.train("resnet8", "digits", run_dir=tmp_path / "whole", **settings)
    with (
        largest_file(200_000),
        pytest.raises(WriteError, match=r"cannot write \S+\.pt: File too large"),
    ):
        reslab.train("resnet8", "digits", run_dir=tmp_path / "run", **settings)
    assert not list((tmp_path / "run").rglob("*.partial"))
    ended = reslab.train(run_dir=tmp_path / "run", resume=True)
    ours, theirs = ((run.folder / "weights.safetensors").read_bytes() for run in (ended.run, whole.run))
    assert ours == theirs
