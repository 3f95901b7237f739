"""Make data/readme.png: the kinds of segmentation on a photograph, and what a wrong solution is told.

    python scripts/readme_picture.py

The answer is the instant check's own, shown by Chromium as a notebook shows it. Needs Chromium.
"""

import base64
import contextlib
import io
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from segedu.datasets import photos
from segedu.plots import overlay

ROOT = Path(__file__).resolve().parents[1]
EXERCISE = ROOT / "solutions" / "ps01-masks-and-iou"
PHOTO = "rocket"
CELL = "iou-and-dice"
ANSWER = """\
def dice(pred, target):
    both = (pred & target).sum()
    total = pred.sum() + target.sum()
    return 2 * both / total if total else np.nan

def iou(pred, target):
    both = (pred & target).sum()
    total = pred.sum() + target.sum()
    return both / total if total else np.nan
"""
PAGE = """\
<!doctype html><meta charset="utf-8">
<style>
  body { margin: 0; padding: 20px; width: 1160px; background: #fff; color: #1b1b1b }
  body { font: 16px/1.4 system-ui, sans-serif }
  .row { display: grid; grid-template-columns: repeat(4, 1fr); gap: 14px }
  .row figure { margin: 0 } .row img { width: 100%; border-radius: 6px; display: block }
  .row figcaption { padding-top: 5px; text-align: center; font-weight: 600 }
  .cells { display: grid; grid-template-columns: 460px 1fr; gap: 22px; margin-top: 20px; align-items: start }
  pre { margin: 0; padding: 12px 14px; background: #f4f5f7; border-left: 4px solid #0072b2; border-radius: 4px;
        font: 14px/1.5 monospace }
</style>
"""


def figure(pixels: np.ndarray, caption: str) -> str:
    """The picture, uint8 (H, W, 3), as an HTML figure."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return f'<figure><img src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'


def segments(panoptic: np.ndarray) -> np.ndarray:
    """Number the segments of a panoptic map, so that each thing gets a colour of its own; void stays 255."""
    _, numbers = np.unique(panoptic.reshape(-1, 2), axis=0, return_inverse=True)
    return np.where(panoptic[..., 0] == 255, 255, numbers.reshape(panoptic.shape[:2]) + 1)


def wrong_answer() -> str:
    """The HTML with which the check answers a student who takes the sum of two areas for their union."""
    notebook = {}
    exec("import numpy as np\nfrom autograder import check\n" + ANSWER, notebook)
    with contextlib.chdir(EXERCISE):
        return eval(f'check("{CELL}")', notebook)._repr_html_()


def main() -> None:
    """Write data/readme.png."""
    photo = photos.load(PHOTO)
    pictures = {
        "photograph": photo.image,
        "semantic: a class a pixel": overlay(photo.image, photo.semantic),
        "instance: every object": overlay(photo.image, photo.instances),
        "panoptic: both in one": overlay(photo.image, segments(photo.panoptic)),
    }
    row = "".join(figure(pixels, caption) for caption, pixels in pictures.items())
    cell = f'<pre>{ANSWER}\ncheck("{CELL}")</pre>'
    page = f'{PAGE}<div class="row">{row}</div><div class="cells"><div>{cell}</div>{wrong_answer()}</div>'
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1200, "height": 100})
        tab.set_content(page)
        tab.screenshot(path=ROOT / "data" / "readme.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
