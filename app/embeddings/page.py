"""Page "Embeddings": what features tell apart, as colours on the clip and as points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from jaxtyping import Float

from app.embeddings import archive, maps
from app.workbench import clip_features, settings
from app.workbench.bench import views, workbench
from app.workbench.clip import Clip
from app.workbench.components import View
from app.workbench.figures import to_link
from app.workbench.models import Model
from app.workbench.session import State
from vjepa.config import ModelConfig
from vjepa.errors import InputError

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from app.embeddings.scatter import Predicted

CHART = "token_scatter"
CHART_BUTTONS = {"displaylogo": False, "modeBarButtonsToRemove": ["autoScale2d", "toImage"]}

LAYER_HELP = (
    "After which block of the target encoder to look. Early layers know colours and edges of the "
    "patch itself, late ones also what lies around it. The last is what the predictor predicts."
)
FIT_HELP = (
    "Of which tokens the principal components are taken. **this clip**: colours show what differs "
    "here. **all clips**: of all bundled ones, so that a colour means the same in each of them."
)
METHOD_HELP = (
    "**PCA** turns the features so that the directions of most variance are seen: distances are "
    "true, as far as so few axes can show them. **t-SNE** and **UMAP** keep near tokens near and "
    "say little about far ones; they take seconds, the first UMAP ten and more."
)
COLOUR_HELP = (
    "Colour of the points, and of the first map: the principal components as red, green and blue; "
    "where or when a token is; how wrong its prediction is behind the mask on the left; its "
    "cluster by k-means."
)
PREDICTED_HELP = (
    "Hollow: what the predictor says about the hidden tokens, in the same space. A line joins each "
    "to the true token: the longer, the more wrong. Last layer and PCA only: that layer is what is "
    "predicted, and the other maps have no place for new points."
)
EXPLAINED_HELP = (
    "Share of the variance among the tokens that these three directions hold. The rest is neither "
    "in the colours nor in the points."
)
SELECTED_HELP = (
    "Drag a box over points, or take the lasso: their patches are outlined everywhere, on the "
    "other pages too. Click or drag on a map, and the points of those patches stand out here."
)


@dataclass
class Link:
    """What the chart and the page last told each other about the selection.

    A chart keeps what was circled in the browser until its figure changes; then it is made anew,
    and only `lit`, a part of the figure, is left of it.

    Attributes:
        figure: what the figure was drawn from.
        told: tokens that the chart last reported as circled.
        shown: tokens that it shows as selected.
        lit: tokens that are selected by the figure itself.
        revision: counts the figures.
    """

    figure: tuple = ()
    told: frozenset[int] = frozenset()
    shown: frozenset[int] = frozenset()
    lit: frozenset[int] = frozenset()
    revision: int = 0

    def take(self, circled: frozenset[int] | None, state: State) -> None:
        """Takes over what was circled since the last time; None where there is no chart yet."""
        if circled is None:
            self.told, self.shown = frozenset(), self.lit
        elif circled != self.told:
            self.told = self.shown = circled
            state.select(circled)

    def follow(self, figure: tuple, selection: frozenset[int]) -> None:
        """Lights the selection in the figure where the chart does not show it by itself."""
        if (figure, selection) != (self.figure, self.shown):
            self.figure, self.told = figure, frozenset()
            self.shown = self.lit = selection
            self.revision += 1


def page() -> None:
    """The whole page."""
    workbench(draw)


def draw(state: State, clip: Clip) -> None:
    """Maps on the left, points on the right; what is selected in one is lit in the other."""
    link = st.session_state.setdefault("embeddings_link", Link())
    take_circled(link, state)
    with st.container(key="settings"):
        left, right = st.columns(2, gap="medium")
    with left:
        layer, joint = map_settings(clip.model)
    with right:
        look = maps.Look(layer, joint, *point_settings(clip.model, layer))
        predicted, colours = masked(state, clip, look)
    with left:
        maps_column(state, clip, look, colours)
    with right:
        chart(state, clip, look, link, colours, predicted)
        selection_row(state)


def masked(state: State, clip: Clip, look: maps.Look) -> tuple[Predicted | None, View]:
    """What depends on the mask: predictions, and the map; a bad mask gets a sentence."""
    try:
        return predicted_points(state, clip, look), maps.colour_view(state.mask, clip, look)
    except InputError as error:
        st.markdown(f":material/error: {error}")
        return None, maps.component_colours(clip, look)


# ---- settings


def map_settings(model: Model) -> tuple[int, bool]:
    """Layer, and whether the components are those of all clips."""
    row = setting_row()
    with setting(row, "layer", LAYER_HELP):
        layer = clip_features.choice(st, model.config.depth, "embeddings_layer")
    with setting(row, "fit", FIT_HELP):
        fit = choice("fit", ("this clip", "all clips"), "this clip")
    return layer - 1, fit == "all clips"


def point_settings(model: Model, layer: int) -> tuple[str, int, str, bool]:
    """Projection, axes, colour, and whether predictions are drawn."""
    row = setting_row()
    with setting(row, "points", METHOD_HELP):
        method = choice("points", ("PCA", *maps.MAPS), "PCA")
        dims = choice("axes", ("2D", "3D"), "2D")
    with row.popover("Colour", icon=":material/palette:"):
        st.caption(COLOUR_HELP)
        look = {"label": "colour", "key": "embeddings_colour", "label_visibility": "collapsed"}
        colour = settings.menu(st, "colour", maps.COLOURS, maps.COLOURS[0], width=128, **look)
        fits = method == "PCA" and predicts(model.config, layer)
        look = {"label": "predictions", "key": "embeddings_predictions", "help": PREDICTED_HELP}
        predicted = settings.toggle(st, "predictions", False, disabled=not fits, **look)
    return method, int(dims[0]), colour, predicted and fits


def predicts(config: ModelConfig, layer: int) -> bool:
    """Whether predictions are in the space of this layer."""
    last = layer == config.depth - 1 and config.last_layer is not None
    return last and config.predictor_depth > 0


def setting_row() -> DeltaGenerator:
    """A row for controls; where there is no room, it becomes two."""
    return st.container(horizontal=True, vertical_alignment="center", gap="small")


def setting(row: DeltaGenerator, label: str, tip: str) -> DeltaGenerator:
    """Place for a control in a row, with what it sets in front of it."""
    look = {"vertical_alignment": "center", "gap": "xsmall", "width": "content"}
    place = row.container(horizontal=True, **look)
    place.markdown(label, help=tip, width="content")
    return place


def choice(name: str, options: Any, default: Any) -> Any:
    """One of a few."""
    look = {"label": name, "key": f"embeddings_{name}", "label_visibility": "collapsed"}
    return settings.segments(st, name, options, default, **look)


def maps_column(state: State, clip: Clip, look: maps.Look, colours: View) -> None:
    """The maps, what their components leave out, and ways to take all this along."""
    found = maps.components_of(clip, look.layer, look.joint)
    features = maps.features_of(clip, look.layer)
    shown = [colours, *maps.component_views(found, features, state.mask.shape)]
    views(state, clip, shown)
    with st.container(horizontal=True, vertical_alignment="center"):
        held = f"PC 1-{len(shown) - 1} hold **{found.explained.sum():.0%}** of the variance"
        st.markdown(held, help=EXPLAINED_HELP, width="content")
        numbers = archive.Numbers(clip, state.mask, features, found)
        archive.menu(clip, shown, numbers)


# ---- points


def take_circled(link: Link, state: State) -> None:
    """Takes over the points that were circled in the chart."""
    from app.embeddings.scatter import tokens_of

    link.take(tokens_of(st.session_state.get(CHART)), state)


def predicted_points(state: State, clip: Clip, look: maps.Look) -> Predicted | None:
    """The predictions along the tokens' components.

    Raises:
        InputError: they are to be shown, and the mask is empty or hides everything.
    """
    if not look.predicted:
        return None
    from app.embeddings.scatter import Predicted

    found = maps.components_of(clip, look.layer, look.joint)
    tokens, features = maps.predictions_of(clip.id, to_link(state.mask), clip, state.mask)
    return Predicted(found.scores(features)[:, : look.dims], tokens)


def points_of(clip: Clip, look: maps.Look) -> tuple[Float[np.ndarray, "N dims"], tuple[str, ...]]:
    """The tokens' coordinates, and what the axes are called."""
    if look.method != "PCA":
        with st.spinner("Looking for neighbours: this takes seconds."):
            return maps.map_of(clip.id, look.layer, look.method, look.dims, clip), ()
    found = maps.components_of(clip, look.layer, look.joint)
    titles = tuple(f"PC {i + 1} · {found.explained[i]:.0%}" for i in range(look.dims))
    return found.scores(maps.features_of(clip, look.layer))[:, : look.dims], titles


def chart(
    state: State,
    clip: Clip,
    look: maps.Look,
    link: Link,
    colours: View,
    predicted: Predicted | None,
) -> None:
    """The tokens as points."""
    from app.embeddings.scatter import scatter

    points, axes = points_of(clip, look)
    mask = to_link(state.mask) if look.needs_mask else ""
    link.follow((clip.id, look, mask), state.selection)
    flat = look.dims == 2
    st.plotly_chart(
        scatter(points, colours, axes, predicted, link.lit, link.revision),
        key=CHART if flat else f"{CHART}_3d",
        on_select="rerun" if flat else "ignore",
        config=CHART_BUTTONS,
        alt="Every token of the clip as a point",
    )


def selection_row(state: State) -> None:
    """How many tokens are selected, and the way out."""
    count = len(state.selection)
    said = {0: "No token selected", 1: "**1** token selected"}.get(
        count, f"**{count}** tokens selected"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(said, help=SELECTED_HELP, width="content")
        st.button("Deselect", key="deselect", disabled=not count, on_click=state.select, args=((),))
