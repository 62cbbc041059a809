import os

import pytest
import torch
from safetensors.torch import save_file

from reslab.errors import WeightsError
from reslab.models import create_model
from reslab.models.weights import CARD_NAME, load_weights, read_card, read_state_dict, save_weights


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def model() -> torch.nn.Module:
    return create_model("resnet8")


WRAPPINGS = {
    "plain": lambda state: state,
    "state_dict": lambda state: {"state_dict": state},
    "model": lambda state: {"model": state},
    "net in state_dict": lambda state: {"state_dict": {"net": state}},
    "module.": lambda state: {f"module.{key}": value for key, value in state.items()},
    "compiled and parallel": lambda state: {f"_orig_mod.module.{key}": value for key, value in state.items()},
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_weights_are_read_however_they_are_wrapped(tmp_path, wrap):
    source, target = model(), model()
    torch.save(wrap(source.state_dict()), tmp_path / "weights.pth")
    report = load_weights(target, tmp_path / "weights.pth")
    assert same(source, target)
    assert report.num_matched >= len(list(source.parameters()))


def test_half_precision_and_safetensors_are_read(tmp_path):
    source, target = model(), model()
    save_file({key: value.half() for key, value in source.state_dict().items()}, tmp_path / "w.safetensors")
    load_weights(target, tmp_path / "w.safetensors")
    assert torch.equal(target.conv1.weight, source.conv1.weight.half().float())


def test_the_akamaster_net_matches_key_by_key(shared):
    net = create_model("resnet20", shortcut_padding="split")
    report = load_weights(net, shared / "weights" / "akamaster-resnet20-12fca82f.th")
    assert report.num_matched >= len(list(net.parameters())) + 2 * 19


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("fc.bias"), r"1 missing \(fc.bias\)"),
        (lambda state: state.update(extra=torch.ones(1)), r"1 unexpected \(extra\)"),
        (lambda state: state.update({"fc.weight": torch.ones(10, 3)}), "fc.weight is 10x3 in the file and 10x64"),
        (lambda state: state["fc.bias"].fill_(float("nan")), "NaN or infinite values in fc.bias"),
    ],
)
def test_a_body_that_does_not_match_is_refused_and_nothing_is_loaded(change, message):
    target, before = model(), model()
    before.load_state_dict(target.state_dict())
    state = {key: value.clone() for key, value in model().state_dict().items()}
    change(state)
    with pytest.raises(WeightsError, match=message):
        load_weights(target, state)
    assert same(target, before)


def test_a_file_of_another_net_is_refused(tmp_path):
    torch.save(create_model("resnet14").state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other.pth does not fit the model: .*unexpected.*Nothing was loaded"):
        load_weights(model(), tmp_path / "other.pth")


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/reslab-was-here",)


BAD_FILES = {
    "missing": None,
    "empty": b"",
    "text": b"not a file of weights",
    "tensor": torch.ones(3),
    "list": [1, 2],
    "no tensors": {"state_dict": {"epoch": 3}},
    "malicious": Evil(),
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_bad_file_gets_a_sentence_that_names_it(tmp_path, content, suffix):
    path = tmp_path / f"bad{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match="bad") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)
    assert not os.path.exists("/tmp/reslab-was-here")


@pytest.mark.parametrize("keep", [10, 2000, -100])
def test_a_truncated_file_gets_a_sentence(tmp_path, keep):
    for name, save in (("w.pth", torch.save), ("w.safetensors", save_file)):
        path = tmp_path / name
        save(model().state_dict(), path)
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(WeightsError, match=f"{name} is damaged"):
            read_state_dict(path)


def test_saved_weights_are_verified_against_their_card(tmp_path):
    source, target = model().to(memory_format=torch.channels_last), model()
    save_weights(source, tmp_path, {"model": "resnet8"})
    assert read_card(tmp_path)["model"] == "resnet8"
    load_weights(target, tmp_path / "weights.safetensors")
    assert same(source, target)

    save_weights(target, tmp_path / "other", {"model": "resnet8"})
    content = bytearray((tmp_path / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match="sha256 differs"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "not finished"), ("{", "damaged"), ("[]", "holds no table"), ('{"schema_version": 99}', "schema version")],
)
def test_a_bad_card_gets_a_sentence(tmp_path, text, message):
    if text is not None:
        (tmp_path / CARD_NAME).write_text(text)
    with pytest.raises(WeightsError, match=message):
        read_card(tmp_path)
