# SPDX-License-Identifier: GPL-2.0-or-later
"""Both state machines give the same annotations for random conversations, with the properties that the specification promises."""

from __future__ import annotations

from collections import Counter

from hypothesis import given

from pybridge.tables.schema import CATEGORIES
from pybridge.tcp.model import Segment
from tests.support.conversations import THOROUGH, Conversation, conversations, golden_of, printed
from tests.support.listings import events
from tests.support.machines import LuaMachine, PythonMachine, Said


@THOROUGH
@given(conversations)
def test_both_state_machines_say_the_same(conversation: Conversation) -> None:
    with printed(golden_of([conversation])) as golden:
        python, lua = PythonMachine(), LuaMachine()
        for event in events(golden):
            assert python.take(event) == lua.take(event)
            assert python.told() == lua.told()


@THOROUGH
@given(conversations)
def test_annotations_keep_what_the_specification_promises(conversation: Conversation) -> None:
    with printed(golden_of([conversation])) as golden:
        machine = PythonMachine()
        annotated: dict[int, tuple[Segment, Said]] = {}
        anomalies: dict[int, Counter[str]] = {}
        for event in events(golden):
            said = machine.take(event)
            if said is None:
                continue
            assert [name for name in CATEGORIES.keys() & said.keys() if said[name] not in {None, *CATEGORIES[name]}] == []
            if said["responds_to"] is not None:
                answered, _ = annotated[said["responds_to"]]
                back = (
                    (event.destination, event.destination_port)
                    if isinstance(event, Segment)
                    else (event.source, event.source_port)
                )
                assert back == (answered.source, answered.source_port)
                assert said["response_time"] in {None, event.time - answered.time}
            names = (said["anomaly"] or "").split("+")
            stream = event.stream if isinstance(event, Segment) else annotated[said["responds_to"]][0].stream
            anomalies.setdefault(stream or 0, Counter()).update(names)
            if isinstance(event, Segment):
                annotated[event.frame] = event, said
                roles = set((said["role"] or "").split("+"))
                assert said["retransmission"] == ("-retransmission" in (said["anomaly"] or ""))
                assert (said["handshake_step"] is not None) == bool(roles & {"SYN", "SYN-ACK", "HANDSHAKE-ACK"})
                assert (said["teardown_step"] is not None) == bool(roles & {"FIN", "ACK-OF-FIN"})
        for stream, row in machine.rows().items():
            assert [name for name in CATEGORIES if getattr(row, name, None) not in {None, *CATEGORIES[name]}] == []
            ours = [event for event, _ in annotated.values() if event.stream == stream]
            assert row.client_segments + row.server_segments == len(ours)
            assert row.client_bytes + row.server_bytes == sum(event.length for event in ours)
            assert set((row.anomalies or "").split("+")) - {""} == set(anomalies[stream]) - {""}
            assert row.syn_retransmissions == anomalies[stream]["syn-retransmission"]
            assert row.syn_ack_retransmissions == anomalies[stream]["syn-ack-retransmission"]
            assert row.fin_retransmissions == anomalies[stream]["fin-retransmission"]
