"""Writes the tables of the model card from what was measured: `python benchmarks/write_card.py`.

A table stands between `<!-- table: NAME -->` and `<!-- end -->`, in the card and in README.md, and
is made of the JSON files beside the card. Text is written by hand, numbers in tables never are; a
test compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "assets" / "demo"
FILES = (DEMO / "README.md", ROOT / "README.md")
PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.S)
CONDITIONS = {
    "target": "A true features (ceiling)",
    "predicted": "B predicted",
    "shuffled": "C another clip's predictions",
    "null": "D nothing",
    "mean_colour": "E mean colour",
    "temporal_copy": "E temporal copy",
    "inpainting": "E inpainting",
}
SOURCES = {"physics": "physics", "world": "drawn world", "real": "real video"}
BY_GROUP = ("target", "predicted", "null", "trivial")
TASKS = ("appearance", "motion")
FEW_LABELS, FEW_PROBES = 0.05, ("attentive", "linear")


def read(name: str) -> dict | list:
    """What a benchmark wrote."""
    return json.loads((DEMO / name).read_text())


def lines(*rows: list[str]) -> str:
    """A Markdown table; the first row is its head."""
    head, *rest = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def within(low_high: list[float], sign: str = "", digits: int = 2) -> str:
    """A 95 % interval."""
    return "[" + ", ".join(f"{value:{sign}.{digits}f}" for value in low_high) + "]"


def signed(score: dict) -> str:
    """A difference and its interval."""
    return f"{score['mean']:+.2f} {within(score['ci95'], '+')}"


def percent(score: dict, sign: str = "") -> str:
    """A share and its interval, in percent."""
    interval = within([100 * value for value in score["ci95"]], sign, 1)
    return f"{100 * score['mean']:{sign}.1f} {interval}"


def summary() -> str:
    """The README's: PSNR of what is decoded from what."""
    scores = read("card.json")["scores"]
    names = {
        "target": "true features",
        "predicted": "predictions",
        "shuffled": "another clip's predictions",
        "null": "nothing",
        "trivial": "best trivial fill",
    }
    rows = [
        [f"{title}, dB", *(f"{scores[source]['psnr'][name]:.1f}" for name in names)]
        for source, title in SOURCES.items()
    ]
    return lines(["decoded from", *names.values()], *rows)


def conditions() -> str:
    """PSNR and SSIM of every condition, on each kind of clips."""
    scores = read("card.json")["scores"]
    rows = [
        [title]
        + [
            f"{scores[data][measure][name]:.{digits}f}"
            for data in SOURCES
            for measure, digits in (("psnr", 2), ("ssim", 3))
        ]
        for name, title in CONDITIONS.items()
    ]
    head = [f"{title}: {unit}" for title in SOURCES.values() for unit in ("PSNR, dB", "SSIM")]
    return lines(["condition", *head], *rows)


def measures() -> str:
    """Every measure with its aim."""
    scores = read("card.json")["scores"]
    among = {data: scores[data]["reencode"]["among"] for data in scores}
    found = f"re-encoding finds its own predictions, among {', '.join(map(str, among.values()))}"
    sharpness = f"sharpness against the truth, {scores['physics']['steps']} steps"
    rows = [
        ["B - C: predicted over another clip's, dB", "4 (real 2)", "predicted_minus_shuffled"],
        ["B - D: predicted over nothing, dB", "3", "predicted_minus_null"],
        ["B - E: predicted over the best trivial fill, dB", "", "predicted_minus_trivial"],
        ["the same on the pixels of the moving object, dB", "above 0", "moving_object"],
        ["knowledge (B - D) / (A - D)", ".6", "knowledge"],
        [sharpness, ".8 to 1.2", "sharpness"],
        ["speckle of A: deviation in flat places over the truth's", "below 1.3", "speckle"],
        ["Spearman of spread and error", "above .3", "spread_error_spearman"],
        [found, "above .5", "top1"],
        ["the same, decoded from nothing", "", "top1_null"],
        ["PSNR by steps, dB", "", "psnr_by_steps"],
        ["sharpness by steps", "", "sharpness_by_steps"],
        ["4 steps minus 32, dB", "within .5", "four_steps_minus_32"],
    ]
    cells = [[*row[:2], *(measure(scores[data], row[2]) for data in SOURCES)] for row in rows]
    return lines(["measure (95 % interval over clips)", "aim", *SOURCES.values()], *cells)


