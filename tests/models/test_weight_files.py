"""Files of weights as people have them: several sets in one, wrapped, prefixed, averaged, or something else."""

import argparse
import collections
import datetime
import json
import math
import pathlib
import pickle
import shutil
import sys
import types
import warnings

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch.optim.swa_utils import AveragedModel

from reslab.cli.main import main
from reslab.errors import WeightsError
from reslab.models import create_model
from reslab.models.weights import PaddingWarning, WeightsChoiceWarning, load_weights, read_state_dict

NAME = "resnet8[widths=4-4-4]"


def model(**fields):
    return create_model(NAME, **fields)


@pytest.fixture
def raw():
    return model().state_dict()


@pytest.fixture
def averaged():
    return model().state_dict()


def same(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[key], other[key]) for key in state)


def prefixed(prefix, state):
    return {f"{prefix}{key}": value for key, value in state.items()}


# One file, several sets of weights

PAIRS = (("state_dict", "state_dict_ema"), ("model", "model_ema"), ("net", "ema"), ("model", "swa_model"))


@pytest.mark.parametrize(("of_raw", "of_average"), PAIRS)
def test_of_raw_weights_and_an_average_the_raw_ones_are_taken_with_a_word(tmp_path, raw, averaged, of_raw, of_average):
    path = tmp_path / "both.pth"
    torch.save({of_average: averaged, of_raw: raw, "epoch": 3}, path)
    target = model()
    said = (
        f"both.pth holds several sets of weights, and {of_raw} was taken; write .*both.pth#{of_average} for the other"
    )
    with pytest.warns(WeightsChoiceWarning, match=said):
        report = load_weights(target, path)
    assert same(target.state_dict(), raw)
    assert report.table == of_raw
    with pytest.warns(WeightsChoiceWarning, match=said):
        assert same(read_state_dict(path), raw)


@pytest.mark.parametrize("choose", ["in the name", "beside it"])
def test_one_of_them_can_be_chosen(tmp_path, raw, averaged, choose):
    path = tmp_path / "both.pth"
    torch.save({"state_dict": raw, "state_dict_ema": averaged}, path)
    given, options = (f"{path}#state_dict_ema", {}) if choose == "in the name" else (path, {"table": "state_dict_ema"})
    target = model()
    assert "state_dict_ema" in str(load_weights(target, given, **options))
    assert same(target.state_dict(), averaged)
    assert same(read_state_dict(given, **options), averaged)


def test_a_table_that_is_not_there_is_a_sentence(tmp_path, raw):
    path = tmp_path / "both.pth"
    torch.save({"state_dict": raw}, path)
    with pytest.raises(WeightsError, match=r"both.pth holds no 'ema'; it has state_dict"):
        load_weights(model(), f"{path}#ema")
    with pytest.raises(WeightsError, match="names one table and 'other' is given"):
        load_weights(model(), f"{path}#state_dict", table="other")
    with pytest.raises(WeightsError, match=r"there is no weight file .*absent.pth"):
        load_weights(model(), f"{tmp_path / 'absent.pth'}#state_dict")


def test_a_number_sign_may_belong_to_the_files_name(tmp_path, raw):
    torch.save(raw, tmp_path / "run#3.pth")
    target = model()
    load_weights(target, tmp_path / "run#3.pth")
    assert same(target.state_dict(), raw)


def test_of_two_networks_the_one_that_fits_is_taken_and_else_they_are_named(tmp_path, raw, averaged):
    path = tmp_path / "two.pth"
    torch.save({"student": raw, "teacher": create_model("resnet14").state_dict()}, path)
    target = model()
    assert load_weights(target, path).table == "student"
    assert same(target.state_dict(), raw)
    torch.save({"student": raw, "teacher": averaged}, path)
    for read in (lambda: load_weights(model(), path), lambda: read_state_dict(path)):
        with pytest.raises(WeightsError, match=r"which one is meant: .*two.pth#student, .*two.pth#teacher"):
            read()


def test_sets_under_prefixes_are_named_too(tmp_path, raw, averaged):
    path = tmp_path / "flat.pth"
    torch.save(prefixed("model.", raw) | prefixed("model_ema.", averaged), path)
    with pytest.raises(WeightsError, match=r"flat.pth#model and .*flat.pth#model_ema would fit alone"):
        load_weights(model(), path)
    target = model()
    load_weights(target, f"{path}#model_ema")
    assert same(target.state_dict(), averaged)


