"""Convolution arithmetic against the layers themselves, gradients, peers' counts and cases worked by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segedu.arithmetic import (
    activation_memory,
    count_multiply_adds,
    count_parameters,
    effective_kernel,
    effective_receptive_field,
    layer_table,
    output_size,
    receptive_field,
    transposed_output_size,
)
from segedu.models.atrous import with_holes
from segedu.models.segnet import segnet
from segedu.models.unet import unet

LAYERS = {
    "size": st.integers(1, 40),
    "kernel": st.integers(1, 7),
    "stride": st.integers(1, 4),
    "padding": st.integers(0, 4),
    "dilation": st.integers(1, 3),
}


@given(**LAYERS)
def test_output_size_is_that_of_the_layer(size, kernel, stride, padding, dilation):
    try:
        expected = F.conv1d(torch.zeros(1, 1, size), torch.zeros(1, 1, kernel), None, stride, padding, dilation)
    except RuntimeError:
        with pytest.raises(ValueError, match="needs as many after padding"):
            output_size(size, kernel, stride, padding, dilation)
    else:
        assert output_size(size, kernel, stride, padding, dilation) == expected.shape[-1]


@given(**LAYERS)
def test_output_size_rounds_up_as_pooling_does(size, kernel, stride, padding, dilation):
    padding = min(padding, kernel // 2)
    try:
        expected = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, dilation, ceil_mode=True)
        assert expected.shape[-1] > 0
    except (RuntimeError, AssertionError):
        return
    if size + 2 * padding >= dilation * (kernel - 1) + 1:
        assert output_size(size, kernel, stride, padding, dilation, ceil_mode=True) == expected.shape[-1]


@given(**LAYERS, output_padding=st.integers(0, 3))
def test_transposed_output_size_is_that_of_the_layer(size, kernel, stride, padding, dilation, output_padding):
    try:
        expected = F.conv_transpose1d(
            torch.zeros(1, 1, size),
            torch.zeros(1, 1, kernel),
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            dilation=dilation,
        )
    except RuntimeError:
        with pytest.raises(ValueError, match="output"):
            transposed_output_size(size, kernel, stride, padding, dilation, output_padding)
    else:
        assert transposed_output_size(size, kernel, stride, padding, dilation, output_padding) == expected.shape[-1]


def test_wrong_layers_are_named():
    with pytest.raises(ValueError, match="got 3, 0, 1 and 0"):
        output_size(5, 3, stride=0)
    with pytest.raises(ValueError, match=r"spans 7 inputs .* got 3 \+ 2 \* 1"):
        output_size(3, 3, padding=1, dilation=3)


def test_vgg16_s_counts():
    # Parameters: table 2 of Simonyan and Zisserman rounds to 138 million. Multiply-adds: torchvision's documentation.
    with torch.device("meta"):
        vgg = torchvision.models.vgg16()
    assert count_parameters(vgg) == 138_357_544
    assert count_multiply_adds(vgg, (1, 3, 224, 224)) / 1e9 == pytest.approx(15.47, abs=0.005)
    vgg.features.requires_grad_(False)
    assert count_parameters(vgg, trainable=True) == 138_357_544 - 14_714_688


def test_counting_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()).train()
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = list(model.parameters())
    count_multiply_adds(model, (1, 3, 9, 9))
    receptive_field(model)
    assert all(one is other for one, other in zip(parameters, model.parameters(), strict=True))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model] == [True, True, False]


def test_shared_weights_count_once():
    layer = nn.Conv2d(3, 3, 3)
    assert count_parameters(nn.Sequential(layer, layer)) == 3 * 3 * 9 + 3


class Branches(nn.Module):
    """Skips, crops, all ways to change sizes: what the tracer must follow."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, stride=2, padding=1)
        self.atrous = nn.Conv2d(2, 2, 3, dilation=3, padding=3)
        self.norm = nn.BatchNorm2d(2)
        self.up = nn.ConvTranspose2d(4, 1, 4, stride=2, padding=1)

    def forward(self, images):
        x = self.first(F.pad(images, (2, 1, 2, 1)))
        pooled, indices = F.max_pool2d(self.norm(x), 2, return_indices=True)
        pooled = F.avg_pool2d(pooled, 3, 1, padding=1)
        up = F.max_unpool2d(pooled, indices, 2)
        y = torch.relu(self.atrous(x))[..., : up.shape[-2], : up.shape[-1]] + up
        y = torch.cat([y, F.interpolate(pooled, y.shape[-2:], mode="bilinear")], dim=1)
        return self.up(y)[..., 3:, 3:] * y.mean(1, keepdim=True).amax()  # the last factor sees everything


class NoGlobal(Branches):
    def forward(self, images):
        x = self.first(F.pad(images, (2, 1, 2, 1)))
        pooled = F.avg_pool2d(self.norm(x), 2)
        pooled = F.avg_pool2d(pooled, 3, 1, padding=1)
        y = self.atrous(x)[..., : 2 * pooled.shape[-2], : 2 * pooled.shape[-1]]
        up = F.interpolate(pooled, scale_factor=2.0, mode="bilinear")
        return self.up(torch.cat([y + F.interpolate(pooled, scale_factor=2.0), up], dim=1))[..., 3:, 3:]


