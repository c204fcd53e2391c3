"""Page "Probes": which class a simple classifier reads from the features, and from predictions."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from jaxtyping import Bool, Float

from app.workbench import components, settings
from app.workbench.bench import query, views, workbench
from app.workbench.clip import Clip, ClipAddress
from app.workbench.figures import to_link
from app.workbench.links import visitor
from app.workbench.memory import kept
from app.workbench.models import DEMO, Model
from app.workbench.rooms import ask
from app.workbench.session import ASSETS, State

PROBES = ASSETS / "demo" / "probes"
TASKS = {"event": "physics", "appearance": "drawn", "motion": "drawn"}
"""What is asked, and the world whose clips it was learned from."""
READINGS = {
    "whole": "whole clip",
    "context": "visible only",
    "restored": "visible + predicted",
}
TOP = 6
BRIGHTEST = 4.0
"""Attention at the end of the colour scale, in multiples of an even gaze."""

BARE = {"displayModeBar": False}

EVALUATION_HELP = (
    "**Frozen evaluation**: the encoder is not trained further, so a probe's score says what its "
    "features hold. *Pixel prediction* is the same encoder trained with the same clips, steps and "
    "masks to predict pixels instead of features; *random weights* is the encoder before any "
    "training, which is the baseline that matters."
)
MEASURED = "Measured with the bundled model as it was after its first 5,000 steps."
BARS = "Bars: 95 % intervals over clips. Dotted: chance."
LABELS_HELP = (
    "How much a probe can do with all labels, and with a share of them. Good features need few."
)
TASK_HELP = (
    "An **attentive probe** is a small classifier on frozen features: one learned query looks over "
    "all tokens and gathers what tells the classes apart. The encoder knew no labels. "
    "*Event* asks what happens in a clip of the physics world; *appearance* what acts and *motion* "
    "how it moves in one of the drawn world. Dotted: what a guess would give to each class."
)
BARS_ALT = "Likeliest classes, and the true one"
STRANGER = (
    "The probe knows the classes of the {world} world alone, and this clip has none of them: "
    "whatever it named would say nothing about the clip. Where it looks is shown below."
)
FITTING = "Show a clip that it knows"
FITTING_CLIPS = {
    "physics": ClipAddress(name="behind_a_screen"),
    "drawn": ClipAddress("world", "1.30"),
}
"""A clip of each world, the drawn one of the level that its probes learned from."""
ATTENTION_TIP = (
    "How much the probe looks at each token, in multiples of an even gaze: 1 is what every token "
    "would get if all got the same. Mean over its heads."
)


@dataclass(frozen=True)
class ProbeReading:
    """What the probe says about some of a clip's tokens.

    Attributes:
        shares: probability of each class.
        gaze: attention to each token in multiples of an even gaze, NaN where there is no token.
    """

    shares: Float[np.ndarray, " K"]
    gaze: Float[np.ndarray, "t h w"]


def page() -> None:
    """The clip on screen, then the evaluation on many."""
    workbench(draw)
    evaluation()


def draw(state: State, clip: Clip) -> None:
    """The probe's answer for the whole clip, for what is visible, and with the predictions."""
    if clip.model != DEMO:
        other_model(clip.model)
        return
    first = next(iter(clip.labels or TASKS))
    look = {"label": "Probe", "key": f"probe_task_{first}", "help": TASK_HELP}
    task = settings.segments(st, "probe", list(TASKS), first, **look)
    readings = read(clip.id, task, to_link(state.mask), clip, state.mask)
    if task in clip.labels:
        classes, truth = probe_of(task).classes, clip.labels[task]
        st.plotly_chart(bars(readings, classes, truth), key="probe_bars", config=BARE, alt=BARS_ALT)
        st.markdown(verdict(readings, classes, truth))
    else:
        world = TASKS[task]
        st.markdown(STRANGER.format(world=world))
        st.button(FITTING, on_click=state.choose, args=(FITTING_CLIPS[world],), key="fitting")
    views(state, clip, [gaze(name, reading) for name, reading in readings.items()])


