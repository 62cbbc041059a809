"""What all tests share: where real data lie, seeds, and small data sets."""

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from reslab.data import ImageData, Split, load_data

# Where tests import ONNX Runtime themselves: no identifier in the home folder, and nothing sent.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

REPOSITORY = Path(__file__).resolve().parents[1]
# Minutes each, where the others take seconds.
LONGEST = ("training/test_train.py", "paper/test_run.py", "models/test_contract.py", "deploy/test_export.py")


def pytest_configure(config: pytest.Config) -> None:
    """Files are handed out as they are ordered here; pytest-xdist would go by how many tests they have."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, so that no process is left with one of them when the others are done."""
    ranks = {REPOSITORY / "tests" / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(LONGEST)))


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's `respond` says."""

    server: "Server"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.ranges.append(self.headers["Range"])
            self.server.paths.append(self.path)
            number = len(self.server.ranges)
        with contextlib.suppress(ConnectionError):
            self.server.respond(self, number)

    def log_message(self, *_: object) -> None:
        pass

    @property
    def start(self) -> int:
        asked = self.headers["Range"]
        return int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0

    def answer(self, body: bytes, *, status: int = 200, announced: int | None = None) -> None:
        """Sends a body; a connection that ends before the announced length is a broken one."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def answer_range(self, content: bytes) -> None:
        self.answer(content[self.start :], status=206 if self.headers["Range"] else 200)


class Server(ThreadingHTTPServer):
    """Answers with a function of the handler and the request's number, from 1; remembers what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.paths: list[str] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.respond: Callable[[Handler, int], None] = lambda handler, _: handler.answer(b"", status=404)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on loopback; tests say how it answers."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("RESLAB_MIRROR", raising=False)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def absent(what: str) -> None:
    """Skips a test where something that only some machines have is missing; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing, and must be there in CI")
    pytest.skip(f"{what} is missing")


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Each test leaves the process on one thread: several wait for each other for minutes on busy cores."""
    torch.manual_seed(0)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """Tests kill processes and cut no power, so what was written need not be on the disk; it may take ms each time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def largest_file() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """Limits how large files grow inside a block, in bytes: a write then fails as on a full disk, for real."""
    import resource

    @contextlib.contextmanager
    def limited(num_bytes: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Fills a folder once for all processes of pytest-xdist; tests read it and do not write there."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, unfinished = shared / name, shared / f"{name}-unfinished"
        with FileLock(shared / f"{name}.lock"):
            if not folder.exists():
                shutil.rmtree(unfinished, ignore_errors=True)
                unfinished.mkdir()
                fill(unfinished)
                unfinished.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def trained(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A folder with the run of a small net on the digits, in run/, and with what the command said, in out and err."""

    def train(folder: Path) -> None:
        command = [sys.executable, "-m", "reslab", "train", "resnet8", "--iterations", "60", "--json"]
        command += ["--run-dir", str(folder / "run"), "--hardware.threads", "1"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, done.stderr
        (folder / "out").write_text(done.stdout)
        (folder / "err").write_text(done.stderr)

    return made_once("trained", train)


@pytest.fixture(scope="session")
def operators_read_once() -> Iterator[None]:
    """Keeps the table of ONNX operators that torch makes anew for every export, in half of a small network's time."""
    with pytest.MonkeyPatch.context() as patch:
        with contextlib.suppress(ImportError, AttributeError):  # another torch is only slower
            from torch.onnx._internal.exporter._registration import ONNXRegistry

            patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where int8 is compared with float32 and it does not matter how well their speeds are measured."""
    monkeypatch.setattr("reslab.deploy.gate._TURN_SECONDS", 0.01)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real images and independently trained weights, outside the repository."""
    folder = Path(os.environ.get("RESLAB_TEST_DATA", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        absent(f"the folder {folder} of real data")
    return folder


@pytest.fixture(scope="session")
def digits() -> ImageData:
    return load_data("digits")


@pytest.fixture(scope="session")
def fashion_mnist() -> ImageData:
    if not Path("/usr/share/datasets/fashion-mnist").is_dir():
        absent("Debian's package dataset-fashion-mnist")
    return load_data("fashion-mnist")


@pytest.fixture(scope="session")
def chromium_path() -> str:
    path = shutil.which("chromium")
    if path is None:
        absent("chromium")
    return str(path)


@pytest.fixture
def compiler() -> None:
    """Skips a test where torch.compile has no C++ compiler to call."""
    if not any(map(shutil.which, ("g++", "clang++"))):
        absent("a C++ compiler")


@pytest.fixture
def tiny_data() -> Callable[..., ImageData]:
    """Makes a data set of a few random images."""

    def make(
        num_images: int = 40, size: int = 8, channels: int = 3, num_classes: int = 4, val: bool = True
    ) -> ImageData:
        generator = np.random.default_rng(1)

        def split(count: int) -> Split:
            images = generator.integers(0, 256, (count, size, size, channels), dtype=np.uint8)
            return Split(images, np.arange(count, dtype=np.int64) % num_classes)

        splits = {"train": split(num_images), "test": split(20)} | ({"val": split(12)} if val else {})
        return ImageData("tiny", tuple(f"class{index}" for index in range(num_classes)), splits)

    return make


@pytest.fixture(scope="session")
def photos(shared: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A folder whose train/ and val/ are links to 200 original ImageNet photographs, one of each of 200 classes."""

    def fill(folder: Path) -> None:
        with tarfile.open(shared / "data" / "imagenet-sample-200.tar") as archive:
            archive.extractall(folder / "original", filter="data")
        for role in ("train", "val"):
            (folder / "linked").mkdir(exist_ok=True)
            (folder / "linked" / role).symlink_to(Path("..", "original", "val"))

    return made_once("photographs", fill) / "linked"


@pytest.fixture(scope="module")
def quick_curves() -> Iterator[None]:
    """Trainings of a module that draw no curves, which take longer than they do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "reslab.training.finish.plot_curves", lambda rows, title, path, words: path.write_bytes(b"curves")
        )
        yield


@pytest.fixture(scope="module")
def browser_page(chromium_path: str) -> Iterator[Callable[..., Any]]:
    """Opens a file in Debian's Chromium; gives the page, and a list to which what it says or asks a network comes."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )

        def opened(path: Path, *, width: int = 1200, dark: bool = False) -> tuple[Any, list[str]]:
            context = chromium.new_context(
                viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light"
            )
            page = context.new_page()
            problems: list[str] = []
            page.on("console", lambda message: problems.append(message.text))
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on("requestfailed", lambda request: problems.append(request.url))
            page.on(
                "request",
                lambda request: None if request.url.startswith("file:") else problems.append(request.url),
            )
            page.goto(path.as_uri())
            return page, problems

        yield opened
        chromium.close()
