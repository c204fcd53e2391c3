"""Charts of the probes page: data in, plotly figure out."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from app.workbench.figures import COLOURS

BAR_HEIGHT = 13
MARGIN = {"l": 0, "r": 8, "t": 20, "b": 0}


def class_bars(
    classes: list[str], shares: dict[str, Float[np.ndarray, " K"]], chance: float
) -> go.Figure:
    """The classes one below the other, with one bar a reading, and a dotted line for chance.

    Args:
        classes: names, from above.
        shares: probabilities of these classes by the reading's title.
        chance: what a guess gives to each.
    """
    figure = go.Figure()
    for index, (title, values) in enumerate(shares.items()):
        figure.add_bar(
            x=values,
            y=classes,
            name=title,
            orientation="h",
            marker_color=COLOURS[index],
            text=[f"{value:.0%}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%}",
        )
    figure.add_vline(chance, line_dash="dot", line_width=1)
    figure.update_xaxes(range=[0, 1.08], visible=False)
    figure.update_yaxes(autorange="reversed", ticks="", showgrid=False)
    height = MARGIN["t"] + BAR_HEIGHT * len(classes) * (len(shares) + 1)
    legend = {"orientation": "h", "y": 1, "x": 0, "yanchor": "bottom"}
    return figure.update_layout(height=height, margin=MARGIN, bargap=0.25, legend=legend)


MODELS = {"model": "V-JEPA", "pixel": "pixel prediction", "random": "random weights"}
"""Names of the models that are compared, and their order: it gives each its colour."""
TABLE_HEIGHT = 280


def comparison(rows: list[dict]) -> go.Figure:
    """Score of every model by probe, with 95 % intervals and a dotted line for chance.

    Args:
        rows: of the committed table, all of one task and with the same share of the labels.
    """
    figure = go.Figure()
    for name, title in MODELS.items():
        scores = [score(row, name) for row in rows]
        if all(scores):
            figure.add_bar(x=[row["probe"] for row in rows], name=title, **_drawn(scores, name))
    return _finished(figure, rows).update_layout(barmode="group", bargap=0.25)


def label_curves(rows: list[dict]) -> go.Figure:
    """Score of every model against the share of the labels.

    Args:
        rows: of the committed table, all of one task and with the same probe.
    """
    rows, figure = sorted(rows, key=lambda row: row["labels"]), go.Figure()
    shares = [row["labels"] for row in rows]
    for name, title in MODELS.items():
        scores = [score(row, name) for row in rows]
        if all(scores):
            drawn = _drawn(scores, name)
            figure.add_scatter(x=shares, name=title, mode="lines+markers", **drawn)
    axis = {"type": "log", "tickvals": shares, "tickformat": ".0%"}
    return _finished(figure, rows).update_xaxes(**axis)


def score(row: dict, model: str) -> dict | None:
    """Mean and interval of one model in a row of the table."""
    return row["accuracy"] if model == "model" else row["baselines"].get(model)


def _finished(figure: go.Figure, rows: list[dict]) -> go.Figure:
    """Axes, chance and legend."""
    figure.add_hline(rows[0]["chance"], line_dash="dot", line_width=1)
    figure.update_yaxes(rangemode="tozero", tickformat=".0%")
    legend = {"orientation": "h", "y": -0.15, "x": 0.5, "xanchor": "center"}
    return figure.update_layout(height=TABLE_HEIGHT, margin=MARGIN, legend=legend)


def _drawn(scores: list[dict], model: str) -> dict:
    """Means and intervals in the model's colour."""
    means = [score["mean"] for score in scores]
    half = [score["ci95"][1] - score["mean"] for score in scores]
    return {
        "y": means,
        "error_y": {"array": half, "thickness": 1.2},
        "marker_color": COLOURS[list(MODELS).index(model)],
        "hovertemplate": "%{x}: %{y:.1%}",
    }
