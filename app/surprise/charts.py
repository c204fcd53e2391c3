"""Charts of the surprise page: data in, plotly figure out."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from app.workbench.figures import COLOURS

CURVE_HEIGHT, TABLE_HEIGHT = 190, 280
MARGIN = {"l": 0, "r": 8, "t": 8, "b": 0}
DASHES = ("solid", "dash")
JUDGES = {"model": "V-JEPA", "pixels": "change of pixels"}
"""What is asked whether a clip is impossible; the order gives each its colour."""


def curves(
    lines: dict[str, Float[np.ndarray, " t"]],
    splice: int | None = None,
    span: tuple[float, float] | None = None,
) -> go.Figure:
    """Surprise over time, one line a clip.

    Args:
        lines: mean error of each time step by the clip's title; NaN is left out.
        splice: the first time step after a violation, where a line is drawn.
        span: lowest and highest error of the axis; by default that of the lines.
    """
    figure = go.Figure()
    for index, (title, errors) in enumerate(lines.items()):
        figure.add_scatter(
            x=np.arange(1, len(errors) + 1),
            y=errors,
            name=title,
            mode="lines+markers",
            line={"color": COLOURS[index], "dash": DASHES[index]},
            hovertemplate="step %{x}: %{y:.3f}",
        )
    if splice is not None:
        note = {"annotation_text": "exchanged", "annotation_position": "top left"}
        figure.add_vline(splice + 0.5, line_dash="dot", line_width=1, **note)
    steps = len(errors)
    figure.update_xaxes(title="time step", range=[0.8, steps + 0.2], dtick=1, showgrid=False)
    figure.update_yaxes(title="error", range=span, tickformat=".3~f", nticks=5)
    legend = {"orientation": "h", "y": 1, "x": 1, "xanchor": "right", "yanchor": "bottom"}
    return figure.update_layout(
        height=CURVE_HEIGHT, margin=MARGIN, showlegend=len(lines) > 1, legend=legend
    )


def accuracies(cases: list[dict], behind: str) -> go.Figure:
    """How often the impossible surprised more, by kind, in plain view and behind something.

    Args:
        cases: as `vjepa.analysis.surprise.score_surprise` returns them.
        behind: what, in words.
    """
    titles = ["in plain view", behind]
    figure = make_subplots(cols=2, column_titles=titles, shared_yaxes=True, horizontal_spacing=0.04)
    for column, hidden in enumerate((False, True), start=1):
        here = [case for case in cases if case["hidden"] == hidden]
        kinds = [case["kind"].replace("_", " ") for case in here]
        for index, (judge, title) in enumerate(JUDGES.items()):
            bar = go.Bar(x=kinds, name=title, **_drawn(here, judge))
            bar.update(marker_color=COLOURS[2 * index], showlegend=column == 1)
            figure.add_trace(bar, row=1, col=column)
    figure.add_hline(0.5, line_dash="dot", line_width=1, row=1, col="all")
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%")
    legend = {"orientation": "h", "y": 1.2, "x": 0.5, "xanchor": "center", "yanchor": "bottom"}
    margin = MARGIN | {"t": 64}
    return figure.update_layout(
        height=TABLE_HEIGHT, margin=margin, legend=legend, barmode="group", bargap=0.3
    )


def _drawn(cases: list[dict], judge: str) -> dict:
    """Shares of sets with their intervals; those of single pairs under the pointer."""
    scores = [case[judge]["sets"] for case in cases]
    means = np.array([score["mean"] for score in scores])
    low, high = np.array([score["ci95"] for score in scores]).T
    return {
        "y": means,
        "error_y": {"array": high - means, "arrayminus": means - low, "thickness": 1.2},
        "customdata": [case[judge]["pairs"]["mean"] for case in cases],
        "hovertemplate": "%{x}: %{y:.1%} of sets, %{customdata:.1%} of single pairs",
    }
