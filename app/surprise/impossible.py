"""Possible and impossible clips of the world, side by side, and how well surprise tells them."""

from __future__ import annotations

import json
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st
from jaxtyping import Float

from app.workbench import components
from app.workbench import settings as kept_settings
from app.workbench.bench import query, told_in_a_sentence
from app.workbench.clip import WORLD_SEEDS, Clip
from app.workbench.clip_features import future_errors
from app.workbench.components import Panel
from app.workbench.figures import film_sheet
from app.workbench.links import visitor
from app.workbench.memory import kept
from app.workbench.models import DEMO, Model
from app.workbench.rooms import model_room

DEMO_FILES = Path(__file__).resolve().parents[2] / "assets" / "demo"
DRAWN, PHYSICS = "surprise.json", "surprise_physics.json"
TITLES = {
    PHYSICS: ("In the physics world", "behind a screen"),
    DRAWN: ("In the drawn world", "behind a post"),
}
"""Of each file of scores: whose clips they are of, and what hides the violation."""
BARE = {"displayModeBar": False}


@dataclass(frozen=True)
class Kind:
    """A violation, in words.

    Attributes:
        help: what the two possible scenes differ in.
        told: what happens in the possible and the impossible clip of each pair.
    """

    help: str
    told: tuple[tuple[str, str], tuple[str, str]]


KINDS = {
    "vanish": Kind(
        "one scene has an actor, the other has none.",
        (("an actor passes", "one appears from nowhere"), ("nobody there", "the actor vanishes")),
    ),
    "change": Kind(
        "the actors of the two scenes are different things.",
        (("one thing passes", "it was another before"), ("the other passes", "it was the first")),
    ),
    "teleport": Kind(
        "the actor's path in one scene lies above that in the other.",
        (("one path", "it leaps to this path"), ("the other path", "it leaps to this path")),
    ),
}
FIRST_SEED = 4  # an actor that is easy to see
HEADING_HELP = (
    "Two possible clips of the drawn world differ in one thing about the actor. Halfway they are "
    "**exchanged**: the first half of one goes on with the second half of the other, which makes "
    "two impossible clips of the very same frames. Does the model notice?"
)
KIND_HELP = "What is exchanged halfway: " + " ".join(
    f"**{name}**: {kind.help}" for name, kind in KINDS.items()
)
POST_HELP = (
    "On: it happens while the actor is behind a post, where no pixel changes. Only who remembers "
    "what went behind it can be surprised. Off: in plain view, where the picture jumps."
)
SCORE_HELP = (
    "A **set** is two impossible clips against the two possible ones made of the same frames: it "
    "counts as right when the impossible ones surprise more, together. In a single pair the two "
    "clips also differ in what there is to go by, and that decides most of them. *Change of "
    "pixels* asks only how much neighbouring frames differ. Bars: 95 % intervals. Dotted: chance."
)

CURVES_ALT = "Surprise over time of a possible and an impossible clip"
SCORES_ALT = "How often impossible clips surprise more, by kind, of V-JEPA and of change of pixels"
OTHERS_SCORES = "How often the impossible surprises this model more, in many scenes:"


@dataclass(frozen=True)
class ImpossibleScene:
    """A set of four clips.

    Attributes:
        pairs: (possible, impossible), the same from the splice on.
        splice: the first time step after it.
    """

    pairs: tuple[tuple[Clip, Clip], ...]
    splice: int


@st.fragment
def section(model: Model) -> None:
    """A scene to look at, and the committed scores."""
    st.subheader("Possible and impossible", help=HEADING_HELP, divider="grey")
    if model_room(model).ready:
        kind, hidden, seed = settings()
        with told_in_a_sentence():
            score = score_of(kind, hidden) if model == DEMO else None
            show(draw_scene(kind, hidden, seed, model), KINDS[kind], score)
    scores(model)


def settings() -> tuple[str, bool, int]:
    """Kind of violation, whether a post hides it, and the number of the scene."""
    with st.container(horizontal=True, vertical_alignment="center", key="impossible"):
        look = {"label": "What happens", "key": "violation", "label_visibility": "collapsed"}
        kind = kept_settings.segments(st, "happens", list(KINDS), "vanish", help=KIND_HELP, **look)
        look = {"label": "behind a post", "key": "behind_post", "help": POST_HELP}
        hidden = kept_settings.toggle(st, "post", True, **look)
        st.button("Another scene", icon=":material/casino:", on_click=another, key="another_scene")
    seed = kept_settings.value_of("scene", range(WORLD_SEEDS), FIRST_SEED)
    components.tell_query(query(visitor()))
    return kind, hidden, seed


def another() -> None:
    """Chooses another scene."""
    kept_settings.keep("scene", secrets.randbelow(WORLD_SEEDS), FIRST_SEED)


