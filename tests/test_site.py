"""The built website in a real browser: it loads, keeps to itself, reacts, and can be read by everyone."""

import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install -e '.[dev]'")

BOOK = Path(__file__).parents[1] / "book"
HTML = BOOK / "_build/html"
AXE = BOOK / "node_modules/axe-core/axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CONFIG = yaml.safe_load((BOOK / "_config.yml").read_text("utf-8"))
TOC = yaml.safe_load((BOOK / "_toc.yml").read_text("utf-8"))
PAGES = [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]
# The reading list has neither quiz nor figures.
CHAPTERS = [page for page in PAGES if page.startswith("chapters/") and not page.endswith("/where-next")]
# A recap is a quiz and a table, without figures and mathematics of its own.
FULL_CHAPTERS = [page for page in CHAPTERS if not page.endswith("-recap")]
WITH_EXERCISE = [page for page in CHAPTERS if "\nexercise: " in (BOOK / f"{page}.md").read_text("utf-8")]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def site():
    """The address of the built site, served on a free port of this machine."""
    if not (HTML / "index.html").is_file():
        done = subprocess.run([sys.executable, BOOK / "build.py"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=HTML)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reader(browser, site):
    """A browser profile that all tests share, with its cache."""
    with browser.new_context(viewport={"width": 1280, "height": 900}, base_url=site) as context:
        yield context


@pytest.fixture
def page(reader, site):
    """A page that fails the test if it complains, asks another host, or misses a file."""
    page = reader.new_page()
    complaints = []
    page.on("console", lambda message: message.type in ("warning", "error") and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith((site, "data:")) or complaints.append(request.url))
    page.on("response", lambda answer: answer.status < 400 or complaints.append(f"{answer.status} {answer.url}"))
    yield page
    page.close()
    assert complaints == []


def wait_for_mathematics(page):
    """Until MathJax has set the page; a site built without Node has none to wait for."""
    page.wait_for_function("!document.querySelector('script[src*=mathjax]') || window.MathJax?.startup?.promise")
    page.evaluate("window.MathJax?.startup?.promise")


@pytest.mark.parametrize("name", PAGES)
def test_page_loads_fits_a_phone_and_has_no_dead_link_or_silent_picture(page, name):
    page.goto(f"/{name}.html")
    wait_for_mathematics(page)
    assert page.locator(".bd-article h1").first.is_visible()
    broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)")
    assert broken == []
    silent = page.evaluate(
        "[...document.querySelectorAll('.bd-article img, .bd-article svg.mathtext')]"
        ".filter(i => !(i.getAttribute('alt') ?? i.getAttribute('aria-label') ?? '').trim()).map(i => i.outerHTML)"
    )
    assert silent == []
    url, branch = CONFIG["repository"]["url"], CONFIG["repository"]["branch"]
    for link in page.evaluate("[...document.querySelectorAll('.bd-article a')].map(a => a.href)"):
        target = re.match(rf"{re.escape(url)}/(?:blob|tree)/{branch}/([^#?]*)", link)
        assert target is None or (BOOK.parent / target[1]).exists(), link
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", FULL_CHAPTERS)
def test_chapter_has_figures_and_numbers_of_its_own(page, name):
    page.goto(f"/{name}.html")
    assert page.locator("figure img").count() >= 3
    assert page.locator("figure figcaption").count() >= 3
    assert page.locator(".admonition.outcomes li").count() >= 3


@pytest.mark.parametrize("name", FULL_CHAPTERS)
def test_mathematics_is_set(page, name):
    page.goto(f"/{name}.html")
    wait_for_mathematics(page)
    assert page.locator("mjx-container svg, svg.mathtext").count() > 5
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    article = page.locator(".bd-article").inner_text()
    assert not re.search(r"\\(frac|sum|mathrm)", article), "TeX source is visible"


def test_search_finds_a_word(page):
    page.goto("/search.html?q=panoptic")
    page.locator("#search-results li a", has_text="What is segmentation?").first.wait_for()


def test_search_field_leads_to_results(page):
    page.goto("/index.html")
    page.keyboard.press("Control+k")
    page.locator("#pst-search-dialog input").fill("confusion matrix")
    page.keyboard.press("Enter")
    # Sphinx lists its results one after the other.
    page.locator("#search-results li", has_text="Measuring segmentation").first.wait_for()


