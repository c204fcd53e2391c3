"""Downloads of published models: resumed where they broke off, and checked before they count.

A file grows under another name and gets its own when it is whole, so that what is found can be
loaded. Nothing here runs unless a person asks for it.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import requests
from tqdm.auto import tqdm

from vjepa.errors import InputError
from vjepa.formats import published
from vjepa.formats.published import Published

HUB_FILES = ("config.json", "*.safetensors")  # no pickles, no copies for other frameworks
CHUNK = 1 << 16  # bytes; what a cut connection loses at most
TIMEOUT = 30  # seconds without a byte
HEADERS = {"Accept-Encoding": "identity"}  # sizes and ranges are those of the file itself


Check = Callable[[Path], object]
"""Opens a file and raises an InputError where it is not what it should be."""


def download(name: str, folder: Path | None = None, check: Check | None = None) -> Path:
    """Fetches a published model or probe, unless it is there; goes on where an earlier try ended.

    Args:
        name: as in `published.PUBLISHED`.
        folder: where to; the folder of models by default.
        check: of a file that was published without a checksum, before it gets its name.

    Returns:
        The file, or the folder of a hub repository: what `vjepa.load` or `load_probe` takes.

    Raises:
        InputError: an unknown name, no connection, too little room, or not what was published.
    """
    entry = published.get(name)
    if entry is None:
        raise InputError(
            f"No published model is called {name!r}: `python -m vjepa models` lists them all."
        )
    present = published.find(entry.name, folder)
    if present:
        return present
    path = (folder or published.models_folder()) / entry.place
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.on_hub:
            return _from_hub(entry, path)
        return fetch(entry.address, path, entry.sha256, check)
    except (requests.RequestException, ConnectionError) as error:
        raise InputError(_unreachable(entry, path)) from error
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error


def _unreachable(entry: Published, path: Path) -> str:
    place = f"https://huggingface.co/{entry.address}" if entry.on_hub else entry.address
    return (
        f"{place} cannot be reached: connect and run the command again (it goes on where it "
        f"stopped), or fetch it elsewhere and put it at {path}."
    )


def fetch(url: str, path: Path, sha256: str | None = None, check: Check | None = None) -> Path:
    """Downloads a file by HTTP, with a progress bar; resumes what an earlier call left.

    Args:
        url: of the file.
        path: where it will be; until it is whole, `<name>.<version>.part` lies beside.
        sha256: of the whole file, hexadecimal; None where none is published.
        check: of the whole file where no checksum is; without it only the size is checked.

    Raises:
        InputError: the server refuses, there is too little room, or the file is another one.
        requests.RequestException: the server cannot be reached, or stopped answering.
    """
    size, version = _describe(url)
    part = path.with_name(f"{path.name}.{version}.part")
    require_room(path.parent, size - _size(part))
    with tqdm(total=size, initial=_size(part), unit="B", unit_scale=True, desc=path.name) as bar:
        _fill(url, part, size, bar)
    if sha256:
        _require_checksum(part, sha256)
    elif check:
        _require_opens(part, check)
    return part.replace(path)


def _describe(url: str) -> tuple[int, str]:
    """Bytes of the file, and 8 hex digits that change when the server's file does."""
    response = requests.head(url, headers=HEADERS, timeout=TIMEOUT, allow_redirects=True)
    _require_success(response)
    if "Content-Length" not in response.headers:
        raise InputError(f"{url} does not say how large it is: fetch it with a browser instead.")
    stamp = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    size = response.headers["Content-Length"]
    return int(size), hashlib.sha256(f"{stamp} {size}".encode()).hexdigest()[:8]


def _require_success(response: requests.Response) -> None:
    if not response.ok:
        raise InputError(
            f"{response.url} answers {response.status_code} {response.reason}: the file was moved "
            "or is not public; see where its publisher offers it now."
        )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def require_room(folder: Path, size: int) -> None:
    """Checks that a disk takes `size` more bytes; else an InputError that tells both numbers."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise InputError(
            f"{folder} has {free / 1e9:.1f} GB of room and {size / 1e9:.1f} GB are needed: make "
            "room, or name another folder with --to or VJEPA_MODELS."
        )


def _fill(url: str, part: Path, size: int, bar: tqdm) -> None:
    """Requests what is missing, again as long as each connection brings it further."""
    furthest = -1
    while _size(part) < size:
        if _size(part) <= furthest:
            raise requests.ConnectionError(f"{url} stops at byte {furthest}")
        furthest = _size(part)
        try:
            _append(url, part, bar)
        except requests.RequestException:
            continue
    if _size(part) > size:
        part.unlink()
        raise InputError(f"{url} sent more than the {size} bytes it announced: try again later.")


def _append(url: str, part: Path, bar: tqdm) -> None:
    """One connection: what the file lacks, or all of it from a server that knows no ranges."""
    start = _size(part)
    headers = HEADERS | ({"Range": f"bytes={start}-"} if start else {})
    with requests.get(url, headers=headers, timeout=TIMEOUT, stream=True) as response:
        _require_success(response)
        resumed = response.status_code == requests.codes.partial_content
        bar.update((start if resumed else 0) - bar.n)
        with part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def _require_checksum(path: Path, sha256: str) -> None:
    """Deletes a file that is not the published one: going on with it could not mend it."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        path.unlink()
        raise InputError(
            f"{path.name} is not the published file (its SHA-256 is {found}, {sha256} was "
            "published), so it was deleted: download it again."
        )


def _require_opens(path: Path, check: Check) -> None:
    """Deletes a file that is whole by its size, and not what it should be."""
    try:
        check(path)
    except InputError as error:
        path.unlink()
        reason = str(error).rstrip(".")
        raise InputError(
            f"What was downloaded is not what was published ({reason}), so it was deleted: "
            "download it again."
        ) from error


def _from_hub(entry: Published, path: Path) -> Path:
    """Downloads a repository's config.json and weights, checked against the hub's checksums.

    Raises:
        ConnectionError: the hub cannot be reached.
        InputError: the hub refuses, there is too little room, or a file is another one.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # the latter: of its HTTP library

    part = path.with_name(f"{path.name}.part")
    try:
        info = HfApi().model_info(entry.address, files_metadata=True, timeout=TIMEOUT)
        files = [file for file in info.siblings if _is_wanted(file.rfilename)]
        missing = (file.size or 0 for file in files if not (part / file.rfilename).exists())
        require_room(path.parent, sum(missing))
        snapshot_download(
            entry.address, revision=info.sha, local_dir=part, allow_patterns=list(HUB_FILES)
        )
    except HfHubHTTPError as error:
        says = f"answers {error.response.status_code}" if error.response else "refuses"
        raise InputError(f"The Hugging Face hub {says} for {entry.address}: try later.") from error
    except (HTTPError, FileNotFoundError) as error:  # the second: cut off halfway
        raise ConnectionError(str(error)) from error
    for file in files:
        if file.lfs:
            _require_checksum(part / file.rfilename, file.lfs.sha256)
    shutil.rmtree(part / ".cache", ignore_errors=True)  # the hub's bookkeeping of the download
    return part.replace(path)


def _is_wanted(file: str) -> bool:
    return any(fnmatch(file, pattern) for pattern in HUB_FILES)
