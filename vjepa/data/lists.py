"""Text lists of videos: a path a line, with or without a label, as spreadsheets and scripts write.

| | |
|---|---|
| separators | tab, comma, semicolon, space: what splits most lines into a path and a label |
| labels | whole numbers from 0 (`3`, `3.0`), or words; -1 or nothing for a video without one |
| header | names the columns; those beside path and label are passed over |
| quotes | around what holds the separator |
| `#` | begins a line that is a comment |

Words are numbered in their order in the alphabet, as the names of class folders are, so that the
lists of several splits mean the same by a number.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import NamedTuple

from vjepa.data.clips import VIDEO_SUFFIXES
from vjepa.errors import InputError

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAX_CLASSES = 100_000  # of a list that does not name them
SEPARATORS = "\t,; "
NUMBER = re.compile(r"(-?[0-9]{1,9})(\.0*)?")
NUMERIC = re.compile(r"[-+.]?[0-9][0-9.eE+-]*")
TITLE = re.compile(r"([a-z][\w :#-]*)?")
PATH_TITLES = ("path", "file", "video", "clip", "image", "name", "uri", "url")
LABEL_TITLES = ("label", "class", "category", "target", "action", "activity")
OTHER_TITLES = ("time", "start", "end", "duration", "length", "frame", "fps", "split", "caption")
"""Words in the titles of columns, by what they hold."""


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


def is_image(path: PurePath) -> bool:
    """Whether a path is called like a still image, and is not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def read_plain(lines: Mapping[int, str], names: tuple[str, ...], path: Path) -> Listed:
    """Reads a list, see the top of this module.

    Args:
        lines: those that are not blank, by number.
        names: of the classes, where they are known.
        path: of the list, for errors.

    Raises:
        InputError: a line is no path with a label; labels are words here and numbers there, or
            beyond the classes. The first such line is named.
    """
    lines = {number: line for number, line in lines.items() if not line.startswith("#")}
    header = Header.of(list(lines.values()))
    if header:
        lines.pop(next(iter(lines)))
    separator = _separator(lines.values())
    rows: dict[int, Row] = {}
    for number, line in lines.items():
        row = header.split(line) if header else _split(line, separator)
        if row is None:
            raise _no_row(number, line, path)
        rows[number] = row
    labelled = any(row.label is not None for row in rows.values())
    for number, row in rows.items():
        if labelled and row.label is None:
            raise _no_row(number, lines[number], path)
    labels, classes = _numbered(rows, names, path)
    return Listed([row.path for row in rows.values()], labels, classes)


class Row(NamedTuple):
    """A line: the path of a video, and its label; None where there is no place for one."""

    path: str
    label: str | None


@dataclass(frozen=True)
class Header:
    """The first line of a list, where it names columns.

    Attributes:
        separator: between the columns.
        count: of the columns.
        path, label: which of them hold these; the second is None where none does.
    """

    separator: str
    count: int
    path: int
    label: int | None

    @classmethod
    def of(cls, lines: list[str]) -> Header | None:
        """The header of a list; None where its first line is one like the others."""
        found = (cls._of(lines[0], separator) for separator in SEPARATORS) if lines[1:] else ()
        best = max(filter(None, found), key=lambda header: header.count, default=None)
        if best is None:
            return None
        rows = [row for line in lines[1:20] if (row := best.split(line))]
        labels = [row.label for row in rows if row.label is not None]
        numbered = bool(labels) and all(map(NUMBER.fullmatch, labels))
        return best if numbered or any(is_media(row.path) for row in rows) else None

    @classmethod
    def _of(cls, line: str, separator: str) -> Header | None:
        # pandas calls a column without a title "Unnamed: 0"
        titles = [re.sub(r"^unnamed: \d+$", "", t.lower()) for t in _cells(line, separator)]
        if not all(TITLE.fullmatch(title) for title in titles):
            return None
        labels = [i for i, title in enumerate(titles) if _says(title, LABEL_TITLES)]
        places = [i for i in range(len(titles)) if i not in labels]
        paths = [i for i in places if _says(titles[i], PATH_TITLES)]
        if not paths and not (labels and len(places) == 1):
            return None
        path = (paths or places)[0]
        if not labels and len(titles) == 2 and not _says(titles[1 - path], OTHER_TITLES):
            labels = [1 - path]
        return cls(separator, len(titles), path, labels[0] if labels else None)

    def split(self, line: str) -> Row | None:
        """A line below; None where it has other columns."""
        cells = _cells(line, self.separator)
        if len(cells) != self.count and self.count == 2:  # a path without quotes
            left, _, right = (line.partition if self.path else line.rpartition)(self.separator)
            cells = [left.strip(), right.strip()]
        if self.count == 1:
            cells = [line.strip().strip("\"'")]
        if len(cells) != self.count or not cells[self.path]:
            return None
        return Row(cells[self.path], None if self.label is None else cells[self.label])


