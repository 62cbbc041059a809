"""Folders of class folders, whole and broken."""

import io
import shutil
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from reslab.data import ImageData, PhotoData, Role, load_data
from reslab.data.preprocessing import Preprocessing
from reslab.errors import DataError

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, rng: np.random.Generator) -> Write:
    """Writes one random image under the folder `pets`."""

    def write(name: str, mode: str = "RGB", size: tuple[int, int] = (6, 5)) -> Path:
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = {"L": (), "1": (), "P": ()}.get(mode, (len(mode),))
        pixels = rng.integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1:] == (1,) else pixels)
        (image if image.mode == mode else image.convert(mode)).save(path)
        return path

    return write


@pytest.fixture
def pets(tmp_path: Path, write: Write) -> Path:
    """Two classes of two images each."""
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        write(name)
    return tmp_path / "pets"


@pytest.fixture
def split_pets(tmp_path: Path, write: Write) -> Path:
    """Two classes in train/, val/ and test/."""
    for index, role in enumerate(get_args(Role)):
        for name in ("cat", "dog"):
            for number in range(index + 1):
                write(f"{role}/{name}/{number}.png")
    return tmp_path / "pets"


def assert_as_torchvision_reads(folder: Path, data: ImageData, role: Role) -> None:
    theirs = ImageFolder(str(folder))
    ours = data.split(role)
    assert data.classes == tuple(theirs.classes)
    assert ours.labels.tolist() == theirs.targets
    assert len(ours) == len(theirs)
    images = ours.images if ours.images.shape[-1] == 3 else np.repeat(ours.images, 3, axis=-1)
    for image, (expected, _) in zip(images, theirs, strict=True):
        np.testing.assert_array_equal(image, np.asarray(expected))


