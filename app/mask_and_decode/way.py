"""The way of a clip through the model, part by part, and a tour: words, for `components.way`."""

from __future__ import annotations

from app.workbench.components import Part, Stop, way

PAPER = "https://arxiv.org/abs/2404.08471"
"""Bardes et al. 2024."""
LINKS = {"the paper": PAPER, "notebook": "reading?file=notebooks/01_what_is_predicted.ipynb"}
WAY = (
    Part(
        "clip",
        "clip",
        "{frames} frames of {size} x {size} pixels, about two seconds of video. What is painted "
        "over stays in the file: only the model is not to see it.",
        "vjepa/data/clips.py",
    ),
    Part(
        "tokens",
        "tokens",
        "The clip is cut into {tokens} pieces of {tubelet} frames x {patch} x {patch} pixels, and "
        "each becomes one vector, a **token**. They lie on a grid of {grid}: time, height, width.",
        "vjepa/tokens.py",
    ),
    Part(
        "dropped",
        "hidden ones dropped",
        "The {hidden} hidden tokens are taken away before the encoder sees anything; {visible} "
        "stay. No number that comes later holds a trace of them, so nothing can be copied.",
        "vjepa/masks.py",
    ),
    Part(
        "context",
        "context encoder",
        "A transformer over the {visible} visible tokens: each looks at all the others and comes "
        "out as a **feature** that knows its surroundings. It is given the pieces in this picture.",
        "vjepa/transformer.py",
    ),
    Part(
        "predictor",
        "predictor",
        "A narrow transformer gets the features, and a **mask token** with its place for each of "
        "the {hidden} hidden ones: what is here? It answers in features, not in pixels.",
        "vjepa/transformer.py",
    ),
    Part(
        "decoder",
        "decoder",
        "A small diffusion model, trained afterwards, draws pixels from the predicted features "
        "alone; it never sees the rest of the clip. V-JEPA itself never draws a pixel.",
        "decoder/network.py",
    ),
    Part(
        "target",
        "target encoder",
        "The context encoder's **moving average** sees the whole clip: its features of the hidden "
        "tokens are what is to be predicted. No gradient goes through it (**stop-gradient**), or "
        "both would agree on a constant.",
        "vjepa/model.py",
        branch=True,
    ),
    Part(
        "error",
        "error",
        "How far each prediction is from its target: the mean absolute difference of the two "
        "features. That is all the model was trained to make small. Bright is far.",
        "vjepa/model.py",
        branch=True,
    ),
)
TOUR = (
    Stop(
        ".painter .screen",
        "Hide something",
        "Drag over the playing clip. What is hatched is hidden from the model.",
    ),
    Stop(
        ".strip",
        "Choose when",
        "Each box is a moment. Drag over some of them, and your strokes go there alone.",
    ),
    Stop(
        '[data-panel="sample-0"]',
        "See what is predicted",
        "Predictions of what you hid, drawn as pixels. Samples differ where the model is not sure.",
    ),
    Stop(
        '[data-panel="fill"]',
        "Is it any good?",
        "The best fill that needs no model, with its likeness to the truth in decibels. What a "
        "sample has above that, the model knows.",
    ),
    Stop(
        ".way",
        "How it comes about",
        "The way of this clip through the model. Each part lights up while it works; click one to "
        "see what it is given.",
    ),
)


def show() -> None:
    """The way, and the tour."""
    way(WAY, TOUR, LINKS)
