# SPDX-License-Identifier: GPL-2.0-or-later
"""What a colleague would say of a capture, in a few sentences: the most harmful first, each with a count and a place to look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from pybridge.report.language import Translate
from pybridge.tables.peers import resets, unacknowledged
from pybridge.tcp.vocabulary import FAILED
from pybridge.text import amount, duration_text, endpoint, one_of, printable

Values = dict[str, "str | Phrase"]
Harm = Literal["alarm", "note", "fine"]

FEW = 5
"""Findings that are told beside the counts."""

MANY = 20
"""Ports or servers from which on one client's attempts are a scan."""

NAMED_PORTS = 8
"""Open ports that a scan has found and that are named."""

FLOOD = 50
"""Half-open connections from which on they are a flood."""

AGAIN = 5
"""Connections that exchange the same from which on a client is trying again and again."""

NUMBERS_IN_FILTER = 50
"""Streams or frames that a display filter names."""


@dataclass(frozen=True)
class Phrase:
    """A phrase in English, to be translated, with names in braces.

    Attributes
    ----------
    values : mapping of str to str or Phrase
        Texts of the capture, or phrases, by the names in braces.
    counts : bool
        Whether it says how many connections a finding is about.
    """

    template: str
    values: Mapping[str, str | Phrase] = field(default_factory=dict)
    counts: bool = False

    def text(self, translate: Translate = str, marked: Callable[[str], str] = str) -> str:
        """Return the phrase, with what comes from the capture made printable, and the phrase that counts as `marked` says."""
        filled = {
            name: value.text(translate, marked) if isinstance(value, Phrase) else printable(value)
            for name, value in self.values.items()
        }
        text = translate(self.template).format_map(filled)
        return marked(text) if self.counts else text


@dataclass(frozen=True)
class Finding:
    """One sentence about a capture.

    Attributes
    ----------
    harm : {"alarm", "note", "fine"}
    phrase : Phrase
    display_filter : str
        Finds the connections in Wireshark with the plugin; empty if there are none to show.
    stream : int or None
        The first or the worst of them.
    streams : tuple of int
        All of them.
    """

    harm: Harm
    phrase: Phrase
    display_filter: str = ""
    stream: int | None = None
    streams: tuple[int, ...] = ()

    def text(self, translate: Translate = str) -> str:
        """Return the sentence."""
        return self.phrase.text(translate)

    def parts(self, translate: Translate = str) -> tuple[str, str, str]:
        """Return the sentence in three parts: the middle one says how many connections, and is empty if none are counted."""
        before, count, after, *_ = (*self.phrase.text(translate, "\0{}\0".format).split("\0"), "", "")
        return before, count, after


FAILURES = {
    "server-silent": "No answer, because a firewall drops the SYNs, the server is down or overloaded, or no way leads back: "
    "{connections}.",
    "port-closed": "Refused, because nothing listens on that port, or a firewall answers for it: {connections}.",
    "filtered": "Rejected by a filter on the way: {connections}.",
    "host-unreachable": "Not delivered, as the network reports: {connections}.",
    "invalid-answer": "Answered in a way that no stack may accept: {connections}.",
    "old-connection-held": "Answered from an older connection, which the server still holds: {connections}.",
    "syn-ack-lost": "Answered, but the answers did not reach the client, or it dropped them: {connections}.",
    "peer-vanished": "Answered again and again, but the client had fallen silent: {connections}.",
    "still-open": "Answered, but never completed by the client: {connections}.",
    "probe": "Aborted by the client as soon as the server had answered, as a probe is: {connections}.",
}
"""Of connections that failed, by `diagnosis`."""

OTHER_FAILURE = "Not opened: {connections}."

TROUBLES = {
    "injected-reset": "Hit by a reset that its end evidently did not send: {connections}{details}.",
    "port-closed": "Answered as by a closed port, without a SYN in the capture: {connections}{details}.",
    "no-such-connection": "Reset by an end that did not know the connection any more: {connections}{details}.",
    "application-abort": "Aborted by an application with a reset: {connections}{details}.",
    "reset-with-unread-data": "Reset by an end that closed before it had read everything: {connections}{details}.",
    "idle-timeout": "Reset after a long silence, as by an idle timeout: {connections}{details}.",
    "peer-vanished": "Ended with one end repeating in vain, as if the other had vanished: {connections}.",
}
"""Of connections that were open, by `diagnosis`."""

