"""The reference solution of ps10 against the authors' SAM, transformers, torchvision and the course's own SAM."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from segment_anything.modeling.prompt_encoder import PositionEmbeddingRandom, PromptEncoder
from segment_anything.modeling.sam import Sam
from segment_anything.utils.amg import calculate_stability_score
from torchvision.ops import nms
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamPositionalEmbedding

from segedu.metrics import iou
from segedu.models.sam.build import vit_sam
from segedu.training.prompt_clicks import correction_of

pytestmark = pytest.mark.usefixtures("one_thread")

SIDES = st.integers(1, 40)
MASKS = arrays(bool, (9, 12))


@pytest.fixture(scope="module")
def reference(reference_of):
    return reference_of("ps10-sam")


@settings(max_examples=40)
@given(height=SIDES, width=SIDES, waves=st.integers(1, 9))
def test_positions_are_those_of_the_authors(reference_of, height, width, waves):
    theirs = PositionEmbeddingRandom(waves)
    points = torch.rand(2, 3, 2) * torch.tensor([width, height])
    waves = theirs.positional_encoding_gaussian_matrix
    ours = reference_of("ps10-sam")["encode_points"](points, (height, width), waves)
    want = theirs.forward_with_coords(points + 0.5, (height, width))  # their prompt encoder adds the half pixel
    torch.testing.assert_close(ours, want, rtol=1e-4, atol=1e-4)


def test_positions_are_those_of_transformers(reference):
    torch.manual_seed(0)
    theirs = SamPositionalEmbedding(SamVisionConfig(num_pos_feats=6, scale=1.0))
    points = 70 * torch.rand(1, 2, 4, 2)
    with torch.no_grad():
        ours = reference["encode_points"](points, (80, 70), theirs.positional_embedding)
        torch.testing.assert_close(ours, theirs(points + 0.5, (80, 70)), rtol=1e-4, atol=1e-4)


def test_positions_of_a_grid_are_what_the_authors_give_the_image(reference):
    torch.manual_seed(0)
    theirs = PositionEmbeddingRandom(5)
    grid = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="xy"), dim=-1)
    ours = reference["encode_points"](grid, (6, 8), theirs.positional_encoding_gaussian_matrix)
    torch.testing.assert_close(ours, theirs((6, 8)).permute(1, 2, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("labels", [[1], [0], [1, 0, 1], [2, 3], [1, 2, 3], [0, 1, 2, 3]])
def test_tokens_are_those_of_the_authors(reference, labels):
    torch.manual_seed(0)
    theirs, ours = PromptEncoder(8, (4, 4), (64, 64), 16), reference["PromptTokens"](8)
    meanings = torch.cat([embedding.weight for embedding in theirs.point_embeddings])
    ours.load_state_dict({"meanings.weight": meanings, "no_box": theirs.not_a_point_embed.weight[0]})
    points, labels = 64 * torch.rand(len(labels), 2), torch.tensor(labels)
    clicks, corners = labels < 2, labels >= 2
    given_points = (points[clicks][None], labels[clicks][None]) if clicks.any() else None
    box = points[corners].reshape(1, 4) if corners.any() else None
    positions = reference["encode_points"](points, (64, 64), theirs.pe_layer.positional_encoding_gaussian_matrix)
    with torch.no_grad():
        want, _ = theirs(given_points, box, None)
        torch.testing.assert_close(ours(positions, labels), want[0], rtol=1e-4, atol=1e-5)


def test_choice_is_the_answer_of_the_course_s_sam(reference):
    """All four masks of a prompt are the one and the three that the network gives."""
    torch.manual_seed(0)
    sam = vit_sam(64, width=16, depth=1, heads=2, global_blocks=(), window=0).eval()
    prompts = [([[10.0, 20]], [1]), ([[10.0, 20], [40, 30]], [1, 0]), ([[5.0, 5], [50, 60]], [2, 3])]
    with torch.no_grad():
        embedding = torch.randn(1, 256, 4, 4)
        answers = []
        for points, labels in prompts:
            one, three = (
                sam.decode(embedding, None, torch.tensor([points]), torch.tensor([labels]), multimask=several)
                for several in (False, True)
            )
            answers.append((one, three))
    logits = torch.cat([torch.cat([one[0], three[0]], dim=1) for one, three in answers])
    expected = torch.cat([torch.cat([one[1], three[1]], dim=1) for one, three in answers])
    chosen, hope = reference["choose_masks"](logits, expected, [labels for _, labels in prompts])
    (_, (three, three_iou)), (second, _), (third, _) = answers
    best = three_iou[0].argmax()
    torch.testing.assert_close(chosen, torch.stack([three[0, best], second[0][0, 0], third[0][0, 0]]))
    torch.testing.assert_close(hope, torch.stack([three_iou[0, best], second[1][0, 0], third[1][0, 0]]))


def test_logits_are_a_convolution_of_one_pixel(reference):
    torch.manual_seed(0)
    tokens, pixels = torch.randn(5, 3), torch.randn(3, 6, 7)
    want = F.conv2d(pixels[None], tokens[:, :, None, None])[0]
    torch.testing.assert_close(reference["mask_logits"](tokens, pixels), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("scaled", "size"), [((64, 40), (96, 60)), ((33, 64), (50, 97)), ((64, 64), (16, 16))])
def test_masks_are_those_of_the_authors(reference, scaled, size):
    torch.manual_seed(0)
    logits = torch.randn(3, 16, 16)
    square = SimpleNamespace(image_encoder=SimpleNamespace(img_size=64))
    want = Sam.postprocess_masks(square, logits[None], scaled, size)[0] > 0
    assert torch.equal(reference["to_masks"](logits, 64, scaled, size), want)


@given(
    logits=arrays(np.float32, (3, 5, 6), elements=st.floats(-3, 3, width=32)),
    delta=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
)
def test_stability_is_that_of_the_authors(reference_of, logits, delta):
    logits = torch.from_numpy(logits)
    want = calculate_stability_score(logits, 0.0, delta).nan_to_num(0)  # theirs divides 0 by 0
    torch.testing.assert_close(reference_of("ps10-sam")["stability"](logits, delta), want)


@given(answer=MASKS, truth=MASKS)
def test_click_is_on_the_deepest_error(reference_of, answer, truth):
    if (answer == truth).all():
        answer = ~truth
    (x, y), label = reference_of("ps10-sam")["next_click"](torch.from_numpy(answer), torch.from_numpy(truth))
    assert ((x, y), label) == correction_of(answer, truth)  # OpenCV's distances instead of SciPy's
    assert answer[y, x] != truth[y, x] and label == truth[y, x]


@given(truth=MASKS, answers=st.lists(MASKS, min_size=9, max_size=9), target=st.floats(0.05, 1), most=st.integers(1, 9))
def test_game_ends_with_the_first_answer_that_is_good_enough(reference_of, truth, answers, target, most):
    truth[4, 4] = True
    told = []

    def predict(points, labels, logits):
        told.append((list(points), list(labels), logits))
        return torch.from_numpy(answers[len(told) - 1]), len(told)

    def next_click(mask, of_truth):
        before = answers[len(told) - 1] if told else np.zeros_like(truth)
        assert np.array_equal(mask, before) and np.array_equal(of_truth, truth)
        return (len(told), 0), len(told) % 2

    points, labels, ious = reference_of("ps10-sam")["clicks_until"](
        predict, next_click, torch.from_numpy(truth), target, most
    )
    every = [float(iou(answer, truth)) for answer in answers]
    good = [turn for turn, value in enumerate(every[:most], 1) if np.float32(value) >= target]
    turns = good[0] if good else most
    assert ious == pytest.approx(every[:turns])
    assert points == [(turn, 0) for turn in range(turns)] and labels == [turn % 2 for turn in range(turns)]
    assert told == [(points[: turn + 1], labels[: turn + 1], turn or None) for turn in range(turns)]


@settings(max_examples=60)
@given(
    boxes=st.lists(st.tuples(*[st.integers(0, 11)] * 4), max_size=12),
    threshold=st.sampled_from([0.2003, 0.5003, 0.7003]),  # no quotient of so few pixels, which rounding might tip
)
def test_nms_of_boxes_is_torchvision_s(reference_of, boxes, threshold):
    """Filled boxes overlap as much as the boxes themselves."""
    corners = [(min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in boxes]
    masks = torch.zeros(len(corners), 12, 12, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, corners, strict=True):
        mask[y0:y1, x0:x1] = True
    scores = torch.randperm(len(corners)) / 12
    want = nms(torch.tensor(corners, dtype=torch.float32).reshape(-1, 4), scores, threshold)
    assert reference_of("ps10-sam")["keep_best"](masks, scores, threshold) == want.tolist()


def test_made_up_game_is_the_one_in_the_notebook(reference):
    """The network and the user that the check plays with give the game that the text shows."""
    segments = torch.tensor([[[1, 2, 3, 4, 5, 6]], [[1, 1, 1, 1, 2, 2]]])
    truth = torch.tensor([[True, True, True, False, True, True]])
    result, asked, shown = reference["given_game"](segments, truth, 0.6, 20)
    assert result == ([(0, 0), (3, 0)], [1, 0], pytest.approx([0.5, 0.6]))
    assert asked == [([[0, 0]], [1], 0), ([[0, 0], [3, 0]], [1, 0], 2)]
    assert [mask.tolist() for mask in shown] == [[[False] * 6], [[True] * 4 + [False] * 2]]