def test_a_checkpoint_of_ours_with_an_average_says_which_was_taken(tmp_path):
    network = model()
    average = AveragedModel(network)
    with torch.no_grad():
        network.fc.bias.add_(1)
    seen = {"mean": torch.zeros(3, 8, 8), "std": torch.ones(3)}
    torch.save({"model": network.state_dict(), "average": average.state_dict(), "seen": seen}, tmp_path / "state.pt")
    target = model()
    with pytest.warns(WeightsChoiceWarning, match=r"model was taken; write .*state.pt#average for the other"):
        load_weights(target, tmp_path / "state.pt")
    assert same(target.state_dict(), network.state_dict())
    load_weights(target, f"{tmp_path / 'state.pt'}#average")
    assert same(target.state_dict(), average.module.state_dict())


def test_the_command_line_says_it_and_takes_a_choice(tmp_path, raw, averaged, capsys):
    path = tmp_path / "both.pth"
    torch.save({"state_dict": raw, "state_dict_ema": averaged}, path)
    assert main(["convert", str(path), "--model", NAME]) == 0
    assert "both.pth#state_dict_ema for the other" in capsys.readouterr().err
    assert same(read_state_dict(tmp_path / "both-torchvision.safetensors"), raw)
    assert main(["convert", f"{NAME}={path}#state_dict_ema"]) == 0
    assert capsys.readouterr().err == ""
    assert same(read_state_dict(tmp_path / "both-state_dict_ema-torchvision.safetensors"), averaged)
    assert main(["convert", f"{path}#state_dict", "--model", NAME, "--out", str(path)]) == 2
    assert "is the file that is read" in capsys.readouterr().err


def test_other_tables_of_a_file_are_other_networks(tmp_path, raw, averaged, monkeypatch):
    """The cache of scores goes by the weights' digest, which the file's is not."""
    from reslab.trained import load_trained

    path = tmp_path / "both.pth"
    torch.save({"state_dict": raw, "state_dict_ema": averaged}, path)
    digests = {load_trained(f"{NAME}={path}#{table}").sha256 for table in ("state_dict", "state_dict_ema")}
    assert len(digests) == 2


# The same numbers, two meanings


@pytest.mark.parametrize(
    ("mean", "std", "said"),
    [
        ((125.0, 125.0, 125.0), None, r"--mean 125,125,125 is not of inputs in \[0, 1\].*it is 0.4902,0.4902,0.4902\."),
        ((125.3, 123, 113.9), (63.0, 62.1, 66.7), "it is 0.4914,0.4824,0.4467, and --std 0.2471,0.2435,0.2616"),
        ((0.5,), (63.75,), r"--std 63.75 is not of inputs in \[0, 1\].*it is 0.25\."),
        ((-2.0,), None, r"--mean -2 is not of inputs in \[0, 1\], which it must be\."),
        ((1000.0,), None, r"--mean 1000 is not of inputs in \[0, 1\], which it must be\."),
        ((math.nan,), None, "--mean nan is not of inputs"),
    ],
)
def test_statistics_of_bytes_are_refused_with_those_that_are_meant(tmp_path, raw, mean, std, said):
    from reslab.trained import load_trained

    torch.save(raw, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=said):
        load_trained(NAME, weights=tmp_path / "w.pth", mean=mean, std=std)


def test_caffes_scale_is_taken_and_the_command_line_refuses_bytes(tmp_path, raw, capsys):
    from reslab.trained import load_trained

    torch.save(raw, tmp_path / "w.pth")
    found = load_trained(NAME, weights=tmp_path / "w.pth", mean=(0.4815, 0.4578, 0.4076), std=(1 / 255,) * 3)
    assert found.normalization.std.tolist() == pytest.approx([1 / 255] * 3)
    assert main(["eval", f"{NAME}={tmp_path / 'w.pth'}", "--data", "digits", "--mean", "125"]) == 2
    assert "it is 0.4902" in capsys.readouterr().err