NOT_FINISHED = {
    "": "Closed by one end, but not by the other until the capture ended, at most {longest} later: {connections}.",
    "client": "Closed by the server, but not by the client in the {longest} until the capture ended: {connections}.",
    "server": "Closed by the client, but not by the server in the {longest} until the capture ended: {connections}.",
}
"""Of several connections with `close-not-finished`, and of one by the suspect."""

HARMLESS_RESETS = {
    "application-abort": "Closed with a reset instead of a FIN, when everything had been acknowledged: {connections}{details}.",
    "reset-with-unread-data": "Closed by an end that reset what still came: {connections}{details}.",
    "idle-timeout": "Closed with a reset after a long silence, when nobody had sent anything: {connections}{details}.",
}
"""The same where the packets show that little was lost: all was acknowledged, or the closing end, or nobody, went on."""

GIVEN_UP = "Reset by an end that had closed and waited in vain for the other to close: {connections}{details}."
"""Of connections with `close-not-finished` that were reset."""

FORGOTTEN = pd.Timedelta("60s")
"""Time after which Linux forgets a connection that it has closed and its peer has not (`tcp_fin_timeout`)."""

DETAILS = ("; {who}", "; {who}, {octets} unacknowledged", "; {who}, {octets} unacknowledged, after {silence} of silence")
"""Of resets: by whom, what was unacknowledged, how long nobody had sent anything."""

AT_MOST = "at most {value}"
"""Of a value that differs between several connections."""

BY = {"client": ("by the client", "all by the client"), "server": ("by the server", "all by the server")}
BY_BOTH = "{client} by the client, {server} by the server"
NOTHING = "nothing"
OCTETS = ("{number} octet", "{number} octets")

SLOW = {
    "slow-server": "Slow to open, at most {longest}, on the server\u2019s side of the point of capture: {connections}.",
    "slow-client": "Slow to open, at most {longest}, on the client\u2019s side of the point of capture: {connections}.",
    "slow-path": "Slow to open, at most {longest}, on both sides of the point of capture: {connections}.",
    "syn-ack-lost": "Slow to open, at most {longest}, because the answers did not reach the client in time: {connections}.",
}
"""Of connections that opened late without a repetition that shows how long they waited (C24), by `diagnosis`."""

TO_SERVERS = (
    "{count} to {server}",
    "{count}, all to {server}",
    "{count}, most to {server} ({number})",
    "{count} to as many servers, the first {server}",
)
"""How many connections, and to which server: one connection, several to one server, to several servers, each to another."""

CONNECTIONS = ("{number} connection", "{number} connections")
CLIENTS = ("{number} client", "{number} clients")
PORTS = ("{number} port", "{number} ports")
HOSTS = ("{number} host", "{number} hosts")
TIMES = ("{number} time", "{number} times")

SCANS = (
    "{client} probes {probed} of {server}: {open} open{which}, {closed} closed, {silent} silent.",
    "{client} probes port {port} of {probed}: {open} open, {closed} closed, {silent} silent.",
)
WHICH = " ({ports})"
FLOOD_OF_SYNS = "{server} is flooded with SYNs: {count} from {clients} stayed half-open."
WAITED = (
    "Opened {longest} late, after {total}, because {cause}: {connections}.",
    "Opened late because {cause}: {connections}; they waited {total} in all, at most {longest} ({ends}).",
)
CAUSES = {
    "syn-lost": "a SYN was lost or dropped",
    "syn-ack-lost": "the answers did not reach the client in time",
    "third-step-lost": "the third step was lost or late",
    "third-step-ignored": "the server answered again in spite of the third step",
    "old-connection-held": "the server still held an older connection",
}
"""What openings waited for, by `diagnosis`, if they all have the same."""

