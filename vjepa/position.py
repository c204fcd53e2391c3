"""Where tokens lie: sin-cos numbers that are added to them (V-JEPA), or a rotation (V-JEPA 2)."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor, nn

from vjepa.config import ModelConfig
from vjepa.grid import take
from vjepa.layers import position_table, stretch_positions
from vjepa.rotary import rotation_table


class Position(nn.Module):
    """The positions of an encoder or a predictor.

    Args:
        config: shape of the model.
        dim: width of the tokens.
        num_heads: attention heads, which rotations turn one by one.
        stretched: whether rotations follow the size of the clip (V-JEPA 2.1's encoder).
    """

    def __init__(
        self, config: ModelConfig, dim: int, num_heads: int, *, stretched: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        self.dim = dim
        self.head_dim = dim // num_heads
        self.stretched = stretched
        self.place(config.grid)

    def place(self, grid: tuple[int, int, int], table: Float[Tensor, "N D"] | None = None) -> None:
        """Computes the config's positions from those that the model was trained with.

        Args:
            grid: of the clips that it was trained on.
            table: the positions that were added to them; sin-cos when None.
        """
        if self.config.family == "vjepa":
            table = position_table(grid, self.dim) if table is None else table.float()
            table = stretch_positions(table, grid, self.config.grid)
        else:
            table = self._rotations(self.config.grid)
        self.register_buffer("table", table, persistent=False)

    def forward(
        self,
        x: Float[Tensor, "B K D"],
        idx: Int64[Tensor, "B K"] | None,
        grid: tuple[int, int, int] | None = None,
    ) -> tuple[Float[Tensor, "B K D"], Float[Tensor, "2 _ K hd"] | None]:
        """Tokens with what is added to them, and the rotation that attention applies.

        Args:
            x: embedded tokens.
            idx: where they lie; all of the grid, in order, when None.
            grid: the clip's, when it is not the config's: added positions are interpolated.
        """
        table = self._table(grid or self.config.grid).to(x.device)
        if self.config.family == "vjepa":
            added = table[None] if idx is None else take(table.expand(len(x), -1, -1), idx)
            return x + added.to(x.dtype), None
        rotation = table[:, None] if idx is None else table[:, idx]
        return x, rotation.to(x.dtype)

    def _table(self, grid: tuple[int, int, int]) -> Tensor:
        if grid == self.config.grid:
            return self.table
        if self.config.family == "vjepa":
            return stretch_positions(self.table, self.config.grid, grid)
        return self._rotations(grid)

    def _rotations(self, grid: tuple[int, int, int]) -> Float[Tensor, "2 N hd"]:
        return rotation_table(self.config, self.head_dim, grid, stretched=self.stretched)
