"""Downloads: whole or not at all, resumed where they broke off, refused in one sentence."""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vjepa import errors
from vjepa.__main__ import COMMANDS
from vjepa.errors import InputError
from vjepa.formats import download as downloading
from vjepa.formats import published
from vjepa.formats.download import CHUNK, download, fetch
from vjepa.formats.published import PUBLISHED, Published

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class FileServer(ThreadingHTTPServer):
    """Serves one file at every path but /missing, cut or whole, and notes what it was asked for."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.content, self.ranges, self.cuts = CONTENT, True, []
        self.asked = []  # the Range headers of all GETs

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """Its answers: whole, or from a byte on."""

    def do_HEAD(self):
        self.describe()

    def do_GET(self):
        self.server.asked.append(self.headers.get("Range"))
        body = self.server.content[self.describe() :]
        if self.server.cuts:
            body = body[: self.server.cuts.pop(0)]  # fewer bytes than announced, then a hang-up
        self.wfile.write(body)

    def describe(self):
        """Sends status and headers; returns where the body begins."""
        content, start = self.server.content, 0
        if self.path == "/missing":
            self.send_error(404)
            return len(content)
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.server.ranges:
            start = int(asked[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        self.end_headers()
        return start

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def entry(server, monkeypatch):
    """A published model that the local server offers."""
    entry = Published("mini", "V-JEPA", "model", 1, 48, 4, "MIT", f"{server.url}/mini.pth.tar")
    monkeypatch.setitem(PUBLISHED, "mini", entry)
    return entry


def closed_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def refused(*args, **kwargs):
    with pytest.raises(InputError) as caught:
        (kwargs.pop("call", download))(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_whole_download_is_found_by_name_and_not_repeated(entry, server, tmp_path, monkeypatch):
    monkeypatch.setenv("VJEPA_MODELS", str(tmp_path))
    assert published.find("mini") is None
    path = download("mini")
    assert path.read_bytes() == CONTENT
    assert published.find("mini") == path == tmp_path / "mini" / "mini.pth.tar"
    assert download("mini") == path
    assert server.asked == [None]
    assert [*path.parent.iterdir()] == [path]


def test_a_cut_connection_is_resumed_at_once(server, tmp_path):
    server.cuts = [4 * CHUNK, 3 * CHUNK]
    assert fetch(server.url, tmp_path / "file", SHA256).read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={4 * CHUNK}-", f"bytes={7 * CHUNK}-"]


def test_an_earlier_try_is_resumed(entry, server, tmp_path):
    server.cuts = [5 * CHUNK, 0]
    assert "cannot be reached" in refused("mini", tmp_path)
    assert published.find("mini", tmp_path) is None
    assert download("mini", tmp_path).read_bytes() == CONTENT
    assert server.asked[-1] == f"bytes={5 * CHUNK}-"


def test_what_is_left_of_another_version_is_not_gone_on_with(entry, server, tmp_path):
    server.cuts = [5 * CHUNK, 0]
    refused("mini", tmp_path)
    server.content = CONTENT[::-1]
    assert download("mini", tmp_path).read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_is_asked_for_all_again(server, tmp_path):
    server.ranges, server.cuts = False, [4 * CHUNK]
    assert fetch(server.url, tmp_path / "file").read_bytes() == CONTENT


def test_another_file_than_the_published_is_deleted(server, tmp_path):
    said = refused(server.url, tmp_path / "file", "0" * 64, call=fetch)
    assert "not the published file" in said and SHA256 in said
    assert not [*tmp_path.iterdir()]


def test_refusals_are_one_sentence(entry, server, tmp_path):
    assert "404" in refused(f"{server.url}/missing", tmp_path / "file", call=fetch)
    assert "python -m vjepa models" in refused("another", tmp_path)
    (tmp_path / "file").touch()
    assert "cannot be written" in refused("mini", tmp_path / "file")


def test_a_full_disk_is_told_before_the_first_byte(entry, server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: usage)
    assert "make room" in refused("mini", tmp_path)
    assert server.asked == []


def test_offline_is_one_sentence_that_says_where_to_put_the_file(tmp_path, monkeypatch):
    url = f"http://127.0.0.1:{closed_port()}/mini.pth.tar"
    monkeypatch.setitem(PUBLISHED, "mini", Published("mini", "", "model", 1, 48, 4, "MIT", url))
    said = refused("mini", tmp_path)
    assert "cannot be reached" in said and str(tmp_path / "mini" / "mini.pth.tar") in said


def test_names_places_and_files_are_one_to_one():
    places = {str(entry.place).lower() for entry in PUBLISHED.values()}
    assert len(places) == len(PUBLISHED)  # also where upper and lower case are the same
    assert published.get("facebook/vjepa2-vitl-fpc64-256") is PUBLISHED["vjepa2-vitl-fpc64-256"]


# -- the hub: in a process of its own, which is told where the hub is before it is imported

WEIGHTS = b"weights" * 1000
HUB_FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS, "README.md": b"-"}


class Hub(BaseHTTPRequestHandler):
    """The part of the Hugging Face hub's interface that a download needs."""

    checksum = hashlib.sha256(WEIGHTS).hexdigest()

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        if self.path.startswith("/api/"):
            tree = "/tree/" in self.path
            body, type_ = json.dumps(self.tree() if tree else self.info()), "application/json"
            body = body.encode()
        else:
            body, type_ = HUB_FILES[self.path.rsplit("/", 1)[1]], "application/octet-stream"
        self.send_response(200)
        self.send_header("Content-Type", type_)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def info(self):
        files = [
            {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            for name, content in HUB_FILES.items()
        ]
        files[1]["lfs"] = {"sha256": self.checksum, "size": len(WEIGHTS), "pointerSize": 1}
        return {"id": "facebook/x", "sha": "0" * 40, "siblings": files}

    def tree(self):
        return [
            {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            for name, content in HUB_FILES.items()
        ]

    def log_message(self, *_):
        pass


FROM_HUB = """
import sys
from pathlib import Path
from vjepa import InputError
from vjepa.formats.download import download
try:
    download("vjepa2-vitl-fpc64-256", Path(sys.argv[1]))
except InputError as error:
    sys.exit(str(error))
assert "torch" not in sys.modules
"""


def download_from_hub(port, folder):
    """Downloads in a process of its own: (exit code, stderr)."""
    places = {"HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HOME": str(folder / "hf")}
    words = [sys.executable, "-c", FROM_HUB, str(folder)]
    done = subprocess.run(words, env=os.environ | places, capture_output=True, text=True)
    return done.returncode, done.stderr


@pytest.mark.parametrize("fits", [True, False])
def test_a_hub_folder_is_whole_and_checked(tmp_path, fits):
    handler = Hub if fits else type("Wrong", (Hub,), {"checksum": "0" * 64})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as hub:
        threading.Thread(target=hub.serve_forever).start()
        code, said = download_from_hub(hub.server_port, tmp_path)
        hub.shutdown()
    path = published.find("vjepa2-vitl-fpc64-256", tmp_path)
    if fits:
        assert code == 0, said
        assert {file.name for file in path.iterdir()} == {"config.json", "model.safetensors"}
        assert (path / "model.safetensors").read_bytes() == WEIGHTS
    else:
        assert code == 1 and "not the published file" in said and path is None


def test_without_a_hub(tmp_path):
    code, said = download_from_hub(closed_port(), tmp_path)
    assert code == 1
    assert "cannot be reached" in said and "Traceback" not in said


def test_the_commands(entry, server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VJEPA_MODELS", str(tmp_path))
    monkeypatch.setattr("vjepa.__main__.require_whole", lambda path: None)  # these are no weights
    run(monkeypatch, "download", "mini")
    shown = capsys.readouterr()
    assert "licence MIT" in shown.err
    assert shown.out.strip() == str(published.find("mini"))
    run(monkeypatch, "models", "--json")
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mini"]["path"] == str(published.find("mini"))
    assert rows["vitl16"]["path"] == "" and rows["vitl16"]["licence"] == "CC-BY-NC 4.0"
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "download", "another")
    assert stop.value.code == 2


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["vjepa", *words])
    errors.run_command(COMMANDS, prog="vjepa")
