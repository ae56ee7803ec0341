"""A real browser for tests of pages, Debian's Chromium without a window, and what must not happen in it."""

import contextlib
import re
import shutil

import pytest

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync")  # fmt: skip


@contextlib.contextmanager
def chromium(own=("file:", "data:", "blob:"), expected=""):
    """``open(url, **options) -> page`` of playwright. At the end nothing may have been written to the console, failed
    or been asked of an address that does not begin with one of ``own``. ``expected``: what a line there may hold.

    One test each opens its own: playwright keeps an event loop, and other libraries begin theirs.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'jaxseg[test]'")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on PATH; on Debian: apt-get install chromium")
    wrong = []
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=program, args=list(FLAGS))

        def told(message):
            if not (expected and expected in message.text):
                wrong.append(f"console: {message.text}")

        def open_page(url, **options):
            page = browser.new_page(**options)
            page.on("console", told)
            page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
            page.on("requestfailed", lambda request: wrong.append(f"failed: {request.url[:80]}"))
            page.on("request", lambda r: None if r.url.startswith(own) else wrong.append(f"asked: {r.url}"))
            page.goto(url)
            return page

        yield open_page
        browser.close()
    assert wrong == []


def contrast(page, selector):
    """WCAG's contrast of text with what is behind it, 1 to 21: the least among all such elements."""
    pairs = page.locator(selector).evaluate_all(
        """(elements) => elements.map((element) => {
          let behind = element;
          const colour = () => getComputedStyle(behind).backgroundColor;
          while (behind.parentElement && /^rgba\\(.*, 0\\)$/.test(colour())) behind = behind.parentElement;
          return [getComputedStyle(element).color, colour()];
        })"""
    )
    values = (sorted(map(luminance, pair)) for pair in pairs)
    return min((light + 0.05) / (dark + 0.05) for dark, light in values)


def luminance(css):
    """Of a colour as getComputedStyle writes it: rgb(11, 92, 173), or color(srgb 0.04 0.36 0.68)."""
    numbers = [float(v) for v in re.findall(r"[\d.]+", css)[:3]]
    values = numbers if css.startswith("color") else [v / 255 for v in numbers]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
