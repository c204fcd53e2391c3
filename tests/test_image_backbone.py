"""An image model sees frames one by one, and its weights are read whole or not at all."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from tiny import TINY

from vjepa.baselines import ImageBackbone
from vjepa.errors import InputError

NAME = "test_vit"  # timm's own test model: small, with a class token


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    save_file(timm.create_model(NAME).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def backbone(weights):
    return ImageBackbone(NAME, weights, TINY)


def test_a_frame_is_seen_by_itself(backbone):
    clips = torch.randn(2, 3, 4, 48, 48)
    changed = clips.clone()
    changed[:, :, 2:] = 0.5  # the second tubelet
    before, after = backbone.encode(clips), backbone.encode(changed)
    half = before.shape[1] // 2
    torch.testing.assert_close(after[:, :half], before[:, :half])
    assert not torch.allclose(after[:, half:], before[:, half:])


def test_tokens_are_the_image_model_s_own(backbone):
    """Clips are normalised as the model wants it, and the class token is left out."""
    clip = torch.randn(1, 3, 4, 160, 160)
    data = timm.data.resolve_model_data_config(backbone.backbone)
    pixels = clip[:, :, 0] * torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    pixels = pixels + torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    mean, std = (torch.tensor(data[name]).view(3, 1, 1) for name in ("mean", "std"))
    features = backbone.backbone.forward_features((pixels - mean) / std)
    tokens = backbone.encode(clip)
    expected = features[:, backbone.backbone.num_prefix_tokens :]
    torch.testing.assert_close(tokens[:, : expected.shape[1]], expected, atol=1e-4, rtol=1e-4)


def test_wrong_weights_are_refused_in_one_sentence(weights, tmp_path):
    other = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), other)
    text = tmp_path / "text.pth"
    text.write_text("no weights")
    for name, path in (("test_vit", other), ("test_vit", text), ("test_vit", tmp_path / "none")):
        with pytest.raises(InputError) as caught:
            ImageBackbone(name, path, TINY)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no image model"):
        ImageBackbone("vit_of_mine", weights, TINY)
