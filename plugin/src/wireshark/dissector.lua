-- The post-dissector: gives the segments and network errors of each frame to the tracker, and shows the annotations.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local annotator, protocol = require("annotator"), require("wireshark.fields")
local reader, items = require("wireshark.reader"), require("wireshark.tree")

local proto = protocol.proto
local get_port, get_stream = reader.get_port, reader.get_stream
local get_length, get_time = reader.get_length, reader.get_time
local value_of, last_value, read_number = reader.value_of, reader.last_value, reader.read_number
local read_numbers, read_offer_and_identity = reader.read_numbers, reader.read_offer_and_identity
local read_network = reader.read_network
local network_error, read_segment, read_segments = reader.network_error, reader.read_segment, reader.read_segments
local getter = reader.getter
local is_referenced, show, info_note, show_notes = items.is_referenced, items.show, items.info_note, items.show_notes

local tracker
-- Number of the last frame that was processed. A frame is new if its number is higher, whatever pinfo.visited says: in
-- plain tshark -2 the first pass has no fields, so that the second pass is the first to see a segment.
local last_frame
-- In two passes with a read filter (tshark -2 -R), Wireshark gives the number of a frame that the filter drops to the
-- next frame, too. By such a number and by stream: the ordinal of the first segment of the frame that kept the number.
local first_ordinals
-- The latest time of a segment so far in seconds, which the tracker asks for when it needs the end of the capture (D).
local latest_seconds
-- What gets pinfo.number and pinfo.abs_ts.
local number_of, seconds_of

--- Returns how many nanoseconds an NSTime is.
local function nanoseconds(time)
    return time.secs * 1000000000 + time.nsecs
end

--- Forgets the capture.
local function reset()
    last_frame, first_ordinals, latest_seconds = 0, {}, -math.huge
    -- Without the first function: NSTime values subtract as numbers do.
    tracker = annotator.new(nil, nanoseconds, function()
        return latest_seconds
    end)
end

--- Judges one segment of a frame, or recalls its annotation, and shows it.
-- @param segment as read_segment gives it
-- @param number of the frame
-- @param is_new true if the frame was not processed before
-- @param needs_fields what is_referenced returned
-- @return its annotation, or the notes on it, or nil
local function process(segment, number, is_new, pinfo, tree, needs_fields)
    local stream, flags = segment.stream, segment.flags
    local annotation, connection
    if is_new then
        local offer, identity, hop_limit, is_ipv6
        connection = tracker.connections[stream]
        if segment.header then
            is_ipv6 = connection and connection.is_ipv6
            offer, identity, hop_limit, is_ipv6 = read_offer_and_identity(segment.header, flags, pinfo, is_ipv6)
        end
        local seconds = seconds_of(pinfo)
        if seconds > latest_seconds then
            latest_seconds = seconds
        end
        local take = needs_fields and tracker.segment or tracker.take
        annotation = take(tracker, stream, number, value_of(get_time()), segment.source, segment.source_port,
            segment.destination, segment.destination_port, flags, segment.seq, segment.ack, segment.length,
            offer, identity, hop_limit, seconds)
        connection = connection or tracker.connections[stream]
        connection.is_ipv6 = is_ipv6
    else
        local first = first_ordinals[number] and first_ordinals[number][stream] or 0
        local ordinal = first + segment.ordinal
        annotation, connection = tracker:recall(stream, number, ordinal, segment.source, segment.source_port, flags,
            segment.seq, segment.length)
    end
    if annotation then
        show(annotation, connection, tree, needs_fields, is_new, number)
    end
    return annotation
end

