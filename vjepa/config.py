"""The shape of a model, and the shapes that have names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

from vjepa.errors import InputError

MASK_TYPES = {"short": 0, "long": 1}
"""Index of the learned mask token that stands for each kind of mask (paper, section 3.2): small
blocks through all time, and all that hides more: large blocks, the future, boxes over a part of the
time, and what a person draws."""


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a V-JEPA model; field names as in the golden files.

    Attributes:
        image_size: side of the square frames, pixels.
        num_frames: frames in a clip.
        patch_size: side of a tubelet, pixels.
        tubelet_size: frames in a tubelet.
        embed_dim, depth, num_heads: the encoder.
        predictor_embed_dim, predictor_depth, predictor_num_heads: the narrow predictor; a depth of
            0 is that of a model read from a file that holds an encoder alone.
        num_mask_tokens: learned mask tokens; V-JEPA has one per mask type.
        patch_init_std: standard deviation of the patch embedding at initialisation. At small
            patches the published .02 leaves the content weaker than the positions, and the
            features collapse to positions.
        family: which model has this shape, one of `vjepa.checkpoint.MODELS`.
        mlp_ratio: how much wider the encoder's MLPs are than its tokens.
        mask_token: the mask token that stands for every kind of mask; -1: one per mask type.
        target_layers: last blocks whose features are predicted, side by side; the paper's
            targets are those of the last one alone.
        teacher_dim: width of the features of another model that the predictor was trained on; 0:
            it was trained on its own target encoder's.
        predictor_side: V-JEPA 2.1's predictor stretches rows and columns to those of a grid with
            this side, as in its training; 0: it does not, as it is published.
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
    family: str = "vjepa"
    mlp_ratio: float = 4.0
    mask_token: int = -1
    target_layers: int = 1
    teacher_dim: int = 0
    predictor_side: int = 0

    def __post_init__(self) -> None:
        _require_positive(self)
        _require_parts(self)
        _require_multiple(self, "image_size", "patch_size")
        _require_multiple(self, "num_frames", "tubelet_size")
        _require_multiple(self, "embed_dim", "num_heads")
        _require_multiple(self, "predictor_embed_dim", "predictor_num_heads")
        _require_sane(self)

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
    def output_dim(self) -> int:
        """Width of predictions and targets."""
        return self.teacher_dim or self.target_layers * self.embed_dim

    @property
    def last_layer(self) -> slice | None:
        """Which numbers of a prediction stand for layer-normed `encode`; None: none of them do."""
        return None if self.teacher_dim else slice(-self.embed_dim, None)

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
        defaults = {field.name: field.default for field in fields(cls)}
        if "levels" in values:  # what files of before called it
            values = {"target_layers": values["levels"], **values}
        values = {name: value for name, value in values.items() if name in defaults}
        for name, value in values.items():
            kind = type(defaults[name])
            numbers = int | float if kind is float else kind
            if isinstance(value, bool) or not isinstance(value, numbers):
                expected = "a word" if kind is str else "a number"
                raise InputError(f"{name} must be {expected}, not {value!r}.")
        return cls(**values)


def _require_positive(config: ModelConfig) -> None:
    least = {"mask_token": -1, "teacher_dim": 0, "predictor_depth": 0, "predictor_side": 0}
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name != "family" and not value >= least.get(field.name, 1e-9):
            raise InputError(f"{field.name} must be positive, not {value}.")


def _require_sane(config: ModelConfig) -> None:
    """Numbers beyond these come from a broken file, and would take all memory before that shows."""
    depths = {"depth": 1000, "predictor_depth": 1000, "num_mask_tokens": 1000}
    widths = {"embed_dim": 10**5, "predictor_embed_dim": 10**5}
    sizes = {"num_tokens": 10**6, "tubelet_dim": 10**6}
    for name, limit in (depths | widths | sizes).items():
        if getattr(config, name) > limit:
            raise InputError(f"{name} must be at most {limit}, not {getattr(config, name)}.")


def _require_parts(config: ModelConfig) -> None:
    layers, depth = config.target_layers, config.depth
    if layers > depth:
        raise InputError(f"target_layers ({layers}) must be at most depth ({depth}).")
    token, tokens = config.mask_token, config.num_mask_tokens
    if token >= tokens:
        raise InputError(f"mask_token ({token}) must be less than num_mask_tokens ({tokens}).")


def _require_multiple(config: ModelConfig, whole: str, part: str) -> None:
    if getattr(config, whole) % getattr(config, part):
        raise InputError(
            f"{whole} ({getattr(config, whole)}) must be a multiple of {part} "
            f"({getattr(config, part)})."
        )


SHAPES = {
    "demo": ModelConfig(
        image_size=112,
        embed_dim=192,
        depth=4,
        num_heads=3,
        predictor_embed_dim=128,
        predictor_depth=6,
        predictor_num_heads=2,
        patch_init_std=0.06,
        target_layers=4,
    ),
    "vitl16": ModelConfig(),
    "vith16": ModelConfig(embed_dim=1280, depth=32),
    "vith16-384": ModelConfig(image_size=384, embed_dim=1280, depth=32),
}
"""The bundled models' shapes and the three published ones (paper, table 12), by file name."""
SHAPES["physics"] = replace(
    SHAPES["demo"], family="vjepa-rotary", predictor_depth=8, predictor_num_heads=4
)


def preset(name: str) -> ModelConfig:
    """The named shape.

    Raises:
        InputError: no preset has that name.
    """
    if name not in SHAPES:
        raise InputError(f"There is no preset {name!r}; choose one of {', '.join(SHAPES)}.")
    return SHAPES[name]
