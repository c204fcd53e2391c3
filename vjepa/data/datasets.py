"""Labelled videos that people bring, in the formats they come in.

| format | looks like |
|---|---|
| list (V-JEPA, SlowFast) | a text file, `path label` a line, see `vjepa.data.lists` |
| Something-Something v2 | `labels.json` beside `train.json`, `validation.json`; `<id>.webm` |
| UCF101 | `classInd.txt` beside `trainlist01.txt`, `testlist01.txt`; `Class/v_x.avi` |
| class folders | `class_name/clip.mp4`, or still images where there is no video |
| flat folder | `clip.mp4`: no labels |

A folder that holds lists called train, validation or test (`k400-train.csv`), or only sub-folders
called so, has splits.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from jaxtyping import Int64

from vjepa.data.clips import existing_file, find_videos, is_file, is_video, warn_of_others
from vjepa.data.lists import Listed, is_image, read_plain
from vjepa.errors import InputError

SPLITS = {
    "train": ("train", "training", "trainlist01"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing", "testlist01"),
}
"""What a split may be called; of the three pairs of lists of UCF101 the first is the usual one."""
PACK_LIST = "pack.csv"
"""The list of a pack (`vjepa.data.pack`) whose data set had no splits."""
LIST_SUFFIXES = {".csv", ".tsv", ".txt", ".json"}


@dataclass(frozen=True, eq=False)
class LabelledVideos:
    """Videos and what they show.

    Attributes:
        paths: of the videos; whether they can be read, reading shows (`views.readable`).
        labels: index into `classes`; -1 for a video without a label.
        classes: their names.
        origin: the folder or list that they come from.
    """

    paths: tuple[Path, ...]
    labels: Int64[np.ndarray, " n"]
    classes: tuple[str, ...]
    origin: Path

    def __len__(self) -> int:
        return len(self.paths)


def open_dataset(
    path: Path, *, videos: Path | None = None, split: str | None = None
) -> LabelledVideos:
    """Finds labelled videos, in whichever format they come (see the top of this module).

    Args:
        path: a folder of videos, a folder of lists, or one list.
        videos: where the paths in a list begin; the list's own folder if not given.
        split: train, validation (or val) or test; needed where there are several.

    Raises:
        InputError: nothing is there, nothing of it is a video, a list is not what it seems (the
            line is named), or the split is not there or not chosen.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no dataset {path}: give a folder of videos or a list of them.")
    found = _choose(_splits(path), split, path)
    if found.is_dir():
        return _read_folder(found)
    return _follow_list(found, Path(videos) if videos is not None else found.parent)


def open_splits(path: Path, *, videos: Path | None = None) -> dict[str, LabelledVideos]:
    """All the splits of a data set by name; "" is that of one that has none."""
    names = [name for name in _splits(Path(path)) if name] if Path(path).exists() else []
    if not names:
        return {"": open_dataset(path, videos=videos)}
    return {name: open_dataset(path, videos=videos, split=name) for name in names}


def require_classes(train: LabelledVideos, test: LabelledVideos) -> LabelledVideos:
    """Checks what a probe needs of its two sets, and makes the labels of both mean the same.

    Returns:
        `test`, its labels counted in the classes of `train`.

    Raises:
        InputError: a set is empty or lacks labels, training videos are all of one class, or test
            videos of a class that no training video is of.
    """
    for part in (train, test):
        if not len(part):
            raise InputError(f"{part.origin} holds no video: a probe needs some.")
        if part.labels.max() < 0:
            raise InputError(f"{part.origin} has no labels: give class folders or a labelled list.")
        if unlabelled := int((part.labels < 0).sum()):
            raise InputError(
                f"{unlabelled} of the {len(part)} videos of {part.origin} have no label, and a "
                "probe needs one of each: leave them out."
            )
    known, asked = _present(train), _present(test)
    if len(known) == 1:
        raise InputError(f"{train.origin} has one class only, {known[0]!r}: a probe needs two.")
    if missing := [name for name in asked if name not in known]:
        raise InputError(
            f"{test.origin} has videos of {_some(missing)}, {train.origin} none: leave them out."
        )
    place = {name: i for i, name in enumerate(train.classes)}
    labels = np.array([place.get(name, -1) for name in test.classes])[test.labels]
    return replace(test, labels=labels, classes=train.classes)


def _present(dataset: LabelledVideos) -> list[str]:
    """Names of the classes that videos are of."""
    return [dataset.classes[i] for i in np.unique(dataset.labels)]