def other_model(model: Model) -> None:
    """No probes ship for a model that does not ship: how to train one."""
    st.info("No probes were trained on this model yet: this trains them, and says what they read.")
    name = shlex.quote(model.address.name)
    command = f"python -m vjepa probe --model {name} --task motion --probe attentive"
    st.code(command, language="bash", wrap_lines=True)


@st.cache_resource(show_spinner=False)
def probe_of(task: str):
    """The probe that ships for a task."""
    import vjepa

    return vjepa.load_probe(PROBES / task)


@kept
def read(
    clip_id: str, task: str, mask_link: str, _clip: Clip, _mask: Bool[np.ndarray, "t h w"]
) -> dict[str, ProbeReading]:
    """The three readings of a clip with a mask on it.

    Raises:
        InputError: the mask is empty or hides everything.
    """
    probe = probe_of(task)

    def work(explorer) -> dict[str, ProbeReading]:
        import torch

        seen, every = explorer.features(_mask), torch.arange(_mask.size)
        last = explorer.config.last_layer  # what a probe has learned to read
        both = torch.cat([seen.context.float(), seen.predictions[:, last]])
        return {
            "whole": reading(probe, explorer.targets[:, last], every, explorer.grid),
            "context": reading(probe, seen.context, seen.context_idx, explorer.grid),
            "restored": reading(
                probe, both, torch.cat([seen.context_idx, seen.target_idx]), explorer.grid
            ),
        }

    return ask(_clip, work)


def reading(probe, tokens, idx, grid) -> ProbeReading:
    """What the probe says about tokens (N, D) that lie at `idx` of the grid."""
    tokens = tokens[None].float().cpu()
    gaze = np.full(grid, np.nan, np.float32)
    weights = probe.attention(tokens).mean(1)[0].numpy()
    gaze.reshape(-1)[idx.cpu().numpy()] = weights * len(weights)
    return ProbeReading(probe(tokens).softmax(-1)[0].numpy(), gaze)


def verdict(readings: dict[str, ProbeReading], classes: tuple[str, ...], truth: str) -> str:
    """Whether the predictions bring back what hiding took of the true class, in a sentence."""
    best = classes.index(truth)
    whole, context, restored = (reading.shares[best] for reading in readings.values())
    moved = restored - context
    if abs(moved) < 0.01:
        effect = "the predictions hardly change that"
    else:
        effect = f"the predictions {'bring it back' if moved > 0 else 'bring it down'} to"
        effect += f" **{restored:.0%}**"
    return (
        f"True: **{words(truth)}**, {whole:.0%} from the whole clip, **{context:.0%}** from what "
        f"is visible; {effect}. A guess gives {1 / len(classes):.0%}."
    )


def gaze(name: str, reading: ProbeReading) -> components.View:
    """Where the probe looks, as a heat map."""
    return components.View(
        name,
        READINGS[name],
        ATTENTION_TIP,
        reading.gaze,
        *(0.0, BRIGHTEST, "attention"),
        drops_hidden=name == "context",
    )


def bars(readings: dict[str, ProbeReading], classes: tuple[str, ...], truth: str):
    """The likeliest classes of the whole clip, the true one among them, by reading."""
    from app.probes.charts import class_bars

    order = np.argsort(-readings["whole"].shares).tolist()
    order.sort(key=lambda i: classes[i] != truth)  # the true one first, the rest as they were
    order = order[:TOP]
    shares = {READINGS[name]: reading.shares[order] for name, reading in readings.items()}
    named = [words(classes[i]) + " (true)" * (classes[i] == truth) for i in order]
    return class_bars(named, shares, 1 / len(classes))


def physics_caption(table: dict) -> str:
    """What was measured on the physics world, in a sentence."""
    made = table["settings"]
    return (
        f"Learned from {made['train_clips']:,} clips, asked about "
        f"{made['test_clips']:,} with sizes, places, materials and pairings of shape and colour "
        f"that they never saw. {BARS}"
    )


