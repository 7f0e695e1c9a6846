-- Reads segments and network errors out of the fields of a frame (G1 to G3, G8, N1, C12, C13).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local TIMESTAMP = require("vocabulary").TIMESTAMP

local floor, max, min, byte = math.floor, math.max, math.min, string.byte

-- ------------------------------------------------------------------------------------------------------- Extractors

-- For each of these fields Wireshark keeps the values of every frame. For most frames that costs more than all the rest
-- of the plugin. So the other values of a TCP header are read from its bytes, and only when a rule needs them.

-- G1, G4
local get_port, get_stream = Field.new("tcp.srcport"), Field.new("tcp.stream")
local get_length = Field.new("tcp.len")
-- G3, N1: the network layers, with the types of their network errors. "Fragmentation needed" is not one of them.
local NETWORKS = {
    {
        get_source = Field.new("ip.src"), get_destination = Field.new("ip.dst"),
        get_type = Field.new("icmp.type"), get_code = Field.new("icmp.code"),
        errors = { [3] = true, [11] = true, [12] = true }, unreachable = 3, fragmentation_needed = 4,
    },
    {
        get_source = Field.new("ipv6.src"), get_destination = Field.new("ipv6.dst"),
        get_type = Field.new("icmpv6.type"), get_code = Field.new("icmpv6.code"),
        errors = { [1] = true, [3] = true, [4] = true }, unreachable = 1,
    },
}
local get_source, get_source_6 = NETWORKS[1].get_source, NETWORKS[2].get_source
-- C12: options that only SYNs and SYN-ACKs carry.
local get_mss, get_window_scale = Field.new("tcp.options.mss_val"), Field.new("tcp.options.wscale.shift")
local get_fast_open_request = Field.new("tcp.options.tfo.request")
local get_fast_open_cookie = Field.new("tcp.options.tfo.cookie")
-- H10: pinfo.abs_ts is a float and has no nanoseconds. For what chapter D calls long, it is exact enough.
local get_time = Field.new("frame.time_epoch")

-- ---------------------------------------------------------------------------------------------- Reading of a frame

--- Returns the value of the first of the occurrences given, or nil.
local function value_of(info)
    return info and info.value
end

--- Returns the value of the last of the occurrences given, or nil.
local function last_value(...)
    local count = select("#", ...)
    return count > 0 and (select(count, ...)).value or nil
end

--- Returns the number that bytes hold in network order.
local function number_in(bytes)
    local number = 0
    for index = 1, #bytes do
        number = number * 256 + bytes:byte(index)
    end
    return number
end

--- Returns the function by which Wireshark gets an attribute of a class of its own. To call it costs half as much as to
-- read the attribute, which looks it up by its name first.
-- @param object of the class
-- @param name of the attribute
local function getter(object, name)
    local class = getmetatable(object)
    local getters = type(class) == "table" and rawget(class, "__getters")
    return type(getters) == "table" and getters[name] or function(any)
        return any[name]
    end
end

-- Tvb.raw and Tvb.len, and what gets FieldInfo.source and FieldInfo.offset: to look them up costs as much as to call
-- them.
local raw, len, source_of, offset_of

--- Prepares the reading of bytes.
-- @param info an occurrence of a field
local function prepare(info)
    source_of, offset_of = getter(info, "source"), getter(info, "offset")
    local source = source_of(info)
    raw, len = source.raw, source.len
end

--- Returns the bytes of a TCP header with its options, as far as they were captured. One read gets all that the rules
-- need of them.
-- @param info an occurrence of a field that stands at the beginning of the header: tcp.srcport, tcp.stream or tcp.len
local function read_header(info)
    if not raw then
        prepare(info)
    end
    local source, offset = source_of(info), offset_of(info)
    return raw(source, offset, min(60, len(source) - offset))
end

--- Returns both ports, the sequence and the acknowledgement number of a TCP header, and its bytes with the data offset
-- and the flags. They are read from the frame itself: where the header stands in other data (reassembled fragments of
-- IP), they are not its bytes. So they say nothing unless both ports are those of the connection (Tracker:follow).
-- @param tvb the bytes of the frame
-- @param info the occurrence of tcp.stream of the header
-- @return nothing if the frame is too short
local function read_numbers(tvb, info)
    if not raw then
        prepare(info)
    end
    local is_there, bytes = pcall(raw, tvb, offset_of(info), 14) -- to ask for the length first costs more
    if not is_there then
        return nil
    end
    local a, b, c, d, e, f, g, h, i, j, k, l, m, n = byte(bytes, 1, 14)
    return a * 256 + b, c * 256 + d, ((e * 256 + f) * 256 + g) * 256 + h, ((i * 256 + j) * 256 + k) * 256 + l, m, n
