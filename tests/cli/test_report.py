# SPDX-License-Identifier: GPL-2.0-or-later
"""`pybridge report`: a page, and a summary on the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from tests.conftest import Run
from tools.goldens.listing import find

pytestmark = pytest.mark.tshark


def test_the_report_is_a_page_and_a_summary(run: Run, tmp_path: Path) -> None:
    done = run("report", find("refused.pcapng"), "-o", "out.html")
    page = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert done.returncode == 0
    assert "refused" in done.stdout
    assert "connection-refused" in done.stdout
    assert "<svg" in page
    assert "default-src 'none'" in page, "what that means is tried in tests/report/test_browser.py"


def test_a_report_of_standard_input_is_written(run: Run, tmp_path: Path) -> None:
    done = run("report", "-", "-o", "page.html", stdin=(find("refused.pcapng")).read_bytes())
    assert done.returncode == 0
    assert "connection-refused" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_an_existing_report_is_replaced_after_a_notice(run: Run, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    done = run("report", find("refused.pcapng"))
    assert done.stderr.splitlines() == [
        "pybridge: report.html exists: it is replaced when the new one is complete.",
        "pybridge: report written to report.html",
    ]
    assert "refused" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["report.html"]
    (tmp_path / "report.html").write_text("old")
    assert run("report", "missing.pcapng").returncode == 2
    assert (tmp_path / "report.html").read_text() == "old"


def test_names_are_shown_when_asked(run: Run, tmp_path: Path) -> None:
    """Connection 0 says a hostile name in HTTP, 1 says none but DNS has one, 2 has none."""
    question = DNSQR(qname="shop.example")
    answer = DNS(id=1, qr=1, qd=question, an=DNSRR(rrname="shop.example", rdata="192.0.2.2"))
    request = b"GET / HTTP/1.1\r\nHost: <b>www.example\r\n\r\n"
    packets = [Ether() / IP(src="192.0.2.9", dst="10.0.0.1") / UDP(sport=53, dport=5353) / answer]
    for number in (1, 2, 3):
        ends = Ether() / IP(src="10.0.0.1", dst=f"192.0.2.{number}")
        packets.append(ends / TCP(sport=5000, dport=80, flags="S", seq=1))
        packets.append(ends / TCP(sport=5000, dport=80, flags="PA", seq=2, ack=1) / (request if number == 1 else b""))
    wrpcap(str(tmp_path / "names.pcap"), packets)
    assert run("report", "--names", "names.pcap").returncode == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "192.0.2.1:80 (&lt;b&gt;www.example)" in page
    assert "192.0.2.2:80 (shop.example)" in page
    assert "192.0.2.3:80 ·" in page
    assert "<td>192.0.2.2<wbr>:80</td><td>shop.example</td>" in page, "beside the server"
    assert run("report", "names.pcap").returncode == 0
    assert "shop.example" not in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("arguments", "reason"), [(("-",), "only once"), (("a.pcap", "b.pcap"), "single capture")])
def test_names_need_a_capture_that_can_be_read_twice(run: Run, arguments: tuple[str, ...], reason: str) -> None:
    done = run("report", "--names", *arguments)
    assert done.returncode == 2
    assert reason in " ".join(done.stderr.split())
