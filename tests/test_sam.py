"""SAM's network, beside its authors' own and transformers', with random weights."""

import copy
import hashlib
import http.server
import re
import threading
from functools import partial

import pytest
import segment_anything
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_anything import modeling
from segment_anything.modeling.image_encoder import get_rel_pos, window_partition, window_unpartition
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import SamConfig, SamModel, SamVisionConfig

from segedu.models.sam import attention, build_sam, checkpoints
from segedu.models.sam.build import VISION_TRANSFORMERS, tiny_sam, vit_sam
from segedu.models.sam.checkpoints import from_transformers, load_checkpoint, official_checkpoint
from segedu.models.sam.image_encoder import from_windows, to_windows
from segedu.models.sam.prompt_encoder import ABSENT, BOTTOM_RIGHT, NOT_A_POINT, TOP_LEFT

# A small network with all that the large ones have: 8 x 8 patches, windows of 3 that need padding, one global block.
SIZE, GRID = 128, 8
SMALL = {"image_size": SIZE, "width": 48, "depth": 3, "heads": 3, "global_blocks": (1,), "window": 3}
PARAMETERS = {
    "vit_b": (93_735_472, 89_670_912),
    "vit_l": (312_342_832, 308_278_272),
    "vit_h": (641_090_608, 637_026_048),
}
KINDS = [("points",), ("boxes",), ("masks",), ("points", "boxes"), ("points", "masks"), ("points", "boxes", "masks")]


pytestmark = pytest.mark.usefixtures("one_thread")


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """Every weight away from what it begins as: positions begin as zeros, and would hide a mistake."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return network.eval()


@pytest.fixture(scope="module")
def official() -> modeling.Sam:
    """The authors' classes, at our small size."""
    torch.manual_seed(0)
    encoder = modeling.ImageEncoderViT(
        depth=3,
        embed_dim=48,
        img_size=SIZE,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        num_heads=3,
        use_rel_pos=True,
        global_attn_indexes=(1,),
        window_size=3,
    )
    prompts = modeling.PromptEncoder(
        embed_dim=256, image_embedding_size=(GRID, GRID), input_image_size=(SIZE, SIZE), mask_in_chans=16
    )
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    decoder = modeling.MaskDecoder(transformer_dim=256, transformer=transformer)
    return shaken(modeling.Sam(encoder, prompts, decoder))


@pytest.fixture(scope="module")
def sam(official):
    ours = vit_sam(**SMALL).eval()
    ours.load_state_dict(official.state_dict())
    return ours


@pytest.fixture(scope="module")
def huggingface() -> SamModel:
    torch.manual_seed(1)
    vision = SamVisionConfig(
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=3,
        image_size=SIZE,
        window_size=3,
        global_attn_indexes=[1],
        mlp_dim=192,
    )
    config = SamConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config={"image_size": SIZE},
        mask_decoder_config={"layer_norm_eps": 1e-5},  # as the authors trained it; transformers takes 1e-6
    )
    return shaken(SamModel(config))


def prompts(P: int, N: int = 2, kinds: tuple[str, ...] = ("points", "boxes", "masks"), seed: int = 0) -> dict:
    """Random prompts for `Sam.decode`."""
    draw = torch.Generator().manual_seed(seed)
    corner = SIZE / 2 * torch.rand(P, 2, generator=draw)
    every = {
        "points": SIZE * torch.rand(P, N, 2, generator=draw),
        "labels": torch.randint(0, 2, (P, N), generator=draw),
        "boxes": torch.cat([corner, corner + SIZE / 2 * torch.rand(P, 2, generator=draw)], 1),
        "masks": 5 * torch.randn(P, 1, 4 * GRID, 4 * GRID, generator=draw),
    }
    return {name: every[name] for name in every if name in kinds or (name == "labels" and "points" in kinds)}


