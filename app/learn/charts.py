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
MAP_SIDE, STRIP = 280, 78
"""Pixels of the map of tokens, and of a vector's strip."""
PICTURE_ROW, BARS = 64, 250
BLUE, ORANGE, GREEN, GREY = COLOURS
LINES = (BLUE, ORANGE, GREEN, "#cc79a7", GREY)
DOTTED = {"color": GREY, "dash": "dot", "width": 1.5}
"""Seen on light and on dark ground."""
ABOVE = {"annotation_yanchor": "bottom"}
"""A line's name, over the chart and not on what is drawn."""
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
    titles = ("loss", "spread", "rank")
    figure = make_subplots(cols=3, column_titles=titles, horizontal_spacing=0.11)
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


def outcome_bars(
    values: Float[np.ndarray, " n"], median: float, mad: float, mean: float
) -> go.Figure:
    """A distribution, its median with the mean deviation around it, and its mean."""
    figure = go.Figure(
        go.Histogram(
            x=values, nbinsx=60, marker_color=GREY, opacity=0.6, hovertemplate="%{x}: %{y}"
        )
    )
    figure.add_vrect(median - mad, median + mad, fillcolor=BLUE, opacity=0.18, line_width=0)
    mark = ABOVE | {"annotation_text": "median", "annotation_position": "top left"}
    figure.add_vline(median, line={"color": BLUE, "width": 3}, **mark)
    mark = ABOVE | {"annotation_text": "mean", "annotation_position": "top right"}
    figure.add_vline(mean, line={"color": ORANGE, "width": 3, "dash": "dash"}, **mark)
    figure.update_xaxes(title="what comes", showgrid=False)
    figure.update_yaxes(visible=False)
    return _plain(figure).update_layout(margin=MARGIN | {"t": 24})


def guess_errors(
    guesses: Float[np.ndarray, " g"], errors: Float[np.ndarray, "2 g"], now: float
) -> go.Figure:
    """Mean absolute and root mean squared error of every guess, and the guess on screen."""
    figure = go.Figure()
    kinds = (("L1", BLUE, "solid"), ("L2 (root)", ORANGE, "dash"))
    for values, (name, colour, dash) in zip(errors, kinds, strict=True):
        least = int(values.argmin())
        line = {"color": colour, "dash": dash}
        tip = "guess %{x:.2f}: %{y:.2f}"
        figure.add_scatter(x=guesses, y=values, name=name, line=line, hovertemplate=tip)
        marker = {"color": colour, "size": 11}
        spot = {"x": guesses[[least]], "y": values[[least]], "marker": marker, "mode": "markers"}
        figure.add_scatter(**spot, showlegend=False, hoverinfo="skip")
    figure.add_vline(now, line={"color": GREEN, "width": 2}, annotation_text="your guess")
    figure.update_xaxes(title="guess", showgrid=False)
    figure.update_yaxes(title="error", rangemode="tozero", nticks=5)
    legend = {"orientation": "h", "y": -0.4, "x": 0, "yanchor": "top"}
    size = {"height": HEIGHT + 40, "margin": MARGIN | {"t": 24}}
    return figure.update_layout(**size, legend=legend)


def gradient_lines(
    degrees: Float[np.ndarray, " a"], curves: Mapping[str, Float[np.ndarray, " a"]]
) -> go.Figure:
    """Gradients over the angle; the second of the curves is drawn as dots on the first."""
    figure = go.Figure()
    looks = (
        {"mode": "lines", "line": {"color": BLUE, "width": 7}, "opacity": 0.45},
        {"mode": "markers", "marker": {"color": BLUE, "size": 7}},
        {"mode": "lines", "line": {"color": ORANGE, "dash": "dash"}},
    )
    for (name, values), look in zip(curves.items(), looks, strict=True):
        tip = "%{x:.0f} degrees: %{y:.3f}"
        figure.add_scatter(x=degrees, y=values, name=name, hovertemplate=tip, **look)
    figure.update_xaxes(title="angle: 0 keeps all, 90 nothing", dtick=30)
    figure.update_yaxes(title="gradient", nticks=5)
    legend = {"orientation": "h", "y": -0.32, "x": 0, "yanchor": "top"}
    return figure.update_layout(height=HEIGHT + 80, margin=MARGIN, legend=legend)