OTHER_CAUSE = "a SYN or its answer was lost or dropped"
REPEATED = (
    "{client} has the same exchange with {server} {times} ({sent} and {received} octets), each time closed first by "
    "{closer}: it tries again and again."
)
CLOSERS = {"client": "the client", "server": "the server", "both": "both at once"}
FAN_OUT = "{client} opens connections to port {port} of {hosts}, as a peer-to-peer program does."
AFTER_CLOSE = "Ended with a reset after the close, which is harmless: {connections}."
UNREAD_AFTER_CLOSE = "Ended with a reset after both had closed, harmless but for the data that it left unread: {connections}."
ONE_SIDED = "Captured in one direction only, so that little can be said, look at the point of capture: {connections}."
ONE_END = "Heard from one end only, too little to say more: {connections}."
CLOCK = "The clock of the capture steps back {times}, by up to {longest}: times are wrong there."


def findings(segments: pd.DataFrame, connections: pd.DataFrame) -> list[Finding]:
    """Return what is worth saying beside the counts, the most harmful first; at most `FEW`.

    Parameters
    ----------
    segments, connections : pandas.DataFrame
        As for `summary.summary`; `establishment` may be `still-waiting`.
    """
    if connections.empty:
        return []
    scans, scanned = _scans(connections)
    others = connections[~connections.index.isin(scanned)]
    found = [
        *scans,
        *_failures(others),
        *_troubles(others),
        *_not_finished(segments, others),
        *_waiting(others),
        *_repeated(others),
        *_slow(others),
        *_fan_out(others),
        *_harmless(others),
        *_capture(segments, connections),
    ]
    rank = {"alarm": 0, "note": 1, "fine": 2}
    return sorted(found, key=lambda finding: rank[finding.harm])[:FEW]


def _scans(connections: pd.DataFrame) -> tuple[list[Finding], set[Any]]:
    """Return the scans and floods, and the connections that belong to them."""
    attempts = connections[connections["establishment"].isin(FAILED) | (connections["diagnosis"] == "probe")]
    found: list[Finding] = []
    scanned: set[Any] = set()
    for template, other, probed, of_them in (
        (SCANS[0], "server", "server_port", PORTS),
        (SCANS[1], "server_port", "server", HOSTS),
    ):
        for (client, target), group in _groups(attempts[~attempts.index.isin(scanned)], ["client", other], MANY):
            number = group[probed].nunique()
            if number < MANY:
                continue
            values: Values = {
                "client": str(client),
                "server": str(target),
                "port": str(target),
                "probed": _counted(number, of_them, counts=True),
                **_answers(group, probed),
            }
            where = _address(target) if other == "server" else f"tcp.port == {target}"
            found.append(_finding("alarm", Phrase(template, values), f"{_address(client)} && {where}", group))
            scanned |= set(group.index)
    half_open = attempts[(attempts["establishment"] == "half-open") & ~attempts.index.isin(scanned)]
    for (server, port), group in _groups(half_open, ["server", "server_port"], FLOOD):
        values = {
            "server": endpoint(server, port),
            "count": _connections(group),
            "clients": _counted(group["client"].nunique(), CLIENTS),
        }
        found.append(_finding("alarm", Phrase(FLOOD_OF_SYNS, values), _to(server, port), group))
        scanned |= set(group.index)
    return found, scanned


def _answers(group: pd.DataFrame, probed: str) -> Values:
    """Count ports or hosts by what they answered."""
    is_open = group["diagnosis"].eq("probe") | group["establishment"].isin(("half-open", "aborted"))
    open_ones = set(group.loc[is_open, probed])
    closed = set(group.loc[group["establishment"] == "refused", probed]) - open_ones
    counts = {"open": open_ones, "closed": closed, "silent": set(group[probed]) - open_ones - closed}
    named = probed == "server_port" and 0 < len(open_ones) <= NAMED_PORTS
    which = Phrase(WHICH, {"ports": ", ".join(map(str, sorted(open_ones)))}) if named else Phrase("")
    return {name: amount(len(values)) for name, values in counts.items()} | {"which": which}


def _failures(connections: pd.DataFrame) -> Iterator[Finding]:
    """Yield the failures by diagnosis, the most frequent first."""
    failed = connections[connections["establishment"].isin(FAILED)]
    for diagnosis in failed["diagnosis"].value_counts().loc[lambda counts: counts > 0].index:
        group = failed[failed["diagnosis"] == diagnosis]
        template = FAILURES.get(str(diagnosis), OTHER_FAILURE)
        yield _finding("alarm", Phrase(template, _group(group)), _filter(group, str(diagnosis)), group)


