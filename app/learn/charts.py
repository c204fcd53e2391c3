"""Charts of the lessons: data in, plotly figure out."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float, UInt8
from plotly.subplots import make_subplots

from app.workbench.figures import COLOURS, png_sheet

HEIGHT = 190
MARGIN = {"l": 0, "r": 8, "t": 8, "b": 0}
MAP_SIDE, STRIP = 300, 78
"""Pixels of the map of tokens, and of a vector's strip."""
PICTURE_ROW = 64
BLUE, ORANGE, GREEN, GREY = COLOURS
LINES = (BLUE, ORANGE, GREEN, "#cc79a7", GREY)
HIDDEN, SEEN = "rgba(20,20,24,.86)", "rgba(255,255,255,.04)"


def error_by_share(shares: Sequence[int], errors: Sequence[float], now: int) -> go.Figure:
    """A clip's error over the share that is hidden, with the one on screen marked.

    Args:
        shares: per cent.
        errors: one for each.
        now: the share on screen.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=list(shares),
        y=list(errors),
        mode="lines+markers",
        line_color=BLUE,
        hovertemplate="%{x} % hidden: %{y:.3f}<extra></extra>",
    )
    here = {"x": [now], "y": [errors[list(shares).index(now)]], "mode": "markers"}
    figure.add_scatter(
        **here, marker={"size": 14, "color": ORANGE, "symbol": "diamond"}, hoverinfo="skip"
    )
    figure.update_xaxes(title="hidden, %", showgrid=False)
    figure.update_yaxes(title="error of this clip", tickformat=".2~f", nticks=5)
    return _plain(figure)


def token_map(
    frame: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "h w"], chosen: int
) -> go.Figure:
    """The tokens of one moment over its frame, to click on; hidden ones are dark.

    Args:
        frame: under them.
        mask: True = hidden.
        chosen: which one has a ring.
    """
    h, w = mask.shape
    rows, columns = (index.ravel() for index in np.indices(mask.shape))
    source = "data:image/png;base64," + base64.b64encode(png_sheet(frame[None])).decode()
    lines = np.where(np.arange(mask.size) == chosen, 3.5, 0.5)
    figure = go.Figure()
    figure.add_scatter(
        x=columns,
        y=rows,
        mode="markers",
        marker={
            "symbol": "square",
            "size": MAP_SIDE // w - 2,
            "color": np.where(mask.ravel(), HIDDEN, SEEN),
            "line": {"width": lines, "color": np.where(lines > 1, ORANGE, "#ffffff")},
            "opacity": 1,
        },
        unselected={"marker": {"opacity": 1}},
        selected={"marker": {"opacity": 1}},
        customdata=np.where(mask.ravel(), "hidden", "visible"),
        hovertemplate="row %{y}, column %{x}: %{customdata}<extra></extra>",
    )
    size = {"sizex": w, "sizey": h, "sizing": "stretch", "layer": "below"}
    figure.add_layout_image(source=source, xref="x", yref="y", x=-0.5, y=-0.5, **size)
    bare = {"visible": False, "fixedrange": True}
    figure.update_xaxes(range=[-0.5, w - 0.5], **bare)
    figure.update_yaxes(range=[h - 0.5, -0.5], **bare)
    margin = dict.fromkeys("lrtb", 0)
    return _plain(figure, MAP_SIDE).update_layout(width=MAP_SIDE, margin=margin, dragmode=False)


def token_rows(rows: dict[str, Float[np.ndarray, " D"]]) -> go.Figure:
    """Vectors as strips of colour, one below the other.

    Args:
        rows: by their titles.
    """
    titles = [f"{title} ({len(values)} numbers)" for title, values in rows.items()]
    figure = make_subplots(rows=len(rows), subplot_titles=titles, vertical_spacing=0.28)
    for number, values in enumerate(rows.values(), start=1):
        most = float(np.abs(values).max()) or 1.0
        figure.add_heatmap(
            z=values[None],
            colorscale="RdBu",
            zmin=-most,
            zmax=most,
            showscale=False,
            hovertemplate="number %{x}: %{z:.2f}<extra></extra>",
            row=number,
            col=1,
        )
    figure.update_xaxes(visible=False).update_yaxes(visible=False)
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    return _plain(figure, STRIP * len(rows)).update_layout(margin=MARGIN | {"t": 26})


def trainings(runs: Mapping[str, Sequence[Any]], steps: int) -> go.Figure:
    """Loss, spread and rank of some trainings, side by side.

    Args:
        runs: the checkups of each by its title, the newest last.
        steps: of a whole training.
    """
    titles = ("loss", "spread over clips", "effective rank")
    figure = make_subplots(cols=3, column_titles=titles, horizontal_spacing=0.07)
    for number, (title, checks) in enumerate(runs.items()):
        newest = number == len(runs) - 1
        line = {"color": LINES[number % len(LINES)], "width": 3 if newest else 1.5}
        for column, name in enumerate(("loss", "spread", "rank"), start=1):
            figure.add_scatter(
                x=[check.step for check in checks],
                y=[getattr(check, name) for check in checks],
                name=title,
                legendgroup=title,
                showlegend=column == 1,
                mode="lines",
                line=line,
                hovertemplate="step %{x}: %{y:.2f}",
                row=1,
                col=column,
            )
    figure.update_xaxes(range=[0, steps], showgrid=False, nticks=4, title="step")
    figure.update_yaxes(rangemode="tozero", nticks=5)
    for column, most in enumerate((1.0, 1.1), start=1):
        figure.update_yaxes(range=[0, most], row=1, col=column)
    legend = {"orientation": "h", "y": -0.35, "x": 0}
    size = {"height": HEIGHT + 60, "margin": MARGIN | {"t": 26}}
    return figure.update_layout(**size, legend=legend, showlegend=bool(runs))


def features_picture(picture: UInt8[np.ndarray, "H W 3"], rows: Sequence[str]) -> go.Figure:
    """Clips, and their features as colours below them.

    Args:
        picture: rows of equal height.
        rows: what to call each of them.
    """
    height, width = picture.shape[:2]
    figure = go.Figure(go.Image(z=picture, hoverinfo="skip"))
    places = (np.arange(len(rows)) + 0.45) * height / len(rows)
    figure.update_yaxes(tickvals=places, ticktext=list(rows), showgrid=False, fixedrange=True)
    figure.update_xaxes(visible=False, fixedrange=True)
    size = {"height": PICTURE_ROW * len(rows), "width": PICTURE_ROW * len(rows) * width // height}
    return _plain(figure).update_layout(**size, margin=dict.fromkeys("rtb", 0), dragmode=False)


def _plain(figure: go.Figure, height: int = HEIGHT) -> go.Figure:
    return figure.update_layout(height=height, margin=MARGIN, showlegend=False)
