"""Charts of the evaluation page: data in, plotly figure out."""

from __future__ import annotations

import plotly.graph_objects as go

from app.workbench.figures import COLOURS

HEIGHT = 250
MARGIN = {"l": 0, "r": 8, "t": 8, "b": 0}
BLUE, ORANGE, GREEN, GREY = COLOURS
PURPLE = "#cc79a7"
ERROR_BAR = "#8a8a8a"
"""To be seen on light and on dark."""

CONDITIONS = {
    "target": ("true features", GREEN),
    "predicted": ("predictions", BLUE),
    "shuffled": ("another clip's", PURPLE),
    "null": ("nothing", GREY),
    "trivial": ("best fill", ORANGE),
}
"""What is decoded from, its name and its colour."""
COMPARED = ("target", "predicted", "null", "trivial")
"""What is drawn side by side where there is no room for all."""


def conditions(table: dict) -> go.Figure:
    """PSNR by what was decoded from, with 95 % intervals over clips.

    Args:
        table: as `decoder.scoring.score.score_decoder` returns it.
    """
    names = list(CONDITIONS)
    titles, colours = zip(*CONDITIONS.values(), strict=True)
    means = [table["psnr"][name] for name in names]
    bar = go.Bar(
        x=means,
        y=titles,
        orientation="h",
        marker_color=colours,
        error_x=_half_widths(means, [table["psnr_ci95"][name] for name in names]),
        text=[f"{mean:.1f}" for mean in means],
        insidetextanchor="start",
        textposition="inside",
        textfont_color="white",
        customdata=[table["ssim"][name] for name in names],
        hovertemplate="%{y}: %{x:.2f} dB, SSIM %{customdata:.3f}<extra></extra>",
    )
    figure = _figure(go.Figure(bar), "PSNR of the hidden pixels, dB")
    return figure.update_yaxes(autorange="reversed", title=None).update_layout(bargap=0.25)


def parts(table: dict[str, dict], label: str) -> go.Figure:
    """The same for parts of the hidden pixels; the colours are those of `conditions`.

    Args:
        table: scores by the part's name.
        label: what the parts differ in.
    """
    figure = go.Figure()
    for name in COMPARED:
        title, colour = CONDITIONS[name]
        means = [part["psnr"][name] for part in table.values()]
        figure.add_bar(
            x=list(table),
            y=means,
            name=title,
            marker_color=colour,
            error_y=_half_widths(means, [part["psnr_ci95"][name] for part in table.values()]),
            customdata=[part["clips"] for part in table.values()],
            hovertemplate="%{x}: %{y:.2f} dB (%{customdata} clips)",
        )
    figure.update_xaxes(type="category")
    return _figure(figure, label, "PSNR, dB").update_layout(barmode="group", bargap=0.2)


def steps(table: dict) -> go.Figure:
    """Likeness to the truth and sharpness against the number of steps, an axis each."""
    counts = list(table["psnr_by_steps"])
    figure = go.Figure()
    for title, colour, axis in (("PSNR", BLUE, "y"), ("sharpness", ORANGE, "y2")):
        values = table[f"{title.lower()}_by_steps"]
        figure.add_scatter(
            x=counts,
            y=[values[count] for count in counts],
            name=title,
            yaxis=axis,
            mode="lines+markers",
            line={"color": colour},
            hovertemplate=f"%{{x}} steps: {title} %{{y:.2f}}<extra></extra>",
        )
    figure.update_xaxes(type="category")
    figure = _figure(figure, "steps of the decoder", "PSNR, dB")
    right = {"title": "sharpness, truth = 1", "side": "right", "overlaying": "y", "showgrid": False}
    right |= {"tickformat": ".2~f", "nticks": 5, "title_font_color": ORANGE}
    return figure.update_layout(yaxis2=right, yaxis_title_font_color=BLUE)


def spread(table: dict) -> go.Figure:
    """How wrong the samples' mean is where the samples differ little, and where much."""
    found = table["error_by_spread"]
    figure = go.Figure(
        go.Scatter(
            x=found["spread"],
            y=found["error"],
            mode="lines+markers",
            line={"color": BLUE},
            hovertemplate="spread %{x:.1f}: error %{y:.1f}<extra></extra>",
        )
    )
    figure.update_yaxes(rangemode="tozero")
    return _figure(figure, "spread over seeds, of 255", "error, of 255")


def found_again(table: dict) -> go.Figure:
    """How often a decoded clip, encoded again, is nearest to its own predictions."""
    again = table["reencode"]
    names = {"predictions": "top1", "nothing": "top1_null"}
    means = [again[key]["mean"] for key in names.values()]
    bar = go.Bar(
        x=list(names),
        y=means,
        marker_color=[BLUE, GREY],
        error_y=_half_widths(means, [again[key]["ci95"] for key in names.values()]),
        text=[f"{mean:.0%}" for mean in means],
        textposition="inside",
        insidetextanchor="middle",
        textfont_color="white",
        textangle=0,
        hovertemplate="decoded from %{x}: %{y:.1%}<extra></extra>",
    )
    figure = _figure(go.Figure(bar), "decoded from", f"found among {again['among']}")
    figure.add_hline(1 / again["among"], line_dash="dot", line_width=1)
    return figure.update_yaxes(range=[0, 1.05], tickformat=".0%").update_layout(bargap=0.5)


def _figure(figure: go.Figure, x: str, y: str | None = None) -> go.Figure:
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure.update_layout(height=HEIGHT, margin=MARGIN, showlegend=False)


def _half_widths(means: list[float], intervals: list[list[float]]) -> dict:
    """Error bars from intervals."""
    pairs = list(zip(means, intervals, strict=True))
    return {
        "array": [high - mean for mean, (_, high) in pairs],
        "arrayminus": [mean - low for mean, (low, _) in pairs],
        "thickness": 1.2,
        "color": ERROR_BAR,
    }
