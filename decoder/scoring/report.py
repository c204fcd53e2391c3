"""An evaluation for people: the table as text, and as a file with charts beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # text needs no matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPARED = ("target", "predicted", "null", "trivial")
"""What is drawn where there is no room for all."""
DIFFERENCES = {
    "predicted_minus_shuffled": "B - C over another clip's, dB",
    "predicted_minus_null": "B - D over nothing, dB",
    "predicted_minus_trivial": "B - E over the best trivial fill, dB",
}


def as_text(table: dict) -> str:
    """The table for a terminal: a row a condition, then the other measures."""
    lines = [f"{'condition':<16}{'PSNR dB':>9}{'SSIM':>8}"]
    lines += [
        f"{name:<16}{value:>9.2f}{table['ssim'][name]:>8.3f}"
        for name, value in table["psnr"].items()
    ]
    lines += ["", *(f"{name:<44}{said}" for name, said in _measures(table).items())]
    for title, key in (("mask", "by_mask"), ("steps since seen", "by_time_since_seen")):
        lines += ["", f"{title:<18}{'clips':>6}" + "".join(f"{name:>11}" for name in COMPARED)]
        lines += [_row(name, part) for name, part in table[key].items() if "psnr" in part]
    by_fill = {n: part for n, part in table["by_mask"].items() if "wins" in part}
    lines += ["", *(_against_fill(name, part) for name, part in by_fill.items())] if by_fill else []
    return "\n".join(lines)


def _measures(table: dict) -> dict[str, str]:
    """The other measures as words, with their intervals."""
    found = table["reencode"]
    said = {title: _interval(table[name]) for name, title in DIFFERENCES.items()}
    if table["moving_object"]:
        gap = table["moving_object"]["predicted_minus_trivial"]
        said["the same on the moving object, dB"] = _interval(gap)
    steps = {name: f"{value:.2f}" for name, value in table["psnr_by_steps"].items()}
    return said | {
        "knowledge (B - D) / (A - D)": _number(table["knowledge"]),
        "sharpness against the truth": _number(table["sharpness"]),
        "Spearman of spread and error": _number(table["spread_error_spearman"]),
        f"found again by re-encoding, among {found['among']}": _interval(found["top1"]),
        "the same, decoded from nothing": _interval(found["top1_null"]),
        f"PSNR at {', '.join(steps)} steps, dB": ", ".join(steps.values()),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _interval(found: dict) -> str:
    return f"{found['mean']:.2f} [{found['ci95'][0]:.2f}, {found['ci95'][1]:.2f}]"


def _against_fill(name: str, part: dict) -> str:
    """A kind of mask that every clip was scored behind."""
    said = f"{name:<18}over the best fill {_interval(part['predicted_minus_fill'])} dB"
    if part["thing_predicted_minus_fill"]:
        said += f", on the thing {_interval(part['thing_predicted_minus_fill'])}"
    if "predicted_minus_ceiling" in part:
        said += f", over the ceiling there {_interval(part['predicted_minus_ceiling'])}"
    return f"{said}; wins {part['wins']:.0%}"


def _row(name: str, part: dict) -> str:
    values = "".join(f"{part['psnr'][condition]:>11.2f}" for condition in COMPARED)
    return f"{name:<18}{part['clips']:>6}{values}"


def write(table: dict, out: Path) -> Path:
    """Writes the table as JSON, and its charts beside it as SVG; returns the charts' file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    picture = out.with_suffix(".svg")
    save_charts(table, picture)
    return picture


CONDITIONS = {
    "target": "A true features",
    "predicted": "B predictions",
    "shuffled": "C another clip's",
    "null": "D nothing",
    "trivial": "E best trivial fill",
}
COLOURS = dict(
    zip(CONDITIONS, ("#009e73", "#0072b2", "#cc79a7", "#7f7f7f", "#e69f00"), strict=True)
)
"""Okabe and Ito's, told apart by the colour-blind too."""


