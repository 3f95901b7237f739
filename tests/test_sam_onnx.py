"""ONNX files of SAM: ONNX Runtime must give what PyTorch gives, for any number of prompts and points."""

import importlib.util

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from segedu.cli import app
from segedu.models import unet
from segedu.models.sam import onnx as sam_onnx
from segedu.models.sam.build import tiny_sam, vit_sam
from segedu.models.sam.onnx import export_onnx
from segedu.training.weights import load_model, save_model

SIDE = 64


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_missing_packages_are_named_with_what_to_do(monkeypatch, tmp_path, missing):
    found = importlib.util.find_spec
    monkeypatch.setattr(sam_onnx, "find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(ModuleNotFoundError, match=f"{missing} must be installed: pip install onnx onnxscript"):
        export_onnx(tiny_sam(SIDE), tmp_path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A tiny SAM with random weights, and sessions of its two files."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    sam = tiny_sam(SIDE).eval()
    paths = export_onnx(sam, tmp_path_factory.mktemp("onnx") / "new")
    return sam, [runtime.InferenceSession(path, providers=["CPUExecutionProvider"]) for path in paths]


def run(session, **inputs):
    return session.run(None, {name: np.asarray(value) for name, value in inputs.items()})


@pytest.mark.slow
@pytest.mark.parametrize("size", [(SIDE, SIDE), (SIDE, 47), (30, SIDE)])
def test_encoder_agrees(exported, size):
    sam, (encoder, _) = exported
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        wanted = sam.encode_image(sam.preprocess(image))
    (embedding,) = run(encoder, image=image)
    np.testing.assert_allclose(embedding, wanted, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("P", "N"), [(1, 1), (1, 3), (2, 1), (7, 5)])
def test_decoder_agrees(exported, P, N):
    sam, (_, decoder) = exported
    embedding = torch.randn(1, sam.embedding_channels, 4, 4)
    points, labels = torch.rand(P, N, 2) * SIDE, torch.randint(-2, 4, (P, N))
    mask, has_mask = torch.randn(P, 1, 16, 16), torch.arange(P) % 2 == 0
    with torch.no_grad():
        one, three = (
            sam.decode(embedding, None, points, labels, masks=mask, has_mask=has_mask, multimask=multimask)
            for multimask in (False, True)
        )
    logits, iou = run(decoder, embedding=embedding, points=points, labels=labels, mask=mask, has_mask=has_mask)
    assert logits.shape == (P, 4, 16, 16)
    np.testing.assert_allclose(logits, torch.cat([one[0], three[0]], 1), atol=1e-4)
    np.testing.assert_allclose(iou, torch.cat([one[1], three[1]], 1), atol=1e-4)


@pytest.mark.slow
def test_no_mask_is_as_good_as_zeros_that_do_not_count(exported):
    sam, (_, decoder) = exported
    embedding = torch.randn(1, sam.embedding_channels, 4, 4)
    points, labels = torch.rand(2, 1, 2) * SIDE, torch.ones(2, 1, dtype=int)
    with torch.no_grad():
        wanted, _ = sam.decode(embedding, None, points, labels)
    empty = torch.zeros(2, 1, 16, 16), torch.zeros(2, dtype=torch.bool)
    logits, _ = run(decoder, embedding=embedding, points=points, labels=labels, mask=empty[0], has_mask=empty[1])
    np.testing.assert_allclose(logits[:, 1:], wanted, atol=1e-4)


@pytest.mark.slow
def test_files_say_what_they_take(exported):
    _, (encoder, decoder) = exported
    assert {one.name: one.shape for one in encoder.get_inputs()} == {"image": [1, 3, "H", "W"]}
    assert {one.name: one.shape for one in decoder.get_inputs()} == {
        "embedding": [1, 1024, 4, 4],
        "points": ["P", "N", 2],
        "labels": ["P", "N"],
        "mask": ["P", 1, 16, 16],
        "has_mask": ["P"],
    }
    assert {one.name: one.shape for one in decoder.get_outputs()} == {"logits": ["P", 4, 16, 16], "iou": ["P", 4]}


@pytest.mark.slow
def test_what_one_and_three_masks_have_in_common_is_computed_once(exported):
    import onnx

    sam, (_, decoder) = exported
    operations = [node.op_type for node in onnx.load(decoder._model_path).graph.node]
    attentions = sum(type(module).__name__ == "Attention" for module in sam.mask_decoder.modules())
    assert operations.count("Softmax") == attentions


@pytest.mark.slow
def test_vision_transformers_and_large_weights_go_too(monkeypatch, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(sam_onnx, "MOST_IN_A_FILE", 2**22)
    torch.manual_seed(0)
    sam = vit_sam(SIDE, width=32, depth=2, heads=2, global_blocks=(1,), window=3).eval()
    encoder, decoder = export_onnx(sam, tmp_path)
    # The decoder has 4 million weights, of 4 bytes each, and this encoder 0.6 million.
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.onnx", "decoder.onnx", "decoder.onnx.data"}
    image = torch.rand(1, 3, 40, SIDE)
    with torch.no_grad():
        wanted = sam.encode_image(sam.preprocess(image))
    (embedding,) = run(runtime.InferenceSession(encoder), image=image)
    np.testing.assert_allclose(embedding, wanted, atol=1e-4)
    prompts = {"points": torch.rand(1, 1, 2), "labels": torch.ones(1, 1, dtype=int)}
    empty = {"mask": torch.zeros(1, 1, 16, 16), "has_mask": torch.zeros(1, dtype=bool)}
    with torch.no_grad():
        wanted, _ = sam.decode(wanted, None, **prompts)
    logits, _ = run(runtime.InferenceSession(decoder), embedding=embedding, **prompts, **empty)
    np.testing.assert_allclose(logits[:, 1:], wanted, atol=1e-4)


@pytest.mark.slow
def test_the_command_writes_what_onnx_runtime_answers_as_the_checkpoint_does(tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    save_model(tmp_path / "sam.safetensors", tiny_sam(SIDE), {"model": {"name": "tiny_sam", "image_size": SIDE}})
    result = segedu("export", tmp_path / "sam.safetensors", "--out", tmp_path / "onnx")
    assert result.exit_code == 0, result.output
    sam, _ = load_model(tmp_path / "sam.safetensors")
    encoder, decoder = (
        runtime.InferenceSession(tmp_path / "onnx" / name, providers=["CPUExecutionProvider"])
        for name in ("encoder.onnx", "decoder.onnx")
    )
    image, points, labels = torch.rand(1, 3, 50, SIDE), torch.rand(2, 1, 2) * 50, torch.ones(2, 1, dtype=torch.long)
    with torch.no_grad():
        wanted, _ = sam(image, points, labels, image_index=torch.zeros(2, dtype=torch.long))
    (embedding,) = run(encoder, image=image)
    empty = {"mask": torch.zeros(2, 1, 16, 16), "has_mask": torch.zeros(2, dtype=torch.bool)}
    logits, _ = run(decoder, embedding=embedding, points=points, labels=labels, **empty)
    np.testing.assert_allclose(logits[:, 1:], wanted, atol=1e-4)


def test_the_command_takes_sams_only(tmp_path):
    save_model(tmp_path / "unet.safetensors", unet(width=4), {"model": {"name": "unet", "width": 4}})
    result = segedu("export", tmp_path / "unet.safetensors", "--out", tmp_path / "onnx")
    assert result.exit_code == 2
    assert "only a SAM can be exported" in result.stderr and "is a unet" in result.stderr
    assert not (tmp_path / "onnx").exists()
    assert "Example: segedu export sam-tiny --out onnx" in segedu("export", "--help").output


def segedu(*words):
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200", "NO_COLOR": "1"})