end

--- Returns what the options of a TCP header say, as far as it was captured.
-- @param header as read_header returns it
-- @return has_sack: whether it holds the option SACK permitted
-- @return has_timestamps: whether it holds the option timestamps
-- @return tsval, tsecr: the numbers of the last of those, or nil
local function read_options(header)
    local has_sack, has_timestamps, tsval, tsecr = false, false, nil, nil
    local index, last = 21, floor(header:byte(13) / 16) * 4
    while index < last do
        local kind, size = header:byte(index, index + 1)
        if not kind or kind == 0 then -- end of the list
            break
        elseif kind == 1 then -- no operation
            size = 1
        elseif not size or size < 2 or index + size - 1 > last or (kind == 5 and (size < 10 or size % 8 ~= 2)) then
            break -- Wireshark, too, stops at a damaged SACK
        end
        if kind == 4 then
            has_sack = true
        elseif kind == 8 then
            has_timestamps, tsval, tsecr = true, nil, nil
            if size == 10 and index + 5 <= #header then
                tsval = number_in(header:sub(index + 2, index + 5))
                tsecr = index + 9 <= #header and number_in(header:sub(index + 6, index + 9)) or nil
            end
        end
        index = index + size
    end
    return has_sack, has_timestamps, tsval, tsecr
end

--- Returns the last of the occurrences given, or nil.
local function last_of(...)
    local count = select("#", ...)
    return count > 0 and (select(count, ...)) or nil
end

--- Returns what the network layers of a frame with one TCP header say. Their source addresses are asked for anyway: one
-- field less costs every frame less. The identification stands eight bytes before that of IPv4, the hop limit four
-- bytes; that of IPv6 stands right before its source address.
-- @param is_ipv6 whether the source of the connection's segments is an IPv6 address; nil if that is not known yet
-- @return the identification of the last IPv4 header (G8), 0 if there is none
-- @return the hop limit (D1), or nil
-- @return is_ipv6
local function read_network(pinfo, is_ipv6)
    local identity, hop_limit = 0, nil
    local info = last_of(get_source())
    if info then
        local high, low, _, _, limit = byte(raw(source_of(info), offset_of(info) - 8, 5), 1, 5)
        identity, hop_limit = high * 256 + low, limit
    end
    if is_ipv6 ~= false then
        info = last_of(get_source_6())
        is_ipv6 = info ~= nil and (is_ipv6 or not hop_limit or info.value == pinfo.src) -- either can be in a tunnel
        if is_ipv6 then
            hop_limit = byte(raw(source_of(info), offset_of(info) - 1, 1))
        end
    end
    return identity, hop_limit, is_ipv6
end

--- Returns what a SYN or SYN-ACK offers (C12, C13, H10), and the identity (G8) and the hop limit (D1) of the only
-- segment of a frame, each nil if there is none; and is_ipv6.
-- @param header as read_header returns it
-- @param flags of the segment
-- @param is_ipv6 as of read_network
local function read_offer_and_identity(header, flags, pinfo, is_ipv6)
    local identity, hop_limit, offer
    identity, hop_limit, is_ipv6 = read_network(pinfo, is_ipv6)
    local is_syn = flags % 4 >= 2
    if is_syn or identity == 0 then
        local has_sack, has_timestamps, tsval, tsecr = read_options(header)
        if identity == 0 then
            identity = tsval and TIMESTAMP + tsval or (flags % 8 >= 4 or is_syn and flags % 32 >= 16) and 0 or nil
        end
        if is_syn then
            local fast_open
            local cookie = get_fast_open_cookie()
            if cookie then -- C12: RFC 7413 allows no more than 16 bytes
                fast_open = cookie.len <= 16 and cookie.value:tohex(true) or nil
            elseif get_fast_open_request() then
                fast_open = "request"
            end
            offer = {
                mss = value_of(get_mss()), window_scale = value_of(get_window_scale()), sack_permitted = has_sack,
                timestamps = has_timestamps, fast_open = fast_open, tsval = tsval, tsecr = tsecr,
            }
        end
    end
    return offer, identity, hop_limit, is_ipv6
end

--- Looks for a network error in the frame (N1).
-- @return the network layer of the quoted ends, or nil if there is none
-- @return true if the error is a destination unreachable
-- @return its code
local function network_error()
    for _, network in ipairs(NETWORKS) do
        local types, codes = { network.get_type() }, { network.get_code() }
        for index = 1, #types do
            local kind = types[index].value
            local is_unreachable = kind == network.unreachable
            local is_harmless = is_unreachable and network.fragmentation_needed
                and value_of(codes[index]) == network.fragmentation_needed
            if network.errors[kind] and not is_harmless then
                return network, is_unreachable, value_of(codes[index])
            end
        end
    end
    return nil, false, nil
