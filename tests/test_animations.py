"""Animated kernels meet the cells that PyTorch's convolutions connect, and the pictures say so."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from segedu.animations import walk_convolution, walk_transposed_convolution

arguments = st.fixed_dictionaries(
    {
        "kernel": st.integers(1, 4),
        "stride": st.integers(1, 3),
        "padding": st.integers(0, 2),
        "dilation": st.integers(1, 3),
    }
)


def ones(kernel):
    return torch.ones(1, 1, kernel, kernel)


@given(size=st.integers(1, 7), layer=arguments)
def test_each_output_reads_the_inputs_that_its_gradient_names(size, layer):
    assume(size + 2 * layer["padding"] > layer["dilation"] * (layer["kernel"] - 1))
    walk = walk_convolution(size, **layer)
    image = torch.zeros(1, 1, size, size, requires_grad=True)
    rest = {name: value for name, value in layer.items() if name != "kernel"}
    output = F.conv2d(image, ones(layer["kernel"]), **rest)
    assert output.shape[2:] == (walk.output_size, walk.output_size)
    for (row, column), window in walk.windows.items():
        (gradient,) = torch.autograd.grad(output[0, 0, row, column], image, retain_graph=True)
        inside = {(i, j) for i, j in window if 0 <= i < size and 0 <= j < size}
        assert inside == {tuple(cell) for cell in gradient[0, 0].nonzero().tolist()}
        assert len(window) == layer["kernel"] ** 2


@given(size=st.integers(1, 4), layer=arguments)
def test_the_numbers_of_a_transposed_convolution_are_those_of_ones(size, layer):
    reach = layer["stride"] * (size - 1) + layer["dilation"] * (layer["kernel"] - 1) + 1
    assume(reach > 2 * layer["padding"])
    rest = {name: value for name, value in layer.items() if name != "kernel"}
    expected = F.conv_transpose2d(torch.ones(1, 1, size, size), ones(layer["kernel"]), **rest)[0, 0]
    walk = walk_transposed_convolution(size, **layer)
    last = list(frames(walk))[-1]
    written = sorted(int(text.text) for text in last.iter("text"))
    assert walk.output_size == len(expected)
    assert written == sorted(expected[expected > 0].int().tolist())


def picture(walk):
    """The parsed SVG of an animation."""
    return ElementTree.fromstring(re.search("<svg.*</svg>", walk._repr_html_(), re.DOTALL)[0])


def frames(walk):
    return (group for group in picture(walk).iter("g") if "frame" in group.get("class"))


def test_one_frame_for_each_position_and_one_of_them_stands_still():
    walk = walk_convolution(5, 3, stride=2, padding=1)
    kinds = [group.get("class") for group in frames(walk)]
    assert len(kinds) == 9
    assert kinds.count("frame still") == 1


@pytest.mark.parametrize(
    "walk",
    [walk_convolution(6, 3, padding=2), walk_convolution(7, 3, dilation=2), walk_transposed_convolution(4, 3, 2, 1)],
)
def test_everything_lies_within_the_picture_and_weighs_little(walk):
    svg = picture(walk)
    width, height = float(svg.get("width")), float(svg.get("height"))
    assert svg.get("viewBox") == f"0 0 {width:g} {height:g}"
    starts = [
        (float(x), float(y))
        for path in svg.iter("path")
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path.get("d"))
    ]
    assert all(0 <= x <= width and 0 <= y <= height for x, y in starts)
    assert len(walk._repr_html_()) < 100_000


def test_readers_who_cannot_see_it_are_told_its_sizes():
    svg = picture(walk_transposed_convolution(3, 3, stride=2, padding=1))
    assert svg.get("role") == "img"
    assert "input of 3 by 3" in svg.get("aria-label")
    assert "output of 5 by 5" in svg.get("aria-label")


def test_it_can_be_paused_and_needs_no_script_and_no_other_host():
    page = walk_convolution(4, 3)._repr_html_()
    assert '<input type="checkbox">' in page and "animation-play-state: paused" in page
    assert "prefers-reduced-motion" in page
    assert "<script" not in page and "http" not in page


def test_a_kernel_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="spans 5"):
        walk_convolution(4, 3, dilation=2)
