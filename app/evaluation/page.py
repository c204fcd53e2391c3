"""Page "Evaluation": how far decoded predictions can be trusted, over many clips."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import streamlit as st
from PIL import Image, ImageSequence

from app.workbench import components, settings
from app.workbench.bench import query, told_in_a_sentence
from app.workbench.components import Panel
from app.workbench.figures import film_sheet
from app.workbench.links import visitor
from app.workbench.session import ASSETS

FOLDER = ASSETS / "demo"
BARE = {"displayModeBar": False}

CLIP_SETS = {"physics": "physics world", "world": "drawn world", "real": "real video"}
RANKINGS = {"psnr": "likeness to the truth", "gain": "gain from the predictions"}

PAGE_HELP = (
    "A part of each clip is hidden, the model predicts its features, and the decoder draws them. "
    "**Only hidden pixels are scored.** None of these clips was trained on: the world's have "
    "objects and backdrops kept for testing. Brackets and thin bars are 95 % intervals over clips."
)
SOURCE_HELP = (
    "The real clips overlap, since there are only two videos: their intervals are too narrow."
)
PSNR_TIP = (
    "**PSNR**: likeness to the true pixels in decibels, from the mean squared error. 3 dB more is "
    "half the error; 20 dB looks alike, 12 dB does not. It likes blur: an average of all that is "
    "possible scores better than a sharp guess."
)
TIPS = {
    "over another clip's": "B - C. Decoded from the clip's own predictions, against another "
    "clip's behind the same mask. Above zero: the picture comes from the features.",
    "over nothing": "B - D. Against what the decoder draws without any features: its prior.",
    "over the best fill": "B - E. Against the fill without a model that does best on these clips: "
    "mean colour, the nearest visible moment, in between in time, OpenCV's in-painting.",
    "on moving objects": "B - E again, on the hidden pixels of what moves alone: there a copy of "
    "another moment is wrong.",
    "knowledge": "(B - D) / (A - D). Decoding nothing is 0 %, decoding the true features 100 %: "
    "what part of that way the predictions go.",
    "sharpness": "Mean length of the gradient against the truth's. 1 is as sharp as the truth; "
    "less is blur, more is noise.",
}
CONDITION_HELP = (
    PSNR_TIP + " **True features** (A) are the ceiling: what is lost there, the features or the "
    "decoder lost. **Predictions** (B) are the result. The rest are controls: another clip's "
    "predictions (C), no features (D), the best fill without a model (E)."
)
MASK_HELP = (
    "*short*: eight small blocks. *long*: two large ones. *tube*: random patches. *box*: the "
    "middle of the frame. All of these hide their place through the whole clip. *future*: its "
    "second half. Colours as in the first chart."
)
SINCE_HELP = (
    "How many time steps (of two frames) ago the hidden place was last visible; *never* where the "
    "mask hides it from the start. A copy of the last moment is good at first and gets worse. "
    "Colours as in the first chart."
)
STEPS_HELP = (
    "More steps draw sharper samples, and a sharp guess that is wrong costs PSNR. One step draws "
    "nearly the mean of all that is possible: the *expected image*."
)
SPREAD_HELP = (
    "Eight samples of the same predictions differ where the features do not determine the pixels. "
    "If that is honest, the error is large there too. Each point is a tenth of the hidden pixels; "
    "Spearman's rank correlation is 1 when spread orders pixels as error does, 0 by chance."
)
AGAIN_HELP = (
    "The decoded clip is encoded once more, and its features are looked for among the predictions "
    "for {among} clips behind the same mask. *Nothing* shows how much its visible surroundings "
    "give away by themselves; dotted: chance."
)
CASES_HELP = (
    "Not picked by hand: of all clips in order, the first, the middle and the last. The samples "
    "differ in their noise alone; *spread* is their deviation in each pixel (bright: they differ)."
)
RANKING_HELP = (
    "By PSNR of the decoded predictions, where flat clips win; or by how much they gain over "
    "decoding nothing, where the predictions matter most."
)
PLACE_TITLES = {"worst": "Worst", "median": "Median", "best": "Best"}
PANEL_TIPS = {
    "truth": "The clip as it is.",
    "hidden": "What the model sees of it.",
    "true features": "Decoded from the true features of what is hidden: the ceiling.",
    "spread": "How far the samples differ in each pixel. Bright: they do.",
}
SAMPLE_TIP = "Decoded from the predicted features; samples differ in their noise alone."


def page() -> None:
    """The committed scores of the bundled model: numbers, charts, cases."""
    st.subheader("How good are decoded predictions?", help=PAGE_HELP)
    tables = committed()
    if not tables:
        st.info("There are no scores yet: make them with python benchmarks/score_demo.py.")
        return
    clip_set = settings.segments(
        st,
        "clips",
        list(tables),
        next(iter(tables)),
        label="Clips",
        format_func=CLIP_SETS.get,
        key="evaluation_clips",
        help=SOURCE_HELP,
    )
    components.tell_query(query(visitor()))
    table = tables[clip_set]
    st.markdown(verdict(table))
    numbers(table)
    charts(table)
    cases(table["cases"], FOLDER / "cases" / clip_set)
    st.caption("The bundled model's. The same for any model and decoder, with charts as a file:")
    st.code("python -m decoder evaluate --model MODEL --n 500 --out scores.json", "bash")


def verdict(table: dict) -> str:
    """What the numbers say, in two sentences."""
    gap, moving = table["predicted_minus_trivial"], table["moving_object"]
    said = (
        f"On {table['clips']} held-out clips, decoded predictions have a PSNR of "
        f"**{table['psnr']['predicted']:.1f} dB**: {signed(table['predicted_minus_null'])} dB over "
        f"decoding nothing, and {compared(gap)} the best fill that needs no model "
        f"({signed(gap)} dB)."
    )
    if moving:
        gap = moving["predicted_minus_trivial"]
        said += f" On moving objects they are {compared(gap)} it ({signed(gap)} dB)."
    return said


def compared(gap: dict) -> str:
    """Better, worse or neither, as far as the interval says."""
    low, high = gap["ci95"]
    return "**better than**" if low > 0 else "**worse than**" if high < 0 else "no better than"


def signed(gap: dict) -> str:
    """A difference with its interval."""
    return f"{gap['mean']:+.1f} [{gap['ci95'][0]:+.1f}, {gap['ci95'][1]:+.1f}]"


def numbers(table: dict) -> None:
    """The measures in a row, each explained by its tooltip."""
    shown = measures(table)
    look = {"delta_color": "off", "delta_arrow": "off"}
    with st.container(key="measures"):
        for name, (value, ci95) in shown.items():
            st.metric(name, value, ci95, help=TIPS[name], **look)


def measures(table: dict) -> dict[str, tuple[str, str]]:
    """Each measure and its interval, as words; what was not measured is left out."""
    parts = {
        "over another clip's": table["predicted_minus_shuffled"],
        "over nothing": table["predicted_minus_null"],
        "over the best fill": table["predicted_minus_trivial"],
    }
    if table["moving_object"]:
        parts["on moving objects"] = table["moving_object"]["predicted_minus_trivial"]
    said = {name: worded(gap["mean"], gap["ci95"], "+.1f", " dB") for name, gap in parts.items()}
    if table["knowledge"] is not None:
        said["knowledge"] = worded(table["knowledge"], table["knowledge_ci95"], ".0%")
    return said | {"sharpness": worded(table["sharpness"], table["sharpness_ci95"], ".2f")}


def worded(mean: float, ci95: list[float], form: str, unit: str = "") -> tuple[str, str]:
    """A number with its unit, and its interval."""
    low, high = ci95
    return f"{mean:{form}}{unit}", f"{low:{form}} to {high:{form}}"


def charts(table: dict) -> None:
    """Up to six charts in two rows; what has only one value compares nothing and is left out."""
    from app.evaluation import charts as drawn

    spearman = f"Spread and error: Spearman {table['spread_error_spearman']:.2f}"
    again = AGAIN_HELP.format(among=table["reencode"]["among"])
    kinds, since = table["by_mask"], table["by_time_since_seen"]
    when = "time steps since the place was seen"
    compared = (
        ("By kind of mask", MASK_HELP, kinds, ""),
        ("By time since last seen", SINCE_HELP, since, when),
    )
    shown = (
        ("Decoded from", CONDITION_HELP, drawn.conditions(table)),
        *((title, told, drawn.parts(p, label)) for title, told, p, label in compared if len(p) > 1),
        ("By steps", STEPS_HELP, drawn.steps(table)),
        (spearman, SPREAD_HELP, drawn.spread(table)),
        ("Found again by its features", again, drawn.found_again(table)),
    )
    places = [*st.columns(3, gap="medium"), *st.columns(3, gap="medium")]
    for place, (title, told, figure) in zip(places, shown, strict=False):
        with place:
            st.markdown(f"**{title}**", help=told)
            key = f"evaluation_{figure_key(title)}"
            st.plotly_chart(figure, key=key, config=BARE, alt=title)


def figure_key(title: str) -> str:
    """A chart's name for Streamlit: without the number that its title may end in."""
    return title.partition(":")[0].lower().replace(" ", "_")


