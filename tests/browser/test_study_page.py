"""The page of a study in a real browser: no errors, nothing fetched, links, sorting, narrow, dark, print."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from interplay.report.page import study_page
from interplay.study.ablation import BASELINE
from interplay.study.definition import StudyRow
from tests import studies

pytestmark = pytest.mark.browser

NAMES = ["a1", "s1", "empty"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Addresses of the pages of an ablation, a search, and a search without cells."""
    root = tmp_path_factory.mktemp("runs")
    studies.write_table(root, epochs=12)
    aims = ["val/top1", "parameters:min"]
    studies.write_search(root, studies.small_recipe(), 40, objectives=aims, cut=4, failed=2, running=1)
    studies.write_search(root, studies.small_recipe(), 0, name="empty")
    for name in NAMES:
        (root / f"{name}.html").write_text(study_page(root, name), encoding="utf-8")
    return {name: (root / f"{name}.html").as_uri() for name in NAMES}


def opened(browser: Browser, address: str, *, width: int = 1280, **how: Any) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, **how)
    page.goto(address)
    return page


@pytest.mark.parametrize("name", NAMES)
def test_no_errors_and_nothing_fetched(browser: Browser, pages: dict[str, str], name: str) -> None:
    page = browser.new_page()
    errors: list[str] = []
    fetched: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(dialog.message))
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(pages[name])
    assert errors == []
    assert [url for url in fetched if url != "data:,"] == [pages[name]]
    page.close()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_scrolling_to_the_side(browser: Browser, pages: dict[str, str], name: str, width: int) -> None:
    page = opened(browser, pages[name], width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    small = page.evaluate(
        "[...document.querySelectorAll('main td, main th, main p, figcaption')]"
        ".filter(e => e.offsetParent && parseFloat(getComputedStyle(e).fontSize) < 12).length"
    )
    assert small == 0
    page.close()


def test_a_narrow_table_names_every_number(browser: Browser, pages: dict[str, str]) -> None:
    page = opened(browser, pages["a1"], width=390)
    row = page.locator("#results tbody tr", has_text="no LayerScale")
    cell = row.locator("td[data-label=difference]")
    assert cell.evaluate("e => getComputedStyle(e, '::before').content") == '"difference"'
    assert page.locator("#results thead").is_hidden()
    # letters in figures stay readable: their height on the screen, in pixels
    heights = page.evaluate(
        "[...document.querySelectorAll('figure svg text')].map(e => e.getBoundingClientRect().height)"
    )
    assert min(height for height in heights if height) >= 9
    page.close()


def test_links_lead_to_the_cell(browser: Browser, pages: dict[str, str]) -> None:
    page = opened(browser, pages["a1"])
    link = page.locator("#results tbody td a").first
    target = link.get_attribute("href")
    assert target is not None
    link.click()
    assert page.url.endswith(target)
    assert page.evaluate("t => document.querySelector(t).getBoundingClientRect().top < innerHeight", target)
    lost = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href').slice(1))"
        ".filter(id => !document.getElementById(id))"
    )
    assert lost == []
    page.close()


def values(page: Page, column: str) -> list[str]:
    return page.locator(f"#results tbody td[data-label='{column}']").all_inner_texts()


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split()[0]) for text in texts if not text.startswith("—")]