def measure(scores: dict, name: str) -> str:
    """One cell of `measures`."""
    if name == "moving_object":
        return signed(scores[name]["predicted_minus_trivial"]) if scores[name] else ""
    if name.startswith("top1"):
        score = scores["reencode"][name]
        return f"{score['mean']:.2f} {within(score['ci95'])}"
    if name.endswith("_by_steps"):
        return ", ".join(f"{steps}: {value:.2f}" for steps, value in scores[name].items())
    if name == "speckle":
        score = scores[name]
        return f"{score['mean']:.2f} {within(score['ci95'])}" if score else ""
    if isinstance(scores[name], dict):
        return signed(scores[name])
    interval = "spread_error_ci95" if name == "spread_error_spearman" else f"{name}_ci95"
    return f"{scores[name]:.2f} {within(scores[interval])}"


def people() -> str:
    """Predictions over the best fill behind masks as people draw them, on each kind of clips."""
    rows = [
        [
            title,
            kind,
            str(row["clips"]),
            signed(row["predicted_minus_fill"]),
            *(
                signed(row[name]) if row.get(name) else ""
                for name in ("thing_predicted_minus_fill", "predicted_minus_ceiling")
            ),
            f"{row['wins']:.0%}",
        ]
        for title, kinds in _hidden_kinds(read("card.json"))
        for kind, row in kinds.items()
        if row
    ]
    head = "clips | mask | scored | all that is hidden, dB | the thing, dB | below the ceiling, dB"
    return lines([*head.split(" | "), "wins"], *rows)


def _hidden_kinds(card: dict) -> Iterator[tuple[str, dict]]:
    """Scores by kind of mask, of all clips that the card has any of."""
    for source, title in SOURCES.items():
        yield title, card["scores"][source]["by_mask_kind"]
    if "held_out_videos" in card:
        yield "videos of the training's sources", card["held_out_videos"]["by_mask_kind"]


def presets() -> str:
    """By how many dB predictions are above each bundled clip's best fill, mask by mask."""
    rows = read("card.json")["presets"]["rows"]
    kinds = list(dict.fromkeys(row["mask"] for row in rows))
    above = {(row["clip"], row["mask"]): row["above_fill"] for row in rows}
    cells = [
        [clip.replace("_", " "), *(f"{above[clip, kind]:+.1f}" for kind in kinds)]
        for clip in dict.fromkeys(row["clip"] for row in rows)
    ]
    return lines(["clip", *kinds], *cells)


def masks() -> str:
    """PSNR by kind of mask."""
    return by_group("mask", "by_mask")


def times() -> str:
    """PSNR by time since a hidden place was last seen."""
    return by_group("time steps since seen", "by_time_since_seen")


def by_group(title: str, name: str) -> str:
    """PSNR of the conditions, group by group, on the physics world."""
    groups = read("card.json")["scores"]["physics"][name]
    rows = [
        [group, str(part["clips"]), *(f"{part['psnr'][c]:.2f}" for c in BY_GROUP)]
        for group, part in groups.items()
    ]
    return lines([title, "clips", "A", "B", "D", "best E"], *rows)


BASELINES = {"pixel": "pixel prediction", "random": "random weights"}


def probes() -> str:
    """Frozen probes on the drawn world."""
    return read_out("probes.json")


def probes_physics() -> str:
    """The same on the physics world."""
    return read_out("probes_physics.json")


