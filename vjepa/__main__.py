"""The commands of the model: `python -m vjepa --help`."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import tyro
from accelerate import PartialState
from torch import Generator

import vjepa
from vjepa import config, errors, recipes
from vjepa.analysis import following, streamed
from vjepa.analysis import probe as probing
from vjepa.analysis import surprise as surprising
from vjepa.analysis.attentive import load_probe
from vjepa.baselines import ImageBackbone
from vjepa.beginning import begin
from vjepa.checkpoint import require_whole
from vjepa.data import pack as packing
from vjepa.data import sources
from vjepa.data.datasets import LabelledVideos, open_dataset, open_splits
from vjepa.formats import published
from vjepa.formats.download import download as fetch_published
from vjepa.pretrain import pretrain as run_pretraining
from vjepa.recipes import PretrainConfig
from vjepa.world.physics import PhysicsWorld
from vjepa.world.physics_store import store_frames


def pretrain(
    config: Annotated[PretrainConfig, tyro.conf.arg(name="")],
    recipe: str = "demo",
    show: Annotated[bool, tyro.conf.arg(name="print")] = False,
) -> None:
    """Pretrain a model, or go on with a published one; prints the folder it was written to.

    Args:
        config: settings of the run.
        recipe: demo, physics, the published vitl16, vith16 or vith16-384, or continue (what --from
            stands for): all other options begin with its values.
        show: print the settings and do nothing.
    """
    if show:
        print(json.dumps({"recipe": recipe, **recipes.described(config)}, indent=1))
        return
    errors.require_unread(config.out, sources.files_read(config.data))
    errors.require_unread(config.out / "model", [config.begin_with])
    print(run_pretraining(config, *begin(config)))


pretrain.expand = recipes.expanded


def store(
    out: Path,
    clips: int = 8192,
    data: str = "world",
    preset: str = "demo",
    levels: tuple[int, ...] = (0, 1, 2, 3, 4),
    static: float = 0.0,
    seed: int = 0,
    processes: int = os.cpu_count() or 1,
) -> None:
    """Draw training clips once and store them in one file, to be read by --data.

    Args:
        out: the .npy file to write.
        clips: how many.
        data: "world", "physics", "pans", "bundled", a folder of videos, a list of them, or several,
            as in "8*world+pans+still:bundled" (of which nothing moves).
        preset: the model shape whose frames they are.
        levels: difficulties of the world, mixed equally.
        static: of physics clips, the share of what floor and walls show that is noise, new in
            every frame, 0 to 1.
        seed: of the draws.
        processes: that draw physics clips side by side; broken off, they go on where they were.
    """
    errors.require_unread(out, sources.files_read(data))
    if static and data != "physics":
        raise vjepa.InputError("Only physics clips have static: ask for them, --data physics.")
    shape = config.preset(preset)
    if data == "physics":
        world = PhysicsWorld(shape.image_size, shape.num_frames, static=static)
        store_frames(world, out, clips, seed=seed, processes=processes)
    else:
        source = sources.open_source(data, shape, levels=levels, device=torch.device("cpu"))
        sources.store(source, out, clips, seed=seed)


def probe(
    model: str = "demo",
    task: str = "appearance",
    probe: str = "attentive",
    level: int = 1,
    train_clips: int = 2000,
    test_clips: int = 1000,
    labels: tuple[float, ...] = (1.0,),
    seeds: tuple[int, ...] = (0,),
    data: Path | None = None,
    test: Path | None = None,
    videos: Path | None = None,
    clips: int = 2,
    views: int = 3,
    image_backbone: str | None = None,
    image_weights: Path | None = None,
    probe_file: Path | None = None,
    labels_file: Path | None = None,
    cache: Path = probing.CACHE,
    json_line: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Frozen evaluation: what probes read from a model's features, and from random weights.

    Args:
        model: by name or path.
        task: appearance, motion, location, or all of them, of the drawn world's clips; event or
            shape of the physics world's (pip install -e .[physics]).
        probe: attentive, deep (V-JEPA 2's: three blocks of self-attention first, which take ten
            times as long as the others together), average, linear, knn, or all.
        level: difficulty of the world, 0 to 4.
        train_clips: labelled clips of that world that a probe may learn from.
        test_clips: of held-out objects and panoramas, or pairings, sizes and materials.
        labels: shares of the training labels that are learned from; one result each.
        seeds: of the labels in a share, and of a probe's first weights; scores are averaged.
        data: labelled videos to learn from, instead of the world: a list, class folders, or a
            folder with the splits train and test (or validation). A video with fewer frames than
            the model's clips repeats some.
        test: labelled videos to test on, when they are not a split of --data.
        videos: where the paths in a list begin.
        clips: clips of a video, evenly spread; their tokens are read side by side.
        views: crops of every test clip, 1 or 3; answers to them are averaged.
        image_backbone: a timm image model to compare with, applied frame by frame.
        image_weights: the file of its weights.
        probe_file: a trained probe, a published one too: it is scored on the test videos, and
            nothing is trained.
        labels_file: names of its outputs, one a line, where it has none of its own.
        cache: folder where features are kept; about 1 GB for 6,500 clips and the demo model.
        json_line: print one line of JSON; with several tasks, probes or labels, a list.
    """
    loaded = vjepa.load(model)
    if probe_file is not None:
        _score(loaded, probe_file, labels_file, _test_videos(data, test, videos), clips, views)
        return
    settings = {"seeds": seeds, "labels": labels, "cache": cache}
    settings["others"] = _image_model(image_backbone, image_weights, loaded)
    probes = list(probing.PROBES) if probe == "all" else [probe]
    if data is None:
        tasks = list(probing.WORLD_TASKS) if task == "all" else [task]
        sizes = {"level": level, "train_clips": train_clips, "test_clips": test_clips}
        rows = probing.probe_world(loaded, tasks, probes, **sizes, **settings)
    else:
        pair = _open_videos(data, test, videos)
        rows = probing.probe_videos(loaded, *pair, probes, clips=clips, views=views, **settings)
    _print_rows(rows, json_line)


