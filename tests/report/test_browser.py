# SPDX-License-Identifier: GPL-2.0-or-later
"""The report in Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import pybridge
from pybridge.examples.traffic import write
from pybridge.report import page
from pybridge.tcp.vocabulary import FAILED
from pybridge.text import endpoint
from tests.support.scenarios import NORMAL, tables

pytestmark = [pytest.mark.browser, pytest.mark.tshark]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, NAMES)), None) or "/Applications/Chromium.app/Contents/MacOS/Chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def show(browser: Browser) -> Iterator[Open]:
    """Return a function that opens a page; at the end assert an empty console and no requests to other addresses."""
    said: list[str] = []

    def show(path: Path, **context: Any) -> Page:
        page = browser.new_context(viewport={"width": 1280, "height": 900}, **context).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: None if request.url == path.as_uri() else said.append(request.url))
        page.goto(path.as_uri())
        return page

    yield show
    assert said == []


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> pybridge.Capture:
    """Read a capture of some hundred connections of all kinds."""
    path = tmp_path_factory.mktemp("browser") / "office.pcapng"
    write(path, frames=20_000, seed=5)
    return pybridge.read(path, progress=False)


@pytest.fixture(scope="module")
def office_page(office: pybridge.Capture) -> Path:
    return written(Path(office.source).with_suffix(".html"), office.segments, office.connections)


def written(path: Path, segments: pd.DataFrame, connections: pd.DataFrame, **options: Any) -> Path:
    path.write_text(page.render(segments, connections, **{"title": "office", "versions": {}} | options), encoding="utf-8")
    return path


def rows(page: Page, column: int) -> list[str]:
    return page.locator(f"#table > tbody > tr[id] > :nth-child({column})").all_inner_texts()


OPENING = 6


def test_the_table_sorts_and_finds(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    connections = office.connections
    assert rows(page, 1) == [str(stream) for stream in range(25)]
    head = page.locator("#table thead th", has_text="Handshake")
    for order in ("ascending", "descending"):
        head.get_by_role("button").click()
        expect(head).to_have_attribute("aria-sort", order)
    assert rows(page, 1)[0] == str(connections["handshake_time"].idxmax())
    page.get_by_label("Search").fill("refused")
    assert set(rows(page, OPENING)) == {"▲ refused"}
    assert f"of {(connections['establishment'] == 'refused').sum()}" in page.locator(".info").inner_text()


def test_a_row_opens_its_ladder_and_its_segments(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    stream = office.connections.index[office.connections["establishment"] == "refused"][0]
    page.get_by_label("Search").fill("refused")
    row = page.locator(f"#row-{stream}")
    row.locator("th").click()
    detail = page.locator(f"#row-{stream} + tr")
    assert detail.locator("svg.tcp-ladder").is_visible()
    detail.locator("details.segments summary").click()
    count = int((office.segments["stream"] == stream).sum())
    assert detail.locator("details.segments tbody tr").count() == count
    row.focus()
    page.keyboard.press("Enter")
    assert not detail.locator("svg.tcp-ladder").is_visible()
    assert row.get_attribute("aria-expanded") == "false"


def test_a_connection_without_ladder_shows_the_command_that_draws_it(
    show: Open, office: pybridge.Capture, office_page: Path
) -> None:
    page = show(office_page)
    dull = next(stream for stream in office.connections.index if not page.locator(f"#ladder-{stream}").count())
    page.get_by_label("Search").fill(
        office.connections.loc[dull, "client"] + ":" + str(office.connections.loc[dull, "client_port"])
    )
    page.locator(f"#row-{dull} th").click()
    assert page.locator(f"#row-{dull} + tr code").inner_text() == f"pybridge ladder FILE {dull} -o ladder.svg"


def test_a_bar_of_a_chart_picks_its_connections(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    connections = office.connections
    bars = page.locator(".chart .pick[aria-label*='server, FIN']")
    bars.first.click()
    wanted = connections[(connections["closed_by"] == "server") & (connections["termination"] != "reset")]
    wanted = wanted[~wanted["establishment"].isin(FAILED)]
    assert f" of {len(wanted)} (filtered from {len(connections)})" in page.locator(".info").inner_text()
    assert rows(page, 1) == [str(stream) for stream in wanted.index[:25]]
    page.get_by_role("button", name="Show all").click()
    assert f" of {len(connections)}" in page.locator(".info").inner_text()
    assert page.locator(".picked").is_hidden()


def test_every_bar_stands_for_as_many_as_it_says(show: Open, office_page: Path) -> None:
    page = show(office_page)
    bars = page.locator(".chart .pick")
    titles = bars.evaluate_all("bars => bars.map(bar => bar.ariaLabel)")
    for index in range(0, len(titles), 7):
        bars.nth(index).dispatch_event("click")
        shown = page.locator(".info").inner_text().replace(",", "").split(" of ")[1].split()[0]
        assert shown in titles[index].replace(",", "").split(), titles[index]


def shown(page: Page) -> int:
    """Return how many connections match."""
    return int(page.locator(".info").inner_text().replace(",", "").split(" of ")[1].split()[0])


def test_the_search_for_failed_finds_the_failed(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    page.get_by_label("Search").fill("failed")
    assert shown(page) == len(office.failed)
    page.get_by_label("Search").fill("failed refused")
    assert shown(page) == (office.connections["establishment"] == "refused").sum()


def test_counts_of_the_verdict_and_legends_filter_the_table(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    refused = int((office.connections["establishment"] == "refused").sum())
    for place in ("#verdict > p", ".legend", ".meanings"):
        pick = page.locator(f"{place} .pick", has_text="refused").first
        pick.click()
        assert shown(page) == refused
        expect(pick).to_have_attribute("aria-pressed", "true")
        pick.focus()
        page.keyboard.press("Enter")
        assert shown(page) == len(office.connections), "chosen again it is no filter any more"
    for pick in page.locator(".verdict .pick, .findings .pick, #verdict > p .pick").all():
        pick.click()
        count = next(word for word in pick.inner_text().replace(",", "").split() if word.isdigit())
        assert shown(page) == int(count), pick.inner_text()


def test_a_server_of_the_tables_filters_the_connections(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    connections = office.connections
    pick = page.locator("#peers tbody th .pick").first
    server = pick.inner_text()
    pick.click()
    ends = [endpoint(*end) for end in zip(connections["server"], connections["server_port"], strict=True)]
    assert shown(page) == ends.count(server)
    pick = page.locator("#peers table").nth(1).locator("tbody th .pick").first
    client = pick.inner_text()
    pick.click()
    assert shown(page) == (connections["client"] == client).sum(), "a choice outside the table replaces the one before"


def test_cells_of_the_table_narrow_it(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    connections = office.connections
    page.locator("#table > tbody td .pick", has_text="four-way").first.click()
    assert shown(page) == (connections["termination"] == "four-way").sum()
    page.locator("#table > tbody td:nth-child(9) .pick", has_text="client").first.click()
    both = (connections["termination"] == "four-way") & (connections["closed_by"] == "client")
    assert shown(page) == both.sum()
    page.get_by_role("button", name="Closing: four-way").click()
    assert shown(page) == (connections["closed_by"] == "client").sum()
    page.get_by_role("button", name="Show all").click()
    page.get_by_label("Search").fill("syn-retransmission")
    page.locator("#table > tbody td .pick", has_text="syn-retransmission").first.click()
    page.get_by_label("Search").fill("")
    assert shown(page) == connections["anomalies"].str.split("+").map(lambda names: "syn-retransmission" in names, "ignore").sum()
    assert page.locator("tr.detail").count() == 0, "a click on a value opens no ladder"


def test_columns_can_be_hidden_and_shown(show: Open, office_page: Path) -> None:
    page = show(office_page)
    head = page.locator("#table thead th", has_text="Diagnosis")
    assert head.is_visible()
    page.locator(".columns summary").click()
    page.get_by_label("Diagnosis").uncheck()
    assert head.is_hidden()
    assert page.locator("#table > tbody > tr:first-child > td:nth-child(10)").is_hidden()
    page.get_by_label("Diagnosis").check()
    assert head.is_visible()


def test_on_a_phone_the_ends_stay_in_sight_while_the_table_scrolls(show: Open, office_page: Path) -> None:
    page = show(office_page)
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    scroller = page.locator("#live .scroll")
    scroller.evaluate("element => element.scrollLeft = 200")
    assert scroller.evaluate("element => element.scrollLeft") > 0
    for column in (1, 2, 3):
        box = page.locator(f"#table > tbody > tr:first-child > :nth-child({column})").bounding_box()
        assert box is not None
        assert 0 <= box["x"] < 390 - box["width"]
    assert box["x"] + box["width"] < 270, "room for the other columns"
    sizes = page.locator(".chart text").evaluate_all("texts => texts.map(text => text.getBoundingClientRect().height)")
    assert min(sizes) > 9, "readable"


def test_labels_of_charts_are_not_clipped(show: Open, office_page: Path) -> None:
    page = show(office_page)
    for chart in page.locator("svg.chart").all():
        outside = chart.evaluate(
            """chart => { const edge = chart.getBoundingClientRect();
            return [...chart.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()])
                .filter(([, box]) => box.left < edge.left - 1 || box.right > edge.right + 1 || box.bottom > edge.bottom + 1)
                .map(([text]) => text) }"""
        )
        assert outside == []


def test_arrow_keys_go_from_bar_to_bar(show: Open, office_page: Path) -> None:
    page = show(office_page)
    chart = page.locator("svg.chart").first
    assert chart.locator("[tabindex='0']").count() == 1
    chart.locator(".pick").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(chart.locator(".pick").nth(1)).to_have_attribute("aria-pressed", "true")


def test_a_range_that_is_drawn_on_a_chart_narrows_the_table(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    chart = page.locator("svg.chart").first
    page.locator(".legend .pick", has_text="opened").first.click()
    opened = shown(page)
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 1, y, steps=3)
    page.mouse.up()
    assert 0 < shown(page) < opened, "both filters hold"
    page.locator(".picked button", has_text="opened").click()
    start = (office.connections["start"] - office.connections["start"].min()).dt.total_seconds()
    half = (box["width"] / 2 - 46 / 400 * box["width"]) / ((392 - 46) / 400 * box["width"])
    end = (office.connections["duration"].dt.total_seconds() + start).max()
    assert shown(page) == pytest.approx((start >= half * end).sum(), abs=2)
    assert float(chart.locator(".range").get_attribute("width") or 0) > 100
    page.get_by_role("button", name="Show all").click()
    assert chart.locator(".range").is_hidden()


def test_what_a_bar_stands_for_is_shown_at_once(show: Open, office_page: Path) -> None:
    page = show(office_page)
    bar = page.locator("svg.chart .pick").first
    bar.scroll_into_view_if_needed()
    bar.hover(position={"x": 2, "y": 2})
    assert page.locator(".tip").inner_text() == bar.get_attribute("aria-label")
    page.mouse.move(1, 1)
    assert page.locator(".tip").is_hidden()


def test_a_point_of_a_chart_leads_to_its_row(show: Open, tmp_path: Path) -> None:
    page = show(written(tmp_path / "few.html", *tables(*[NORMAL] * 12)))
    page.locator("svg.chart a").nth(7).dispatch_event("click")
    expect(page.locator("#row-7 + tr svg.tcp-ladder")).to_be_visible()


def test_pages_are_turned(show: Open, office_page: Path) -> None:
    page = show(office_page)
    assert page.get_by_title("Previous").is_disabled()
    page.get_by_title("Next").click()
    assert rows(page, 1)[0] == "25"
    page.get_by_label("per page").select_option("100")
    assert len(rows(page, 1)) == 100


def test_the_first_tabulator_keys_skip(show: Open, office_page: Path) -> None:
    page = show(office_page)
    for name in ("Skip to the verdict", "Skip to the connections"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name=name)).to_be_focused()
        expect(page.get_by_role("link", name=name)).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#connections h2")).to_be_in_viewport()


def test_links_lead_from_failures_to_ladders_and_back(show: Open, office_page: Path) -> None:
    page = show(office_page)
    link = page.locator("#failures td a").first
    stream = link.inner_text()
    link.click()
    ladder = page.locator(f"#ladder-{stream}")
    assert ladder.locator("svg.tcp-ladder").is_visible()
    ladder.get_by_text("Back to the table").click()
    expect(page.locator(f"#row-{stream}")).to_be_visible()
    expect(page.locator(f"#row-{stream} + tr svg.tcp-ladder")).to_be_visible()


def test_without_scripts_it_is_a_plain_document(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page, java_script_enabled=False)
    assert page.locator("#connections tr[id]").count() == len(office.connections)
    assert page.locator("#connections tr[id]").first.is_visible()
    assert page.locator(".controls").count() == 0
    page.locator("#ladders summary").first.click()
    assert page.locator("svg.tcp-ladder").first.is_visible()


def test_all_rows_are_printed_on_paper(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(rows(page, 1)) == len(office.connections)
    page.emulate_media(media="print")
    assert page.get_by_label("Search").is_hidden()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert len(rows(page, 1)) == 25


def test_names_of_servers_are_found(show: Open, office: pybridge.Capture, tmp_path: Path) -> None:
    names = pd.Series({0: "shop.example", 3: "<i>shop.example"})
    page = show(written(tmp_path / "names.html", office.segments, office.connections.assign(server_name=names)))
    assert page.locator("#table thead th", has_text="Name").is_visible()
    page.get_by_label("Search").fill("shop.example")
    assert rows(page, 1) == ["0", "3"]
    assert rows(page, 4) == ["shop.example", "<i>shop.example"], "beside the server"


def test_a_wide_table_shows_on_which_side_it_goes_on(show: Open, office_page: Path) -> None:
    page = show(office_page)
    page.set_viewport_size({"width": 700, "height": 900})
    assert "wide" in (page.locator("#table").get_attribute("class") or "")
    assert page.locator("#live .scroll").evaluate("one => getComputedStyle(one).backgroundAttachment").count("local") == 2
    assert page.locator("#table thead th").nth(2).evaluate("one => getComputedStyle(one, '::after').width") == "1px"


def test_the_heads_of_the_printed_table_are_on_each_page(show: Open, office_page: Path) -> None:
    page = show(office_page)
    page.emulate_media(media="print")
    assert page.locator("#table thead").evaluate("one => getComputedStyle(one).display") == "table-header-group"
    assert page.locator("#table thead button").count() == 0, "Chromium repeats no head with a form control in it"


def test_on_paper_no_heading_stands_alone_and_the_last_page_has_text(show: Open, office_page: Path, tmp_path: Path) -> None:
    page = show(office_page)
    page.emulate_media(media="print")
    kept = page.locator("h2, caption, summary").evaluate_all("all => all.map(one => getComputedStyle(one).breakAfter)")
    assert set(kept) == {"avoid"}
    page.locator("#ladders > details").last.evaluate("last => { last.open = true; last.classList.add('tall') }")
    after = page.locator("#ladders > details").last.evaluate("last => getComputedStyle(last, '::after').breakAfter")
    assert after == "auto", "no empty page after the last ladder"


def test_the_page_follows_the_dark_mode_of_the_system(show: Open, office_page: Path) -> None:
    page = show(office_page, color_scheme="dark")
    colours = page.evaluate("[document.body, document.querySelector('#table td')].map(e => getComputedStyle(e).color)")
    assert colours == ["rgb(232, 232, 232)"] * 2
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(20, 20, 20)"


def test_the_page_is_in_chinese_when_asked(show: Open, office: pybridge.Capture, tmp_path: Path) -> None:
    page = show(written(tmp_path / "zh.html", office.segments, office.connections, language="zh"))
    assert page.locator("html").get_attribute("lang") == "zh-Hans"
    assert page.get_by_label("搜索").is_visible()
    assert "失败的连接" in page.locator("#failures h2").inner_text()


def test_a_capture_without_tcp(show: Open, tmp_path: Path) -> None:
    page = show(written(tmp_path / "quiet.html", *tables()))
    assert "no TCP connection" in page.locator("#verdict").inner_text()


def test_hostile_text_stays_text(show: Open, office: pybridge.Capture, tmp_path: Path) -> None:
    nasty = "</script><script>document.title='caught'</script><img src=x onerror=document.title='caught'>\u202e\x1b[2J"
    segments, connections = office.segments.copy(), office.connections.copy()
    connections["client"] = nasty
    connections["anomalies"] = nasty
    segments["tcp_flags"] = nasty
    page = show(written(tmp_path / "nasty.html", segments, connections, title=nasty))
    page.locator("#table > tbody > tr th").first.click()
    assert page.evaluate("document.title").startswith("</script>")
    assert rows(page, 2)[0].startswith(nasty.split("\u202e", maxsplit=1)[0] + r"\u202e\x1b[2J")
    assert page.locator("img").count() == 0


def test_ten_thousand_rows_of_a_hundred_thousand(show: Open, office: pybridge.Capture, tmp_path: Path) -> None:
    times = 100_000 // len(office.connections) + 1
    connections = pd.concat([office.connections] * times, ignore_index=True).head(100_000)
    page = show(written(tmp_path / "many.html", office.segments, connections))
    assert page.evaluate("document.documentElement.outerHTML.length") < 6_000_000
    assert "The first 10,000 of 100,000 connections" in page.locator("#connections").inner_text()
    waited = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert waited < 5_000, "milliseconds, beside other tests"
    head = page.locator("#table thead th", has_text="Bytes")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending", timeout=3_000)