def read_out(file: str) -> str:
    """Frozen probes with all labels, and the strongest of them with few."""
    rows = [
        row
        for row in read(file)["rows"]
        if row["labels"] == 1 or (row["labels"] == FEW_LABELS and row["probe"] in FEW_PROBES)
    ]
    against = [name for name in BASELINES if name in rows[0]["baselines"]]
    cells = [
        [
            f"{row['labels']:.0%}",
            row["task"],
            row["probe"],
            percent(row["accuracy"]),
            *(percent(row["baselines"][name]) for name in against),
            *(percent(row[f"above_{name}"], "+") for name in against),
        ]
        for row in rows
    ]
    head = ["labels", "task", "probe", "V-JEPA", *(BASELINES[name] for name in against)]
    return lines([*head, *(f"minus {name}" for name in against)], *cells)


def surprise() -> str:
    """The drawn world's impossible clips."""
    return surprises("surprise.json", "behind a post")


def surprise_physics() -> str:
    """The physics world's."""
    return surprises("surprise_physics.json", "behind a screen")


def surprises(file: str, behind: str) -> str:
    """How often both impossible clips of a set surprise more than both possible ones."""
    rows = [
        [
            case["kind"],
            behind if case["hidden"] else "in plain view",
            *(percent(case[who]["sets"]) for who in ("model", "pixels")),
        ]
        for case in read(file)["cases"]
    ]
    return lines(["what happens", "where", "surprise, %", "change of pixels, %"], *rows)


def recipes() -> str:
    """Short pretraining runs, below what the mean tubelet and random weights reach."""
    rows = read("recipes.json")
    cells = [
        [
            row["recipe"],
            *(f"{row['pixels'][name]:.2f}" for name in ("predicted", "true")),
            f"{row['spread']:.2f}",
            f"{row['rank']:.0f}",
            *linear(row, "model"),
        ]
        for row in rows
    ]
    nothing = [f"{rows[0]['pixels']['nothing']:.2f}", "", "", "", *linear(rows[0], "random")]
    head = "recipe | predicted, dB | true, dB | spread | rank | appearance, % | motion, %"
    return lines(head.split(" | "), ["mean tubelet; random weights", *nothing], *cells)


def linear(row: dict, who: str) -> list[str]:
    """What the linear probes of a recipe, or of random weights beside it, read."""
    return [f"{row['probes'][f'{task}, linear'][who]:.1f}" for task in TASKS]


def grids() -> str:
    """Equally long runs of a coarse and of a fine grid."""
    rows = [
        [
            row["shape"],
            str(row["steps"]),
            *(f"{row['thing'][name]:.2f}" for name in ("predicted", "copied")),
            f"{row['thing']['wins']:.0%}",
            f"{row['still']['predicted']:.2f}",
        ]
        for row in read("grids.json")
    ]
    head = "shape | steps | thing, predicted, dB | as it was last seen, dB | wins | still, dB"
    return lines(head.split(" | "), *rows)


def supervised() -> str:
    """Training with labels, level by level."""
    rows = [
        [
            f"{row['level']}: {row['name']}",
            *(percent(row[clips][task]) for task, clips in product(TASKS, ("held_out", "known"))),
        ]
        for row in read("supervised.json")
    ]
    head = "level | appearance, % | of known objects | motion, % | of known objects"
    return lines(head.split(" | "), *rows)


TABLES = {
    make.__name__: make
    for make in (
        summary,
        conditions,
        measures,
        people,
        presets,
        masks,
        times,
        probes_physics,
        probes,
        surprise,
        surprise_physics,
        recipes,
        grids,
        supervised,
    )
}


def filled(text: str) -> str:
    """A document with its tables made anew."""
    return PLACE.sub(lambda found: found[1] + TABLES[found[2]]() + "\n" + found[3], text)


def main() -> None:
    """Writes both documents."""
    for path in FILES:
        path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