def _troubles(connections: pd.DataFrame) -> Iterator[Finding]:
    """Yield what happened to connections that were open, by diagnosis in the order of harm."""
    were_open = connections[~connections["establishment"].isin(FAILED) & (resets(connections) != "after-close").fillna(True)]
    little_lost = _little_lost(were_open)
    for templates, among in ((TROUBLES, were_open[~little_lost]), (HARMLESS_RESETS, were_open[little_lost])):
        for diagnosis, template in templates.items():
            group = among[among["diagnosis"] == diagnosis]
            if len(group):
                values = _group(group) | {"details": of_resets(group)}
                harm: Harm = "note" if templates is HARMLESS_RESETS or (resets(group) == "while-closing").all() else "alarm"
                yield _finding(harm, Phrase(template, values), _filter(group, diagnosis), group)


def _not_finished(segments: pd.DataFrame, connections: pd.DataFrame) -> Iterator[Finding]:
    """Yield connections that one end has closed and the other has not; an alarm from the time on when the first forgets them."""
    unfinished = connections[connections["diagnosis"] == "close-not-finished"]
    given_up, group = unfinished[unfinished["reset_by"].notna()], unfinished[unfinished["reset_by"].isna()]
    if len(given_up):
        phrase = Phrase(GIVEN_UP, _group(given_up) | {"details": of_resets(given_up)})
        yield _finding("note", phrase, _filter(given_up, "close-not-finished"), given_up)
    if group.empty:
        return
    longest = _longest_wait(segments, group)
    template = NOT_FINISHED["" if len(group) > 1 else str(group["suspect"].iloc[0])]
    values = _group(group) | {"longest": duration_text(longest)}
    harm: Harm = "alarm" if longest >= FORGOTTEN else "note"
    yield _finding(harm, Phrase(template, values), _filter(group, "close-not-finished"), group)


def _little_lost(connections: pd.DataFrame) -> pd.Series[bool]:
    """Whether a reset ended connections when their exchange was over, by what the packets show."""
    diagnosis, by_closer = connections["diagnosis"], connections["reset_by"].astype("string") == connections["closed_by"]
    closing = resets(connections) == "while-closing"
    went_on = connections["evidence"].astype("string").str.contains("+", regex=False, na=False)
    return (
        ((diagnosis == "application-abort") & (unacknowledged(connections) == 0))
        | ((diagnosis == "reset-with-unread-data") & closing & by_closer.fillna(False))
        | ((diagnosis == "idle-timeout") & ~went_on)
    )


def _longest_wait(segments: pd.DataFrame, connections: pd.DataFrame) -> pd.Timedelta:
    """Return how long the capture went on after the last segment of a connection, at most."""
    last = connections[["client_last_seen", "server_last_seen"]].max(axis=1)
    if "capture" in connections:
        return pd.Timedelta((connections["capture"].map(segments.groupby("capture")["time"].max()) - last).max())
    return pd.Timedelta(segments["time"].max() - last.min())


def of_resets(connections: pd.DataFrame) -> Phrase:
    """Say by whom connections were reset, and unless it was harmless, what was unacknowledged and how long it had been silent.

    The phrase is empty if none was reset. The silence is told of resets in mid-connection.
    """
    ended = connections[connections["reset_by"].notna()]
    by = {str(end): int(number) for end, number in ended["reset_by"].value_counts().items()}
    classes = set(resets(ended))
    if "after-close" in classes:
        return reset_details(by)
    silence = ended["idle_before_end"].max() if classes == {"mid-connection"} else None
    return reset_details(by, unacknowledged(ended).max(), silence)