def akamaster(state):
    wrapped = {f"module.{key.replace('fc.', 'linear.')}": value for key, value in state.items()}
    return {"state_dict": {key: value for key, value in wrapped.items() if "num_batches" not in key}}


def test_akamasters_weights_in_the_other_padding_get_a_word(tmp_path):
    split = create_model("resnet8", shortcut_padding="split")
    torch.save(akamaster(split.state_dict()), tmp_path / "aka.th")
    with pytest.warns(PaddingWarning, match=r"write resnet8\[shortcut_padding=split\]"):
        load_weights(create_model("resnet8"), tmp_path / "aka.th")
    target = create_model("resnet8", shortcut_padding="split")
    load_weights(target, tmp_path / "aka.th")
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(target.eval()(images), split.eval()(images))


def test_the_original_file_gets_the_word_too(shared):
    path = shared / "weights" / "akamaster-resnet20-12fca82f.th"
    with pytest.warns(PaddingWarning, match=r"write resnet20\[shortcut_padding=split\]"):
        load_weights(create_model("resnet20"), path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_weights(create_model("resnet20", shortcut_padding="split"), path)


# Checkpoints people have


@pytest.fixture
def foreign(monkeypatch):
    """An object of a module that a file names, and nobody has here."""
    module = types.ModuleType("foo")
    module.Bar = type("Bar", (), {"__module__": "foo"})
    monkeypatch.setitem(sys.modules, "foo", module)
    return module.Bar()


SETTINGS = argparse.Namespace(lr=0.1, data="/data", betas=(0.9, 0.999), opt=None)
HARMLESS = {
    "Namespace": SETTINGS,
    "Namespace in a Namespace": argparse.Namespace(inner=SETTINGS),
    "SimpleNamespace": types.SimpleNamespace(lr=0.1),
    "number of numpy": np.float64(71.25),
    "float32 of numpy": np.float32(3),
    "array of numpy": np.arange(6.0).reshape(2, 3),
    "type of numpy": np.dtype("float32"),
    "random state of numpy": np.random.RandomState(0).get_state(),
    "path": pathlib.PurePosixPath("/a/b"),
    "path here": pathlib.Path("/a/b"),
    "OrderedDict": collections.OrderedDict(a=1),
    "defaultdict": collections.defaultdict(list, {"a": [1]}),
    "Counter": collections.Counter("aab"),
    "deque": collections.deque([1, 2], maxlen=3),
    "date": datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC),
    "duration": datetime.timedelta(seconds=3),
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "complex": 1 + 2j,
    "bytes": b"abc",
    "device": torch.device("cpu"),
    "type": torch.float16,
    "size": torch.Size([1, 2]),
    "range": range(3),
}


