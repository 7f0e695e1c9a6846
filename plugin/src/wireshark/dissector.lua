-- The post-dissector: gives the segments and network errors of each frame to the tracker, and shows the annotations.
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local annotator, protocol = require("annotator"), require("wireshark.fields")
local reader, items = require("wireshark.reader"), require("wireshark.tree")

local proto, follow = protocol.proto, annotator.follow
local get_port, get_stream = reader.get_port, reader.get_stream
local get_time = reader.get_time
local value_of, last_value, read_number = reader.value_of, reader.last_value, reader.read_number
local read_usual, read_other, usual_segment = reader.read_usual, reader.read_other, reader.usual_segment
local read_offer_and_identity, has_plain_options = reader.read_offer_and_identity, reader.has_plain_options
local read_network = reader.read_network
local network_error, read_segment, read_segments = reader.network_error, reader.read_segment, reader.read_segments
local getter = reader.getter
local is_referenced, show, info_note = items.is_referenced, items.show, items.info_note
local has_notes, show_notes = items.has_notes, items.show_notes

-- The tracker of the present capture, and its connections.
local tracker, connections
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

--- Returns the offer and the identity of a segment that was taken with a header instead. Of a SYN or SYN-ACK, that has
-- plain options.
local function read_plain_options(header, flags, identification)
    return read_offer_and_identity(header, flags, identification, true)
end

--- Forgets the capture.
local function reset()
    -- Without the first function: NSTime values subtract as numbers do.
    tracker = annotator.new(nil, nanoseconds, function()
        return latest_seconds
    end, read_plain_options)
    connections = tracker.connections
    last_frame, first_ordinals, latest_seconds = 0, {}, -math.huge
end

--- Judges one segment of a frame, or recalls its annotation, and shows it.
-- @param segment as read_segment gives it
-- @param number of the frame
-- @param is_new true if the frame was not processed before
-- @param needs_fields what is_referenced returned
-- @param identification, hop_limit of the IP header; identification is nil if neither is known
-- @return its annotation, or the notes on it, or nil
local function process(segment, number, is_new, pinfo, tree, needs_fields, identification, hop_limit)
    local stream, flags = segment.stream, segment.flags
    local annotation, connection
    if is_new then
        local offer, identity, is_ipv6
        local header = segment.header
        if header and not identification then
            connection = connections[stream]
            identification, hop_limit, is_ipv6 = read_network(pinfo, connection and connection.is_ipv6)
            offer, identity = read_offer_and_identity(header, flags, identification, false)
        elseif not header or flags % 4 < 2 or has_plain_options(header) then
            offer, identity = header, identification -- the tracker calls read_plain_options if it needs them
        else
            offer, identity = read_offer_and_identity(header, flags, identification, false)
        end
        local seconds = seconds_of(pinfo)
        if seconds > latest_seconds then
            latest_seconds = seconds
        end
        local take = needs_fields and tracker.segment or tracker.take
        annotation = take(tracker, stream, number, value_of(get_time()), segment.source, segment.source_port,
            segment.destination, segment.destination_port, flags, segment.seq, segment.ack, segment.length,
            offer, identity, hop_limit, seconds)
        connection = connections[stream]
        if is_ipv6 ~= nil and not connection.usual then
            connection.is_ipv6 = is_ipv6
        end
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

--- Takes the only segment of a new frame if its bytes say all that is to be known of it, as those of most segments do:
-- it is quiet, so that nothing is to be done but to follow it, or it carries no payload.
-- @param tvb the bytes of the frame
-- @param info the occurrence of its tcp.stream
-- @param stream its value
-- @return whether it was taken
local function take_quickly(tvb, info, stream, number, pinfo, tree, needs_fields)
    local source_port, destination_port, flags, seq, ack, length, identification, hop_limit = read_usual(tvb, info)
    local connection = connections[stream]
    local is_quiet = connection and connection.is_quiet
    if is_quiet and not source_port then
        source_port, destination_port, flags, seq, ack, length = read_other(tvb, info)
    end
    if not source_port then
        return false
    end
    if is_quiet and flags % 8 == 0 and flags % 32 >= 16 then -- G7: ACK, but neither FIN nor SYN nor RST
        local seconds = seconds_of(pinfo)
        local sender, is_first = follow(connection, source_port, destination_port, seq, ack, length, seconds)
        if sender then
            if seconds > latest_seconds then
                latest_seconds = seconds
            end
            if is_first then
                if not identification or length > 0 then -- the payload can hold another IP header
                    hop_limit = select(2, read_network(pinfo, connection.is_ipv6))
                end
                tracker:note_hop_limit(stream, sender, hop_limit)
            end
            if needs_fields then
                local annotation
                annotation, connection = tracker:followed(stream, sender, length)
                show(annotation, connection, tree, true, true, number)
            end
            return true
        end
    end
    if not identification or length > 0 then
        return false
    end
    local segment = usual_segment(connection, stream, pinfo, source_port, destination_port, flags, seq, ack,
        identification)
    if not segment then
        return false
    end
    local annotation = process(segment, number, true, pinfo, tree, needs_fields, identification, hop_limit)
    if has_notes(true) then
        show_notes(info_note(annotation), pinfo, true)
    end
    return true
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
        show(annotation, connections[annotation.stream], tree, is_referenced(tree, is_new), is_new, number)
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
    local stream = info and info()
    if not number_of then
        number_of, seconds_of = getter(pinfo, "number"), getter(pinfo, "abs_ts")
    end
    local number = number_of(pinfo)
    local is_new = number > last_frame
    if number == last_frame and not pinfo.visited then
        is_new = true
        take_over(number)
    end
    local needs_fields = is_referenced(tree, is_new)
    if is_new then
        last_frame = number
        if stream and not another_stream
            and take_quickly(tvb, info, stream, number, pinfo, tree, needs_fields) then
            return
        end
    elseif stream and not (another_stream or needs_fields or tracker:is_marked(stream, number)) then
        return
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
            notes = annotation and has_notes(is_new) and info_note(annotation) or ""
        end
    end
    show_notes(notes, pinfo, is_new)
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