@kept
def draw_scene(kind: str, hidden: bool, seed: int, model: Model = DEMO) -> ImpossibleScene:
    """A scene of held-out objects and backdrops."""
    import torch

    from vjepa.world.violations import POSTS_FROM, draw_pairs
    from vjepa.world.world import World

    config = model.config
    world = World(POSTS_FROM, config.image_size, config.num_frames, split="test")
    drawn = draw_pairs(world, kind, hidden, 1, torch.Generator().manual_seed(seed))
    name = f"{kind}-{'hidden' if hidden else 'plain'}-{seed}" + (model.id and f"~{model.id}")
    clips = [
        [
            Clip(f"{name}-{title}-{index}", title, frames.numpy(), model=model)
            for index, frames in enumerate(getattr(drawn, title)[0])
        ]
        for title in ("possible", "impossible")
    ]
    return ImpossibleScene(tuple(zip(*clips, strict=True)), drawn.start // config.tubelet_size)


def show(scene: ImpossibleScene, kind: Kind, score: dict | None) -> None:
    """Both pairs, playing, with their curves, and the verdict on the set.

    Args:
        scene: the set.
        kind: its words.
        score: how often many scenes of this kind come out so, where that is known.
    """
    found = np.array([[curve(clip) for clip in pair] for pair in scene.pairs])
    span = axis(found)
    for place, (pair, told, lines) in enumerate(zip(scene.pairs, kind.told, found, strict=True)):
        movies, chart = st.columns([5, 7], gap="medium", vertical_alignment="center")
        with movies:
            show_pair(place, pair, told)
        with chart:
            show_curves(pair, lines, scene.splice, span)
    st.markdown(verdict(found, score))


def curve(clip: Clip) -> Float[np.ndarray, " t"]:
    """Mean surprise of every time step."""
    return future_errors(clip.id, clip).values.mean((1, 2))


def axis(found: Float[np.ndarray, "2 2 t"]) -> tuple[float, float]:
    """One axis for all curves, with a little air."""
    low, high = np.nanmin(found), np.nanmax(found)
    air = 0.08 * (high - low)
    return float(low - air), float(high + air)


def show_pair(place: int, pair: tuple[Clip, Clip], told: tuple[str, str]) -> None:
    """Two clips with the same second half, in step with the painter, which stops them."""
    shown = [
        Panel(clip.id, "frames", clip.title, text, data=sheet_of(clip.id, clip))
        for clip, text in zip(pair, told, strict=True)
    ]
    components.fixed_panels(shown, f"pair_{place}")
    said = (f"**{clip.title}**: {text}" for clip, text in zip(pair, told, strict=True))
    st.caption("; ".join(said))


def show_curves(
    pair: tuple[Clip, Clip],
    lines: Float[np.ndarray, "2 t"],
    splice: int,
    span: tuple[float, float],
) -> None:
    """Their surprise over time."""
    from app.surprise.charts import curves

    named = {clip.title: line for clip, line in zip(pair, lines, strict=True)}
    st.plotly_chart(
        curves(named, splice, span), key=f"curves_{pair[0].id}", config=BARE, alt=CURVES_ALT
    )


@kept
def sheet_of(clip_id: str, _clip: Clip) -> bytes:
    """A clip for the browser."""
    return film_sheet(_clip.frames)


def verdict(found: Float[np.ndarray, "2 2 t"], score: dict | None = None) -> str:
    """Whether the set is right, and what that proves, in three sentences.

    Args:
        found: curves of each pair, possible and impossible.
        score: how often many scenes come out so: "mean" and "ci95".
    """
    possible, impossible = np.nanmean(found, axis=(0, 2))
    change = impossible / possible - 1
    said = "more, as they should" if change > 0 else "no more"
    return (
        f"Together, the impossible clips surprise the model **{said}**: their mean error differs "
        f"by {change:+.3%} from that of the possible ones. {what_it_proves(score)}"
    )


def what_it_proves(score: dict | None) -> str:
    """What one scene can prove, against what many do."""
    if score is None:
        return "One scene proves nothing: half of all come out so by chance."
    low, high = score["ci95"]
    beyond = "more than chance" if low > 0.5 else "which chance can do too"
    return (
        "One scene proves nothing, since half of all come out so by chance. Of many like this one "
        f"**{score['mean']:.0%}** do [{low:.0%}, {high:.0%}], {beyond}: see below."
    )


def score_of(kind: str, hidden: bool) -> dict | None:
    """The committed score of the model's on sets of this kind."""
    cases = committed(DRAWN)["cases"]
    found = (one for one in cases if (one["kind"], one["hidden"]) == (kind, hidden))
    return next((one["model"]["sets"] for one in found), None)


def scores(model: Model) -> None:
    """The committed scores over many scenes, which are the demo model's."""
    if model != DEMO:
        st.caption(OTHERS_SCORES)
        command = f"python -m vjepa surprise --model {shlex.quote(model.address.name)}"
        st.code(command, language="bash", wrap_lines=True)
        return
    from app.surprise.charts import accuracies

    st.markdown("**How often the impossible surprises more**", help=SCORE_HELP)
    for file, (world, behind) in TITLES.items():
        table = committed(file)
        st.caption(f"{world}: {table['scenes']} held-out scenes of each kind, two pairs in each")
        figure = accuracies(table["cases"], behind)
        alt = f"{SCORES_ALT}. {world}"
        st.plotly_chart(figure, key=f"surprise_scores_{file}", config=BARE, alt=alt)


@st.cache_data(show_spinner=False)
def committed(file: str) -> dict:
    """Scores that ship with the project."""
    return json.loads((DEMO_FILES / file).read_text(encoding="utf-8"))