end

--- Returns the addresses of the segments of a frame (G3).
-- @param count how many segments the frame holds
-- @return two lists of occurrences, or nil if the segments have the addresses of the innermost network layer
local function addresses_of(count)
    for _, network in ipairs(NETWORKS) do
        local sources, destinations = { network.get_source() }, { network.get_destination() }
        if count > 1 and #sources == count and #destinations == count then
            return sources, destinations
        end
    end
    return nil, nil
end

-- The segment of a frame with one header. There is one table for all of them, since each is done with before the next.
local single = { ordinal = 0 }

--- Returns the segment of a frame with one header.
-- @param tracker which tells whether the addresses matter
-- @param info the occurrence of the header's tcp.stream, or nil
-- @param stream its value
-- @return a table with stream, source_port, destination_port, flags, seq, ack, length, ordinal and header, and source
--   and destination if they matter; it holds until the next one is read. Or nil if the header is no segment (G1)
local function read_segment(tracker, info, stream, pinfo)
    local length = info and get_length()
    if not length then
        return nil
    end
    local header = read_header(info)
    local a, b, c, d, e, f, g, h, i, j, k, l, m, n = byte(header, 1, 14)
    if not n or m < 80 then -- G1: a data offset of less than 20 bytes; Wireshark gives such a header no tcp.flags
        return nil
    end
    single.stream, single.source_port, single.destination_port = stream, a * 256 + b, c * 256 + d
    single.seq, single.ack = ((e * 256 + f) * 256 + g) * 256 + h, ((i * 256 + j) * 256 + k) * 256 + l
    single.flags, single.length, single.header = m % 16 * 256 + n, length(), header
    if tracker:needs_addresses(stream) then
        single.source, single.destination = pinfo.src, pinfo.dst
    else
        single.source, single.destination = nil, nil
    end
    return single
end

--- Returns a number of a header.
-- @param info an occurrence of a field of the header
-- @param place how many bytes behind its beginning the number stands
-- @param size of the number in bytes
local function read_number(info, place, size)
    return number_in(info.source:raw(info.offset + place, size))
end

--- Returns the occurrences of tcp.stream whose header has a tcp.flags. Wireshark gives one to each header but those
-- with a data offset of less than 20 bytes.
-- @param streams the occurrences
local function with_flags(streams)
    local list = {}
    for index = 1, #streams do
        if read_number(streams[index], 12, 1) >= 80 then
            list[#list + 1] = streams[index]
        end
    end
    return list
end

--- Returns the segments of a frame with several headers (G1 to G3).
-- @return a list of tables as of read_segment, but without header
-- @return true if the list is empty because the fields do not tell which header is quoted (G2)
local function read_segments(pinfo)
    local ports, streams, lengths = { get_port() }, { get_stream() }, { get_length() }
    local flags = with_flags(streams)
    local count, most = min(#ports, #lengths, #flags), max(#ports, #streams, #lengths, #flags)
    if count == 0 or (count < most and network_error()) then
        return {}, count > 0
    end
    local sources, destinations = addresses_of(count)
    local segments, ordinals = {}, {}
    for index = 1, count do
        local stream, length, flag = streams[index](), lengths[index], flags[index]
        -- A damaged header lacks some fields, so that occurrences at one index can belong to different headers: the
        -- sequence number is read from the header of tcp.len, the acknowledgement number from that of tcp.flags.
        segments[index] = {
            stream = stream, length = length(), flags = read_number(flag, 12, 2) % 4096,
            source_port = read_number(ports[index], 0, 2), destination_port = read_number(ports[index], 2, 2),
            seq = read_number(length, 4, 4), ack = read_number(flag, 8, 4),
            source = sources and sources[index].value or pinfo.src,
            destination = destinations and destinations[index].value or pinfo.dst,
            ordinal = ordinals[stream] or 0,
        }
        ordinals[stream] = segments[index].ordinal + 1
    end
    return segments, false
end

return {
    getter = getter, get_port = get_port, get_stream = get_stream, get_length = get_length, get_time = get_time,
    value_of = value_of, last_value = last_value, read_number = read_number, read_numbers = read_numbers,
    read_network = read_network, read_offer_and_identity = read_offer_and_identity, network_error = network_error,
    read_segment = read_segment, read_segments = read_segments,
}