def _open_videos(
    data: Path, test: Path | None, videos: Path | None
) -> tuple[LabelledVideos, LabelledVideos]:
    """The videos to learn from and those to test on."""
    if test is not None:
        return open_dataset(data, videos=videos), open_dataset(test, videos=videos)
    train = open_dataset(data, videos=videos, split="train")
    return train, _test_videos(data, test, videos)


def _test_videos(data: Path | None, test: Path | None, videos: Path | None) -> LabelledVideos:
    """A set of its own, or the split of one."""
    if test is not None:
        return open_dataset(test, videos=videos)
    if data is None:
        raise vjepa.InputError(
            "A probe's file is scored on labelled videos: give --data or --test."
        )
    with suppress(vjepa.InputError):
        return open_dataset(data, videos=videos, split="test")
    return open_dataset(data, videos=videos, split="validation")


def _score(
    model: vjepa.VJEPA,
    file: Path,
    labels: Path | None,
    videos: LabelledVideos,
    clips: int,
    views: int,
) -> None:
    """Scores a trained probe; prints one line of JSON."""
    probe = vjepa.load_probe(file, labels=labels)
    print(json.dumps(streamed.score_probe(model, probe, videos, clips=clips, views=views)))


def train_probe(
    config: Annotated[streamed.StreamConfig, tyro.conf.arg(name="")],
    data: Path,
    model: str = "demo",
    test: Path | None = None,
    videos: Path | None = None,
) -> None:
    """Train an attentive probe on videos as they pass by, on one device or many; keeps no tokens.

    Prints its score on the test videos as one line of JSON.

    Args:
        config: of the run; by default the published schedule.
        data: labelled videos or pictures to learn from, as for `probe`.
        model: by name or path.
        test: labelled videos to test on, when they are not a split of --data.
        videos: where the paths in a list begin.
    """
    pair = _open_videos(data, test, videos)
    errors.require_unread(config.out, [data, test])
    loaded = vjepa.load(model, device=PartialState().device)  # every process has its own
    print(json.dumps(streamed.train_streamed(loaded, *pair, config)))


def _image_model(
    name: str | None, weights: Path | None, model: vjepa.VJEPA
) -> dict[str, ImageBackbone]:
    """The image model that is asked for, by name."""
    if name is None:
        return {}
    if weights is None:
        raise vjepa.InputError(
            f"The weights of {name} are not included: name their file with --image-weights."
        )
    backbone = ImageBackbone(name, weights, model.config)
    return {"image": backbone.to(model.device, model.dtype)}


def _print_rows(rows: list[dict], json_line: bool) -> None:
    if json_line:
        print(json.dumps(rows[0] if len(rows) == 1 else rows))
        return
    for row in rows:
        columns = {"model": row["accuracy"], **row["baselines"]}
        scores = "  ".join(f"{name} {100 * s['mean']:5.1f} %" for name, s in columns.items())
        print(
            f"{row['task']:<12}{row['probe']:<10}{row['labels']:>5.0%} of the labels  "
            f"{row['metric']}: {scores}  chance {100 * row['chance']:.1f} %"
        )
    if names := rows[0].get("classes", ()):
        more = ", ..." if len(names) > SHOWN_CLASSES else ""
        print(f"{len(names)} classes: {', '.join(names[:SHOWN_CLASSES])}{more}")


SHOWN_CLASSES = 20


