"""PNGs as editors and cameras write them: damaged ones refused everywhere, long texts and profiles no reason to."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

import reslab
from reslab.cli.main import main
from reslab.data import load_data
from reslab.data.check import check_folder
from reslab.data.decoding import decode_image, decode_rgb, open_image, upright_size
from reslab.data.packing import pack_folder
from reslab.data.preprocessing import Preprocessing
from reslab.errors import DataError
from reslab.models import create_model

VIEW = Preprocessing(height=16, width=16, channels=3, resize=16)
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)


def encoded(image: Image.Image | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(stream, "PNG", **options)
    return stream.getvalue()


def with_wrong_checksum() -> bytes:
    content = bytearray(encoded())
    at = content.index(b"IDAT")
    content[at + 4 + int.from_bytes(content[at - 4 : at])] ^= 1
    return bytes(content)


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A folder in which one file's pixels have another checksum."""
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "1.png").write_bytes(encoded())
        (tmp_path / "pets" / name / "2.png").write_bytes(encoded(Image.fromarray(PIXELS[::-1])))
    (tmp_path / "pets" / "dog" / "bad.png").write_bytes(with_wrong_checksum())
    return tmp_path / "pets"


MESSAGE = r"dog/bad\.png: it is damaged: its pixels have another checksum than it says"


def test_both_readers_refuse_a_wrong_checksum(damaged: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=MESSAGE):
        load_data(damaged, kind="small")
    photos = load_data(damaged, kind="photos", view=VIEW).split("train")
    with pytest.raises(DataError, match=MESSAGE):
        photos.read(0, 5)
    for decode in (decode_rgb, lambda data: decode_image(data, 3)):
        with pytest.raises(DataError, match="another checksum"):
            decode(with_wrong_checksum())
    pack_folder(damaged, tmp_path / "shards")  # as it is; whoever reads it is told
    with pytest.raises(DataError, match=r"dog/bad\.png in .*: it is damaged: its pixels have another checksum"):
        load_data(tmp_path / "shards", view=VIEW).split("train").read(0, 5)


def test_check_predict_and_train_refuse_it(damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finding,) = [item for item in check_folder(damaged).findings if item.problem == "unreadable"]
    assert (finding.path, "another checksum" in finding.detail) == ("dog/bad.png", True)
    save_file(create_model("resnet8").state_dict(), tmp_path / "net.safetensors")
    network = reslab.load(net := f"resnet8={tmp_path / 'net.safetensors'}", mean=(0.5,))
    with pytest.raises(DataError, match="another checksum"):
        network.predict(damaged / "dog" / "bad.png")
    found = network.predict(damaged)
    assert [prediction.error is not None for prediction in found] == [False, False, False, False, True]  # type: ignore[union-attr]
    assert main(["predict", net, "--mean", "0.5", str(damaged), "--json"]) == 1
    assert "dog/bad.png: it is damaged: its pixels have another checksum" in capsys.readouterr().err
    assert main(["train", "resnet8", "--data", str(damaged), "--run-dir", str(tmp_path / "run")]) == 2
    assert "dog/bad.png: it is damaged: its pixels have another checksum" in capsys.readouterr().err


@pytest.mark.parametrize("end", [12, 20, 60])
def test_a_file_that_ends_early_is_truncated(end: int) -> None:
    with pytest.raises(DataError, match="it is damaged: it is truncated"):
        decode_image(encoded()[:-end], 3)


def texts(*texts: tuple[str, str, bool]) -> dict[str, Any]:
    info = PngImagePlugin.PngInfo()
    for key, text, packed in texts:
        info.add_text(key, text, zip=packed)
    return {"pnginfo": info}


def international() -> dict[str, Any]:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("parameters", "猫" * 1_000_000, zip=True)
    return {"pnginfo": info}


@pytest.mark.parametrize(
    "options",
    [
        {"icc_profile": np.random.default_rng(0).bytes(3_000_000)},
        {"icc_profile": bytes(3_000_000)},
        texts(("Comment", "x" * 3_000_000, False)),
        texts(("Comment", "x" * 30_000_000, True)),
        texts(*((f"prompt{number}", "x" * 900_000, True) for number in range(80))),
        international(),
        texts(("XML:com.adobe.xmp", "x" * 3_000_000, True)),
    ],
)
def test_long_profiles_and_texts_are_no_damage(options: dict[str, Any], tmp_path: Path) -> None:
    data = encoded(**options)
    for found in (decode_rgb(data), np.asarray(decode_image(data, 3))):
        np.testing.assert_array_equal(found, PIXELS)
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(data)
    np.testing.assert_array_equal(load_data(tmp_path, kind="small").split("train").images[1], PIXELS)
    assert {finding.problem for finding in check_folder(tmp_path).findings} <= {"in-two-classes", "single-image"}


def test_how_it_was_held_is_still_known() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with_exif = encoded(Image.fromarray(PIXELS[:8]), exif=exif, icc_profile=bytes(3_000_000))
    xmp = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    xmp += '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    info.add_text("Comment", "x" * 30_000_000, zip=True)
    with_xmp = encoded(Image.fromarray(PIXELS[:8]), pnginfo=info)
    raw = b"\nexif\n      %d\n%s\n" % (len(exif.tobytes()), exif.tobytes().hex().encode())
    profile = b"Raw profile type exif\0\0" + zlib.compress(raw)  # as ImageMagick writes it
    chunk = struct.pack(">I", len(profile)) + b"zTXt" + profile + struct.pack(">I", zlib.crc32(b"zTXt" + profile))
    plain = encoded(Image.fromarray(PIXELS[:8]), icc_profile=bytes(3_000_000))
    with_profile = plain[:33] + chunk + plain[33:]
    for data in (with_exif, with_xmp, with_profile):
        with open_image(data) as image:
            assert image.size == (16, 8)
            assert upright_size(image) == (8, 16)
        np.testing.assert_array_equal(decode_rgb(data), np.rot90(PIXELS[:8], -1))


@pytest.mark.parametrize("channels", [1, 3])
def test_palettes_with_transparency_are_read_without_a_warning(channels: int) -> None:
    image = Image.fromarray((PIXELS[..., 0] % 4).astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 9, 0, 0, 255, 7, 90, 30, 255])
    data = encoded(image, transparency=bytes([0, 128, 255, 255]))
    plain = image.convert("RGB" if channels == 3 else "L")
    found = np.asarray(decode_image(data, channels))  # warnings are errors here
    np.testing.assert_array_equal(found, np.asarray(plain))
    with warnings.catch_warnings(record=True) as told, Image.open(io.BytesIO(data)) as theirs:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(found, np.asarray(theirs.convert(plain.mode)))
    assert told  # the test is one


def test_a_network_of_other_channels_sees_no_files() -> None:
    view = Preprocessing(height=16, width=16, channels=4, resize=16)
    with pytest.raises(DataError, match="image files give 1 channel or 3, and the network takes 4"):
        view(Image.fromarray(PIXELS))
    with pytest.raises(DataError, match="the network takes 2"):
        decode_image(encoded(), 2)