--- Follows the only segment of a new frame if it is quiet, as most segments of most captures are. Then nothing else is
-- to be done but to show it where that is needed.
-- @param tvb the bytes of the frame
-- @param info the occurrence of its tcp.stream
-- @param stream its value
-- @param number of the frame
-- @return whether it was quiet
local function follow_quiet(tvb, info, stream, number, pinfo, tree, needs_fields)
    local connection = tracker.connections[stream]
    if not (connection and connection.is_quiet) then
        return false
    end
    local length_info, another = get_length()
    if not length_info or another then
        return false
    end
    local source_port, destination_port, seq, ack, data_offset, flags = read_numbers(tvb, info)
    -- G7: ACK, but neither FIN nor SYN nor RST. G1: a header shorter than 20 bytes is no segment.
    if not source_port or flags % 8 ~= 0 or flags % 32 < 16 or data_offset < 80 then
        return false
    end
    local length = length_info()
    local seconds = seconds_of(pinfo)
    local sender, is_first = tracker:follow(stream, source_port, destination_port, seq, ack, length, seconds)
    if seconds > latest_seconds then
        latest_seconds = seconds
    end
    if is_first then
        local _, hop_limit = read_network(pinfo, connection.is_ipv6)
        tracker:note_hop_limit(stream, sender, hop_limit)
    end
    if sender and needs_fields then
        local annotation
        annotation, connection = tracker:followed(stream, sender, length)
        show(annotation, connection, tree, true, true, number)
    end
    return sender ~= nil
end

--- Judges or recalls the network error of a frame without segments, if it holds one (N1), and shows it.
local function dissect_error(number, is_new, pinfo, tree)
    local network, is_unreachable, code = network_error()
    local annotation = tracker:recall_error(number)
    if network and is_new then
        local source, destination = last_value(network.get_source()), last_value(network.get_destination())
        local ports = { get_port() }
        if source and destination and #ports > 0 then
            annotation = tracker:network_error(number, value_of(get_time()), source, read_number(ports[#ports], 0, 2),
                destination, read_number(ports[#ports], 2, 2), last_value(get_stream()),
                is_unreachable and network.unreachable or nil, code, value_of(network.get_source()))
        end
    end
    if annotation then
        show(annotation, tracker.connections[annotation.stream], tree, is_referenced(tree), is_new, number)
        show_notes(is_unreachable and "[SYN unreachable] " or "[SYN not delivered] ", pinfo, is_new)
    end
end

--- Prepares for a frame that got the number of the one before it, because a read filter dropped that one.
local function take_over(number)
    local first = first_ordinals[number] or {}
    for _, stream in ipairs({ get_stream() }) do
        local connection = tracker.connections[stream()]
        if connection and connection.last_frame == number then
            first[stream()] = connection.last_ordinal + 1
        end
    end
    first_ordinals[number] = first
    tracker.errors[number] = nil
end

--- Dissects a frame. Wireshark calls this after all other dissectors.
function proto.dissector(tvb, pinfo, tree)
    local info, another_stream = get_stream()
    if not info and not get_port() then
        return
    end
    local stream, needs_fields = info and info(), is_referenced(tree)
    if not number_of then
        number_of, seconds_of = getter(pinfo, "number"), getter(pinfo, "abs_ts")
    end
    local number = number_of(pinfo)
    local is_new = number > last_frame
    if number == last_frame and not pinfo.visited then
        is_new = true
        take_over(number)
    end
    if is_new then
        last_frame = number
        if stream and not another_stream and follow_quiet(tvb, info, stream, number, pinfo, tree, needs_fields) then
            return
        end
    end
    -- Every header has a source port: one of them means one header, and the other fields need not be counted (G2).
    local _, another_port = get_port()
    local notes, is_segment, is_unclear = "", false, false
    if another_port then
        local segments
        segments, is_unclear = read_segments(pinfo)
        is_segment = #segments > 0
        for index = 1, #segments do
            local annotation = process(segments[index], number, is_new, pinfo, tree, needs_fields)
            notes = notes .. (annotation and info_note(annotation) or "")
        end
    else
        local segment = read_segment(tracker, info, stream, pinfo)
        if segment then
            is_segment = true
            local annotation = process(segment, number, is_new, pinfo, tree, needs_fields)
            notes = annotation and info_note(annotation) or ""
        end
    end
    if notes ~= "" then
        show_notes(notes, pinfo, is_new)
    end
    if not (is_segment or is_unclear) then -- N1
        dissect_error(number, is_new, pinfo, tree)
    end
end

proto.init = reset
reset()
register_postdissector(proto)

--- Returns the tracker of the present capture.
local function current_tracker()
    return tracker
end

return { current_tracker = current_tracker }