def similarity(
    model: str = "demo",
    clips: int = 60,
    level: int = 4,
    seed: int = 0,
    json_line: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """How well features follow an object through held-out clips of the world.

    Args:
        model: by name or path.
        clips: how many.
        level: difficulty of the world, 0 to 4.
        seed: of the clips.
        json_line: print one line of JSON.
    """
    loaded = vjepa.load(model)
    models = {"model": loaded, **probing.baselines_of(loaded)}
    scores = following.score_following(models, loaded.config, clips=clips, level=level, seed=seed)
    if json_line:
        print(json.dumps(scores))
        return
    for name, score in scores["jaccard"].items():
        hits = scores["hits"][name]["mean"]
        print(f"{name:<8} J of the carried object {score['mean']:.2f}  patch on it {hits:.0%}")


def surprise(
    model: str = "demo",
    scenes: int = 200,
    world: str = "world",
    horizon: int = surprising.HORIZON,
    seed: int = 0,
    json_line: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """How often impossible clips surprise the model more than possible ones of the same frames.

    Args:
        model: by name or path.
        scenes: held-out scenes, of each kind; each gives two pairs, one set.
        world: whose: "world", the drawn one, or "physics" (pip install -e .[physics]).
        horizon: time steps predicted at once; what one forecast foresaw hardly surprises.
        seed: of the scenes.
        json_line: print one line of JSON, a list.
    """
    generator = Generator().manual_seed(seed)
    cases = surprising.score_surprise(vjepa.load(model), scenes, generator, world, horizon)
    if json_line:
        print(json.dumps(cases))
        return
    for case in cases:
        place = "behind a post" if case["hidden"] else "in plain view"
        columns = (
            f"{unit}: model {case['model'][unit]['mean']:4.0%}, pixels "
            f"{case['pixels'][unit]['mean']:4.0%}"
            for unit in ("pairs", "sets")
        )
        print(f"{case['kind']:<9}{place:<14} {'  '.join(columns)}")


def pack(
    data: Path,
    out: Path,
    short_side: int = 256,
    fps: float = 15.0,
    workers: int = 0,
    videos: Path | None = None,
    json_line: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """Re-encode a data set once, to be read fast and often; labels and splits are carried along.

    Short closed groups of pictures, a constant rate, no sound. What is in the pack already is kept,
    so that an interrupted run goes on.

    Args:
        data: a folder of videos, a folder with lists, or one list.
        out: the folder of the pack.
        short_side: of the frames, pixels; smaller ones stay as they are.
        fps: frames per second, or the nearest that is a whole number of source frames apart.
        workers: processes; 0: one for each core.
        videos: where the paths in a list begin.
        json_line: print one line of JSON.
    """
    errors.require_unread(out, sources.files_read(str(data)))
    settings = packing.PackSettings(short_side, fps)
    packed = packing.pack(open_splits(data, videos=videos), out, settings, workers)
    if json_line:
        print(json.dumps(asdict(packed)))
        return
    print(f"{packed.videos} videos are in {out}; {len(packed.left_out)} are left out")


def models(json_line: Annotated[bool, tyro.conf.arg(name="json")] = False) -> None:
    """What is published: name, size, input, licence, address, and where it is on this machine.

    Args:
        json_line: print one line of JSON, a list.
    """
    rows = [
        asdict(entry) | {"path": str(published.find(name) or "")}
        for name, entry in published.PUBLISHED.items()
    ]
    if json_line:
        print(json.dumps(rows))
        return
    for row in rows:
        size = f"{row['parameters']} M" + (f", {row['gigabytes']} GB" if row["gigabytes"] else "")
        clip = f"{row['num_frames']} x {row['image_size']} px"
        what = f"{row['kind']} {row['task']}".strip()
        print(f"{row['name']:<32}{row['family']:<12}{what:<34}{size:<16}{clip:<13}{row['licence']}")
        print(f"    {row['address']}  {row['path'] or '-'}")


def download(name: tyro.conf.Positional[str], to: Path | None = None) -> None:
    """Download a published model or probe; prints where it is. Its licence is shown first.

    Args:
        name: as `python -m vjepa models` lists it.
        to: the folder of models; VJEPA_MODELS, else ~/.cache/vjepa. Only there is it found by name.
    """
    entry = published.get(name)
    if entry is not None:
        print(f"{name}: licence {entry.licence}, from {entry.address}", file=sys.stderr)
    probe = entry is not None and entry.kind == "probe"
    print(fetch_published(name, to, load_probe if probe else require_whole))


COMMANDS = {
    "pretrain": pretrain,
    "store": store,
    "probe": probe,
    "train-probe": train_probe,
    "similarity": similarity,
    "surprise": surprise,
    "pack": pack,
    "models": models,
    "download": download,
}

if __name__ == "__main__":
    errors.run_command(COMMANDS, prog="python -m vjepa")
