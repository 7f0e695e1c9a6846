-- The post-dissector: gives the segments and network errors of each frame to the tracker, and shows the annotations.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, annotator, annotations = require("vocabulary"), require("annotator"), require("annotations")
local protocol, reader, items = require("wireshark.fields"), require("wireshark.reader"), require("wireshark.tree")

local KINDS, PLAIN, ALL_QUIET = vocabulary.KINDS, vocabulary.PLAIN, annotations.ALL_QUIET
local proto = protocol.proto
local get_port, get_stream, get_length = reader.get_port, reader.get_stream, reader.get_length
local get_flags, get_time = reader.get_flags, reader.get_time
local value_of, last_value, read_number = reader.value_of, reader.last_value, reader.read_number
local read_offer, read_identity, network_error = reader.read_offer, reader.read_identity, reader.network_error
local read_segment, read_segments = reader.read_segment, reader.read_segments
local is_referenced, show, info_note, show_notes = items.is_referenced, items.show, items.info_note, items.show_notes

local tracker
-- Number of the last frame that was processed. A frame is new if its number is higher, whatever pinfo.visited says: in
-- plain tshark -2 the first pass has no fields, so that the second pass is the first to see a segment.
local last_frame
-- In two passes with a read filter (tshark -2 -R), Wireshark gives the number of a frame that the filter drops to the
-- next frame, too. By such a number and by stream: the ordinal of the first segment of the frame that kept the number.
local first_ordinals

--- Forgets the capture.
local function reset()
    tracker = annotator.new() -- without a function: NSTime values subtract as numbers do
    last_frame, first_ordinals = 0, {}
end

--- Judges one segment of a frame, or recalls its annotation, and shows it.
-- @param segment as read_segment gives it
-- @param number of the frame
-- @param is_new true if the frame was not processed before
-- @return its annotation, or the notes on it, or nil
local function process(segment, number, is_new, tree)
    local stream, flags, needs_fields = segment.stream, segment.flags, is_referenced(tree)
    local annotation, connection
    if is_new then
        local offer, identity
        if segment.port then
            offer = flags % 4 >= 2 and read_offer(segment.port) or nil -- SYN is set
            identity = read_identity(segment.port, flags)
        end
        local take = needs_fields and tracker.segment or tracker.take
        annotation = take(tracker, stream, number, value_of(get_time()), segment.source, segment.source_port,
            segment.destination, segment.destination_port, flags, segment.seq, segment.ack, segment.length,
            offer, identity)
        connection = tracker.connections[stream]
    else
        local first = first_ordinals[number] and first_ordinals[number][stream] or 0
        local ordinal = first + segment.ordinal
        annotation, connection = tracker:recall(stream, number, ordinal, segment.source, segment.source_port, flags,
            segment.seq, segment.length)
    end
    if annotation then
        show(annotation, connection, tree, needs_fields)
    end
    return annotation
end

--- Returns whether the only segment of a new frame is quiet. Most segments of most captures are: the tracker never gets
-- them.
local function is_quiet(stream, pinfo)
    local quiet = tracker.quiet[stream]
    if not quiet then
        return false
    end
    local flags, another = get_flags()
    if not flags or another or KINDS[flags() % 32] ~= PLAIN then
        return false
    elseif quiet == ALL_QUIET then
        return true
    end
    local length = get_length()
    local ends = length and (length() > 0 and quiet.with_payload or quiet.without) or 0
    if ends == 1 or ends == 2 then
        local port = get_port()
        return port ~= nil and tracker:sender(stream, tracker:needs_addresses(stream) and pinfo.src, port()) == ends
    end
    return ends == 3
end

--- Judges or recalls the network error of a frame without segments, if it holds one (N1), and shows it.
local function dissect_error(number, is_new, pinfo, tree)
    local network, is_unreachable = network_error()
    local annotation = tracker:recall_error(number)
    if network and is_new then
        local source, destination = last_value(network.get_source()), last_value(network.get_destination())
        local ports = { get_port() }
        if source and destination and #ports > 0 then
            annotation = tracker:network_error(number, value_of(get_time()), source, read_number(ports[#ports], 0, 2),
                destination, read_number(ports[#ports], 2, 2), last_value(get_stream()))
        end
    end
    if annotation then
        show(annotation, tracker.connections[annotation.stream], tree, is_referenced(tree))
        show_notes(is_unreachable and "[SYN unreachable] " or "[SYN not delivered] ", pinfo)
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
function proto.dissector(_, pinfo, tree)
    local stream, another_stream = get_stream()
    if not stream and not get_port() then
        return
    end
    local number = pinfo.number
    local is_new = number > last_frame
    if number == last_frame and not pinfo.visited then
        is_new = true
        take_over(number)
    end
    if is_new then
        last_frame = number
        if stream and not another_stream and is_quiet(stream(), pinfo) and not is_referenced(tree) then
            return
        end
    end
    -- Every header has a source port: one of them means one header, and the other fields need not be counted (G2).
    local port, another_port = get_port()
    local segments, is_unclear
    if another_port then
        segments, is_unclear = read_segments(pinfo)
    else
        segments = { read_segment(tracker, port, pinfo) }
    end
    local notes = ""
    for index = 1, #segments do
        local annotation = process(segments[index], number, is_new, tree)
        notes = notes .. (annotation and info_note(annotation) or "")
    end
    show_notes(notes, pinfo)
    if #segments == 0 and not is_unclear then -- N1
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
