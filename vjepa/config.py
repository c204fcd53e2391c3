"""The shape of a model, and the shapes that have names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from vjepa.errors import InputError

MASK_TYPES = {"short": 0, "long": 1}
"""Index of the learned mask token that stands for each kind of mask (paper, section 3.2)."""


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a V-JEPA model; field names as in the golden files.

    Attributes:
        image_size: side of the square frames, pixels.
        num_frames: frames in a clip.
        patch_size: side of a tubelet, pixels.
        tubelet_size: frames in a tubelet.
        embed_dim, depth, num_heads: the encoder.
        predictor_embed_dim, predictor_depth, predictor_num_heads: the narrow predictor.
        num_mask_tokens: learned mask tokens, one per mask type.
        patch_init_std: standard deviation of the patch embedding at initialisation. At small
            patches the published .02 leaves the content weaker than the positions, and the
            features collapse to positions.
    """

    image_size: int = 224
    num_frames: int = 16
    patch_size: int = 16
    tubelet_size: int = 2
    embed_dim: int = 1024
    depth: int = 24
    num_heads: int = 16
    predictor_embed_dim: int = 384
    predictor_depth: int = 12
    predictor_num_heads: int = 16
    num_mask_tokens: int = 2
    patch_init_std: float = 0.02

    def __post_init__(self) -> None:
        _require_positive(self)
        _require_multiple(self, "image_size", "patch_size")
        _require_multiple(self, "num_frames", "tubelet_size")
        _require_multiple(self, "embed_dim", "num_heads")
        _require_multiple(self, "predictor_embed_dim", "predictor_num_heads")

    @property
    def grid(self) -> tuple[int, int, int]:
        """Tokens along time, height and width: (t, h, w)."""
        side = self.image_size // self.patch_size
        return self.num_frames // self.tubelet_size, side, side

    @property
    def num_tokens(self) -> int:
        """Tokens of a whole clip, t * h * w."""
        t, h, w = self.grid
        return t * h * w

    @property
    def tubelet_dim(self) -> int:
        """Numbers in one tubelet: 3 colours x frames x pixels."""
        return 3 * self.tubelet_size * self.patch_size**2

    def to_dict(self) -> dict:
        """The fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> ModelConfig:
        """A config from JSON values; fields that are not ours (a probe's, say) are ignored.

        Raises:
            InputError: a value is no number of its kind, is not positive, or does not divide.
        """
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in values.items() if name in known}
        for name, value in values.items():
            kinds = int | float if name == "patch_init_std" else int
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise InputError(f"{name} must be a number, not {value!r}.")
        return cls(**values)


def _require_positive(config: ModelConfig) -> None:
    for field in fields(config):
        if getattr(config, field.name) <= 0:
            raise InputError(f"{field.name} must be positive, not {getattr(config, field.name)}.")


def _require_multiple(config: ModelConfig, whole: str, part: str) -> None:
    if getattr(config, whole) % getattr(config, part):
        raise InputError(
            f"{whole} ({getattr(config, whole)}) must be a multiple of {part} "
            f"({getattr(config, part)})."
        )


PRESETS = {
    "demo": ModelConfig(
        image_size=112,
        embed_dim=192,
        depth=4,
        num_heads=3,
        predictor_embed_dim=128,
        predictor_depth=3,
        predictor_num_heads=2,
        patch_init_std=0.06,
    ),
    "vitl16": ModelConfig(),
    "vith16": ModelConfig(embed_dim=1280, depth=32),
    "vith16-384": ModelConfig(image_size=384, embed_dim=1280, depth=32),
}
"""The bundled model's shape and the three published ones (paper, table 12), by file name."""


def preset(name: str) -> ModelConfig:
    """The named shape.

    Raises:
        InputError: no preset has that name.
    """
    if name not in PRESETS:
        raise InputError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