def test_sorting_by_mouse_and_by_keyboard(browser: Browser, pages: dict[str, str]) -> None:
    """Numbers by their size, dashes last both ways, words by the alphabet, and assistive technology is told."""
    page = opened(browser, pages["a1"])
    before = values(page, "test top-1")
    head = page.locator("#results th", has_text="test top-1")
    head.get_by_role("button").click()
    rising = values(page, "test top-1")
    assert numbers(rising) == sorted(numbers(before)) != numbers(before)
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")  # the button has the focus
    falling = values(page, "test top-1")
    assert numbers(falling) == sorted(numbers(before), reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    assert [text[0] for text in rising[-2:] + falling[-2:]] == ["—"] * 4
    page.locator("#results th", has_text="row").first.get_by_role("button").click()
    rows = page.locator("#results tbody th").all_inner_texts()
    assert [row.split("\n")[0] for row in rows][:3] == ["baseline", studies.SCRIPT, "four blocks"]
    assert page.locator("#results th[aria-sort]").count() == 1
    page.close()


def test_the_keyboard_reaches_everything(browser: Browser, pages: dict[str, str]) -> None:
    """The first stop skips to the results; every stop shows where it is."""
    page = opened(browser, pages["a1"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    for _ in range(30):
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", page.evaluate("document.activeElement.outerHTML")
    page.close()


def test_one_contour_at_a_time(browser: Browser, pages: dict[str, str]) -> None:
    page = opened(browser, pages["s1"])
    shown = page.locator(".choice figure:visible")
    assert shown.count() == 1
    first = shown.inner_text()
    page.locator(".choice select").focus()
    page.keyboard.press("ArrowDown")
    assert shown.count() == 1
    assert shown.inner_text() != first
    page.close()


CONTRAST = """() => {
  const lum = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
      .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2] };
  const paper = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
      if (!c.endsWith(', 0)') && c !== 'transparent') return c } return 'rgb(255, 255, 255)' };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    const text = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!text || e.closest('script, style, option') || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), ink = e.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [a, b] = [lum(ink), lum(paper(e))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) bad.push([e.tagName, e.className.baseVal ?? e.className, ink, paper(e)]);
  }
  return bad;
}"""


@pytest.mark.parametrize("name", NAMES[:2])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser: Browser, pages: dict[str, str], name: str, scheme: str) -> None:
    """Every word has the contrast of WCAG AA, 4.5 to 1, on whatever lies behind it."""
    page = opened(browser, pages[name], color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 20, 22)"}[scheme]
    assert page.evaluate(CONTRAST) == []
    page.close()


@pytest.mark.parametrize("name", NAMES[:2])
def test_print(browser: Browser, pages: dict[str, str], name: str) -> None:
    """On A4 with margins nothing is cut off at the side, even if the screen is dark; the contents are left out."""
    page = opened(browser, pages[name], width=718, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()


def test_without_javascript(browser: Browser, pages: dict[str, str]) -> None:
    """The numbers are there, and so is every figure."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["s1"])
    figures = page.locator(".choice figure")
    assert figures.count() > 1
    assert all(figure.is_visible() for figure in figures.all())
    context.close()


def test_semantics(browser: Browser, pages: dict[str, str]) -> None:
    """Tables have captions and scopes, figures names, headings an order; one main part."""
    page = opened(browser, pages["a1"])
    assert page.evaluate("[...document.querySelectorAll('table')].every(t => t.caption && t.caption.textContent)")
    assert page.locator("thead th:not([scope=col]), tbody th:not([scope=row])").count() == 0
    assert page.locator("figure svg[role=img]:not([aria-label])").count() == 0
    assert page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => h.tagName)")[:2] == ["H1", "H2"]
    assert page.locator("main").count() == page.locator("h1").count() == 1
    assert page.get_by_role("table").count() == page.locator("table").count()
    page.close()


@pytest.mark.slow
def test_a_page_of_5000_cells_opens(browser: Browser, tmp_path: Path) -> None:
    """Within seconds a person can read, jump to the cells and sort them."""
    rows = [
        StudyRow(BASELINE, {}, {}),
        *(StudyRow(f"row {i}", {"optimiser.lr": 1e-5 * i}, {}) for i in range(1, 1000)),
    ]
    definition = studies.write_ablation(tmp_path, studies.small_recipe(), rows, seeds=range(5), name="many")
    studies.train_ablation(tmp_path, definition, {BASELINE: 90.0}, epochs=3, recipes=False)
    (tmp_path / "many.html").write_text(study_page(tmp_path, "many"), encoding="utf-8")
    began = time.monotonic()
    page = opened(browser, (tmp_path / "many.html").as_uri())
    shown = time.monotonic()
    expect(page.locator("#results tbody tr").first).to_be_visible()
    page.locator("#cells tbody tr").last.scroll_into_view_if_needed()
    page.locator("#results th", has_text="test top-1").get_by_role("button").click()
    assert numbers(values(page, "test top-1")[:50]) == sorted(numbers(values(page, "test top-1")))[:50]
    sorted_ = time.monotonic()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    print(f"\n5,000 cells: opened in {shown - began:.1f} s, read and sorted after {sorted_ - shown:.1f} s more")
    assert shown - began < 20.0
    page.close()