def refusal(folder: Path, *named: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_data(folder, kind="small")
    for path in named:
        assert str(path) in str(caught.value)
    return str(caught.value)


def test_photographs_are_read_as_torchvision_reads_them(shared: Path, tmp_path: Path) -> None:
    with tarfile.open(shared / "data" / "imagenet-sample-200.tar") as archive:
        photographs = [member for member in archive.getmembers() if member.isfile()][:24]
        for index, member in enumerate(photographs):
            stream = archive.extractfile(member)
            assert stream is not None
            path = tmp_path / "photos" / "val" / f"class {index % 7}" / Path(member.name).name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.open(stream).convert("RGB").resize((40, 30)).save(path)
    data = load_data(tmp_path / "photos")
    assert data.name == "photos"
    assert data.image_shape == (30, 40, 3)
    assert list(data.splits) == ["val"]
    assert_as_torchvision_reads(tmp_path / "photos" / "val", data, "val")


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "webp", "tif", "ppm", "PNG", "JPEG"])
def test_formats_are_read_as_torchvision_reads_them(tmp_path: Path, write: Write, suffix: str) -> None:
    for name in ("cat/1", "cat/10", "cat/2", "ant/x", "dog/b", "dog/B"):
        write(f"{name}.{suffix}")
    data = load_data(tmp_path / "pets")
    assert data.classes == ("ant", "cat", "dog")
    assert_as_torchvision_reads(tmp_path / "pets", data, "train")


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "1", "CMYK"])
def test_modes_are_read_as_torchvision_reads_them(tmp_path: Path, write: Write, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    for name in ("cat/1", "cat/2", "dog/1"):
        write(f"{name}.{suffix}", mode)
    assert_as_torchvision_reads(tmp_path / "pets", load_data(tmp_path / "pets"), "train")


def test_a_flat_folder_is_the_train_split(pets: Path) -> None:
    data = load_data(str(pets))
    assert data.name == "pets"
    assert data.classes == ("cat", "dog")
    assert list(data.splits) == ["train"]
    assert data.split("train").images.shape == (4, 5, 6, 3)
    assert data.split("train").labels.tolist() == [0, 0, 1, 1]
    assert data.split("train").labels.dtype == np.int64


def test_role_folders_are_the_splits(split_pets: Path) -> None:
    data = load_data(split_pets)
    assert {role: len(split) for role, split in data.splits.items()} == {"train": 2, "val": 4, "test": 6}
    for role in get_args(Role):
        assert_as_torchvision_reads(split_pets / role, data, role)


@pytest.mark.parametrize("role", get_args(Role))
def test_one_role_alone_can_be_read(split_pets: Path, role: Role) -> None:
    whole = load_data(split_pets)
    for other in set(get_args(Role)) - {role}:
        (split_pets / other / "cat" / "0.png").write_bytes(b"broken, and not to be read")
    data = load_data(split_pets, roles=[role])
    assert list(data.splits) == [role]
    assert data.split(role).digest == whole.split(role).digest
    assert data.classes == whole.classes


def test_images_may_lie_in_folders_of_their_own(tmp_path: Path, write: Write) -> None:
    for name in ("cat/a/1.png", "cat/b/1.png", "cat/0.png", "dog/deep/er/1.png"):
        write(name)
    assert load_data(tmp_path / "pets").split("train").labels.tolist() == [0, 0, 0, 1]


def test_hidden_folders_and_other_files_are_passed_over(pets: Path) -> None:
    (pets / ".thumbnails").mkdir()
    (pets / "README.md").write_text("two cats, two dogs")
    (pets / "cat" / "labels.txt").write_text("cat")
    assert len(load_data(pets).split("train")) == 4


def test_all_grey_images_have_one_channel(tmp_path: Path, write: Write) -> None:
    paths = [write(name, mode) for name, mode in (("cat/1.png", "L"), ("dog/1.png", "1"), ("dog/2.png", "L"))]
    images = load_data(tmp_path / "pets").split("train").images
    assert images.shape == (3, 5, 6, 1)
    np.testing.assert_array_equal(images[0, ..., 0], np.asarray(Image.open(paths[0])))
    assert set(np.unique(images[1])) == {0, 255}


@pytest.mark.parametrize("grey", ["train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/dog/1.png"])
def test_grey_among_coloured_images_has_three_equal_channels(tmp_path: Path, write: Write, grey: str) -> None:
    for role in ("train", "test"):
        for name in ("cat", "dog"):
            write(f"{role}/{name}/1.png", "L" if f"{role}/{name}/1.png" == grey else "RGB")
    data = load_data(tmp_path / "pets")
    assert [split.images.shape for split in data.splits.values()] == [(2, 5, 6, 3)] * 2
    role, name, _ = grey.split("/")
    image = data.split(role).images[["cat", "dog"].index(name)]  # type: ignore[arg-type]
    pixels = np.asarray(Image.open(tmp_path / "pets" / grey))
    np.testing.assert_array_equal(image, np.repeat(pixels[..., np.newaxis], 3, axis=2))


def test_grey_images_of_16_bits_keep_their_shades_or_are_refused(tmp_path: Path, write: Write) -> None:
    write("dog/1.png", "L", (16, 16))
    shades = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    path = tmp_path / "pets" / "cat" / "1.png"
    path.parent.mkdir()
    Image.fromarray(shades).save(path)
    try:
        image = load_data(tmp_path / "pets").split("train").images[0]
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        np.testing.assert_allclose(image[..., 0], shades / 257, atol=1)


@pytest.mark.parametrize("name", ["猫", "čmelák", "Ærø ø", "🐈", "a b'c\"d", "1,5%"])
def test_class_names_may_be_any_text(tmp_path: Path, write: Write, name: str) -> None:
    write(f"{name}/1.png")
    write(f"plain/{name}.png")
    assert load_data(tmp_path / "pets").classes == tuple(sorted([name, "plain"]))


def break_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def break_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def break_text(path: Path) -> None:
    path.write_text("this is no image")


def break_empty(path: Path) -> None:
    path.write_bytes(b"")


def break_pixels(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)


def break_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere.png"))


@pytest.mark.parametrize("damage", [break_cut, break_header, break_text, break_empty, break_pixels, break_link])
def test_a_damaged_image_is_named(pets: Path, write: Write, damage: Callable[[Path], None]) -> None:
    damage(pets / "dog" / "1.png")
    refusal(pets, pets / "dog" / "1.png")


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "webp", "gif", "tif", "ppm"])
def test_a_cut_image_of_any_format_is_named(tmp_path: Path, write: Write, suffix: str) -> None:
    path = write(f"cat/1.{suffix}", size=(40, 30))
    write("dog/1.png", size=(40, 30))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refusal(tmp_path / "pets", path)


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [513, 12_000, 100_000, 2**31 - 1])
@pytest.mark.parametrize("name", ["cat/1.png", "dog/2.png"])
def test_an_image_that_declares_an_enormous_size_is_not_decoded(pets: Path, name: str, side: int) -> None:
    (pets / name).write_bytes(png_that_declares(side, side))
    refusal(pets, pets / name)