def _says(title: str, words: Iterable[str]) -> bool:
    return any(word in title for word in words)


def is_media(name: str) -> bool:
    """Whether a path ends as those of videos and images do."""
    return PurePath(name).suffix.lower() in (*VIDEO_SUFFIXES, *IMAGE_SUFFIXES)


def _separator(lines: Iterable[str]) -> str:
    """What stands between path and label in most lines."""
    lines = list(lines)

    def fitting(separator: str) -> int:
        rows = (_split(line, separator) for line in lines)
        return sum(row is not None and row.label is not None for row in rows)

    return max(SEPARATORS, key=fitting)


def _split(line: str, separator: str) -> Row | None:
    """Path and label of a line, from its end if that is a number, else from where the path ends."""
    if line[0] in "\"'" or '"' in line:
        cells = _cells(line, separator)
        if len(cells) == 2 and cells[0]:
            return Row(*cells)
        line = cells[0] if len(cells) == 1 else line
    left, _, right = map(str.strip, line.rpartition(separator))
    if left and (NUMBER.fullmatch(right) or not right):
        return Row(left, right)
    for match in re.finditer(re.escape(separator), line):
        left, right = line[: match.start()].strip(), line[match.end() :].strip()
        if is_media(left) and right and not is_media(right) and not NUMERIC.fullmatch(right):
            return Row(left, right)
    return Row(line, None) if is_media(line) else None


def _cells(line: str, separator: str) -> list[str]:
    quote = "'" if line.startswith("'") else '"'
    rows = csv.reader([line], delimiter=separator, quotechar=quote, skipinitialspace=True)
    try:
        return [cell.strip() for cell in next(rows)]
    except csv.Error:  # a field beyond the module's limit
        return [line]


def _no_row(number: int, line: str, path: Path) -> InputError:
    return InputError(
        f"Line {number} of {path} is no `path label`: {line[:60]!r}; write both, labels as whole "
        "numbers or words and -1 for none, or leave all labels out."
    )


def _numbered(
    rows: Mapping[int, Row], names: tuple[str, ...], path: Path
) -> tuple[list[int], tuple[str, ...]]:
    """The labels as numbers, and the names of the classes."""
    labels = {n: r.label for n, r in rows.items() if r.label not in (None, "") and not _none(r)}
    if not any(NUMBER.fullmatch(label) is None for label in labels.values()):
        numbers = {n: int(NUMBER.fullmatch(label)[1]) for n, label in labels.items()}
        _check_range(numbers, len(names) or MAX_CLASSES, path)
        classes = names or tuple(map(str, range(max(numbers.values(), default=-1) + 1)))
    else:
        _check_words(labels, names, path)
        classes = names or tuple(sorted(set(labels.values())))
        place = {name: i for i, name in enumerate(classes)}
        numbers = {n: place[label] for n, label in labels.items()}
    return [numbers.get(n, -1) for n in rows], classes


def _none(row: Row) -> bool:
    """Whether a label says that there is none."""
    match = NUMBER.fullmatch(row.label)
    return match is not None and match[1] == "-1"


def _check_range(numbers: Mapping[int, int], count: int, path: Path) -> None:
    for number, label in numbers.items():
        if not 0 <= label < count:
            raise InputError(
                f"Line {number} of {path} has label {label}, not 0..{count - 1}: count classes "
                "from 0, and write -1 where there is none."
            )


def _check_words(labels: Mapping[int, str], names: tuple[str, ...], path: Path) -> None:
    """Labels must be words throughout, and of the known names."""
    first = next(iter(labels))
    for number, label in labels.items():
        said = f"Line {number} of {path} has the label {label[:40]!r}"
        if bool(NUMBER.fullmatch(label)) != bool(NUMBER.fullmatch(labels[first])):
            raise InputError(
                f"{said} and line {first} {labels[first][:40]!r}: write words or whole numbers "
                "throughout."
            )
        if NUMERIC.fullmatch(label) and not NUMBER.fullmatch(label):
            raise InputError(f"{said}: write whole numbers or words.")
        if names and label not in names:
            raise InputError(f"{said}, which the file with the classes' names lacks: add it there.")
