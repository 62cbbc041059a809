"""Cards of released weights, and their download from a server that also truncates, stalls and lies."""

import hashlib
import io
import json
import re
import tarfile
from dataclasses import replace

import pytest
import timm
import torch
import torchvision

from reslab.cli.main import main
from reslab.errors import WeightsError
from reslab.files import download
from reslab.models import create_model, parse_model, released, resnet18
from reslab.models.released import find_card, list_cards
from reslab.models.weights import HeadReplacedWarning, load_weights


def test_torchvisions_cards_say_what_torchvision_says():
    cards = [card for card in list_cards() if card.name.startswith("torchvision:")]
    assert len(cards) >= 17
    for card in cards:
        weights = torchvision.models.get_model_weights(card.model)[f"IMAGENET1K_{card.name[-2:]}"]
        transforms, meta = weights.transforms(), weights.meta
        assert card.location == weights.url
        assert card.sha256 in weights.url
        assert (card.resize, card.input_size) == (transforms.resize_size[0], transforms.crop_size[0])
        assert (list(card.mean), list(card.std)) == (transforms.mean, transforms.std)
        assert card.interpolation == transforms.interpolation.value
        accuracy = meta["_metrics"]["ImageNet-1K"]
        assert (card.top1_error, card.top5_error) == pytest.approx((100 - accuracy["acc@1"], 100 - accuracy["acc@5"]))


def test_timms_cards_say_what_timm_says():
    cards = [card for card in list_cards() if card.name.startswith("timm:")]
    assert len(cards) == 15
    for card in cards:
        config = timm.get_pretrained_cfg(card.location.removeprefix("hub:timm/"))
        assert config.hf_hub_id == card.location.removeprefix("hub:")
        assert (config.mean, config.std, config.interpolation) == (card.mean, card.std, card.interpolation)
        assert config.license == card.license.lower()
        assert int(card.input_size / 0.95) == card.resize
        assert config.crop_pct == 0.95


def test_cards_are_found_by_the_names_people_use():
    for name in ("torchvision:V2", "V2", "IMAGENET1K_V2", "imagenet1k_v2", "DEFAULT", "torchvision"):
        assert find_card("resnet50", name).sha256 == "11ad3fa6"
    assert find_card("resnet18", "DEFAULT").name == "torchvision:V1"
    assert find_card("resnet50", "timm:a1").location == "hub:timm/resnet50.a1_in1k"
    with pytest.raises(WeightsError, match="resnet18 has torchvision:V1, timm:A1"):
        find_card("resnet18", "V3")
    with pytest.raises(WeightsError, match="none are known for plain20"):
        find_card("plain20", "V1")


def test_every_card_is_for_a_network_of_ours():
    for card in list_cards():
        assert parse_model(card.model)
        assert json.dumps(card.to_dict())


def test_the_akamaster_card_is_the_file_that_people_have(shared):
    path = shared / "weights" / "akamaster-resnet20-12fca82f.th"
    card = find_card("resnet20", "akamaster")
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(card.sha256)
    assert load_weights(create_model(card.model), path).num_matched == 97