def drawn_caption(table: dict) -> str:
    """The same of the drawn world."""
    made = table["settings"]
    return (
        f"Level {made['level']}: learned from {made['train_clips']:,} clips, "
        f"asked about {made['test_clips']:,} with objects and backdrops that they never saw. "
        f"{BARS} {MEASURED}"
    )


WORLDS = {
    "physics world": ("demo/probes_physics.json", physics_caption),
    "drawn world": ("demo/probes.json", drawn_caption),
}
"""Whose clips were probed: the scores, and what they are of."""


@st.fragment
def evaluation() -> None:
    """The committed tables: a model, its baselines, the same probes; the paper's own numbers."""
    from app.probes import charts

    st.subheader("On held-out clips", help=EVALUATION_HELP, divider="grey")
    look = {"label": "Clips", "key": "probe_world"}
    world = settings.segments(st, "probed", list(WORLDS), next(iter(WORLDS)), **look)
    file, caption = WORLDS[world]
    table = committed(file)
    compare(table, caption(table))
    rows = table["rows"]
    kinds = list(dict.fromkeys(row["probe"] for row in rows))
    look = {"label": "With fewer labels", "key": "probe_labels", "help": LABELS_HELP}
    kind = settings.segments(st, "labels", kinds, kinds[0], **look)
    components.tell_query(query(visitor()))
    chosen = [row for row in rows if row["probe"] == kind]
    by_task(chosen, charts.label_curves, "with 5 to 100 % of the labels")
    paper_tables(committed("paper.json"))


def compare(table: dict, caption: str) -> None:
    """The models of a table with all labels, and what sets them apart."""
    from app.probes import charts

    st.markdown(caption)
    whole = [row for row in table["rows"] if row["labels"] == 1]
    by_task(whole, charts.comparison, "by probe")
    st.markdown(differences(whole))


def by_task(rows: list[dict], drawn: Callable[[list[dict]], Any], by: str) -> None:
    """A chart a task, side by side where there is room."""
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    for place, task in zip(st.columns(len(tasks)), tasks, strict=True):
        here = [row for row in rows if row["task"] == task]
        with place:
            st.markdown(f"**{task}** ({here[0]['metric']})")
            alt = f"{task}: V-JEPA, pixel prediction and random weights, {by}"
            st.plotly_chart(drawn(here), key=f"{task}_{by}", config=BARE, alt=alt)


def differences(rows: list[dict]) -> str:
    """What the attentive probe says about V-JEPA and its baselines, with intervals."""
    lines, tried = [], rows[0]["baselines"]
    for name, title in (("pixel", "pixel prediction"), ("random", "random weights")):
        if name not in tried:
            continue
        gaps = (
            f"{row['task']} **{100 * gap['mean']:+.1f}** "
            f"[{100 * gap['ci95'][0]:+.1f}, {100 * gap['ci95'][1]:+.1f}]"
            for row in rows
            if row["probe"] == "attentive" and (gap := row.get(f"above_{name}"))
        )
        lines.append(f"V-JEPA minus {title}, in points, attentive probe: {', '.join(gaps)}.")
    return "  \n".join(lines)


def paper_tables(paper: dict) -> None:
    """What the paper found at its own scale."""
    import pandas as pd

    st.markdown(f"**The paper's own numbers**, at quite another scale: {paper['scale']}.")
    for place, name in zip(st.columns([3, 2, 5]), ("objective", "pooling", "labels"), strict=True):
        table = paper[name]
        with place:
            st.caption(table["title"])
            st.table(pd.DataFrame(table["rows"], table["columns"]).T.style.format("{:.1f}"))


@st.cache_data(show_spinner=False)
def committed(path: str) -> dict:
    """A JSON file that ships with the project."""
    return json.loads((ASSETS / path).read_text(encoding="utf-8"))


def words(name: str) -> str:
    """A class name for people."""
    return name.replace("_", " ")
