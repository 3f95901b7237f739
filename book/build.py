"""Build the website: `python book/build.py`, or `python book/build.py --serve 8000` to look at it afterwards.

Node fetches the third-party scripts and fonts (`npm ci`, versions locked in package-lock.json); a MongoDB runs for the
page that asks FiftyOne, where one is to be had; Sphinx runs every page with warnings as errors; then each page is read
again: all of the table of contents is there, no link inside the site leads nowhere, every picture has a text for those
who cannot see it, and nothing is loaded from another host.
The site is in `book/_build/html`. The exit code is 0 only if all of that holds.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import yaml

BOOK = Path(__file__).resolve().parent
BUILD = BOOK / "_build"
HTML = BUILD / "html"
VENDOR = BUILD / "vendor"
FONTS = ("source-serif-4-latin-wght-normal", "source-serif-4-latin-wght-italic", "source-sans-3-latin-wght-normal")
LEFT_OUT = (
    "mathematics is set by matplotlib instead of MathJax, the reader's own fonts are used, and the accessibility test "
    "skips"
)


def fetch_vendor_files() -> str:
    """Fill `_build/vendor` from npm; return why it could not be done, or an empty string."""
    npm = shutil.which("npm")
    if npm is None:
        shutil.rmtree(VENDOR, ignore_errors=True)
        return "Node (npm) is not installed"
    installed = BOOK / "node_modules/.package-lock.json"
    lock = BOOK / "package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", str(BUILD / "npm-cache")]
        done = subprocess.run(command, cwd=BOOK, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            shutil.rmtree(VENDOR, ignore_errors=True)
            return f"npm ci failed:\n{done.stderr.strip()}"
        os.utime(installed)
    modules = BOOK / "node_modules"
    for folder in ("mathjax", "fonts"):
        (VENDOR / folder).mkdir(parents=True, exist_ok=True)
    shutil.copy(modules / "mathjax/es5/tex-svg.js", VENDOR / "mathjax")
    rules = []
    for font in FONTS:
        family = font.split("-latin")[0]
        shutil.copy(modules / f"@fontsource-variable/{family}/files/{font}.woff2", VENDOR / "fonts")
        name = family.replace("-", " ").title() + " Variable"
        rules.append(
            f"@font-face {{ font-family: '{name}'; font-style: {font.rsplit('-', 1)[1]}; font-weight: 200 900;"
            f" font-display: swap; src: url({font}.woff2) format('woff2'); }}\n"
        )
    (VENDOR / "fonts/fonts.css").write_text("".join(rules))
    return ""


def use_own_environment() -> None:
    """Keep kernels, settings and caches out of the user's home, and run this Python's own kernel."""
    home = BUILD / "home"
    home.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "JUPYTER_PATH": str(Path(sys.prefix, "share/jupyter")),
        "JUPYTER_DATA_DIR": str(home / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "IPYTHONDIR": str(home / "ipython"),
        "MPLCONFIGDIR": str(home / "matplotlib"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


@contextmanager
def database() -> Iterator[str]:
    """Run a MongoDB meanwhile, for the page that asks FiftyOne; yield why there is none, or an empty text."""
    sys.path.insert(0, str(BOOK.parent / "tests"))
    from mongodb import NoMongoDB, running

    with ExitStack() as stack:
        without = "" if importlib.util.find_spec("fiftyone") else "FiftyOne is not installed: pip install -e '.[eda]'"
        if not without:
            try:
                os.environ["FIFTYONE_DATABASE_URI"] = stack.enter_context(running())
            except NoMongoDB as error:
                without = f"There is no MongoDB: {error}"
        yield without


def forget_stale_results() -> None:
    """jupyter-cache knows the text of a page only: run the pages again when the package under them has changed."""
    digest = hashlib.sha256()
    root = BOOK.parent
    for path in sorted([*root.glob("segedu/**/*.py"), *root.glob("autograder/**/*.py"), *root.glob("data/**/*.json")]):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    stamp = BUILD / "package.sha256"
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        for folder in (".jupyter_cache", ".doctrees"):
            shutil.rmtree(BUILD / folder, ignore_errors=True)
        BUILD.mkdir(exist_ok=True)
        stamp.write_text(digest.hexdigest())


def run_sphinx() -> bool:
    # imported only now, with Jupyter's folders set
    from jupyter_book.sphinx import build_sphinx
    from sphinx.util.console import nocolor

    if not sys.stdout.isatty():
        nocolor()
    status = build_sphinx(
        str(BOOK),
        str(HTML),
        confdir=None,
        noconfig=True,
        path_config=str(BOOK / "_config.yml"),
        doctreedir=str(BUILD / ".doctrees"),
        confoverrides={
            "nitpicky": True,
            "external_toc_path": str(BOOK / "_toc.yml"),
            "nb_execution_cache_path": str(BUILD / ".jupyter_cache"),
            "latex_individualpages": False,
        },
        warningiserror=True,
        keep_going=True,
    )
    return status == 0


class Page(HTMLParser):
    """The links, ids and pictures of a built page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: set[str] = set()
        self.without_alt: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if identifier := attributes.get("id"):
            self.ids.add(identifier)
        if tag == "a":
            self.links.append(attributes.get("href") or "")
        elif tag in ("img", "script", "source", "iframe"):
            self.loads.append(attributes.get("src") or "")
        elif tag == "link" and attributes.get("rel") in ("stylesheet", "icon", "preload", "shortcut icon"):
            self.loads.append(attributes.get("href") or "")
        if tag == "img" and attributes.get("alt") is None:
            self.without_alt.append(attributes.get("src") or "?")


def problems() -> list[str]:
    """What is wrong with the built site, one line each."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text("utf-8"))
    names = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    found = [f"{name}.html was not built" for name in names if not (HTML / f"{name}.html").is_file()]
    pages = {path: Page(path) for name in names if (path := HTML / f"{name}.html").is_file()}
    for path, page in pages.items():
        where = path.relative_to(HTML)
        found += [f"{where}: picture without alternative text: {source}" for source in page.without_alt]
        for target in page.links + page.loads:
            address, fragment = urldefrag(target)
            if urlsplit(address).scheme or address.startswith("//"):
                if target in page.loads and not target.startswith("data:"):
                    found.append(f"{where}: loads {target} from another host")
                continue
            file = (path.parent / unquote(urlsplit(address).path)).resolve() if address else path
            if not file.exists():
                found.append(f"{where}: {target} leads nowhere")
            elif fragment and file in pages and unquote(fragment) not in pages[file].ids:
                found.append(f"{where}: no #{fragment} in {file.relative_to(HTML)}")
    return found


def serve(port: int) -> None:
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=HTML)
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"The book is at http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C ends)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--serve", type=int, metavar="PORT", help="show the book on this port of this machine")
    arguments = parser.parse_args()
    start = time.monotonic()
    use_own_environment()
    without = fetch_vendor_files()
    forget_stale_results()
    with database() as no_database:
        built = run_sphinx()
    if not built:
        print("\nThe book was not built: see the warnings above; each of them counts as an error.", file=sys.stderr)
        return 1
    if found := problems():
        print("\nThe book was built, but:", *found, sep="\n  ", file=sys.stderr)
        return 1
    if without:
        print(f"\n{without}\nTherefore {LEFT_OUT}.")
    if no_database:
        print(f"\n{no_database}\nTherefore the page on exploring COCO was built without FiftyOne's answers.")
    print(f"\nThe book is in {HTML / 'index.html'} ({time.monotonic() - start:.0f} s).")
    if arguments.serve is not None:
        serve(arguments.serve)
    return 0


if __name__ == "__main__":
    sys.exit(main())