def reset_details(by: Mapping[str, int], octets: int | None = None, silence: pd.Timedelta | None = None) -> Phrase:
    """Say by whom connections were reset, how many octets were unacknowledged at most, and after what silence at most.

    Octets and silence are left out if they are None; the phrase is empty if nobody has reset anything.
    """
    number = sum(by.values())
    if not number:
        return Phrase("")
    values: Values = {"who": by_whom(by)}
    if octets is None:
        return Phrase(DETAILS[0], values)
    values["octets"] = _at_most(_counted(int(octets), OCTETS), number > 1) if octets else Phrase(NOTHING)
    if silence is None or not silence > pd.Timedelta(0):
        return Phrase(DETAILS[1], values)
    values["silence"] = _at_most(duration_text(silence), number > 1)
    return Phrase(DETAILS[2], values)


def by_whom(by: Mapping[str, int]) -> Phrase:
    """Say which end has sent how many resets; empty if none has."""
    ends = {end: number for end, number in by.items() if number}
    if len(ends) > 1:
        return Phrase(BY_BOTH, {end: amount(number) for end, number in ends.items()})
    return next((Phrase(BY[end][number > 1]) for end, number in ends.items()), Phrase(""))


def _at_most(value: str | Phrase, several: bool) -> str | Phrase:
    return Phrase(AT_MOST, {"value": value}) if several else value


def _waiting(connections: pd.DataFrame) -> Iterator[Finding]:
    """Yield how much time openings lost by waiting for repeated SYNs and SYN-ACKs."""
    waited = connections[connections["retransmission_delay"] > pd.Timedelta(0)]
    if waited.empty:
        return
    slowest = waited.nlargest(1, "retransmission_delay")
    worst = slowest.iloc[0]
    same = waited["diagnosis"].nunique() == 1
    cause = CAUSES.get(str(worst["diagnosis"]), OTHER_CAUSE) if same else OTHER_CAUSE
    values = _group(waited) | {
        "cause": Phrase(cause),
        "total": duration_text(pd.Timedelta(waited["retransmission_delay"].sum())),
        "longest": duration_text(worst["retransmission_delay"]),
        **({"total": duration_text(worst["handshake_time"])} if len(waited) == 1 else {}),
        "ends": _ends(worst),
    }
    display_filter = _streams(waited) or "tcp_handshake.retransmission_delay > 0"
    yield _finding("alarm", Phrase(WAITED[len(waited) > 1], values), display_filter, waited, slowest)


def _repeated(connections: pd.DataFrame) -> Iterator[Finding]:
    """Yield a client that has the same short exchange with one server again and again."""
    over = connections[connections["closed_by"].notna() & (connections["client_bytes"] + connections["server_bytes"] > 0)]
    keys = ["client", "server", "server_port", "client_bytes", "server_bytes"]
    for (client, server, port, sent, received), group in _groups(over, keys, max(AGAIN, _half(over))):
        values: Values = {
            "client": str(client), "server": endpoint(server, port), "times": _counted(len(group), TIMES, counts=True),
            "sent": amount(int(sent)), "received": amount(int(received)),
            "closer": Phrase(CLOSERS[str(group["closed_by"].mode().iloc[0])]),
        }  # fmt: skip
        yield _finding("note", Phrase(REPEATED, values), _to(server, port), group)


def _slow(connections: pd.DataFrame) -> Iterator[Finding]:
    """Yield slow handshakes that no repetition explains, by the side on which the time went."""
    late = connections[connections["retransmission_delay"] == pd.Timedelta(0)]
    for diagnosis, template in SLOW.items():
        group = late[late["diagnosis"] == diagnosis]
        if len(group):
            values: Values = _group(group) | {"longest": duration_text(group["handshake_time"].max())}
            yield _finding("note", Phrase(template, values), _filter(group, diagnosis), group)


def _fan_out(connections: pd.DataFrame) -> Iterator[Finding]:
    """Yield a client that opens connections to one port of many hosts, most of which answer."""
    for (client, port), group in _groups(connections, ["client", "server_port"], max(MANY, _half(connections))):
        hosts = group["server"].nunique()
        if hosts >= MANY and (group["client_from"] != "port").all():
            values: Values = {"client": str(client), "port": str(port), "hosts": _counted(hosts, HOSTS, counts=True)}
            yield _finding("fine", Phrase(FAN_OUT, values), f"{_address(client)} && tcp.port == {port}", group)


