"""Pictures, and pictures that move: what Pillow reads, upright, as 8-bit RGB over white."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from vjepa.errors import InputError
from vjepa.reading.reader import UNEVEN
from vjepa.reading.timing import ReadFrames, Wish, choose

Crop = Callable[[np.ndarray], np.ndarray]
Pick = Callable[[np.ndarray, float], list[int]]

FORMATS = (
    "AVIF BMP DDS DIB GIF ICNS ICO IM JPEG JPEG2000 PCX PNG PPM PSD QOI SGI SUN TIFF WEBP XBM"
).split()
"""Formats of Pillow that say at their beginning what they are; no video is mistaken for one."""
MOVING = {"AVIF", "GIF", "PNG", "TIFF", "WEBP"}
"""Formats whose further pictures are later ones, not smaller ones or layers."""
STREAMS = (".mjpeg", ".mjpg")
"""What is called so begins like a photo, and is one after the other."""
PHONE_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
SHORTEST = 0.02
"""Seconds; a picture that is to be shown for less is shown for `USUAL`, as browsers do."""
USUAL = 0.1


def read(path: Path, wish: Wish) -> ReadFrames | None:
    """A clip of a picture, repeated, or of a GIF, PNG, WebP, AVIF or TIFF that moves.

    Args:
        path: of a file that is there.
        wish: as for a video; a picture stands, whenever one starts.

    Returns:
        None where the file is no picture.

    Raises:
        InputError: it is damaged or too large, a HEIC photo, or ends before the start.
    """
    with _opened(path) as image:
        if image is None:
            return None
        if not moves(image):
            frame = wish.crop(rgb(image))
            return ReadFrames(np.repeat(frame[None], wish.num_frames, axis=0))
        times = page_times(image)
        if wish.start >= times[-1]:
            raise InputError(
                f"{path.name} lasts {times[-1]:.2f} s: start before that, not at {wish.start} s."
            )
        first = int(np.searchsorted(times, wish.start + 5e-4, side="right")) - 1
        choice = choose(times[first:-1], True, wish.num_frames, wish.fps, 1 / USUAL)
        frames = read_pages(image, [first + i for i in choice.indices], wish.crop)
        return ReadFrames(np.stack(frames), (UNEVEN,) if choice.uneven else ())


def read_picked(path: Path, pick: Pick, crop: Crop) -> ReadFrames | None:
    """Pictures of a film by their places in it; a still picture is the only one of its film.

    Args:
        path: of a file that is there.
        pick: given when each picture is shown, in seconds, and a rate: the places.
        crop: what is made of each.

    Returns:
        None where the file is no picture.

    Raises:
        InputError: it is damaged or too large, or a HEIC photo.
    """
    with _opened(path) as image:
        if image is None:
            return None
        if not moves(image):
            places = pick(np.zeros(1), 1 / USUAL)
            return ReadFrames(np.stack([crop(rgb(image))] * len(places)))
        places = pick(page_times(image)[:-1], 1 / USUAL)
        return ReadFrames(np.stack(read_pages(image, places, crop)))


def timing(path: Path) -> tuple[float, float] | None:
    """How long a picture is shown, in seconds (0 where it stands), and a rate; None: it is none."""
    with _opened(path) as image:
        if image is None:
            return None
        return (float(page_times(image)[-1]) if moves(image) else 0.0), 1 / USUAL


def moves(image: Image.Image) -> bool:
    """Whether an image is a film: several pictures of one size, one after the other.

    A TIFF whose second page is of another size holds a smaller copy of the first.
    """
    if image.format not in MOVING or getattr(image, "n_frames", 1) < 2:
        return False
    size = image.size
    image.seek(1)
    same = image.size == size
    image.seek(0)
    return same


def page_times(image: Image.Image) -> Float64[np.ndarray, " n"]:
    """When each picture of a film is shown, in seconds from the first; at last, when it ends."""
    lasting = []
    for page in _pages(image):
        page.load()  # only then does WebP say it
        seconds = float(page.info.get("duration") or 0) / 1000
        lasting.append(seconds if seconds >= SHORTEST else USUAL)
    return np.cumsum([0.0, *lasting])


def read_pages(image: Image.Image, indices: list[int], crop: Crop) -> list[np.ndarray]:
    """Pictures of a film, cropped, in one forward pass."""
    wanted = set(indices)
    pages = zip(range(max(indices) + 1), _pages(image), strict=False)
    read = {i: crop(rgb(page)) for i, page in pages if i in wanted}
    return [read[i] for i in indices]


def _pages(image: Image.Image) -> Iterator[Image.Image]:
    """The pictures of a film; not the one that an APNG shows where it cannot move."""
    for i in range(int(bool(image.info.get("default_image"))), image.n_frames):
        image.seek(i)
        yield image


def rgb(image: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """The pixels of a picture, upright, over white; more than 8 bits are scaled to 8."""
    image = ImageOps.exif_transpose(image)
    if image.mode[0] in "IF":
        return np.repeat(_scaled(np.asarray(image), image.mode)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))


def _scaled(values: np.ndarray, mode: str) -> UInt8[np.ndarray, "h w"]:
    """Gray values as 8 bits: integers are of 16 bits, floats reach to 1, unless they go beyond."""
    values = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    peaks = (1.0, 255.0, 65535.0) if mode == "F" else (65535.0,)
    peak = next((peak for peak in peaks if values.max() <= peak), values.max())
    return np.round(values.clip(0, peak) * (255 / peak)).astype(np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image | None]:
    """The image in a file; None where it is none. What fails inside becomes one sentence."""
    try:
        stream = path.suffix.lower() in STREAMS
        image = None if stream else Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        _refuse_heic(path)
        image = None
    except Exception as error:  # a damaged file makes Pillow raise anything
        raise _damaged(path) from error
    try:
        with image or nullcontext():
            yield image
    except InputError:
        raise
    except Exception as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> InputError:
    return InputError(f"{path.name} is a damaged or oversized image: choose another.")


def _refuse_heic(path: Path) -> None:
    """A phone's HEIC photo is made of tiles, and FFmpeg would show one of them."""
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:] in PHONE_BRANDS:
        raise InputError(f"{path.name} is a HEIC photo, which is not read: save it as JPEG or PNG.")
