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
from tests.support.scenarios import tables

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
    return page.locator(f"#table > tbody > tr[id] > td:nth-child({column})").all_inner_texts()


OPENING = 6


def test_the_table_sorts_and_finds(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    connections = office.connections
    assert rows(page, 1) == [str(stream) for stream in range(25)]
    head = page.locator("#table thead th", has_text="Handshake")
    for order in ("ascending", "descending"):
        head.click()
        expect(head).to_have_attribute("aria-sort", order)
    assert rows(page, 1)[0] == str(connections["handshake_time"].idxmax())
    page.get_by_label("Search").fill("refused")
    assert set(rows(page, OPENING)) == {"▲ refused"}
    assert f"of {(connections['establishment'] == 'refused').sum()}" in page.locator(".dt-info").inner_text()


def test_a_row_opens_its_ladder_and_its_segments(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    stream = office.connections.index[office.connections["establishment"] == "refused"][0]
    page.get_by_label("Search").fill("refused")
    row = page.locator(f"#row-{stream}")
    row.click()
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
    page.locator(f"#row-{dull}").click()
    assert page.locator(f"#row-{dull} + tr code").inner_text() == f"pybridge ladder FILE {dull} -o ladder.svg"


def test_a_bar_of_a_chart_picks_its_connections(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page)
    connections = office.connections
    bars = page.locator(".pick", has=page.locator("title", has_text="server, FIN"))
    bars.first.click()
    wanted = connections[(connections["closed_by"] == "server") & (connections["termination"] != "reset")]
    wanted = wanted[~wanted["establishment"].isin(FAILED)]
    assert f" of {len(wanted)} " in page.locator(".dt-info").inner_text()
    assert rows(page, 1) == [str(stream) for stream in wanted.index[:25]]
    page.get_by_role("button", name="Show all").click()
    assert f" of {len(connections)}" in page.locator(".dt-info").inner_text()
    assert page.locator(".picked").is_hidden()


def test_every_bar_stands_for_as_many_as_it_says(show: Open, office_page: Path) -> None:
    page = show(office_page)
    titles = page.locator(".pick title").all_text_contents()
    for index in range(0, len(titles), 7):
        page.locator(".pick").nth(index).dispatch_event("click")
        shown = page.locator(".dt-info").inner_text().replace(",", "").split(" of ")[1].split()[0]
        assert shown in titles[index].replace(",", "").split(), titles[index]


def test_links_lead_from_failures_to_ladders_and_back(show: Open, office_page: Path) -> None:
    page = show(office_page)
    link = page.locator("#failures td a").first
    stream = link.inner_text()
    link.click()
    ladder = page.locator(f"#ladder-{stream}")
    assert ladder.locator("svg.tcp-ladder").is_visible()
    ladder.get_by_text("Back to the table").click()
    assert page.locator(f"#row-{stream}").is_visible()
    assert page.locator(f"#row-{stream} + tr svg.tcp-ladder").is_visible()


def test_without_scripts_it_is_a_plain_document(show: Open, office: pybridge.Capture, office_page: Path) -> None:
    page = show(office_page, java_script_enabled=False)
    assert page.locator("#connections tr[id]").count() == len(office.connections)
    assert page.locator("#connections tr[id]").first.is_visible()
    assert page.locator("#table").is_hidden()
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
    page.locator("#table > tbody > tr").first.click()
    assert page.evaluate("document.title").startswith("</script>")
    assert rows(page, 2)[0].startswith(nasty.split("\u202e", maxsplit=1)[0] + r"\u202e\x1b[2J")
    assert page.locator("img").count() == 0


def test_ten_thousand_rows_of_a_hundred_thousand(show: Open, office: pybridge.Capture, tmp_path: Path) -> None:
    times = 100_000 // len(office.connections) + 1
    connections = pd.concat([office.connections] * times, ignore_index=True).head(100_000)
    page = show(written(tmp_path / "many.html", office.segments, connections))
    assert page.evaluate("document.documentElement.outerHTML.length") < 10_000_000
    assert "The first 10,000 of 100,000 connections" in page.locator("#connections").inner_text()
    waited = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    assert waited < 5_000, "milliseconds, beside other tests"
    head = page.locator("#table thead th", has_text="Bytes")
    head.click()
    expect(head).to_have_attribute("aria-sort", "ascending", timeout=3_000)