def save_charts(table: dict, path: Path) -> None:
    """Writes the charts as SVG, the same bytes for the same table."""
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "evaluation"}):
        plot(table).savefig(path, format="svg", metadata={"Date": None})


def plot(table: dict) -> Figure:
    """The six charts of an evaluation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.5), layout="constrained")
    (conditions, masks, since), (steps, spread, again) = figure.subplots(2, 3)
    _draw_conditions(conditions, table)
    kinds = {name: part for name, part in table["by_mask"].items() if "psnr" in part}
    _draw_parts(masks, kinds, "kind of mask")
    _draw_parts(since, table["by_time_since_seen"], "time steps since the place was seen")
    _draw_steps(steps, table)
    _draw_spread(spread, table)
    _draw_again(again, table["reencode"])
    figure.suptitle(f"{table['clips']} clips, hidden pixels only, {table['steps']} steps")
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_conditions(axes: Axes, table: dict) -> None:
    for place, (name, title) in enumerate(CONDITIONS.items()):
        mean, (low, high) = table["psnr"][name], table["psnr_ci95"][name]
        error = [[mean - low], [high - mean]]
        axes.barh(place, mean, xerr=error, color=COLOURS[name], error_kw={"lw": 1})
        axes.text(0.3, place, title, va="center", color="white", fontweight="bold")
    axes.set(title="decoded from", xlabel="PSNR, dB", yticks=[])
    axes.invert_yaxis()


def _draw_parts(axes: Axes, parts: dict[str, dict], label: str) -> None:
    """Bars by condition for every part of the hidden pixels."""
    places, width = np.arange(len(parts)), 0.8 / len(COMPARED)
    for number, name in enumerate(COMPARED):
        means = np.array([part["psnr"][name] for part in parts.values()])
        low, high = np.array([part["psnr_ci95"][name] for part in parts.values()]).T
        axes.bar(
            places + (number - 1.5) * width,
            means,
            width,
            yerr=[means - low, high - means],
            color=COLOURS[name],
            error_kw={"lw": 0.8},
        )
    axes.set(xticks=places, xticklabels=list(parts), xlabel=label, ylabel="PSNR, dB")


def _draw_steps(axes: Axes, table: dict) -> None:
    """Two scales: more steps cost likeness to the truth and gain sharpness."""
    counts = list(table["psnr_by_steps"])
    axes.plot(counts, list(table["psnr_by_steps"].values()), "o-", color=COLOURS["predicted"])
    axes.set_xlabel("steps")
    axes.set_ylabel("PSNR, dB", color=COLOURS["predicted"])
    sharpness = axes.twinx()
    sharpness.plot(counts, list(table["sharpness_by_steps"].values()), "s--", color="black")
    sharpness.axhline(1, lw=0.8, ls=":", color="black")
    sharpness.set_ylabel("sharpness against the truth (dashed)")


def _draw_spread(axes: Axes, table: dict) -> None:
    found = table["error_by_spread"]
    axes.plot(found["spread"], found["error"], "o-", color=COLOURS["predicted"])
    axes.set(
        title=f"Spearman {table['spread_error_spearman']:.2f}",
        xlabel="spread over seeds, of 255",
        ylabel="error of the mean, of 255",
    )


def _draw_again(axes: Axes, found: dict) -> None:
    """How often the decoded clip finds its own predictions, against decoding nothing."""
    bars = {"predictions": ("top1", "predicted"), "nothing": ("top1_null", "null")}
    for place, (key, colour) in enumerate(bars.values()):
        mean, (low, high) = found[key]["mean"], found[key]["ci95"]
        axes.bar(place, mean, yerr=[[mean - low], [high - mean]], color=COLOURS[colour])
    axes.axhline(1 / found["among"], lw=0.8, ls=":", color="black")
    axes.set(
        title=f"found again among {found['among']}",
        xticks=range(len(bars)),
        xticklabels=[f"decoded from {name}" for name in bars],
        ylabel="top-1",
        ylim=(0, 1.05),
    )