def _harmless(connections: pd.DataFrame) -> Iterator[Finding]:
    """Yield what looks worse than it is."""
    after = connections[resets(connections) == "after-close"]
    unread = after["diagnosis"] == "reset-with-unread-data"
    for template, group in ((UNREAD_AFTER_CLOSE, after[unread]), (AFTER_CLOSE, after[~unread])):
        if len(group):
            yield _finding("fine", Phrase(template, _group(group)), _filter(group, str(group["diagnosis"].iloc[0])), group)


def _capture(segments: pd.DataFrame, connections: pd.DataFrame) -> Iterator[Finding]:
    """Yield what the capture itself lacks."""
    one_sided = connections[connections["diagnosis"] == "one-sided"]
    lacking = one_sided["suspect"].notna()
    for template, group in ((ONE_SIDED, one_sided[lacking]), (ONE_END, one_sided[~lacking])):
        if len(group):
            harm: Harm = "fine" if template is ONE_END else "alarm" if len(group) * 2 >= len(connections) else "note"
            yield _finding(harm, Phrase(template, _group(group)), _filter(group, "one-sided"), group)
    steps = segments["time"].diff() if "capture" not in segments else pd.Series(dtype="timedelta64[ns]")
    back = -steps[steps < -pd.Timedelta(milliseconds=1)]
    if len(back):
        yield Finding("note", Phrase(CLOCK, {"times": _counted(len(back), TIMES), "longest": duration_text(back.max())}))


def _finding(harm: Harm, phrase: Phrase, display_filter: str, group: pd.DataFrame, worst: pd.DataFrame | None = None) -> Finding:
    """Return a finding about some connections, of which it names the first or the worst."""
    return Finding(harm, phrase, display_filter, int((group if worst is None else worst).index[0]), tuple(map(int, group.index)))


def _group(group: pd.DataFrame) -> Values:
    """Return what all sentences about some connections say: how many, and where."""
    server, number, servers = _busiest(group)
    form = 0 if len(group) == 1 else 1 if servers == 1 else 3 if number == 1 else 2
    return {"connections": Phrase(TO_SERVERS[form], {"count": _connections(group), "server": server, "number": amount(number)})}


def _busiest(group: pd.DataFrame) -> tuple[str, int, int]:
    """Return the server with its port that most of the connections were to, their number, and the number of servers."""
    sizes = group.groupby(["server", "server_port"], sort=False, observed=True).size()
    busiest: Any = sizes.idxmax()
    return endpoint(*busiest), int(sizes.max()), len(sizes)


def _half(connections: pd.DataFrame) -> int:
    """Return half of the number of connections, rounded up."""
    return -(-len(connections) // 2)


def _connections(group: pd.DataFrame) -> Phrase:
    return _counted(len(group), CONNECTIONS, counts=True)


def _counted(number: int, phrases: tuple[str, str], *, counts: bool = False) -> Phrase:
    return Phrase(phrases[number != 1], {"number": amount(number)}, counts)


def _ends(row: pd.Series[Any]) -> str:
    return (
        f"{endpoint(str(row['client']), int(row['client_port']))} \u2192 {endpoint(str(row['server']), int(row['server_port']))}"
    )


def _groups(frame: pd.DataFrame, keys: list[str], least: int) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield the values of some columns with the rows that have them, if they are at least so many, in the order of the rows."""
    sizes = frame.groupby(keys, sort=False, observed=True)[keys[0]].transform("size")
    yield from frame[sizes >= least].groupby(keys, sort=False, observed=True)


def _streams(group: pd.DataFrame) -> str:
    """Return a display filter that names the connections; empty if they are too many or from several captures."""
    if "tcp_stream" in group or len(group) > NUMBERS_IN_FILTER:
        return ""
    return one_of("tcp.stream", group.index.tolist())


def _filter(group: pd.DataFrame, diagnosis: str) -> str:
    return _streams(group) or f'tcp_handshake.diagnosis == "{diagnosis}"'


def _to(server: object, port: object) -> str:
    return f"{_address(server)} && tcp.port == {port}"


def _address(address: object) -> str:
    text = str(address)
    return f"{'ipv6' if ':' in text else 'ip'}.addr == {text}"