@st.fragment
def cases(found: list[dict], folder: Path) -> None:
    """The worst, the median and the best clip, playing."""
    st.subheader("Worst, median, best", help=CASES_HELP, divider="grey")
    ranking = settings.segments(
        st,
        "cases",
        list(RANKINGS),
        "psnr",
        label="Ordered by",
        format_func=RANKINGS.get,
        key="case_ranking",
        help=RANKING_HELP,
    )
    components.tell_query(query(visitor()), key="query_cases")
    with told_in_a_sentence():
        for case in found:
            if case["ranking"] == ranking:
                st.markdown(told(case))
                panels, film = playing(folder / case["file"], tuple(case["panels"]))
                components.fixed_panels(panels, f"case_{case['place']}", film=film)


def told(case: dict) -> str:
    """Which clip it is, behind which mask, and its numbers."""
    psnr = case["psnr"]
    return (
        f"**{PLACE_TITLES[case['place']]}**: {case['title']}, mask *{case['mask']}*. Sample 1 has "
        f"**{psnr['predicted']:.1f} dB**; true features {psnr['target']:.1f}, nothing "
        f"{psnr['null']:.1f}, another clip's {psnr['shuffled']:.1f}."
    )


@st.cache_data(show_spinner=False, max_entries=16)
def playing(path: Path, titles: tuple[str, ...]) -> tuple[tuple[Panel, ...], tuple[int, float]]:
    """A case as panels that play and can be stopped, and how they play.

    Args:
        path: an animated WebP with the panels beside each other.
        titles: of the panels.

    Returns:
        the panels; the number of their frames, and frames a second.
    """
    with Image.open(path) as image:
        frames = np.stack(
            [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]
        )
        rate = 1000 / image.info["duration"]
    side = frames.shape[1]
    gap = (frames.shape[2] - side * len(titles)) // (len(titles) - 1)
    lefts = [(side + gap) * place for place in range(len(titles))]
    panels = tuple(
        Panel(
            f"{path.stem}-{place}",
            "frames",
            title,
            PANEL_TIPS.get(title, SAMPLE_TIP),
            data=film_sheet(np.ascontiguousarray(frames[:, :, left : left + side])),
        )
        for place, (title, left) in enumerate(zip(titles, lefts, strict=True))
    )
    return panels, (len(frames), rate)


@st.cache_data(show_spinner=False)
def committed() -> dict[str, dict]:
    """The scores with cases that ship with the project, by kind of clips."""
    file = FOLDER / "card.json"
    scores = json.loads(file.read_text(encoding="utf-8"))["scores"] if file.is_file() else {}
    return {name: scores[name] for name in CLIP_SETS if "cases" in scores.get(name, {})}