@pytest.mark.parametrize("beside", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_harmless_objects_beside_the_weights_do_no_harm(tmp_path, raw, beside, zipped):
    torch.save({"model": raw, "args": beside}, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    target = model()
    load_weights(target, tmp_path / "w.pth")
    assert same(target.state_dict(), raw)


def test_what_timm_and_torchvision_save_is_read_and_torch_is_left_as_it_was(tmp_path, raw, averaged):
    optimizer = torch.optim.SGD(model().parameters(), 0.1, momentum=0.9)
    timm = {
        "epoch": 3,
        "arch": "resnet8",
        "state_dict": raw,
        "optimizer": optimizer.state_dict(),
        "version": 2,
        "args": SETTINGS,
        "amp_scaler": {"scale": 65536.0},
        "metric": np.float64(71.2),
    }
    torch.save(timm, tmp_path / "checkpoint-3.pth.tar")
    target = model()
    assert load_weights(target, tmp_path / "checkpoint-3.pth.tar").table == "state_dict"
    assert same(target.state_dict(), raw)
    torch.save(
        {"model": averaged, "optimizer": optimizer.state_dict(), "args": SETTINGS, "epoch": 1}, tmp_path / "m.pth"
    )
    load_weights(target, tmp_path / "m.pth")
    assert same(target.state_dict(), averaged)
    ours = [item for item in torch.serialization.get_safe_globals() if isinstance(item, tuple)]
    assert not ours  # all stand-ins are given with the names that they stand for


def mmpretrain(state):
    return {(f"backbone.{key}" if not key.startswith("fc.") else f"head.{key}"): value for key, value in state.items()}


def lightning(state):
    return {
        "state_dict": prefixed("model.", state),
        "hyper_parameters": {"lr": 0.1},
        "pytorch-lightning_version": "2.4",
    }


WRAPPED = {
    "model_state_dict": (lambda state: {"model_state_dict": state, "loss": 0.1}, "model_state_dict", ""),
    "Lightning": (lightning, "state_dict", "model."),
    "module. inside": (lambda state: {"state_dict": prefixed("model.module.", state)}, "state_dict", "model.module."),
    "net.": (lambda state: prefixed("net.", state), "", "net."),
    "compiled inside": (lambda state: prefixed("net._orig_mod.", state), "", "net._orig_mod."),
    "backbone. and head.fc.": (lambda state: {"state_dict": mmpretrain(state), "meta": {}}, "state_dict", "backbone."),
    "of several modules": (lambda state: prefixed("a.b.c.", state), "", "a.b.c."),
    "AveragedModel": (lambda state: {"n_averaged": torch.tensor(4), **prefixed("module.", state)}, "", ""),
    "AveragedModel of a parallel one": (
        lambda state: {"n_averaged": torch.tensor(4), **prefixed("module.module.", state)},
        "",
        "",
    ),
    "parameters": (
        lambda state: {key: torch.nn.Parameter(v) if v.dim() > 0 else v for key, v in state.items()},
        "",
        "",
    ),
}


@pytest.mark.parametrize(("wrap", "table", "prefix"), WRAPPED.values(), ids=WRAPPED)
def test_prefixes_and_wrappings_are_taken_off_and_the_report_says_so(tmp_path, raw, wrap, table, prefix):
    torch.save(wrap(raw), tmp_path / "w.pth")
    target = model()
    report = load_weights(target, tmp_path / "w.pth")
    assert same(target.state_dict(), raw)
    assert (report.table, report.prefix) == (table, prefix)
    assert (f"behind the prefix {prefix}" in str(report)) == bool(prefix)


def test_a_prefix_that_leaves_something_over_is_not_taken_off(tmp_path, raw):
    torch.save(prefixed("model.", raw) | {"criterion.weight": torch.ones(3)}, tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"w.pth does not fit the model: .*Nothing was loaded.*w.pth#model would fit"
    ):
        load_weights(model(), tmp_path / "w.pth")
    target = model()
    load_weights(target, f"{tmp_path / 'w.pth'}#model")
    assert same(target.state_dict(), raw)


def test_a_prefix_and_another_number_of_classes(tmp_path):
    other = model(num_classes=7).state_dict()
    torch.save(prefixed("net.", other), tmp_path / "w.pth")
    target = model()
    with pytest.warns(UserWarning, match="7 classes in the file, 10 in the model"):
        load_weights(target, tmp_path / "w.pth")
    assert torch.equal(target.conv1.weight, other["conv1.weight"])


@pytest.mark.parametrize("name", ["w.PTH", "w.pth", "w.bin", "w.SafeTensors", "w.safetensors", "weights", "w.pth.tar"])
@pytest.mark.parametrize("form", ["torch", "torch before 1.6", "safetensors"])
def test_the_content_says_what_a_file_is(tmp_path, raw, name, form):
    if form == "safetensors":
        save_file(raw, tmp_path / name)
    else:
        torch.save(raw, tmp_path / name, _use_new_zipfile_serialization=form == "torch")
    assert same(read_state_dict(tmp_path / name), raw)


POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a' * 16}\nsize 12345\n".encode()
OTHER_FILES = {
    "git-lfs": (POINTER, "w.pth is a pointer of git-lfs, not the file itself; fetch that with `git lfs pull`"),
    "web page": (b"\n<!DOCTYPE html>\n<html><body>Not found</body></html>", "is a web page; download the file itself"),
    "web page without a head": (b"<HTML><TITLE>x", "is a web page"),
    "XML": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "is a text in XML"),
    "JSON": (b'{"message": "Not Found"}', "is a text in JSON"),
    "index": (
        json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}).encode(),
        "index of weights that lie",
    ),
    "text": ("Zugriff verweigert, später".encode(), "is a text, not a file of weights"),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x10" + bytes(range(200)), "is an ONNX file"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(range(100)), "is compressed by gzip; unpack it with `gunzip`"),
    "array": (b"\x93NUMPY\x01\x00v\x00{'descr'", "is an array of NumPy"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(range(100)), "is an HDF5 file"),
    "zeros": (bytes(5000), "begins with nothing but zeros"),
    "empty": (b"", "w.pth is empty"),
    "noise": (bytes(range(255, 0, -1)), "w.pth is damaged, or is no file of weights"),
}


