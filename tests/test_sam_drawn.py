"""What a tiny SAM sees beside SAM's tokens and embeddings: pictures of clicks and boxes, and details of the image."""

import math

import pytest
import torch
import torch.nn.functional as F

from segedu.models.sam.build import tiny_sam
from segedu.models.sam.details import ImageDetails, unfold_details
from segedu.models.sam.drawn import draw_prompts
from segedu.models.sam.prompt_encoder import ABSENT, BACKGROUND, BOTTOM_RIGHT, NOT_A_POINT, OBJECT, TOP_LEFT
from segedu.models.sam.two_way import attend

SIZE, SIDE = 64, 16  # a pixel of the pictures is 4 of the image, and a click's hill is as wide as a pixel of the image


def pixels(*points):
    return torch.tensor([points], dtype=torch.float32)


def test_clicks_are_hills_and_hollows():
    # The middle of picture pixel (3, 5) lies between image pixels 13 and 14, and 21 and 22.
    clicks, box = draw_prompts(pixels((13.5, 21.5), (41.5, 1.5)), torch.tensor([[OBJECT, BACKGROUND]]), SIZE, SIDE)[0]
    assert clicks[5, 3] == 1
    assert clicks[0, 10] == -1
    assert math.isclose(clicks[5, 4], math.exp(-(4**2) / 2), rel_tol=1e-5)
    assert math.isclose(clicks[6, 4], math.exp(-(4**2 + 4**2) / 2), rel_tol=1e-5)
    assert not box.any()


def test_a_box_is_filled():
    corners = torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]])
    clicks, box = draw_prompts(pixels((9.5, 5), (30, 13)), corners, SIZE, SIDE)[0]
    expected = torch.full((SIDE, SIDE), -1.0)
    expected[1:3, 2:8] = 1  # middles at 5.5 and 9.5 down, at 9.5, 13.5, ... 29.5 across
    assert torch.equal(box, expected)
    assert not clicks.any()


def test_boxes_and_clicks_go_together_and_absent_points_nowhere():
    points = pixels((9.5, 5), (30, 13), (20, 20), (21, 21), (13.5, 21.5))
    labels = torch.tensor([[TOP_LEFT, BOTTOM_RIGHT, ABSENT, NOT_A_POINT, OBJECT]])
    both = draw_prompts(points, labels, SIZE, SIDE)
    alone = (
        draw_prompts(points[:, :2], labels[:, :2], SIZE, SIDE),
        draw_prompts(points[:, 4:], labels[:, 4:], SIZE, SIDE),
    )
    assert torch.equal(both[:, 1], alone[0][:, 1])
    assert torch.equal(both[:, 0], alone[1][:, 0])


def test_no_points_are_no_pictures():
    drawn = draw_prompts(torch.zeros(2, 0, 2), torch.zeros(2, 0, dtype=torch.long), SIZE, SIDE)
    assert drawn.shape == (2, 2, SIDE, SIDE)
    assert not drawn.any()


def test_a_tiny_sam_answers_each_prompt_as_it_would_alone():
    torch.manual_seed(0)
    sam = tiny_sam(SIZE).double().eval()  # other batches round otherwise, and single precision shows it
    with torch.no_grad():
        for weight in sam.mask_decoder.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        embeddings = sam.encode_image(torch.rand(2, 3, SIZE, SIZE, dtype=torch.float64))
        points, labels = torch.rand(3, 2, 2, dtype=torch.float64) * SIZE, torch.tensor([[1, 0], [2, 3], [1, -2]])
        points[1] = torch.tensor([[5.0, 6], [40, 50]])
        masks, has_mask = torch.randn(3, 1, SIDE, SIDE, dtype=torch.float64), torch.tensor([True, False, True])
        of = torch.tensor([1, 0, 1])
        together, _ = sam.decode(embeddings, of, points, labels, masks=masks, has_mask=has_mask)
        for i in range(3):
            N = 1 if i == 2 else 2
            mask = masks[i : i + 1] if has_mask[i] else None
            alone, _ = sam.decode(
                embeddings[of[i]][None], None, points[i : i + 1, :N], labels[i : i + 1, :N], masks=mask
            )
            torch.testing.assert_close(together[i : i + 1], alone)
        # A box by its corners is a box.
        box = points[1].flatten()[None]
        alone, _ = sam.decode(embeddings[:1], None, boxes=box)
        torch.testing.assert_close(together[1:2], alone)


def test_details_come_out_as_they_were_folded():
    torch.manual_seed(0)
    details = ImageDetails((40, 24), 32)
    at8, at4 = torch.randn(2, 40, 6, 6), torch.randn(2, 24, 12, 12)
    folded = details(at8, at4)
    assert folded.shape == (2, 3 * 32, 3, 3)
    for found, project, features in zip(unfold_details(folded, 32), details.project, (at8, at4), strict=True):
        assert torch.equal(found, project(features))


def test_a_change_finer_than_the_embedding_moves_the_mask():
    """Two images whose features differ at stride 4 alone get different masks, and only where they differ."""
    torch.manual_seed(0)
    sam = tiny_sam(SIZE).eval()
    embeddings = torch.randn(1, sam.embedding_channels, SIZE // 16, SIZE // 16)
    points, labels = torch.full((1, 1, 2), 30.0), torch.ones(1, 1, dtype=torch.long)
    other = embeddings.clone()
    other[:, -32 * 16 :, 1, 2] += 1  # one cell of the embedding: rows 4 to 7 and columns 8 to 11 of the mask
    with torch.no_grad():
        change = sam.decode(embeddings, None, points, labels)[0] - sam.decode(other, None, points, labels)[0]
    moved = change[0].abs().amax(0) > 1e-6
    assert moved[4:8, 8:12].all()
    assert not moved[:3].any() and not moved[9:].any() and not moved[:, :7].any() and not moved[:, 13:].any()


@pytest.mark.parametrize(("N", "M"), [(9, 40), (40, 9), (5, 5)])
def test_attention_by_hand_is_that_of_pytorch(N, M):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 4, N, 16), torch.randn(3, 4, M, 16), torch.randn(3, 4, M, 16)
    mask = torch.rand(3, 1, 1, M) > 0.3
    mask[..., 0] = True
    for which in (None, mask):
        exact = F.scaled_dot_product_attention(q, k, v, attn_mask=which)
        found = attend(q.bfloat16(), k.bfloat16(), v.bfloat16(), which)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), exact, atol=0.05, rtol=0)
