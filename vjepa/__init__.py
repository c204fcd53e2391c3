"""V-JEPA: feature prediction from video, small enough to read in one sitting.

The public names are imported when they are first used, so that `import vjepa` stays cheap: the
app paints before torch is there.
"""

from importlib import import_module

_HOMES = {
    "load": "vjepa.checkpoint",
    "save": "vjepa.checkpoint",
    "load_probe": "vjepa.analysis.attentive",
    "read_clip": "vjepa.data.clips",
    "read_frames": "vjepa.data.clips",
    "normalize": "vjepa.data.clips",
    "open_dataset": "vjepa.data.datasets",
    "ModelConfig": "vjepa.config",
    "VJEPA": "vjepa.model",
    "InputError": "vjepa.errors",
    "masks": "vjepa.masks",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'vjepa' has no attribute {name!r}")
    module = import_module(_HOMES[name])
    return module if _HOMES[name] == f"vjepa.{name}" else getattr(module, name)
