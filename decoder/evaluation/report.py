"""An evaluation for people: the table as text, and as a file with charts beside it."""

from __future__ import annotations

import json
from pathlib import Path

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
        lines += [_row(name, part) for name, part in table[key].items()]
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


def _row(name: str, part: dict) -> str:
    values = "".join(f"{part['psnr'][condition]:>11.2f}" for condition in COMPARED)
    return f"{name:<18}{part['clips']:>6}{values}"


def write(table: dict, out: Path) -> Path:
    """Writes the table as JSON, and its charts beside it as SVG; returns the charts' file."""
    from decoder.evaluation import charts  # here, not above: text needs no matplotlib

    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    picture = out.with_suffix(".svg")
    charts.save(table, picture)
    return picture
