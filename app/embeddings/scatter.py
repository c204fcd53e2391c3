"""Tokens as points in a plane or a space: data in, plotly figure out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from app.workbench.components import View

SIZES = {2: 8, 3: 4}
"""Diameter of a point by the number of axes, in pixels."""
EYE = {"x": 1.5, "y": 1.5, "z": 1.0}
"""Where a space is seen from: a little farther than plotly's own place, to see the titles too."""
NO_VALUE = "#9a9ca3"
FAINT = "#b4b6bc"
LIT = "#f97316"
MARGIN = {"l": 0, "r": 0, "t": 8, "b": 0}
HEIGHT = 470


@dataclass(frozen=True)
class Predicted:
    """Predictions as points in the space of the tokens.

    Attributes:
        points: one a hidden token.
        tokens: which these are.
    """

    points: Float[np.ndarray, "M dims"]
    tokens: Int[np.ndarray, " M"]


def scatter(
    points: Float[np.ndarray, "N dims"],
    view: View,
    axes: tuple[str, ...],
    predicted: Predicted | None = None,
    lit: frozenset[int] = frozenset(),
    revision: int = 0,
) -> go.Figure:
    """A point a token, in the colours that the view gives it.

    Args:
        points: coordinates of all tokens, in order, along two or three axes.
        view: colours or values of the tokens.
        axes: their titles; empty where they mean nothing.
        predicted: drawn hollow, with a line to the token that was to be predicted.
        lit: tokens that stand out.
        revision: a figure with another one counts as another figure.
    """
    figure = go.Figure(layout={"meta": revision})
    if predicted:
        figure.add_trace(_errors(points, predicted))
    for tokens, marker in _markers(view):
        figure.add_trace(_tokens(points[tokens], tokens, view, marker, lit))
    if predicted:
        figure.add_trace(_predictions(predicted, view, lit))
    if lit and points.shape[1] == 3:
        figure.add_trace(_rings(points, lit))
    return _laid_out(figure, axes, points.shape[1])


def tokens_of(event: dict | None) -> frozenset[int] | None:
    """The tokens whose points a selection in the chart contains; None where there is no chart."""
    if event is None:
        return None
    return frozenset(int(point["customdata"]) for point in event["selection"]["points"])


def _markers(view: View) -> Iterable[tuple[Int[np.ndarray, " n"], dict]]:
    """Groups of tokens that are drawn alike: those with a colour, and those that have none."""
    if view.values is None:
        colours = _css(view.colours.reshape(-1, 3))
        yield np.arange(len(colours)), {"color": colours}
        return
    values = view.values.ravel()
    known = ~np.isnan(values)
    if not known.all():
        yield np.flatnonzero(~known), {"color": NO_VALUE, "opacity": 0.35}
    yield np.flatnonzero(known), _scale(view) | {"color": values[known]}


def _scale(view: View) -> dict:
    """The view's own scale, whose legend stands below it."""
    return {"colorscale": "Cividis", "cmin": view.low, "cmax": view.high}


def _css(colours: np.ndarray) -> list[str]:
    return [f"rgb({r},{g},{b})" for r, g, b in colours]


def _tokens(points: np.ndarray, tokens: np.ndarray, view: View, marker: dict, lit: frozenset):
    marker = {"size": SIZES[points.shape[1]], "line": {"width": 0.5, "color": NO_VALUE}} | marker
    return _points(points, tokens, view, marker, lit, "token")


def _predictions(predicted: Predicted, view: View, lit: frozenset):
    """Hollow, each in the colour of the token that it was to be."""
    dims = predicted.points.shape[1]
    marker: dict[str, Any] = {"size": SIZES[dims], "symbol": "circle-open"}
    if view.values is None:
        marker["color"] = _css(view.colours.reshape(-1, 3)[predicted.tokens])
    else:
        marker |= _scale(view) | {"color": view.values.ravel()[predicted.tokens]}
    return _points(predicted.points, predicted.tokens, view, marker, lit, "prediction")


def _points(
    points: np.ndarray, tokens: np.ndarray, view: View, marker: dict, lit: frozenset, name: str
):
    """A trace of points that know their token; in a plane, those that are not lit step back."""
    places = zip(*np.unravel_index(tokens, _grid(view)), strict=True)
    trace = _trace(points)(
        **_coordinates(points),
        mode="markers",
        marker=marker,
        customdata=tokens.tolist(),  # a list: numpy's own type would come back as a dictionary
        text=[f"{name}: time step {t + 1}, row {r + 1}, column {c + 1}" for t, r, c in places],
        hoverinfo="text",
    )
    if points.shape[1] == 2:
        trace.update(selected_marker_size=1.4 * SIZES[2], unselected_marker_opacity=0.15)
    if lit and points.shape[1] == 2:
        trace.update(selectedpoints=np.flatnonzero(np.isin(tokens, list(lit))).tolist())
    return trace


def _errors(points: np.ndarray, predicted: Predicted):
    """A thin line from every prediction to its token: as long as the prediction is wrong."""
    ends = [points[predicted.tokens], predicted.points, np.full_like(predicted.points, np.nan)]
    path = np.stack(ends, axis=1).reshape(-1, points.shape[1])  # a gap after every pair
    line = {"width": 1, "color": FAINT}
    return _trace(points)(**_coordinates(path), mode="lines", line=line, hoverinfo="skip")


def _rings(points: np.ndarray, lit: frozenset):
    """Larger circles around lit points: in space, plotly cannot make the others step back."""
    marker = {"size": 2.5 * SIZES[3], "symbol": "circle-open", "color": LIT, "line": {"width": 2}}
    return _trace(points)(
        **_coordinates(points[sorted(lit)]), mode="markers", marker=marker, hoverinfo="skip"
    )


def _laid_out(figure: go.Figure, axes: tuple[str, ...], dims: int) -> go.Figure:
    figure.update_layout(height=HEIGHT, margin=MARGIN, showlegend=False, dragmode="select")
    titles = dict(zip("xyz", axes or ("",) * dims, strict=False))
    plain = {"showgrid": bool(axes), "zeroline": False, "showticklabels": bool(axes)}
    if dims == 3:
        plain["showspikes"] = False
        scene = {f"{axis}axis": {"title": title} | plain for axis, title in titles.items()}
        scene |= {"aspectmode": "data", "camera_eye": EYE}
        return figure.update_layout(scene=scene, dragmode="orbit")
    figure.update_xaxes(title=titles["x"], **plain)
    return figure.update_yaxes(title=titles["y"], scaleanchor="x", **plain)


def _trace(points: np.ndarray) -> type:
    return go.Scatter if points.shape[1] == 2 else go.Scatter3d


def _coordinates(points: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip("xyz", points.T, strict=False))


def _grid(view: View) -> tuple[int, ...]:
    return (view.colours if view.values is None else view.values).shape[:3]