def surprise_lines(lines: Mapping[str, Float[np.ndarray, " t"]], moment: int) -> go.Figure:
    """Surprise over time of one scene in several versions.

    Args:
        lines: mean error of each time step by what becomes of the thing; NaN is left out.
        moment: from which on it is cut out, from 1.
    """
    figure = go.Figure()
    looks = ((BLUE, "solid"), (ORANGE, "solid"), (GREY, "dot"))
    for (title, values), (colour, dash) in zip(lines.items(), looks, strict=True):
        figure.add_scatter(
            x=np.arange(1, len(values) + 1),
            y=values,
            name=title,
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            hovertemplate="moment %{x}: %{y:.3f}",
        )
    note = ABOVE | {"annotation_text": "cut", "annotation_position": "top left"}
    figure.add_vline(moment - 0.5, line=DOTTED, **note)
    figure.update_xaxes(title="moment", dtick=1, showgrid=False)
    figure.update_yaxes(title="surprise there", rangemode="tozero", nticks=5)
    legend = {"orientation": "h", "y": -0.45, "x": 0, "yanchor": "top"}
    size = {"height": HEIGHT + 60, "margin": MARGIN | {"t": 20}}
    return figure.update_layout(**size, legend=legend)


def likeness_bars(scores: Mapping[str, float]) -> go.Figure:
    """PSNR by what was decoded from."""
    bar = go.Bar(
        x=list(scores.values()),
        y=list(scores),
        orientation="h",
        marker_color=[BLUE if name.startswith("predictions") else GREY for name in scores],
        text=[f"{score:.1f}" for score in scores.values()],
        textposition="inside",
        insidetextanchor="start",
        textfont={"color": "white", "size": 13},
        constraintext="none",
        hovertemplate="%{y}: %{x:.2f} dB<extra></extra>",
    )
    figure = go.Figure(bar).update_yaxes(autorange="reversed").update_layout(bargap=0.2)
    return _plain(figure.update_xaxes(title="likeness, dB"), BARS)


def shares_lines(
    amounts: Sequence[int], shares: Mapping[str, Sequence[float]], tokens: float, now: int
) -> go.Figure:
    """What the static takes of each loss, over how much static there is.

    Args:
        amounts: per cent.
        shares: of each loss by its name, one for each amount.
        tokens: the share of the hidden tokens that are static: what it would take were it like the
            rest.
        now: the amount on screen.
    """
    figure = go.Figure()
    for (name, values), colour in zip(shares.items(), (BLUE, ORANGE), strict=True):
        tip = "%{x} % static: %{y:.0%}"
        line = {"color": colour}
        figure.add_scatter(x=list(amounts), y=list(values), name=name, line=line, hovertemplate=tip)
    mark = {"line": DOTTED, "annotation_text": "its share of tokens"}
    figure.add_hline(tokens, **mark)
    figure.add_vline(now, line={"color": GREEN, "width": 1})
    figure.update_xaxes(title="static, %", showgrid=False)
    figure.update_yaxes(title="share of the loss", tickformat=".0%", rangemode="tozero", nticks=5)
    legend = {"orientation": "h", "y": -0.45, "x": 0, "yanchor": "top"}
    return figure.update_layout(height=HEIGHT + 60, margin=MARGIN, legend=legend)


def twins_lines(
    learned: Sequence[int], panels: Mapping[str, Mapping[str, Sequence[float]]]
) -> go.Figure:
    """How much of features is static, over how much of it there was in training.

    Args:
        learned: per cent.
        panels: by what was shown; of each model by its name, a share for each of `learned`.
    """
    figure = make_subplots(1, len(panels), shared_yaxes=True, subplot_titles=list(panels))
    for column, models in enumerate(panels.values(), start=1):
        for (name, shares), colour in zip(models.items(), (BLUE, ORANGE, GREY), strict=True):
            figure.add_scatter(
                x=list(learned),
                y=list(shares),
                name=name,
                line={"color": colour},
                hovertemplate="%{x} % static in training: %{y:.0%}",
                showlegend=column == 1,
                row=1,
                col=column,
            )
    figure.update_xaxes(title="static in training, %", showgrid=False, tickvals=list(learned))
    figure.update_yaxes(tickformat=".0%", rangemode="tozero", nticks=5)
    figure.update_yaxes(title="static's share", col=1)
    legend = {"orientation": "h", "y": -0.35, "x": 0, "yanchor": "top"}
    size = {"height": HEIGHT + 80, "margin": MARGIN | {"t": 26}}
    return figure.update_layout(**size, legend=legend)


def _plain(figure: go.Figure, height: int = HEIGHT) -> go.Figure:
    return figure.update_layout(height=height, margin=MARGIN, showlegend=False)
