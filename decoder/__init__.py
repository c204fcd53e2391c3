"""A conditional diffusion decoder for V-JEPA's predictions.

Fed with the predictions for the hidden region alone, it draws pixels for it; what samples of
several seeds share is what the predictions hold (paper, section 6).
"""

from importlib import import_module

_HOMES = {
    "Bank": "decoder.bank",
    "Explorer": "decoder.explorer",
    "Prediction": "decoder.explorer",
    "PredictionDecoderPipeline": "decoder.pipeline",
    "Replay": "decoder.replay",
    "TokenDecoder": "decoder.network",
    "gif_bytes": "decoder.media",
    "write_frames": "decoder.media",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'decoder' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
