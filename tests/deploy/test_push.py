"""`reslab push`, and what was pushed as a network: through huggingface_hub's own client and a server on loopback."""

import base64
import hashlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import huggingface_hub.constants  # its own names are there only once they are asked for
import pytest

import reslab
from reslab.cli.main import main
from reslab.errors import WeightsError
from reslab.models.hub import fetch_hub_folder


class Handler(BaseHTTPRequestHandler):
    """The few answers of the hub that a push and a load ask for; all else is noted as strange."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_POST(self):
        hub = self.server
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        hub.requests.append(("POST", self.path, content))
        hub.agents.add(self.headers.get("User-Agent", ""))
        if self.headers.get("Authorization") != "Bearer secret":
            return self.answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/repos/create":
            asked = json.loads(content)
            name = asked["name"]
            hub.private[f"{asked.get('organization') or 'me'}/{name}"] = asked.get(
                "visibility"
            ) == "private" or asked.get("private")
            return self.answer(200, {"url": f"{hub.url}/me/{name}"})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = json.loads(content)["files"]
            return self.answer(
                200, {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
            )
        if "/commit/" in self.path:
            repository = "/".join(self.path.split("/")[3:5])
            entries = [json.loads(line) for line in content.splitlines()]
            files = {e["value"]["path"]: base64.b64decode(e["value"]["content"]) for e in entries if e["key"] == "file"}
            hub.messages += [e["value"]["summary"] for e in entries if e["key"] == "header"]
            commits = hub.commits.setdefault(repository, [])
            commit = hashlib.sha1(f"{repository} {len(commits)}".encode()).hexdigest()
            commits.append((commit, files))
            return self.answer(200, {"commitUrl": f"{hub.url}/{repository}/commit/{commit}", "commitOid": commit})
        return self.strange()

    def do_GET(self):
        hub = self.server
        hub.requests.append((self.command, self.path, b""))
        parts = self.path.split("/")
        if self.path.startswith("/api/models/"):  # whether it is there, where it may not be made
            return self.answer(401, X_Error_Code="RepoNotFound")
        if len(parts) < 6 or parts[3] != "resolve":
            return self.strange()
        repository, revision, name = "/".join(parts[1:3]), parts[4], "/".join(parts[5:])
        if repository not in hub.commits:
            return self.answer(404, X_Error_Code="RepoNotFound")
        known = dict(hub.commits[repository]) | {"main": hub.commits[repository][-1][1]}
        if revision not in known:
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if name not in known[revision]:
            return self.answer(404, X_Error_Code="EntryNotFound")
        commit = hub.commits[repository][-1][0] if revision == "main" else revision
        content = known[revision][name]
        return self.answer(200, content, X_Repo_Commit=commit, ETag=f'"{hashlib.sha256(content).hexdigest()}"')

    def do_HEAD(self):
        self.do_GET()

    def strange(self):
        self.server.strange.append((self.command, self.path))
        self.answer(500, b"not a request that a push makes")

    def log_message(self, *_):
        pass


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.commits, self.private, self.messages = {}, {}, []
        self.requests, self.strange, self.agents = [], [], set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub, to which HF_ENDPOINT leads, and somebody who may write there."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server
        server.shutdown()
        thread.join()
        assert server.strange == []


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained / "run", tmp_path / "secret place" / "run")


SENT = ["README.md", "card.json", "normalization.safetensors", "weights.safetensors"]


def test_a_run_goes_to_the_hub_and_comes_back_the_same(hub, run, digits, capsys):
    assert main(["push", str(run), "hub:me/digits", "--private", "--message", "A first one"]) == 0
    said = capsys.readouterr().out
    ((commit, files),) = hub.commits["me/digits"]
    assert sorted(files) == SENT
    assert said.startswith(f"sent to hub:me/digits@{commit}:\n  weights.safetensors")
    assert (hub.private, hub.messages) == ({"me/digits": True}, ["A first one"])
    assert files["weights.safetensors"] == (run / "weights.safetensors").read_bytes()
    images = list(digits.split("test").images[:20])
    expected, network = reslab.load(run).predict(images), reslab.load("hub:me/digits")
    assert network.predict(images) == expected
    assert main(["eval", "hub:me/digits", "--split", "val", "--json", "--no-cache"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["top1_error"] == json.loads((run / "result.json").read_text())["val_error"]


def test_a_training_begins_with_what_was_pushed(hub, run, tmp_path):
    reslab.push(run, "hub:me/digits")
    fields = {"hardware.threads": "1", "data.normalization": "weights", "optimizer.learning_rate": "1e-9"}
    begun = reslab.train(
        "resnet8", "digits", weights="hub:me/digits", iterations=1, fields=fields, run_dir=tmp_path / "begun"
    )
    cards = [json.loads((folder / "card.json").read_text()) for folder in (run, begun.run.folder)]
    assert cards[0]["normalization"] == cards[1]["normalization"]
    assert begun.figures["val_error"] == pytest.approx(cards[0]["errors"]["val_error"], abs=10)


def test_nothing_of_the_machine_is_sent(hub, run, tmp_path):
    card = json.loads((run / "card.json").read_text())
    from reslab.files.records import write_record

    own = {"data_spec": str(tmp_path / "secret place" / "photos"), "val_names": ["daisy/of somebody.jpg"]}
    write_record(run / "card.json", {**card, **own})
    report = reslab.push(run, "hub:me/digits")
    (files,) = (files for _, files in hub.commits["me/digits"])
    everything = b"".join(content for _, _, content in hub.requests) + b"".join(files.values())
    assert b"secret place" not in everything
    assert b"of somebody" not in everything
    assert tmp_path.name.encode() not in everything
    assert "data_spec" not in json.loads(files["card.json"])
    assert report.files == {name: len(content) for name, content in files.items()}
    assert not any("torch" in agent for agent in hub.agents)  # the client's telemetry


def test_a_dry_run_asks_nobody(hub, run, capsys):
    assert main(["push", str(run), "hub:me/digits", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("would be sent to hub:me/digits, and nothing was:\n")
    assert sorted(line.split()[0] for line in out.splitlines()[1:]) == SENT
    assert hub.requests == []


def test_the_page_is_the_runs_own_where_it_has_one(hub, run):
    reslab.push(run, "hub:me/digits")
    short = hub.commits["me/digits"][0][1]["README.md"].decode()
    assert 'network = reslab.load("hub:me/digits")' in short
    assert "`resnet8[in_channels=1]`, trained on `digits` (10 classes)" in short
    (run / "README.md").write_text("# Mine")
    reslab.push(run, "hub:me/digits")
    assert hub.commits["me/digits"][1][1]["README.md"] == b"# Mine"
    (run / "README.md").write_text(f"# Trained in {run}")
    with pytest.raises(WeightsError, match=r"names .*, a place on this machine; take it out"):
        reslab.push(run, "hub:me/digits")


def test_a_revision_is_pinned_and_checksums_are_checked(hub, run, digits, tmp_path):
    first = reslab.push(run, "hub:me/digits")
    reslab.calibrate(run, in_place=True)
    second = reslab.push(run, "hub:me/digits")
    image = digits.split("test").images[0]
    shares = {
        name: reslab.load(f"hub:me/digits{name}").predict(image).probabilities
        for name in ("", f"@{first.revision}", f"@{second.revision}")
    }
    assert shares[""] == shares[f"@{second.revision}"] != shares[f"@{first.revision}"]
    with pytest.raises(WeightsError, match="no such repository or revision"):
        reslab.load("hub:me/digits@nowhere")
    _, files = hub.commits["me/digits"][-1]
    content = bytearray(files["weights.safetensors"])
    content[-1] ^= 1
    hub.commits["me/digits"].append(("f" * 40, {**files, "weights.safetensors": bytes(content)}))
    with pytest.raises(WeightsError, match="its sha256 differs"):
        reslab.load("hub:me/digits").predict(image)


@pytest.mark.slow
def test_exports_go_beside_the_user_and_not_into_the_cache(hub, run, tmp_path, monkeypatch):
    reslab.push(run, "hub:me/digits")
    monkeypatch.chdir(tmp_path)
    reslab.load("hub:me/digits").export()
    assert (tmp_path / "digits.onnx").is_file()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hub:me", "hub:me is no repository of the hub; write hub:owner/name"),
        ("hub:me/net@", "is no repository of the hub"),
        ("hub:a/b/c", "is no repository of the hub"),
        ("hub:nobody/nothing", "could not get hub:nobody/nothing: there is no such repository or revision"),
        ("hub:me/..", "could not get hub:me/..: "),
        ("hub:others/net", "has no card.json, and so is no network that `reslab push` sent"),
    ],
)
def test_a_repository_that_is_none_is_a_sentence(name, message, hub, capsys):
    hub.commits["others/net"] = [("e" * 40, {"model.safetensors": b"x"})]
    assert main(["eval", name, "--data", "digits"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.out, captured.err.count("\n")) == ("", 1)


def test_who_may_not_write_is_told(hub, run, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "another")
    assert main(["push", str(run), "hub:me/digits"]) == 2
    error = capsys.readouterr().err
    assert "the hub does not know who asks; set HF_TOKEN, or log in with `hf auth login` (it answers 401)" in error
    assert (error.count("\n"), hub.commits) == (1, {})


def test_without_a_network_a_sentence_says_so(hub, run, capsys, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # between its tries
    for arguments in (["push", str(run), "hub:me/digits"], ["eval", "hub:me/digits"]):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("reslab: could not ")
        assert error.count("\n") == 1
        assert "refused" in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RUN", "me/digits"], "where to? Write hub:owner/name, not me/digits."),
        (["RUN", "hub:me/digits@main"], "a push makes a revision of its own"),
        (["absent", "hub:me/digits"], "there is no folder absent."),
        (["RUN"], "reslab push needs HUB"),
    ],
)
def test_a_mistake_gives_a_sentence(arguments, message, hub, run, capsys):
    assert main(["push", *(str(run) if word == "RUN" else word for word in arguments)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert (captured.out, captured.err.count("\n"), hub.requests) == ("", 1, [])


def test_a_run_that_is_not_finished_or_damaged_is_not_sent(hub, run, capsys):
    (run / "result.json").rename(run / "kept")
    assert main(["push", str(run), "hub:me/digits"]) == 2
    assert "is not finished" in capsys.readouterr().err
    (run / "kept").rename(run / "result.json")
    content = bytearray((run / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (run / "weights.safetensors").write_bytes(content)
    assert main(["push", str(run), "hub:me/digits"]) == 2
    assert "its sha256 differs" in capsys.readouterr().err
    assert hub.requests == []


def test_files_of_a_moment_are_of_one_commit(hub, run, monkeypatch):
    """A commit that is made between two downloads does not mix with the one before."""
    reslab.push(run, "hub:me/digits")
    original = huggingface_hub.hf_hub_download

    def and_then_another(repository, name, **more):
        found = original(repository, name, **more)
        if name == "card.json":
            hub.commits["me/digits"].append(("d" * 40, {**hub.commits["me/digits"][0][1], "weights.safetensors": b"x"}))
        return found

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", and_then_another)
    folder = fetch_hub_folder("hub:me/digits")
    assert (folder / "weights.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
