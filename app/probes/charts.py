"""Charts of the probes page: data in, plotly figure out."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from app.workbench.figures import COLOURS

BAR_HEIGHT = 26
MARGIN = {"l": 0, "r": 8, "t": 28, "b": 0}


def class_bars(classes: list[str], shares: dict[str, Float[np.ndarray, " K"]]) -> go.Figure:
    """One column of bars a reading, the classes in the same order in all.

    Args:
        classes: names, likeliest first.
        shares: probabilities of these classes by the reading's title.
    """
    figure = make_subplots(
        cols=len(shares), shared_yaxes=True, horizontal_spacing=0.03, column_titles=list(shares)
    )
    for column, values in enumerate(shares.values(), start=1):
        bar = go.Bar(
            x=values,
            y=classes,
            orientation="h",
            marker_color=COLOURS[column - 1],
            text=[f"{value:.0%}" for value in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
        figure.add_trace(bar, row=1, col=column)
    figure.update_xaxes(range=[0, 1.15], visible=False)
    figure.update_yaxes(autorange="reversed", ticks="", showgrid=False)
    height = MARGIN["t"] + BAR_HEIGHT * len(classes)
    figure.update_layout(showlegend=False, height=height, margin=MARGIN, bargap=0.25)
    return figure


MODELS = {"model": "V-JEPA", "pixel": "pixel prediction", "random": "random weights"}
"""Names of the models that are compared, and their order: it gives each its colour."""
TABLE_HEIGHT = 300


def comparison(rows: list[dict]) -> go.Figure:
    """Score of every model by task and probe, with 95 % intervals and a dotted line for chance.

    Args:
        rows: of the committed table, all with the same share of the labels.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = _task_columns(rows, tasks)
    for column, task in enumerate(tasks, start=1):
        here = [row for row in rows if row["task"] == task]
        for name, title in MODELS.items():
            scores = [score(row, name) for row in here]
            if all(scores):
                bar = go.Bar(x=[row["probe"] for row in here], name=title, **_drawn(scores, name))
                figure.add_trace(bar.update(showlegend=column == 1), row=1, col=column)
        figure.add_hline(here[0]["chance"], line_dash="dot", line_width=1, row=1, col=column)
    return figure.update_layout(barmode="group", bargap=0.25)


def label_curves(rows: list[dict]) -> go.Figure:
    """Score of every model against the share of the labels, a column a task.

    Args:
        rows: of the committed table, all with the same probe.
    """
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    figure = _task_columns(rows, tasks)
    for column, task in enumerate(tasks, start=1):
        here = sorted((row for row in rows if row["task"] == task), key=lambda row: row["labels"])
        for name, title in MODELS.items():
            scores = [score(row, name) for row in here]
            if all(scores):
                line = go.Scatter(x=[row["labels"] for row in here], **_drawn(scores, name))
                line.update(name=title, mode="lines+markers", showlegend=column == 1)
                figure.add_trace(line, row=1, col=column)
        figure.add_hline(here[0]["chance"], line_dash="dot", line_width=1, row=1, col=column)
    shares = sorted({row["labels"] for row in rows})
    return figure.update_xaxes(type="log", tickvals=shares, tickformat=".0%")


def score(row: dict, model: str) -> dict | None:
    """Mean and interval of one model in a row of the table."""
    return row["accuracy"] if model == "model" else row["baselines"].get(model)


def _task_columns(rows: list[dict], tasks: list[str]) -> go.Figure:
    metrics = {row["task"]: row["metric"] for row in rows}
    titles = [f"{task} ({metrics[task]})" for task in tasks]
    figure = make_subplots(cols=len(tasks), column_titles=titles, horizontal_spacing=0.06)
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
