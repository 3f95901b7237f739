"""What is particular to each decoder: bilinear kernels, U-Net's sizes and tiles, SegNet's places, atrous kernels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from segedu.models.atrous import atrous_conv1d, atrous_conv2d, with_holes
from segedu.models.fcn import fcn8s, fcn16s, fcn32s
from segedu.models.segnet import pool_with_indices, unpool
from segedu.models.tiling import mirrored, overlap_tile
from segedu.models.unet import output_size, unet, valid_size
from segedu.models.upsampling import BilinearUpsampling, bilinear_kernel

# Upsampling


def test_bilinear_kernels_of_the_paper_s_code():
    # Caffe's filler: (1 - |x/f - c|)(1 - |y/f - c|), f = ceil(k / 2), c = (2f - 1 - f % 2) / (2f).
    for size in (4, 16, 64):  # those of FCN; Caffe's kernels of other sizes are not symmetric
        f = -(-size // 2)
        c = (2 * f - 1 - f % 2) / (2 * f)
        taps = 1 - (torch.arange(size) / f - c).abs()
        torch.testing.assert_close(bilinear_kernel(size), torch.outer(taps, taps))
    torch.testing.assert_close(bilinear_kernel(4)[0], torch.tensor([0.0625, 0.1875, 0.1875, 0.0625]))
    torch.testing.assert_close(bilinear_kernel(3)[1], torch.tensor([0.5, 1, 0.5]))


@pytest.mark.parametrize("stride", [2, 8, 16, 32])
def test_at_first_the_transposed_convolution_interpolates(stride):
    torch.manual_seed(0)
    x = torch.randn(1, 3, 5, 6)
    up = BilinearUpsampling(3, stride, learn=False, padding=stride // 2)(x)
    expected = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    inner = slice(stride // 2, -(stride // 2))  # at the edge, interpolation repeats the outermost value
    torch.testing.assert_close(up[..., inner, inner], expected[..., inner, inner])


def test_only_the_last_upsampling_is_fixed():
    with torch.device("meta"):
        model = fcn8s()
    frozen = [name for name, weight in model.named_parameters() if not weight.requires_grad]
    assert frozen == ["upscore8.weight"]


def test_each_fcn_starts_from_the_one_before():
    with torch.device("meta"):
        coarse, middle, fine = fcn32s(), fcn16s(), fcn8s()
    assert coarse.state_dict().keys() - middle.state_dict().keys() == {"upscore.weight"}
    assert middle.state_dict().keys() - fine.state_dict().keys() == {"upscore16.weight"}


def test_crops_put_scores_where_their_windows_are():
    """A network that only averages windows of 32 pixels and upsamples: a bright window stays at its place."""
    model = fcn32s("googlenet", num_classes=1).eval()
    model.features, model.head, model.score = nn.AvgPool2d(32), nn.Identity(), nn.Identity()
    model.upscore = BilinearUpsampling(3, 32, learn=False)
    model.offset = 16  # kernels of 64 pixels begin 16 before their windows
    images = torch.zeros(1, 3, 128, 160)
    images[..., 64:96, 32:64] = 1
    scores = model(images)[0, 0]
    brightest = (scores == scores.max()).nonzero()
    assert brightest.double().mean(0).tolist() == [79.5, 47.5]


# U-Net


@given(st.integers(1, 700), st.integers(2, 5))
def test_sizes_are_those_of_the_network(size, depth):
    with torch.device("meta"):
        model = unet(depth=depth, width=1)
        images = torch.empty(1, 1, size, valid_size(204, depth))
    expected = output_size(size, depth)
    if expected is None:
        with pytest.raises(ValueError, match=f"cannot take a side of {size} pixels.* Take {valid_size(size, depth)}"):
            model(images)
    else:
        assert model(images).shape[2] == expected


def test_sizes_of_the_paper():
    assert output_size(572) == 388
    assert valid_size(1) == 188
    assert output_size(188) == 4


@given(st.integers(1, 60), st.integers(1, 60))
def test_padded_it_takes_any_size(height, width):
    with torch.device("meta"):
        model = unet(2, 3, depth=4, width=2, padded=True)
        assert model(torch.empty(1, 2, height, width, device="meta")).shape == (1, 3, height, width)


@pytest.mark.parametrize("padded", [False, True])
def test_tiles_give_what_the_whole_mirrored_image_gives(padded, one_thread):
    """With tiles of a multiple of the network's stride, 4; a padded network needs its field as margin."""
    torch.manual_seed(0)
    model = unet(2, 3, depth=3, width=4, padded=padded).eval()
    images, margin = torch.randn(2, 2, 53, 70), 20 if not padded else 24
    rows, columns = (mirrored(torch.arange(-margin, n + margin), size) for n, size in ((64, 53), (80, 70)))
    with torch.no_grad():
        whole = model(images[:, :, rows[:, None], columns])
        top, left = ((size - n) // 2 for size, n in zip(whole.shape[2:], (64, 80), strict=True))
        expected = whole[:, :, top : top + 53, left : left + 70]
        seen = []
        tiled = overlap_tile(model, images, tile=16, margin=margin, on_tile=lambda *count: seen.append(count))
    torch.testing.assert_close(tiled, expected, rtol=1e-4, atol=1e-5)
    assert seen == [(done, 4 * 5) for done in range(1, 21)]


@given(st.integers(1, 9), st.integers(0, 30))
def test_mirrors_are_numpy_s(size, margin):
    expected = np.pad(np.arange(size), margin, "reflect")
    assert mirrored(torch.arange(-margin, size + margin), size).tolist() == expected.tolist()


def test_tiles_that_cannot_be_are_named():
    images = torch.rand(1, 1, 20, 20)
    with pytest.raises(ValueError, match=r"gave \(8, 8\) values for a tile of 10 .* is the margin right"):
        overlap_tile(lambda x: x[..., 3:-3, 3:-3], images, tile=10, margin=2)
    with pytest.raises(ValueError, match=r"\(B, C, H, W\), got \(20, 20\)"):
        overlap_tile(nn.Identity(), images[0, 0])
    with pytest.raises(ValueError, match="got 0 and 2"):
        overlap_tile(nn.Identity(), images, tile=0, margin=2)


# SegNet


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_places_and_unpooling_are_torch_s(height, width, seed):
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    maxima, places = pool_with_indices(x)
    theirs, flat = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
    torch.testing.assert_close(maxima, theirs)
    assert places.dtype == torch.uint8
    assert places.max() <= 3
    expected = torch.zeros(2, 3, height * width).scatter(2, flat.flatten(2), theirs.flatten(2)).reshape(x.shape)
    torch.testing.assert_close(unpool(maxima, places, (height, width)), expected)


def test_a_place_by_hand():
    x = torch.tensor([[1.0, 2, 0], [4, 3, 5]])[None, None]
    maxima, places = pool_with_indices(x)
    assert maxima.tolist() == [[[[4, 5]]]]
    assert places.tolist() == [[[[2, 2]]]]
    assert unpool(maxima, places, (2, 3)).tolist() == [[[[0, 0, 0], [4, 0, 5]]]]


def test_unpooling_can_be_differentiated():
    x = torch.randn(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: unpool(*pool_with_indices(x), (4, 5)), x)


# Atrous convolution


@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    rate=st.integers(1, 4),
    padding=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_atrous_convolution_is_torch_s(kernel, rate, padding, seed):
    torch.manual_seed(seed)
    images, weight, bias = torch.randn(2, 3, 13, 14), torch.randn(4, 3, *kernel), torch.randn(4)
    expected = F.conv2d(images, weight, bias, padding=padding, dilation=rate)
    torch.testing.assert_close(
        atrous_conv2d(images, weight, bias, rate=rate, padding=padding), expected, rtol=1e-4, atol=1e-4
    )
    filled = F.conv2d(images, with_holes(weight, rate), bias, padding=padding)
    torch.testing.assert_close(filled, expected, rtol=1e-4, atol=1e-4)
    line = F.conv1d(images[:1, :1, 0], weight[:1, :1, 0], padding=padding, dilation=rate)
    torch.testing.assert_close(atrous_conv1d(images[0, 0, 0], weight[0, 0, 0], rate, padding), line[0, 0])


def test_an_atrous_convolution_by_hand():
    signal = torch.tensor([1.0, 2, 3, 4, 5, 6])
    assert atrous_conv1d(signal, torch.tensor([1.0, 0, -1]), rate=2).tolist() == [-4, -4]
    assert with_holes(torch.tensor([[1.0, 2, 3]]), 2).tolist() == [[1, 0, 2, 0, 3]]


def test_atrous_kernels_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"9 inputs after padding for 3 taps at rate 4, got 8"):
        atrous_conv1d(torch.ones(8), torch.ones(3), rate=4)
    with pytest.raises(ValueError, match="expected a rate of 1 or more"):
        atrous_conv1d(torch.ones(8), torch.ones(3), rate=0)
    with pytest.raises(ValueError, match=r"the same C, got \(1, 2, 5, 5\) and \(1, 3, 3, 3\)"):
        atrous_conv2d(torch.ones(1, 2, 5, 5), torch.ones(1, 3, 3, 3))