def test_images_that_would_not_fit_into_memory_are_refused_at_the_first(tmp_path: Path, write: Write) -> None:
    first = write("cat/00000.png", size=(512, 512))
    for index in range(1, 11_000):
        (first.parent / f"{index:05}.png").symlink_to(first)
    assert "images are kept in memory" in refusal(tmp_path / "pets")


def test_images_of_two_sizes_are_named_with_their_sizes(pets: Path, write: Write) -> None:
    other = write("dog/2.png", size=(5, 6))
    message = refusal(pets, other, pets / "cat" / "1.png")
    assert "is 5x6 pixels" in message
    assert "is 6x5" in message


def test_all_splits_must_have_one_size(split_pets: Path, write: Write) -> None:
    other = write("test/dog/2.png", size=(7, 7))
    refusal(split_pets, other)


def test_images_decide_whether_they_are_small(pets: Path, write: Write) -> None:
    assert isinstance(load_data(pets), ImageData)
    write("dog/3.png", size=(129, 129))
    assert isinstance(load_data(pets), PhotoData)
    for path in pets.glob("*/*.png"):
        write(f"{path.parent.name}/{path.name}", size=(129, 129))
    assert isinstance(load_data(pets), PhotoData)
    assert isinstance(load_data(pets, kind="small"), ImageData)


def test_test_images_decide_neither_kind_nor_channels(split_pets: Path, write: Write) -> None:
    for path in split_pets.glob("*/*/*.png"):
        role = path.relative_to(split_pets).parts[0]
        write(str(path.relative_to(split_pets)), "RGB" if role == "test" else "L")
    data = load_data(split_pets)
    assert [split.images.shape[-1] for split in data.splits.values()] == [1, 1, 1]
    coloured = np.asarray(Image.open(split_pets / "test" / "cat" / "0.png").convert("L"))
    np.testing.assert_array_equal(data.split("test").images[0, ..., 0], coloured)
    write("test/cat/0.png", size=(300, 200))
    with pytest.raises(DataError, match=r"test/cat/0\.png is 300x200 pixels"):
        load_data(split_pets)
    assert list(load_data(split_pets, roles=["train", "val"]).splits) == ["train", "val"]


@pytest.mark.parametrize("damage", ["a file", "a class", "another class"])
def test_what_is_wrong_with_test_images_stops_nothing_but_a_test(split_pets: Path, write: Write, damage: str) -> None:
    if damage == "a file":
        (split_pets / "test" / "cat" / "0.png").write_bytes(b"broken")
    elif damage == "a class":
        shutil.rmtree(split_pets / "test" / "cat")
    else:
        write("test/bird/1.png")
    load_data(split_pets, roles=["train", "val"])
    with pytest.raises(DataError, match="test"):
        load_data(split_pets, roles=["test"])


@pytest.mark.parametrize("orientation", [3, 6])
def test_small_images_stand_upright_as_photos_do(tmp_path: Path, orientation: int) -> None:
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("cat/1.jpg", "dog/1.jpg"):
        (tmp_path / name).parent.mkdir()
        image.save(tmp_path / name, exif=exif, quality=100, subsampling=0)
    small = load_data(tmp_path, kind="small").split("train").images
    view = Preprocessing(height=8, width=8, channels=3, resize=8)
    np.testing.assert_array_equal(small, load_data(tmp_path, kind="photos", view=view).split("train").read(0, 2))
    assert np.abs(small[0].astype(int) - np.asarray(image)).max() > 50


