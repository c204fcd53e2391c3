"""The published models and probes, as data; and where those that were downloaded are.

Knows neither torch nor the network: the app lists models with it before either is needed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

ASSETS = Path(__file__).resolve().parents[2] / "assets"
BUNDLED = dict.fromkeys(("physics", "video", "demo"), ASSETS / "demo" / "model")
"""Models that ship with the project, by name. One learned from the physics world, from real video
and from drawn clips: it has a name for each."""
NON_COMMERCIAL = "CC-BY-NC 4.0"
V1_URL = "https://dl.fbaipublicfiles.com/jepa"
V2_URL = "https://dl.fbaipublicfiles.com/vjepa2"


@dataclass(frozen=True)
class Published:
    """A model or a probe that others have published.

    Attributes:
        name: what `vjepa.load` and `python -m vjepa download` call it.
        family: V-JEPA, V-JEPA 2 or V-JEPA 2.1.
        kind: "model"; "probe" of a model's features; "classifier", a model with its probe.
        task: what a probe or classifier was trained on; empty for a model.
        parameters: of the encoder, millions.
        image_size: side of the frames it was trained on last, pixels.
        num_frames: frames in its clips.
        licence: of the weights, as their publisher states it.
        address: where it is published: a URL, or a repository of the Hugging Face hub.
        gigabytes: size of the download, where that is known beforehand.
        sha256: checksum of the file where its publisher gives one. Meta's file server gives none;
            for hub repositories the hub itself does, file by file.
    """

    name: str
    family: str
    kind: str
    parameters: int
    image_size: int
    num_frames: int
    licence: str
    address: str
    task: str = ""
    gigabytes: float | None = None
    sha256: str | None = None

    @property
    def on_hub(self) -> bool:
        """Whether the address is a repository of the Hugging Face hub."""
        return not self.address.startswith("http")

    @property
    def place(self) -> PurePosixPath:
        """Where it is kept, below the folder of models: a hub repository's folder, or a file.

        A file has a folder of its own: names differ in upper and lower case only (ViT-g, ViT-G).
        """
        if self.on_hub:
            return PurePosixPath(self.name)
        own = self.name.split("/")[0]
        return PurePosixPath(own) / self.address.rsplit("/", 1)[1]


def _v1(name: str, parameters: int, image_size: int, gigabytes: float | None) -> list[Published]:
    """A V-JEPA checkpoint and its five attentive probes (the official README's tables)."""
    model = Published(
        name=name,
        family="V-JEPA",
        kind="model",
        parameters=parameters,
        image_size=image_size,
        num_frames=16,
        licence=NON_COMMERCIAL,
        address=f"{V1_URL}/{name}/{name}.pth.tar",
        gigabytes=gigabytes,
    )
    probes = [
        replace(
            model,
            name=f"{name}/{data}-probe",
            kind="probe",
            task=task,
            address=f"{V1_URL}/{name}/{data}-probe.pth.tar",
            gigabytes=None,
        )
        for data, task in V1_PROBES.items()
    ]
    return [model, *probes]


V1_PROBES = {
    "k400": "Kinetics-400",
    "ssv2": "Something-Something v2",
    "in1k": "ImageNet-1K",
    "places": "Places205",
    "inat": "iNaturalist 2021",
}


def _v2(name: str, parameters: int, licence: str, task: str = "") -> Published:
    """A V-JEPA 2 folder on the hub; its name tells frames per clip and pixels."""
    frames, pixels = name.split("-fpc")[1].split("-")[:2]
    return Published(
        name=name,
        family="V-JEPA 2",
        kind="classifier" if task else "model",
        parameters=parameters,
        image_size=int(pixels),
        num_frames=int(frames),
        licence=licence,
        address=f"facebook/{name}",
        task=task,
    )


def _v21(name: str, parameters: int, file: str) -> Published:
    """A V-JEPA 2.1 checkpoint, by the name that the official torch hub entry has."""
    return Published(
        name=name,
        family="V-JEPA 2.1",
        kind="model",
        parameters=parameters,
        image_size=384,
        num_frames=64,
        licence="MIT",
        address=f"{V2_URL}/{file}.pt",
    )


BY_CARD = "see its model card"

_ALL = [
    *_v1("vitl16", 304, 224, 5.14),
    *_v1("vith16", 632, 224, 10.4),
    *_v1("vith16-384", 632, 384, None),
    # the repository is MIT; the hub's model cards say MIT for ViT-L, Apache-2.0 for the larger
    _v2("vjepa2-vitl-fpc64-256", 304, "MIT"),
    _v2("vjepa2-vith-fpc64-256", 632, "Apache-2.0"),
    _v2("vjepa2-vitg-fpc64-256", 1012, "Apache-2.0"),
    _v2("vjepa2-vitg-fpc64-384", 1012, "Apache-2.0"),
    _v2("vjepa2-vitl-fpc16-256-ssv2", 304, BY_CARD, "Something-Something v2"),
    _v2("vjepa2-vitg-fpc64-384-ssv2", 1012, BY_CARD, "Something-Something v2"),
    _v2("vjepa2-vitl-fpc32-256-diving48", 304, BY_CARD, "Diving48"),
    _v2("vjepa2-vitg-fpc32-384-diving48", 1012, BY_CARD, "Diving48"),
    _v21("vjepa2_1_vit_base_384", 87, "vjepa2_1_vitb_dist_vitG_384"),
    _v21("vjepa2_1_vit_large_384", 305, "vjepa2_1_vitl_dist_vitG_384"),
    _v21("vjepa2_1_vit_giant_384", 1013, "vjepa2_1_vitg_384"),
    _v21("vjepa2_1_vit_gigantic_384", 1845, "vjepa2_1_vitG_384"),
]
PUBLISHED = {entry.name: entry for entry in _ALL}
"""All that is known of, by name."""


def get(name: str) -> Published | None:
    """The entry of a name, which may be the hub's (`facebook/...`); None where there is none."""
    return PUBLISHED.get(name.removeprefix("facebook/"))


def models_folder() -> Path:
    """Where downloads are kept: the environment's VJEPA_MODELS, else `~/.cache/vjepa`."""
    return Path(os.environ.get("VJEPA_MODELS") or "~/.cache/vjepa").expanduser()


def find(name: str, folder: Path | None = None) -> Path | None:
    """Where a published model or probe lies on this machine; None where it does not.

    Looks into the folder of models, and for a hub repository into the hub's own cache, where
    transformers may have put it.

    Args:
        name: as in PUBLISHED.
        folder: of models; `models_folder()` by default.
    """
    entry = get(name)
    if entry is None:
        return None
    path = (folder or models_folder()) / entry.place
    if path.is_dir() if entry.on_hub else path.is_file():
        return path
    return _in_hub_cache(entry) if entry.on_hub and folder is None else None


def _in_hub_cache(entry: Published) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in ("model.safetensors", "model.safetensors.index.json"):
        found = try_to_load_from_cache(entry.address, name)
        if isinstance(found, str):
            return Path(found).parent
    return None


def how_to_get(name: str) -> str:
    """The sentence for someone who asks for a published model that is not on this machine."""
    return f"{name} is not on this machine: get it with `python -m vjepa download {name}`."
