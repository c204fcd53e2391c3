"""Lists of labelled videos: a text file, the two of UCF101, the JSON of Something-Something v2."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from vjepa.data.clips import existing_file
from vjepa.errors import InputError

CLASS_NAMES = ("labels.txt", "classes.txt")
"""Beside a text list: the names of its classes, one a line."""
UCF101_CLASSES = "classInd.txt"
SSV2_CLASSES = "*labels.json"
MAX_BYTES = 128 << 20  # the longest of the known lists, Something-Something's, has about 30 MB
MAX_CLASSES = 100_000  # of a list that does not name them


class Listed(NamedTuple):
    """What a list says.

    Attributes:
        names: paths of the videos as the list has them.
        labels: index into `classes` for each; -1 where the list has no label.
        classes: names of the classes.
    """

    names: list[str]
    labels: list[int]
    classes: tuple[str, ...]


def read_list(path: Path) -> Listed:
    """Reads a list of videos, recognized by its suffix and by what lies beside it.

    Raises:
        InputError: it is no such list; the first bad line or entry is named.
    """
    if path.suffix.lower() == ".json":
        return _read_ssv2(path)
    if path.suffix.lower() == ".txt" and (path.parent / UCF101_CLASSES).is_file():
        return _read_ucf101(path)
    return _read_plain(path)


def _read_plain(path: Path) -> Listed:
    """`path label` a line (official V-JEPA, SlowFast), separated by a space, a tab or a comma.

    Classes count from 0. Those without names are called by their number, so that the lists of
    several splits mean the same by it.
    """
    lines = _lines(path)
    separator = max("\t, ", key=lambda mark: sum(_fits(line, mark) for line in lines.values()))
    names = _class_names(path)
    count = len(names) or MAX_CLASSES
    videos, labels = [], []
    for number, line in lines.items():
        if not _fits(line, separator):
            raise InputError(f"Line {number} of {path} is no `path label`: {line[:60]!r}.")
        video, _, label = line.rpartition(separator)
        if not 0 <= int(label) < count:
            raise InputError(f"Line {number} of {path} has label {int(label)}, not 0..{count - 1}.")
        videos.append(video.strip().strip('"'))
        labels.append(int(label))
    return Listed(videos, labels, names or tuple(map(str, range(max(labels, default=-1) + 1))))


def _fits(line: str, separator: str) -> bool:
    """Whether a path and a whole number stand on both sides of the last separator."""
    video, _, label = line.rpartition(separator)
    return bool(video.strip() and re.fullmatch(r" *-?[0-9]{1,9}", label))


def _class_names(path: Path) -> tuple[str, ...]:
    """The names beside a list; none if nothing lies there."""
    for beside in (path.with_name(name) for name in CLASS_NAMES):
        if beside.is_file() and beside != path:
            return _unique(list(_lines(beside).values()), beside)
    return ()


def _read_ucf101(path: Path) -> Listed:
    """`Class/v_x.avi`, in training lists with a number; the folder says the class in all lists."""
    classes = _ucf101_classes(path.with_name(UCF101_CLASSES))
    place = {name: i for i, name in enumerate(classes)}
    videos, labels = [], []
    for number, line in _lines(path).items():
        words = line.rsplit(maxsplit=1)
        video = words[0] if words[-1].isdecimal() else line
        label = place.get(PurePath(video).parent.name)
        if label is None:
            raise InputError(
                f"Line {number} of {path} is no `Class/video.avi` with a class of "
                f"{UCF101_CLASSES}: {line[:60]!r}."
            )
        videos.append(video)
        labels.append(label)
    return Listed(videos, labels, classes)


def _ucf101_classes(path: Path) -> tuple[str, ...]:
    """`1 ApplyEyeMakeup` a line, counted from 1."""
    names: list[str] = []
    for number, line in _lines(path).items():
        index, _, name = line.partition(" ")
        if index != str(len(names) + 1) or not name:
            raise InputError(f"Line {number} of {path} is no `{len(names) + 1} Class`.")
        names.append(name.strip())
    return _unique(names, path)


def _read_ssv2(path: Path) -> Listed:
    """`{"id", "template"}` an entry; a test list has no templates, and so no labels."""
    classes = _ssv2_classes(path)
    place = {name: i for i, name in enumerate(classes)}
    videos, labels = [], []
    for number, entry in enumerate(_json(path, list), start=1):
        if not isinstance(entry, dict) or "id" not in entry:
            raise InputError(f'Entry {number} of {path} is no {{"id", "template"}} of a video.')
        template = entry.get("template")
        label = -1 if template is None else place.get(re.sub(r"[\[\]]", "", str(template)))
        if label is None:
            raise InputError(
                f"Entry {number} of {path} has a template that no class has: "
                f"{str(template)[:60]!r}."
            )
        videos.append(f"{entry['id']}.webm")
        labels.append(label)
    return Listed(videos, labels, classes)


def _ssv2_classes(path: Path) -> tuple[str, ...]:
    """`{"Moving something up": "0", ...}` in a file beside the list, in order of the numbers."""
    beside = next(iter(sorted(path.parent.glob(SSV2_CLASSES))), None)
    if beside is None:
        raise InputError(f"There is no labels.json beside {path}, which would name its classes.")
    numbers = _json(beside, dict)
    names = {str(number): name for name, number in numbers.items()}
    places = [str(i) for i in range(len(numbers))]
    if set(names) != set(places) or not names:
        raise InputError(f"{beside} does not number its classes from 0 on, each one once.")
    return tuple(names[place] for place in places)


def _json(path: Path, kind: type) -> Any:
    try:
        value = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is no JSON that can be read: get it anew.") from error
    if not isinstance(value, kind):
        shape = {list: "list of videos", dict: "table of classes"}[kind]
        raise InputError(f"{path} is JSON, but no {shape}.")
    return value


def _lines(path: Path) -> dict[int, str]:
    """The lines that are not blank, by number from 1 on."""
    lines = enumerate(_text(path).split("\n"), start=1)
    return {number: line.strip() for number, line in lines if line.strip()}


def _text(path: Path) -> str:
    refusal = InputError(f"{path} is no list: those are UTF-8 text of at most 128 MB.")
    if existing_file(path).stat().st_size > MAX_BYTES:
        raise refusal
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise refusal from error
    if "\0" in text:
        raise refusal
    return text


def _unique(names: list[str], path: Path) -> tuple[str, ...]:
    name, times = max(Counter(names).items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        raise InputError(f"{path} has the class {name!r} {times} times.")
    return tuple(names)