def numeric_sizes(model, size, outputs):
    """Extent of the columns with a gradient, with weights that cannot cancel: an independent way to the field."""
    for parameter in model.parameters():
        nn.init.uniform_(parameter, 0.5, 1)
    model.double().eval()
    found = []
    for column in outputs:
        image = torch.rand(1, 1, size, size, dtype=torch.float64, requires_grad=True)
        output = model(image)
        output[..., output.shape[-2] // 2, column].sum().backward()
        (columns,) = image.grad.abs().sum((0, 1, 2)).nonzero(as_tuple=True)
        found.append((int(columns[0]), int(columns[-1])))
    return found


def test_fields_are_where_the_gradients_are():
    model = NoGlobal()
    field = receptive_field(model, channels=1, size=96)
    columns = range(30, 46)
    ends = numeric_sizes(model, 96, columns)
    assert set(field.sizes) == {last - first + 1 for first, last in ends}
    assert field.size == max(field.sizes)
    assert field.stride == 1
    phase = [(first + last) / 2 - column for column, (first, last) in zip(columns, ends, strict=True)]
    assert min(phase) <= field.offset <= max(phase)


def test_an_output_that_sees_everything_has_no_field():
    with pytest.raises(ValueError, match="reaches beyond the image"):
        receptive_field(Branches(), channels=1, size=64)


@pytest.mark.parametrize(
    ("layers", "size", "stride"),
    [
        ([(3, 1, 1), (3, 1, 1)], 5, 1),  # two 3 x 3 see as far as one 5 x 5: Simonyan and Zisserman, section 2.3
        ([(3, 2, 1), (3, 1, 2)], 3 + 2 * 2 * 2, 2),
        ([(11, 4, 1), (3, 2, 1), (5, 1, 1)], 11 + 2 * 4 + 4 * 8, 8),
    ],
)
def test_fields_of_chains(layers, size, stride):
    model = nn.Sequential(*[nn.Conv2d(1, 1, k, s, dilation=r) for k, s, r in layers])
    field = receptive_field(model, channels=1, size=200)
    assert (field.size, field.sizes, field.stride) == (size, (size,), stride)
    assert field.offset == (size - 1) / 2


def test_torchvision_s_googlenet_sees_less_than_the_published_one():
    with torch.device("meta"):
        googlenet = torchvision.models.googlenet(aux_logits=False, init_weights=False)
    assert receptive_field(nn.Sequential(*list(googlenet.children())[:-3])).size == 379


def test_the_effective_field_lies_within_the_theoretical_one_and_is_largest_in_the_middle():
    torch.manual_seed(0)
    model = nn.Sequential(*[nn.Conv2d(1 if i == 0 else 8, 8, 3, padding=1) for i in range(5)])
    strength = effective_receptive_field(model, torch.randn(8, 1, 41, 41))
    assert strength.shape == (41, 41)
    assert strength.max() == 1
    seen = strength.nonzero()
    assert seen.amin(0).tolist() == [15, 15]
    assert seen.amax(0).tolist() == [25, 25]
    assert strength[18:23, 18:23].sum() > 2 * 25 / 121 * strength.sum()  # twice what an even field would hold there
    moved = effective_receptive_field(model, torch.randn(8, 1, 41, 41), position=(10, 30))
    assert moved.nonzero().amin(0).tolist() == [25, 5]


def test_the_table_s_rows_add_up():
    with torch.device("meta"):
        vgg = torchvision.models.vgg16()
    rows = layer_table(vgg, (1, 3, 224, 224))
    assert sum(row.parameters for row in rows) == 138_357_544
    with FlopCounterMode(display=False) as counter:
        vgg(torch.zeros(1, 3, 224, 224, device="meta"))
    assert sum(row.multiply_adds for row in rows) == counter.get_total_flops() // 2
    first = rows[0]
    assert (first.kind, first.kernel, first.stride, first.dilation) == ("Conv2d", 3, 1, 1)
    assert first.shape == (1, 64, 224, 224)
    assert first.multiply_adds == 3 * 9 * 64 * 224 * 224
    # Fields within VGG16, from Araujo et al. 2019 ("Computing receptive fields"): pool4 sees 100, pool5 212 pixels.
    assert {row.name: row.receptive_field for row in rows}["features.23"] == 100
    assert rows[-1].receptive_field is None


def test_memory_by_hand():
    # Of 10 x 10 float32 pixels: 4 channels in and 4 out of the ReLU; then these 4 and the 8 of the next convolution.
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1))
    assert activation_memory(model, (1, 3, 10, 10)) == (4 + 8) * 100 * 4
    assert activation_memory(model, (1, 3, 10, 10), after="1") == (4 + 4) * 100 * 4
    in_place = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    assert activation_memory(in_place, (1, 3, 10, 10)) == 4 * 100 * 4
    with pytest.raises(AttributeError, match="9"):
        activation_memory(model, (1, 3, 10, 10), after="9")


def test_segnet_keeps_a_tenth_of_what_unet_keeps_for_its_decoder():
    with torch.device("meta"):
        ours, theirs = segnet(), unet(3, 11, padded=True)
    shape = (1, 3, 360, 480)
    kept = activation_memory(ours, shape, after="encoder.4"), activation_memory(theirs, shape, after="down.4")
    levels = [(64, 360, 480), (128, 180, 240), (256, 90, 120), (512, 45, 60)]
    # U-Net: the four copies, 4 bytes a number, what came out of the last pooling, and the last level's two maps.
    copies = 4 * sum(math.prod(level) for level in levels)
    assert copies < kept[1] < 1.2 * copies
    assert kept[0] < kept[1] / 10


@given(kernel=st.integers(1, 5), rate=st.integers(1, 4))
def test_an_atrous_kernel_spans_what_it_does_with_its_holes_filled(kernel, rate):
    assert effective_kernel(kernel, rate) == len(with_holes(torch.ones(1, kernel), rate)[0])