@pytest.mark.parametrize(("content", "said"), OTHER_FILES.values(), ids=OTHER_FILES)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_other_files_are_called_what_they_are(tmp_path, content, said, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=said.replace("w.pth", name)):
        load_weights(model(), tmp_path / name)


def test_other_files_are_called_what_they_are_on_the_command_line(tmp_path, capsys):
    (tmp_path / "w.pth").write_bytes(POINTER)
    assert main(["eval", f"{NAME}={tmp_path / 'w.pth'}", "--data", "digits", "--mean", "0.5"]) == 2
    assert "is a pointer of git-lfs" in capsys.readouterr().err


def test_programs_and_pickles_are_called_what_they_are(tmp_path, raw, foreign):
    whole = "w.pth is not read: it is a whole network that was pickled .reslab.models.residual.ResNet.*save"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and its files are not gone
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "script.pt"))
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    cases = {
        whole: lambda path: torch.save(model(), path),
        r"w.pth is not read: it is a whole network": lambda path: torch.save({"model": model()}, path),
        "it holds a foo.Bar object.*save `model.state_dict": lambda path: torch.save(
            {"model": raw, "c": foreign}, path
        ),
        "it is a TorchScript program; load it with torch.jit.load": lambda path: shutil.copy(
            tmp_path / "script.pt", path
        ),
        "it is an archive of NumPy": lambda path: shutil.copy(tmp_path / "arrays.npz", path),
        "it is a pickle that torch did not write": lambda path: path.write_bytes(pickle.dumps({"model": [1.0, 2.0]})),
        "it is pickled by protocol 4": lambda path: torch.save(raw, path, pickle_protocol=4),
    }
    for said, write in cases.items():
        write(tmp_path / "w.pth")
        with pytest.raises(WeightsError, match=said) as caught:
            load_weights(model(), tmp_path / "w.pth")
        assert "\x1b" not in str(caught.value)
        assert "weights_only" not in str(caught.value)


STRANGE_VALUES = {
    "sparse": (lambda value: value.to_sparse(), "a sparse tensor"),
    "complex": (lambda value: value + 1j, "complex numbers"),
    "whole numbers": (lambda value: value.to(torch.int8), r"whole numbers \(int8\)"),
    "without values": (lambda value: value.to("meta"), "a tensor without values"),
    "infinite": (lambda value: value / 0, "NaN or infinite values"),
}


@pytest.mark.parametrize(("change", "said"), STRANGE_VALUES.values(), ids=STRANGE_VALUES)
def test_tensors_that_are_no_weights_are_refused(tmp_path, raw, change, said):
    torch.save(raw | {"fc.weight": change(raw["fc.weight"])}, tmp_path / "w.pth")
    target = model()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(WeightsError, match=f"w.pth holds {said}.* in fc.weight. Nothing was loaded"):
        load_weights(target, tmp_path / "w.pth")
    assert same(target.state_dict(), before)


def test_a_name_that_stands_twice_in_a_safetensors_file_is_refused(tmp_path):
    content = save({"a": torch.zeros(1), "b": torch.ones(1)})
    (tmp_path / "w.safetensors").write_bytes(content.replace(b'"b"', b'"a"'))
    with pytest.raises(WeightsError, match=r"w.safetensors is damaged: it holds two tensors named a"):
        read_state_dict(tmp_path / "w.safetensors")


def test_a_flipped_bit_is_noticed(tmp_path, raw):
    """torch's own reader verifies no checksum, and loads other weights."""
    path = tmp_path / "w.pth"
    torch.save(raw, path)
    content = bytearray(path.read_bytes())
    content[content.find(raw["fc.weight"].numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w.pth is damaged.*the checksum of its member .* differs"):
        read_state_dict(path)