def test_a_png_whose_pixels_have_another_checksum_is_named(pets: Path) -> None:
    path = pets / "dog" / "1.png"
    content = bytearray(path.read_bytes())
    at = content.index(b"IDAT")
    length = int.from_bytes(content[at - 4 : at])
    content[at + 4 + length] ^= 1
    path.write_bytes(content)
    assert "another checksum" in refusal(pets, path)


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"P7\n", b"8BPS\0\1"])
def test_other_formats_are_no_images_whatever_they_are_called(
    pets: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)  # nothing is started
    (pets / "cat" / "1.png").write_bytes(content)
    assert "not an image" in refusal(pets, pets / "cat" / "1.png")


def test_an_empty_class_is_named(pets: Path) -> None:
    (pets / "bird").mkdir()
    assert "has no images" in refusal(pets, pets / "bird")


def test_a_class_without_images_among_its_files_is_named(pets: Path) -> None:
    (pets / "bird").mkdir()
    (pets / "bird" / "notes.txt").write_text("none yet")
    assert "has no images" in refusal(pets, pets / "bird")


def test_a_folder_without_classes_is_named(tmp_path: Path, write: Write) -> None:
    write("1.png")
    assert "has no class folders" in refusal(tmp_path / "pets", tmp_path / "pets")


@pytest.mark.parametrize("role", get_args(Role))
def test_a_role_without_classes_is_named(split_pets: Path, role: Role) -> None:
    (split_pets / role).rename(split_pets.parent / "moved")
    (split_pets / role).mkdir()
    assert "has no class folders" in refusal(split_pets, split_pets / role)


@pytest.mark.parametrize("role", ["val", "test"])
def test_a_split_that_lacks_a_class_is_named(split_pets: Path, write: Write, role: Role) -> None:
    for other in {"train", "val", "test"} - {role}:
        write(f"{other}/bird/1.png")
    message = refusal(split_pets, split_pets / role, split_pets / "train")
    assert "lacks the class 'bird'" in message


@pytest.mark.parametrize("role", ["val", "test"])
def test_a_split_with_an_unknown_class_is_named(split_pets: Path, write: Write, role: Role) -> None:
    write(f"{role}/bird/1.png")
    message = refusal(split_pets, split_pets / role, split_pets / "train")
    assert "has a class 'bird'" in message


def test_role_folders_beside_class_folders_are_refused(split_pets: Path, write: Write) -> None:
    write("bird/1.png")
    assert "bird/" in refusal(split_pets, split_pets)


def test_classes_are_compared_even_where_one_role_is_read(split_pets: Path, write: Write) -> None:
    write("test/bird/1.png")
    with pytest.raises(DataError, match="bird"):
        load_data(split_pets, roles=["test"])


@pytest.mark.parametrize("spec", ["cifar1O", "no/such/folder", "a\0b", "x" * 300, "mnist"])
def test_a_spec_that_is_no_data_is_repeated_with_what_there_is(spec: str) -> None:
    with pytest.raises(DataError, match="digits, fashion-mnist, cifar10, cifar100") as caught:
        load_data(spec)
    assert repr(spec) in str(caught.value)


def test_a_file_in_the_place_of_a_folder_is_named(pets: Path) -> None:
    with pytest.raises(DataError, match="no data at"):
        load_data(pets / "cat" / "1.png")


def test_reading_a_large_folder_with_progress_off_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.BytesIO()
    Image.new("L", (2, 2)).save(stream, "PNG")
    folder = tmp_path / "many" / "one"
    folder.mkdir(parents=True)
    for index in range(2000):
        (folder / f"{index}.png").write_bytes(stream.getvalue())
    load_data(tmp_path / "many", progress=False)
    assert capfd.readouterr() == ("", "")
    load_data(tmp_path / "many", progress=True)
    assert "Reading many" in capfd.readouterr().err