def embeddings(B: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(B, 256, GRID, GRID, generator=torch.Generator().manual_seed(seed))


def photographs(B: int = 1, H: int = SIZE, W: int = SIZE) -> Tensor:
    return torch.rand(B, 3, H, W, generator=torch.Generator().manual_seed(7))


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether they agree to this part of the largest value."""
    return ours.shape == theirs.shape and bool((ours - theirs).abs().max() <= tolerance * theirs.abs().max())


class TestSizes:
    @pytest.mark.parametrize("name", VISION_TRANSFORMERS)
    def test_the_published_ones_have_the_official_parameters(self, name):
        with torch.device("meta"):
            ours, theirs = build_sam(name), segment_anything.sam_model_registry[name]()
        shapes = [{key: weight.shape for key, weight in sam.state_dict().items()} for sam in (ours, theirs)]
        assert shapes[0] == shapes[1]
        assert count(ours) == PARAMETERS[name][0] and count(ours.image_encoder) == PARAMETERS[name][1]
        assert ours.image_size == 1024 and ours.embedding_size == 64

    def test_the_tiny_one_is_tiny(self):
        with torch.device("meta"):
            sam = build_sam("tiny")
        assert count(sam) == 7_709_776 < 8_000_000 and count(sam.image_encoder) == 3_635_040
        assert sam.image_size == 512

    def test_there_is_no_other(self):
        with pytest.raises(ValueError, match="vit_b, vit_l, vit_h, tiny, got 'vit_x'"):
            build_sam("vit_x")

    @pytest.mark.parametrize("build", [vit_sam, tiny_sam])
    def test_image_sizes_are_whole_patches(self, build):
        with pytest.raises(ValueError, match="multiple of 16, got 1000"):
            build(1000)


def count(network: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


class TestImageEncoder:
    @pytest.mark.parametrize("gradient", [False, True], ids=["in-tiles", "in-one"])
    def test_gives_the_authors_embeddings(self, sam, official, gradient):
        images = sam.preprocess(photographs(2))
        with torch.set_grad_enabled(gradient):
            assert close(sam.encode_image(images), official.image_encoder(images), 1e-5)

    def test_gives_transformers_embeddings(self, huggingface):
        ours = vit_sam(**SMALL).eval()
        ours.load_state_dict(from_transformers(huggingface.state_dict()))
        images = ours.preprocess(photographs(2))
        with torch.no_grad():
            assert close(ours.encode_image(images), huggingface.get_image_embeddings(images), 1e-5)

    def test_has_the_authors_gradient(self, sam, official):
        images = sam.preprocess(photographs()).requires_grad_()
        aim = embeddings()
        ours, theirs = copy.deepcopy(sam), copy.deepcopy(official)
        for encode, network in ((ours.encode_image, ours), (theirs.image_encoder, theirs)):
            images.grad = None
            (encode(images) * aim).sum().backward()
            network.seen = images.grad.clone()
        assert close(ours.seen, theirs.seen)
        expected = dict(theirs.image_encoder.named_parameters())
        for name, weight in ours.image_encoder.named_parameters():
            assert close(weight.grad, expected[name].grad), name

    @settings(max_examples=30)
    @given(
        h=st.integers(1, 5),
        w=st.integers(1, 5),
        batch=st.integers(1, 3),
        tile=st.integers(1, 700),
        seed=st.integers(0, 2**32),
    )
    def test_tiles_of_any_size_make_no_difference(self, h, w, batch, tile, seed):
        draw = torch.Generator().manual_seed(seed)
        q, k, v = torch.randn(3, batch, 2, h * w, 4, generator=draw)
        rel_pos_h, rel_pos_w = (torch.randn(2 * side - 1, 4, generator=draw) for side in (h, w))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(attention, "TILE", tile)
            in_tiles = attention.attend(q, k, v, rel_pos_h, rel_pos_w, (h, w))
        in_one = attention.attend(q.requires_grad_(), k, v, rel_pos_h, rel_pos_w, (h, w))
        assert torch.allclose(in_tiles, in_one, atol=1e-5)

    @given(h=st.integers(1, 17), w=st.integers(1, 17), side=st.integers(1, 7))
    def test_windows_are_cut_and_put_together_as_the_authors_do(self, h, w, side):
        x = torch.rand(2, h, w, 3)
        theirs, padded = window_partition(x, side)
        windows = to_windows(x, side)
        assert torch.equal(windows, theirs)
        assert torch.equal(from_windows(windows, 2, h, w), window_unpartition(theirs, side, padded, (h, w)))
        assert torch.equal(from_windows(windows, 2, h, w), x)

    def test_takes_its_own_size_only(self, sam):
        with pytest.raises(ValueError, match=re.escape("takes (B, 3, 128, 128), got (1, 3, 128, 112)")):
            sam.encode_image(torch.rand(1, 3, 128, 112))
        with pytest.raises(TypeError, match="floating point"):
            sam.encode_image(torch.zeros(1, 3, 128, 128, dtype=torch.uint8))

    def test_the_tiny_one_puts_the_authors_neck_on_the_trunk(self, official):
        torch.manual_seed(0)
        encoder = shaken(tiny_sam(64).image_encoder)
        neck = copy.deepcopy(official.image_encoder.neck)
        neck[0] = torch.nn.Conv2d(320, 256, 1, bias=False)
        neck.load_state_dict(encoder.neck.state_dict())
        images = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            *_, features = encoder.trunk(images)
            assert features.shape == (2, 320, 4, 4)
            assert close(encoder(images)[:, :256], neck(features), 1e-5)

    def test_the_tiny_one_takes_its_own_size_only(self):
        with pytest.raises(ValueError, match=re.escape("takes (B, 3, 64, 64), got (1, 3, 32, 64)")):
            tiny_sam(64).encode_image(torch.rand(1, 3, 32, 64))


class TestPreprocessing:
    @pytest.mark.parametrize(("H", "W"), [(128, 128), (96, 128), (128, 61), (1, 1)])
    def test_is_the_authors(self, sam, official, H, W):
        images = photographs(2, H, W)
        assert torch.allclose(sam.preprocess(images), official.preprocess(255 * images), atol=1e-6)

    def test_leaves_images_in_0_to_1_for_the_tiny_encoder(self):
        images = photographs(1, 30, 32)
        assert torch.allclose(tiny_sam(32).preprocess(images)[:, :, :30], images)

    def test_does_not_shrink(self, sam):
        with pytest.raises(ValueError, match="up to 128 pixels, got 100 x 129: resize"):
            sam.preprocess(photographs(1, 100, 129))


class TestDecoder:
    @pytest.mark.parametrize("multimask", [True, False])
    @pytest.mark.parametrize("kinds", KINDS, ids="+".join)
    def test_gives_the_authors_masks(self, sam, official, kinds, multimask):
        given, image = prompts(5, 3, kinds), embeddings()
        points = (given["points"], given["labels"]) if "points" in kinds else None
        with torch.no_grad():
            sparse, dense = official.prompt_encoder(points, given.get("boxes"), given.get("masks"))
            position = official.prompt_encoder.get_dense_pe()
            masks, iou = official.mask_decoder(image, position, sparse, dense, multimask)
            logits, expected_iou = sam.decode(image, **given, multimask=multimask)
        assert logits.shape == (5, 3 if multimask else 1, 4 * GRID, 4 * GRID)
        assert close(logits, masks) and close(expected_iou, iou)

    @pytest.mark.parametrize("multimask", [True, False])
    @pytest.mark.parametrize("kinds", KINDS, ids="+".join)
    def test_gives_transformers_masks(self, huggingface, kinds, multimask):
        ours = vit_sam(**SMALL).eval()
        ours.load_state_dict(from_transformers(huggingface.state_dict()))
        images, P = ours.preprocess(photographs(2)), 2
        given = prompts(P, 3, kinds)
        theirs = {"input_masks": given.get("masks")}
        if "points" in kinds:
            theirs |= {"input_points": given["points"][:, None], "input_labels": given["labels"][:, None]}
        if "boxes" in kinds:
            theirs |= {"input_boxes": given["boxes"][:, None]}
        with torch.no_grad():
            expected = huggingface(images, **theirs, multimask_output=multimask)
            logits, iou = ours.decode(ours.encode_image(images), **given, multimask=multimask)
        assert close(logits, expected.pred_masks[:, 0]) and close(iou, expected.iou_scores[:, 0])

    def test_a_box_is_two_points_labelled_as_its_corners(self, sam):
        given, image = prompts(4), embeddings()
        corners = given["boxes"].unflatten(1, (2, 2))
        points = torch.cat([given["points"], corners], 1)
        labels = torch.cat([given["labels"], torch.tensor([TOP_LEFT, BOTTOM_RIGHT]).expand(4, 2)], 1)
        with torch.no_grad():
            as_points = sam.decode(image, None, points, labels, masks=given["masks"])
            assert close(as_points[0], sam.decode(image, **given)[0], 1e-6)

    @pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32])
    def test_labels_are_integers_of_any_width(self, sam, dtype):
        given, image = prompts(2, kinds=("points",)), embeddings()
        with torch.no_grad():
            expected = sam.decode(image, **given)
            logits, iou = sam.decode(image, None, given["points"], given["labels"].to(dtype))
        assert torch.equal(logits, expected[0]) and torch.equal(iou, expected[1])

    def test_no_prompts_get_no_masks(self, sam):
        with torch.no_grad():
            logits, iou = sam.decode(embeddings(), **prompts(0))
        assert logits.shape == (0, 3, 4 * GRID, 4 * GRID) and iou.shape == (0, 3)


class TestBatches:
    """Each prompt gets what it gets alone."""

    @pytest.mark.parametrize("kinds", KINDS, ids="+".join)
    def test_images_may_have_different_numbers_of_prompts(self, sam, kinds):
        images, given = embeddings(3), prompts(6, 3, kinds)
        image_index = torch.tensor([2, 0, 0, 2, 2, 0])  # and none on image 1
        with torch.no_grad():
            logits, iou = sam.decode(images, image_index, **given)
            for i, of in enumerate(image_index):
                alone = {name: prompt[i : i + 1] for name, prompt in given.items()}
                one, one_iou = sam.decode(images[of : of + 1], **alone)
                assert close(logits[i : i + 1], one) and close(iou[i : i + 1], one_iou)

    def test_prompts_of_every_kind_and_length_share_a_batch(self, sam):
        images, given = embeddings(2), prompts(5, 3)
        x0y0, x1y1 = given["boxes"].unflatten(1, (2, 2)).unbind(1)
        anywhere = torch.full((2,), torch.nan)
        mixed = [  # image, points, labels, box, mask
            (0, given["points"][0], [1, 0, 1], None, None),
            (1, given["points"][1, :1], [1], None, given["masks"][1]),
            (1, given["points"][2, :2], [0, 1], given["boxes"][2], None),
            (0, None, None, given["boxes"][3], given["masks"][3]),
            (0, None, None, None, given["masks"][4]),
        ]
        points = torch.stack(
            [
                torch.stack([*given["points"][0], anywhere]),
                torch.stack([given["points"][1, 0], anywhere, anywhere, anywhere]),
                torch.stack([given["points"][2, 0], x0y0[2], given["points"][2, 1], x1y1[2]]),
                torch.stack([anywhere, x0y0[3], anywhere, x1y1[3]]),
                anywhere.expand(4, 2),
            ]
        )
        labels = torch.tensor([[1, 0, 1, -2], [1, -2, -2, -2], [0, 2, 1, 3], [-2, 2, -2, 3], [-2, -2, -2, -2]])
        has_mask = torch.tensor([mask is not None for *_, mask in mixed])
        masks = torch.where(has_mask[:, None, None, None], given["masks"], torch.nan)
        with torch.no_grad():
            image_index = torch.tensor([of for of, *_ in mixed])
            logits, iou = sam.decode(images, image_index, points, labels, masks=masks, has_mask=has_mask)
            for i, (of, some, meaning, box, mask) in enumerate(mixed):
                one, one_iou = sam.decode(
                    images[of : of + 1],
                    points=None if some is None else some[None],
                    labels=None if some is None else torch.tensor([meaning]),
                    boxes=None if box is None else box[None],
                    masks=None if mask is None else mask[None],
                )
                assert close(logits[i : i + 1], one) and close(iou[i : i + 1], one_iou), i

    @settings(max_examples=15)
    @given(order=st.permutations(range(5)), seed=st.integers(0, 1000))
    def test_the_order_of_points_does_not_matter(self, sam, order, seed):
        given = prompts(2, 5, ("points",), seed)
        given["labels"][:, 0] = ABSENT
        given["labels"][1, 1] = NOT_A_POINT
        with torch.no_grad():
            logits, _ = sam.decode(embeddings(), **given)
            again, _ = sam.decode(embeddings(), None, given["points"][:, order], given["labels"][:, order])
        assert close(again, logits, 1e-5)

    def test_forward_is_the_three_steps(self, sam):
        images, given = photographs(2, 100, 128), prompts(3)
        image_index = torch.tensor([1, 1, 0])
        with torch.no_grad():
            logits, iou = sam(images, **given, image_index=image_index, multimask=False)
            expected = sam.decode(sam.encode_image(sam.preprocess(images)), image_index, **given, multimask=False)
        assert torch.equal(logits, expected[0]) and torch.equal(iou, expected[1])


class TestWrongPrompts:
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"points": None}, ValueError, "points and labels come together"),
            ({"labels": None}, ValueError, "points and labels come together"),
            ({"points": None, "labels": None, "boxes": None, "masks": None}, ValueError, "got none of them"),
            ({"points": torch.rand(4, 2)}, ValueError, "points must have shape (P, N, 2)"),
            ({"points": torch.rand(4, 3, 3)}, ValueError, "points must have shape (P, N, 2)"),
            ({"labels": torch.ones(4, 1).long()}, ValueError, "labels must have shape (P, N)"),
            ({"labels": torch.ones(4, 2)}, TypeError, "labels must be integers, got torch.float32"),
            ({"labels": torch.full((4, 2), 4)}, ValueError, "labels must be from -2 to 3"),
            ({"labels": torch.full((4, 2), -10)}, ValueError, "labels must be from -2 to 3"),
            ({"boxes": torch.rand(4, 2, 2)}, ValueError, "boxes must have shape (P, 4)"),
            ({"boxes": torch.rand(3, 4)}, ValueError, "got (3, 4), with P = 4"),
            ({"masks": torch.rand(4, 32, 32)}, ValueError, "masks must have shape (P, 1, 32, 32)"),
            ({"masks": torch.rand(4, 1, 256, 256)}, ValueError, "masks must have shape (P, 1, 32, 32)"),
            ({"masks": torch.ones(4, 1, 32, 32, dtype=torch.bool)}, TypeError, "masks must be floating point"),
            ({"has_mask": torch.ones(3, dtype=torch.bool)}, ValueError, "has_mask must have shape (P,)"),
            ({"has_mask": torch.ones(4)}, TypeError, "has_mask must be bool, got torch.float32"),
            ({"has_mask": torch.ones(4).bool(), "masks": None}, ValueError, "there are no masks"),
            ({"image_index": torch.zeros(3).long()}, ValueError, "image_index must have shape (P,)"),
            ({"image_index": torch.zeros(4)}, TypeError, "image_index must be integers"),
            ({"image_index": torch.tensor([0, 1, 2, 0])}, ValueError, "image_index must be from 0 to 1"),
            ({"image_index": None}, ValueError, "4 prompts on 2 images: say which image each is about"),
            ({"embeddings": torch.rand(2, 256, 64, 64)}, ValueError, "(B, 256, 8, 8), got (2, 256, 64, 64)"),
            ({"embeddings": torch.rand(256, 8, 8)}, ValueError, "(B, 256, 8, 8), got (256, 8, 8)"),
        ],
    )
    def test_are_named(self, sam, change, error, message):
        given = {"embeddings": embeddings(2), "image_index": torch.tensor([0, 1, 1, 0])} | prompts(4)
        with pytest.raises(error, match=re.escape(message)):
            sam.decode(**given | change)


NETWORKS = {"vit": partial(vit_sam, **SMALL), "tiny": partial(tiny_sam, SIZE)}


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
class TestEverywhere:
    @pytest.mark.parametrize("kinds", [("boxes",), ("points", "masks")], ids="+".join)
    @pytest.mark.parametrize("device", ["cuda:0", "lazy:0"])
    def test_computes_where_the_weights_are_and_never_waits(self, build, device, kinds):
        with FakeTensorMode():
            with torch.device(device):
                sam = build().train()
                images, image_index = torch.rand(2, 3, 100, SIZE), torch.zeros(4, dtype=torch.long)
            given = {name: prompt.to(device) for name, prompt in prompts(4, kinds=kinds).items()}
            if "masks" in kinds:
                given["has_mask"] = torch.ones(4, dtype=torch.bool, device=device)
            logits, iou = sam(images, **given, image_index=image_index)
            assert str(logits.device) == str(iou.device) == device and logits.shape == (4, 3, 32, 32)
            if device == "lazy:0":  # on fake CUDA tensors, a PyTorch without CUDA cannot go backward
                (logits.sum() + iou.sum()).backward()
                assert {str(weight.grad.device) for weight in sam.parameters() if weight.grad is not None} == {device}

    def test_every_weight_learns(self, build):
        torch.manual_seed(0)
        sam = shaken(build()).train()
        total = 0
        for multimask in (True, False):
            given = prompts(4)
            given["labels"][:, 0] = torch.tensor([NOT_A_POINT, 0, 1, 1])
            has_mask = torch.tensor([True, False, True, True])
            index = torch.tensor([0, 1, 1, 0])
            logits, iou = sam(photographs(2), **given, has_mask=has_mask, image_index=index, multimask=multimask)
            total = total + logits.square().mean() + iou.square().mean()
        total.backward()
        unmoved = [name for name, weight in sam.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert unmoved == []
        assert all(weight.grad.isfinite().all() for weight in sam.parameters())

    def test_compiles_into_one_graph(self, build):
        torch.manual_seed(0)
        torch.compiler.reset()
        sam = build().eval()
        given = prompts(4)
        images, index = photographs(2), torch.tensor([0, 1, 1, 0])
        with torch.no_grad():
            compiled = torch.compile(sam, fullgraph=True, backend="eager")
            logits, iou = compiled(images, **given, image_index=index)
            expected, expected_iou = sam(images, **given, image_index=index)
        assert close(logits, expected, 1e-4) and close(iou, expected_iou, 1e-4)

    def test_stays_finite_and_close_in_half_of_the_bits(self, build):
        torch.manual_seed(0)
        sam = build().eval()
        images, given = photographs(2), prompts(2)
        with torch.no_grad():
            logits, iou = sam(images, **given)
            with torch.autocast("cpu", torch.bfloat16):
                half, half_iou = sam(images, **given)
        assert half.isfinite().all() and half_iou.isfinite().all()
        assert close(half.float(), logits, 0.1) and close(half_iou.float(), iou, 0.1)


@torch.no_grad()
def test_rows_without_points_are_none(sam):
    sam = copy.deepcopy(sam).double()  # in float32, the order of sums depends on the processor
    embeddings = torch.randn(1, 256, sam.embedding_size, sam.embedding_size, dtype=torch.float64)
    masks = torch.randn(2, 1, 4 * sam.embedding_size, 4 * sam.embedding_size, dtype=torch.float64)
    alone = sam.decode(embeddings, masks=masks)
    empty = sam.decode(embeddings, points=torch.zeros(2, 0, 2), labels=torch.zeros(2, 0, dtype=torch.long), masks=masks)
    torch.testing.assert_close(empty, alone)


def test_autocast_does_not_round_positions(sam):
    with torch.autocast("cpu", torch.bfloat16):
        assert sam.prompt_encoder.positions().dtype == torch.float32
        rounded = sam.prompt_encoder.positions()
    assert torch.equal(rounded, sam.prompt_encoder.positions())


class TestCheckpoints:
    def test_the_official_format_loads(self, sam, official, tmp_path):
        torch.save(official.state_dict(), tmp_path / "sam.pth")
        ours = vit_sam(**SMALL)
        load_checkpoint(ours, tmp_path / "sam.pth")
        assert same(ours.state_dict(), official.state_dict())

    def test_transformers_loads(self, huggingface, tmp_path):
        torch.save(huggingface.state_dict(), tmp_path / "pytorch_model.bin")
        ours = vit_sam(**SMALL)
        load_checkpoint(ours, tmp_path / "pytorch_model.bin")
        assert same(ours.state_dict(), from_transformers(huggingface.state_dict()))

    def test_build_loads(self, tmp_path):
        sam = tiny_sam(512)
        torch.save(sam.state_dict(), tmp_path / "mine.pth")
        built = build_sam("tiny", tmp_path / "mine.pth", image_size=256)
        assert same(built.state_dict(), sam.state_dict()) and not built.training and built.image_size == 256

    def test_positions_are_interpolated_to_another_image_size(self, official, tmp_path):
        torch.save(official.state_dict(), tmp_path / "sam.pth")
        larger = vit_sam(**SMALL | {"image_size": 208})  # 13 x 13 patches
        load_checkpoint(larger, tmp_path / "sam.pth")
        theirs = official.image_encoder.blocks[1].attn.rel_pos_h
        ours = larger.image_encoder.blocks[1].attn.rel_pos_h
        assert torch.allclose(attention.by_distance(ours, 13), get_rel_pos(13, 13, theirs))
        middle = larger.image_encoder.pos_embed[0, 6, 6]  # where four patches meet
        assert torch.allclose(middle, official.image_encoder.pos_embed[0, 3:5, 3:5].mean((0, 1)), atol=1e-6)
        window = larger.image_encoder.blocks[0].attn.rel_pos_h
        assert torch.equal(window, official.image_encoder.blocks[0].attn.rel_pos_h)

    def test_there_must_be_a_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no file .*gone\.pth; official_checkpoint.*sam_vit_b_01ec64\.pth"):
            build_sam("tiny", tmp_path / "gone.pth")

    def test_another_variant_is_named(self, tmp_path):
        torch.save(tiny_sam(64).state_dict(), tmp_path / "sam.pth")
        with pytest.raises(ValueError, match=r"it holds tiny: build_sam\('tiny', ...\).*Missing.*Unknown"):
            load_checkpoint(vit_sam(**SMALL), tmp_path / "sam.pth")
        with torch.device("meta"):
            large, base = build_sam("vit_l").state_dict(), build_sam("vit_b")
        torch.save({key: weight for key, weight in large.items() if "pos_embed" in key}, tmp_path / "sam.pth")
        with pytest.raises(ValueError, match=r"holds vit_l: .*\(1, 64, 64, 1024\) instead of \(1, 64, 64, 768\)"):
            load_checkpoint(base, tmp_path / "sam.pth")

    def test_what_differs_is_named(self, official, sam, tmp_path):
        state = dict(official.state_dict())
        state["mask_decoder.iou_token.weight"] = torch.zeros(2, 256)
        state["extra"] = state.pop("image_encoder.neck.0.weight")
        torch.save(state, tmp_path / "sam.pth")
        message = (
            "Missing (1): image_encoder.neck.0.weight. Unknown (1): extra. "
            "Of another shape (1): mask_decoder.iou_token.weight (2, 256) instead of (1, 256)."
        )
        with pytest.raises(ValueError, match=re.escape(message)):
            load_checkpoint(sam, tmp_path / "sam.pth")

    @pytest.mark.parametrize("kept", [0, 100, 0.5, 0.999])
    def test_a_file_that_was_cut_off_is_named(self, official, sam, tmp_path, kept):
        path = tmp_path / "sam.pth"
        torch.save(official.state_dict(), path)
        whole = path.read_bytes()
        path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
        with pytest.raises(ValueError, match="is cut off, damaged, or holds more than tensors"):
            load_checkpoint(sam, path)

    def test_nothing_is_run(self, sam, tmp_path):
        torch.save({"weights": Bomb(tmp_path / "exploded")}, tmp_path / "sam.pth")
        with pytest.raises(ValueError, match="holds more than tensors"):
            load_checkpoint(sam, tmp_path / "sam.pth")
        assert not (tmp_path / "exploded").exists()

    def test_a_training_run_is_no_state_dict(self, official, sam, tmp_path):
        torch.save({"model": official.state_dict(), "epoch": 3}, tmp_path / "sam.pth")
        with pytest.raises(ValueError, match="got a dict of 'model', 'epoch': save the state dict alone"):
            load_checkpoint(sam, tmp_path / "sam.pth")
        torch.save([1, 2], tmp_path / "sam.pth")
        with pytest.raises(ValueError, match="got a list"):
            load_checkpoint(sam, tmp_path / "sam.pth")

    def test_a_file_with_an_official_name_is_the_official_one(self, official, sam, tmp_path):
        path = tmp_path / "sam_vit_b_01ec64.pth"
        torch.save(official.state_dict(), path)
        with pytest.raises(ValueError, match="expected 375042383: it is another file or a damaged one"):
            load_checkpoint(sam, path)

    def test_downloads_come_from_the_authors_server(self, tmp_path, monkeypatch):
        content = b"weights" * 1000
        monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
        (tmp_path / "server").mkdir()
        (tmp_path / "server" / "weights.pth").write_bytes(content)
        handler = partial(Quiet, directory=tmp_path / "server")
        sha256 = "0" * 64
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            monkeypatch.setattr(checkpoints, "HOST", f"http://127.0.0.1:{server.server_port}")
            assert re.fullmatch(r"http://127.0.0.1:\d+/sam_vit_h_4b8939.pth", checkpoints.OFFICIAL["vit_h"].url)
            wrong = checkpoints.Official("weights.pth", len(content), sha256)
            monkeypatch.setitem(checkpoints.OFFICIAL, "vit_b", wrong)
            with pytest.raises(OSError, match=sha256):
                official_checkpoint("vit_b", tmp_path / "mine")
            right = checkpoints.Official("weights.pth", len(content), hashlib.sha256(content).hexdigest())
            monkeypatch.setitem(checkpoints.OFFICIAL, "vit_b", right)
            assert official_checkpoint("vit_b", tmp_path / "mine").read_bytes() == content
            assert official_checkpoint("vit_b") == tmp_path / "hub" / "checkpoints" / "weights.pth"
            server.shutdown()

    def test_there_are_three(self):
        with pytest.raises(ValueError, match="vit_b, vit_l, vit_h, got 'tiny'"):
            official_checkpoint("tiny")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.slow
def test_vit_b_at_full_size():
    """The published network, 1024 x 1024 pixels, beside both peers."""
    torch.manual_seed(0)
    huggingface = SamModel(SamConfig())
    with torch.no_grad():
        for weight in huggingface.parameters():  # they begin at 1e-10, which lets no image through
            weight.add_(0.02 * torch.randn_like(weight))
    state = from_transformers(huggingface.eval().state_dict())
    official = segment_anything.sam_model_registry["vit_b"]().eval()
    official.load_state_dict(state)
    ours = build_sam("vit_b")
    ours.load_state_dict(state)

    images = ours.preprocess(photographs(1, 768, 1024))
    points, labels = torch.tensor([[[500.0, 375.0], [40.0, 700.0]]]), torch.tensor([[1, 0]])
    with torch.no_grad():
        embedding = ours.encode_image(images)
        assert embedding.std() > 1e-3
        assert close(embedding, official.image_encoder(images))
        logits, iou = ours.decode(embedding, None, points, labels)
        sparse, dense = official.prompt_encoder((points, labels), None, None)
        masks = official.mask_decoder(embedding, official.prompt_encoder.get_dense_pe(), sparse, dense, True)
        # Single precision: they add up 4,096 places in different orders.
        assert close(logits, masks[0], 1e-3) and close(iou, masks[1], 1e-3)
        theirs = huggingface(images, input_points=points[None], input_labels=labels[None])
        assert close(logits, theirs.pred_masks[0], 1e-3) and close(iou, theirs.iou_scores[0], 1e-3)