@pytest.fixture
def published(server, monkeypatch, tmp_path):
    """A file of ResNet-18's weights on the server, a card for it, and an empty cache."""
    source = create_model("resnet18")
    buffer = io.BytesIO()
    torch.save(source.state_dict(), buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:8]
    card = replace(find_card("resnet18", "V1"), location=f"{server.url}/models/resnet18-{digest}.pth", sha256=digest)
    monkeypatch.setattr(released, "list_cards", lambda: [card])
    monkeypatch.setattr(download, "_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server.respond = lambda handler, _: handler.answer_range(content)
    return source, content, server


def same(first, second) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_released_weights_are_downloaded_once_and_quietly(published, capfd):
    source, _, server = published
    assert same(create_model("resnet18", weights="torchvision:V1", progress=False), source)
    assert same(resnet18(pretrained=True, progress=False), source)
    assert same(resnet18(weights=torchvision.models.ResNet18_Weights.DEFAULT, progress=False), source)
    assert len(server.paths) == 1
    assert capfd.readouterr().err == ""


def test_fewer_classes_get_a_fresh_head(published):
    source, *_ = published
    with pytest.warns(HeadReplacedWarning, match="1000 classes in the file, 10 in the model"):
        model = resnet18(weights="V1", num_classes=10, progress=False)
    assert torch.equal(model.conv1.weight, source.conv1.weight)


def test_a_truncating_and_a_stalling_server_are_asked_again(published):
    source, content, server = published

    def respond(handler, number):
        if number == 1:
            handler.answer(content[: len(content) // 3], announced=len(content))
        elif number == 2:
            handler.send_response(206)
            handler.send_header("Content-Length", str(len(content) - handler.start))
            handler.end_headers()
            handler.wfile.write(content[handler.start : handler.start + 1000])
            handler.wfile.flush()
            server.closing.wait(2)
        else:
            handler.answer_range(content)

    server.respond = respond
    assert same(create_model("resnet18", weights="V1", progress=False), source)
    third = len(content) // 3
    assert server.ranges == [None, f"bytes={third}-", f"bytes={third + 1000}-"]


def test_a_lying_server_is_found_out_and_nothing_is_kept(published, tmp_path):
    _, content, server = published
    server.respond = lambda handler, _: handler.answer_range(content[:-1] + b"!")
    with pytest.raises(WeightsError, match="another checksum"):
        create_model("resnet18", weights="V1", progress=False)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert kept == []


def test_an_endless_offer_is_refused(published):
    *_, server = published

    def respond(handler, _):
        handler.answer(b"", announced=1 << 50)

    server.respond = respond
    with pytest.raises(WeightsError, match="the most that are taken"):
        create_model("resnet18", weights="V1", progress=False)


def test_offline_says_which_file_to_put_where(published, tmp_path):
    *_, server = published
    server.respond = lambda handler, _: handler.answer(b"gone", status=404)
    with pytest.raises(WeightsError, match=r"404.*put it at .*cache/reslab/weights/resnet18-[0-9a-f]{8}\.pth"):
        create_model("resnet18", weights="V1", progress=False)


def test_weights_of_another_network_are_refused_before_the_download(published):
    *_, server = published
    with pytest.raises(WeightsError, match="which has shortcut=B, not A"):
        create_model("resnet18[shortcut=A]", weights="V1", progress=False)
    assert server.paths == []


def test_an_address_will_do_as_well(published):
    source, _, server = published
    model = create_model("resnet18")
    load_weights(model, f"{server.url}/somewhere/weights.pth")
    assert same(model, source)
    other = hashlib.sha256(b"other").hexdigest()[:8]
    with pytest.raises(WeightsError, match="another checksum"):
        load_weights(model, f"{server.url}/somewhere/weights-{other}.pth")


def test_eval_takes_a_card_with_its_mean_and_std(shared, server, monkeypatch, tmp_path, capsys):
    """The released file, the address of its card, real images."""
    content = (shared / "weights" / "akamaster-resnet20-12fca82f.th").read_bytes()
    server.respond = lambda handler, _: handler.answer_range(content)
    monkeypatch.setenv("RESLAB_MIRROR", server.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    images = tmp_path / "images"
    with tarfile.open(shared / "data" / "cifar10-jpeg.tar.xz") as archive:
        chosen = re.compile(r"(\./)?(cifar10-jpeg/)?test/\w+/000\d\.jpg")
        archive.extractall(images, [m for m in archive if chosen.fullmatch(m.name)], filter="data")
    (folder,) = {path.parent.parent.parent for path in images.rglob("*.jpg")}
    model = "resnet20[shortcut_padding=split]"
    common = ["eval", model, "--data", str(folder), "--json", "--no-cache"]
    assert main([*common, "--weights", "akamaster"]) == 0
    by_card = json.loads(capsys.readouterr().out)
    path = str(shared / "weights" / "akamaster-resnet20-12fca82f.th")
    assert main([*common, "--weights", path, "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"]) == 0
    assert json.loads(capsys.readouterr().out) == by_card
    assert by_card["num_images"] == 100
    assert by_card["top1_error"] < 35
    assert main(["eval", "resnet20", "--data", str(folder), "--weights", "akamaster"]) == 2
    assert "shortcut_padding=split, not append" in capsys.readouterr().err


def test_the_hub(server, monkeypatch, tmp_path):
    """A repository as Hugging Face's hub serves it: HEAD with commit and ETag, then GET."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    from safetensors.torch import save

    source = create_model("resnet20")
    content = save(source.state_dict())

    def respond(handler, _):
        if handler.path.endswith("model.safetensors") and handler.path.startswith("/someone/net/"):
            handler.send_response(200)
            handler.send_header("X-Repo-Commit", "0" * 40)
            handler.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            if handler.command != "HEAD":
                handler.wfile.write(content)
        else:
            handler.send_response(404)
            handler.send_header("X-Error-Code", "EntryNotFound" if "/net/" in handler.path else "RepoNotFound")
            handler.send_header("Content-Length", "0")
            handler.end_headers()

    server.respond = respond
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    assert same(create_model("resnet20", weights="hub:someone/net", progress=False), source)
    with pytest.raises(WeightsError, match="could not get hub:nobody/nothing"):
        create_model("resnet20", weights="hub:nobody/nothing", progress=False)
    with pytest.raises(WeightsError, match="could not get hub:a/b/c"):
        create_model("resnet20", weights="hub:a/b/c", progress=False)