def _some(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" * (len(names) > 3))


def _splits(path: Path) -> dict[str, Path]:
    """The lists or folders that a path stands for, by split; "" for one without that name."""
    if path.is_dir():
        if (path / PACK_LIST).is_file():
            return {"": path / PACK_LIST}
        if lists := _by_split(p for p in sorted(path.iterdir()) if _is_list(p)):
            return lists
        names = sorted(set(_clips_below(path).values()))
        folders = _by_split(path / name for name in names)
        if len(folders) == len(names) > 0:  # beside other classes, "train" is a class
            return folders
    return {_split_called(path): path}


def _by_split(paths: Iterable[Path]) -> dict[str, Path]:
    """Those of the paths that are called like a split."""
    found: dict[str, Path] = {}
    for path in paths:
        if split := _split_called(path):
            if split in found:
                raise InputError(f"{found[split]} and {path} are both called {split}: give one.")
            found[split] = path
    return found


def _is_list(path: Path) -> bool:
    return path.suffix.lower() in LIST_SUFFIXES and not path.name.startswith(".")


def _split_called(path: Path) -> str:
    """The split that a path is called, a list by the last word of its name; "" if none."""
    name = re.split(r"[-_ ]", path.stem)[-1] if _is_list(path) else path.name
    return next((split for split, names in SPLITS.items() if name.lower() in names), "")


def _choose(splits: dict[str, Path], split: str | None, path: Path) -> Path:
    if split is None:
        if len(splits) > 1:
            raise InputError(f"{path} has the splits {', '.join(splits)}: choose one of them.")
        return next(iter(splits.values()))
    name = _split_called(Path(split))
    if not name:
        raise InputError(f"There is no split {split!r}: choose one of {', '.join(SPLITS)}.")
    if name not in splits:
        held = ", ".join(filter(None, splits)) or "none"
        raise InputError(f"{path} has no split {name}: it has {held}.")
    return splits[name]


def find_clips(folder: Path) -> list[Path]:
    """All videos below a folder, or where there is none all still images, in order of path.

    Raises:
        InputError: there is neither.
    """
    try:
        return find_videos(folder)
    except InputError:
        if images := sorted(filter(is_image, folder.rglob("*"))):
            return images
        raise


def _videos_below(folder: Path, kind: Callable[[Path], bool] = is_video) -> dict[Path, str]:
    """Every video below a folder, with the name of the sub-folder it is in ("" = in none)."""
    videos = {}
    for child in sorted(folder.iterdir()):  # one by one: a sub-folder may be a link
        name, below = (child.name, sorted(child.rglob("*"))) if child.is_dir() else ("", [child])
        if not child.name.startswith("."):
            videos |= dict.fromkeys(filter(kind, below), name)
    return videos


def _clips_below(folder: Path) -> dict[Path, str]:
    """The same; still images where there is no video: they are clips that stand still."""
    return _videos_below(folder) or _videos_below(folder, is_image)


def _read_folder(folder: Path) -> LabelledVideos:
    """Class folders, or a flat folder without labels."""
    videos = _clips_below(folder)
    if not videos:
        raise InputError(f"{folder} holds no video: put mp4, webm, mkv, avi or others there.")
    if any(map(is_video, videos)):
        warn_of_others(folder, folder.rglob("*"))
    classes, labels = np.unique(list(videos.values()), return_inverse=True)
    classes = tuple(classes.tolist())
    if classes == ("",):
        return LabelledVideos(tuple(videos), np.full(len(videos), -1), (), folder)
    if "" in classes:
        raise InputError(
            f"{folder} holds videos beside the folder {classes[1]!r}: put all of them into class "
            "folders, or none."
        )
    return LabelledVideos(tuple(videos), labels, classes, folder)


def _follow_list(path: Path, root: Path) -> LabelledVideos:
    """The videos that a list names; at least one must be there."""
    names, labels, classes = read_list(path)
    paths = tuple(root / name for name in names)
    if not paths:
        raise InputError(f"{path} names no video: give a list that does.")
    if not any(map(is_file, paths)):
        raise InputError(
            f"None of the {len(paths)} videos of {path} is there, {str(paths[0])[:200]} for one: "
            "say in which folder its paths begin."
        )
    return LabelledVideos(paths, np.array(labels), classes, path)


CLASS_NAMES = ("labels.txt", "classes.txt")
"""Beside a text list: the names of its classes, one a line."""
UCF101_CLASSES = "classInd.txt"
SSV2_CLASSES = "*labels.json"
MAX_BYTES = 128 << 20  # the longest of the known lists, Something-Something's, has about 30 MB


def read_list(path: Path) -> Listed:
    """Reads a list of videos, recognized by its suffix and by what lies beside it.

    Raises:
        InputError: it is no such list; the first bad line or entry is named.
    """
    if path.suffix.lower() == ".json":
        return _read_ssv2(path)
    if path.suffix.lower() == ".txt" and (path.parent / UCF101_CLASSES).is_file():
        return _read_ucf101(path)
    return read_plain(_lines(path), _class_names(path), path)


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