@pytest.mark.slow  # some three seconds a chapter
@pytest.mark.parametrize("name", CHAPTERS)
def test_every_answer_of_every_quiz_explains_itself(page, name):
    page.goto(f"/{name}.html")
    questions = page.locator(".quiz-question")
    assert questions.count() >= 5
    assert page.locator(".quiz-why:visible").count() == 0
    for question in questions.all():
        for answer in question.locator("button[data-verdict]").all():
            answer.click()
            assert answer.get_attribute("aria-pressed") == "true"
            why = answer.locator("xpath=..").locator(".quiz-why")
            assert why.is_visible()
            verdict = {"right": "Right.", "wrong": "Not quite."}[answer.get_attribute("data-verdict")]
            assert why.inner_text().startswith(verdict)
            assert len(why.inner_text()) > 20


def test_quiz_with_one_answer_forgets_the_previous_choice(page):
    page.goto("/chapters/what-is-segmentation.html")
    question = page.locator(".quiz-question").first
    question.locator("[data-verdict=wrong]").first.click()
    question.locator("[data-verdict=right]").click()
    assert question.locator(".quiz-why:visible").count() == 1
    assert question.locator("[aria-pressed=true]").count() == 1


@pytest.mark.parametrize(
    ("typed", "reply"), [("0.4", "Right."), ("0,4", "Right."), ("0.5", "accuracy of the class"), ("7", "Not quite.")]
)
def test_quiz_checks_a_number(page, typed, reply):
    page.goto("/chapters/measuring-segmentation.html")
    form = page.locator(".quiz-question form").first
    form.locator("input").fill(typed)
    form.locator("input").press("Enter")
    assert reply in form.locator(".quiz-why:visible").inner_text()


def test_quiz_refuses_what_is_no_number(page):
    page.goto("/chapters/measuring-segmentation.html")
    form = page.locator(".quiz-question form").first
    form.locator("input").fill("half")
    form.locator("button").click()
    assert form.locator(".quiz-why:visible").count() == 0
    assert form.locator("input").evaluate("field => !field.checkValidity()")


def test_quiz_works_by_keyboard(page):
    page.goto("/chapters/what-is-segmentation.html")
    page.locator(".quiz-question button").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".quiz-why:visible").count() == 1


def test_without_javascript_every_explanation_is_there(browser, site):
    context = browser.new_context(java_script_enabled=False, base_url=site)
    page = context.new_page()
    page.goto("/chapters/what-is-segmentation.html")
    explanations = page.locator(".quiz-why")
    assert explanations.count() > 10
    assert all(explanation.is_visible() for explanation in explanations.all())
    context.close()


def test_dark_mode_switches_and_stays(page):
    page.goto("/index.html")
    page.evaluate("localStorage.clear()")
    page.reload()
    background = "getComputedStyle(document.body).backgroundColor"
    seen = {}
    for _ in range(3):
        page.locator(".theme-switch-button:visible").first.click()
        seen[page.locator("html").get_attribute("data-mode")] = page.evaluate(background)
    assert seen.keys() == {"auto", "light", "dark"}
    assert seen["light"] != seen["dark"]
    while page.locator("html").get_attribute("data-mode") != "dark":
        page.locator(".theme-switch-button:visible").first.click()
    page.goto("/chapters/measuring-segmentation.html")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    assert page.evaluate(background) == seen["dark"]
    page.evaluate("localStorage.clear()")


@pytest.mark.parametrize("name", WITH_EXERCISE)
def test_launch_buttons_open_the_exercise_of_the_configured_repository(page, name):
    repository = CONFIG["repository"]["url"].removeprefix("https://github.com/")
    page.goto(f"/{name}.html")
    links = [link.get_attribute("href") for link in page.locator(".dropdown-launch-buttons a").all()]
    assert len(links) == 2
    notebooks = set()
    for link in links:
        assert repository in link, link
        notebooks.add(re.search(r"exercises/.*\.ipynb$", link)[0])
    (notebook,) = notebooks
    assert (BOOK.parent / notebook).is_file()


@pytest.mark.slow  # some four seconds a page
@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed: it comes with `make book` where Node is")
@pytest.mark.parametrize("name", PAGES)
def test_accessibility_in_light_and_dark(page, name):
    page.goto(f"/{name}.html")
    wait_for_mathematics(page)
    page.evaluate("document.querySelectorAll('.quiz-why').forEach(why => why.classList.add('shown'))")
    page.add_script_tag(path=AXE)
    for mode in ("light", "dark"):
        page.emulate_media(color_scheme=mode, reduced_motion="reduce")
        page.wait_for_function(f"document.documentElement.dataset.theme === '{mode}'")
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        grave = [
            f"{mode}: {violation['id']}: {violation['help']}: {violation['nodes'][0]['html'][:200]}"
            for violation in found
            if violation["impact"] in ("serious", "critical")
        ]
        assert grave == []
