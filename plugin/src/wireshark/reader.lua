-- Reads segments and network errors out of the fields of a frame (G1 to G3, G8, N1, C12, C13).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local TIMESTAMP = require("vocabulary").TIMESTAMP

local floor, max, min = math.floor, math.max, math.min
local byte, find, sub = string.byte, string.find, string.sub

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

-- A usual frame holds one TCP header, directly on an IPv4 header without options or an IPv6 header without extensions.
-- That stands at the beginning of the frame or behind its EtherType. The packet is no fragment, and was captured whole.
-- The most bytes before that TCP header: a tunnel, or an ICMP error, which quotes a header, needs more.
local MOST_BEFORE_IPV4, MOST_BEFORE_IPV6 = 38, 58
-- The bytes of the frame that read_usual was called for, and how many of them stand before the TCP header.
local frame_bytes, header_offset

--- Returns what the bytes of a TCP header say.
-- @param size of it, with its payload
-- @param identification, hop_limit of the IP header
-- @param a, b, ..., n its first 14 bytes
-- @return as of read_usual
local function read_numbers(size, identification, hop_limit, a, b, c, d, e, f, g, h, i, j, k, l, m, n)
    local length = size - (m - m % 16) / 4
    if m >= 80 and length >= 0 and header_offset + size <= #frame_bytes then -- G1: a header has 20 bytes at least
        return a * 256 + b, c * 256 + d, m % 16 * 256 + n, ((e * 256 + f) * 256 + g) * 256 + h,
            ((i * 256 + j) * 256 + k) * 256 + l, length, identification, hop_limit
    end
    return nil
end

--- Returns what the bytes of a usual frame say of its only segment. They are read from the frame itself: where the
-- header stands in other data (reassembled fragments of IP), they are not its bytes. So they say nothing unless both
-- ports are those of the connection, or those that Wireshark has (usual_segment).
-- @param tvb the bytes of the frame
-- @param info the occurrence of tcp.stream of the header
-- @return source port, destination port, flags, sequence number, acknowledgement number, length of the payload, and the
--   identification of the IPv4 header, 0 if there is none, and the hop limit; nothing if the frame is not usual
local function read_usual(tvb, info)
    if not raw then
        prepare(info)
    end
    local offset, bytes = offset_of(info), raw(tvb) -- to ask for some of the bytes only costs more
    frame_bytes, header_offset = bytes, offset
    if offset > 21 and offset <= MOST_BEFORE_IPV4 then
        local type_1, type_2, version, _, size_1, size_2, id_1, id_2, fragment_1, fragment_2, hop_limit, protocol,
            _, _, _, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h, i, j, k, l, m, n
            = byte(bytes, offset - 21, offset + 14)
        if version ~= 0x45 or protocol ~= 6 or fragment_2 ~= 0 or fragment_1 ~= 64 and fragment_1 ~= 0
            or type_1 ~= 8 or type_2 ~= 0 or not n then
            return nil
        end
        local size = size_1 * 256 + size_2 - 20
        local length = size - (m - m % 16) / 4
        if m >= 80 and length >= 0 and offset + size <= #bytes then -- as read_numbers, whose call costs a tenth of this
            return a * 256 + b, c * 256 + d, m % 16 * 256 + n, ((e * 256 + f) * 256 + g) * 256 + h,
                ((i * 256 + j) * 256 + k) * 256 + l, length, id_1 * 256 + id_2, hop_limit
        end
    elseif offset == 20 then
        local version, _, size_1, size_2, id_1, id_2, fragment_1, fragment_2, hop_limit, protocol = byte(bytes, 1, 10)
        if version == 0x45 and protocol == 6 and fragment_2 == 0 and (fragment_1 == 64 or fragment_1 == 0)
            and #bytes >= 34 then
            return read_numbers(size_1 * 256 + size_2 - 20, id_1 * 256 + id_2, hop_limit, byte(bytes, 21, 34))
        end
    elseif offset == 40 or offset > 41 and offset <= MOST_BEFORE_IPV6 then
        local version, _, _, _, size_1, size_2, protocol, hop_limit = byte(bytes, offset - 39, offset - 32)
        local type_1, type_2 = byte(bytes, offset - 41, offset - 40)
        if protocol == 6 and version >= 0x60 and version <= 0x6F and #bytes >= offset + 14
            and (offset == 40 or type_1 == 0x86 and type_2 == 0xDD) then
            return read_numbers(size_1 * 256 + size_2, 0, hop_limit, byte(bytes, offset + 1, offset + 14))
        end
    end
    return nil
end

--- Returns what the bytes of another frame with one tcp.len say of its segment. Parameters, and what it returns, as of
-- read_usual, but no identification.
local function read_other(tvb, info)
    local length, another = get_length()
    if not length or another then
        return nil
    end
    local is_there, bytes = pcall(raw, tvb, offset_of(info), 14) -- to ask for the length first costs more
    if not is_there then
        return nil
    end
    local a, b, c, d, e, f, g, h, i, j, k, l, m, n = byte(bytes, 1, 14)
    if m < 80 then -- G1: a header shorter than 20 bytes is no segment
        return nil
    end
    return a * 256 + b, c * 256 + d, m % 16 * 256 + n, ((e * 256 + f) * 256 + g) * 256 + h,
        ((i * 256 + j) * 256 + k) * 256 + l, length()
end

--- Returns what the options of a TCP header say, as far as it was captured.
-- @param header as read_header returns it
-- @return has_sack: whether it holds the option SACK permitted
-- @return has_timestamps: whether it holds the option timestamps
-- @return tsval, tsecr: the numbers of the last of those, or nil
-- @return mss, window_scale: the last numbers of these options, or nil
local function read_options(header)
    local has_sack, has_timestamps, tsval, tsecr, mss, window_scale = false, false, nil, nil, nil, nil
    local index, last = 21, floor(byte(header, 13) / 16) * 4
    while index < last do
        local kind, size, a, b, c, d, e, f, g, h = byte(header, index, index + 9)
        if not kind or kind == 0 then -- end of the list
            break
        elseif kind == 1 then -- no operation
            size = 1
        elseif not size or size < 2 or index + size - 1 > last or (kind == 5 and (size < 10 or size % 8 ~= 2)) then
            break -- Wireshark, too, stops at a damaged SACK
        elseif kind == 2 then
            mss = b and a * 256 + b
        elseif kind == 3 then
            window_scale = a
        elseif kind == 4 then
            has_sack = true
        elseif kind == 8 then
            has_timestamps, tsval, tsecr = true, nil, nil
            if size == 10 and d then
                tsval = ((a * 256 + b) * 256 + c) * 256 + d
                tsecr = h and ((e * 256 + f) * 256 + g) * 256 + h
            end
        end
        index = index + size
    end
    return has_sack, has_timestamps, tsval, tsecr, mss, window_scale
end

-- What the options of nearly all SYNs and SYN-ACKs look like, by the length of the header: a maximum segment size, and
-- in some order SACK permitted, timestamps and window scale, each whole and once.
local PLAIN_OPTIONS = {
    [20] = { "^" },
    [24] = { "^\2\4.." },
    [28] = { "^\2\4..\1\1\4\2", "^\2\4..\4\2\1\1", "^\2\4..\1\3\3." },
    [32] = { "^\2\4..\1\1\4\2\1\3\3.", "^\2\4..\1\3\3.\1\1\4\2", "^\2\4..\1\3\3.\4\2\1\1" },
    [36] = { "^\2\4..\4\2\8\10........", "^\2\4..\1\1\8\10........" },
    [40] = { "^\2\4..\4\2\8\10........\1\3\3.", "^\2\4..\1\3\3.\4\2\8\10........" },
    [44] = { "^\2\4..\1\3\3.\1\1\8\10........\4\2\0\0", "^\2\4..\1\3\3.\1\1\8\10........\1\1\4\2" },
}

--- Returns whether the options of a SYN or SYN-ACK are plain: then their bytes alone tell what Wireshark makes of them.
-- @param header as read_header returns it
local function has_plain_options(header)
    local size = floor(byte(header, 13) / 16) * 4
    local patterns = #header >= size and PLAIN_OPTIONS[size]
    for index = 1, patterns and #patterns or 0 do
        if find(header, patterns[index], 21) then
            return true
        end
    end
    return false
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

--- Returns what a SYN or SYN-ACK offers (C12, C13, H10), and the identity of the only segment of a frame (G8), or nil.
-- @param header as read_header returns it
-- @param flags of the segment
-- @param identification the last of the frame (G8), 0 if there is none
-- @param is_plain true if the options are known to be plain
local function read_offer_and_identity(header, flags, identification, is_plain)
    local identity, offer = identification, nil
    local is_syn = flags % 4 >= 2
    if is_syn or identity == 0 then
        local has_sack, has_timestamps, tsval, tsecr, mss, window_scale = read_options(header)
        if identity == 0 then
            identity = tsval and TIMESTAMP + tsval or (flags % 8 >= 4 or is_syn and flags % 32 >= 16) and 0 or nil
        end
        if is_syn then
            local fast_open
            if not is_plain then -- as Wireshark reads them
                mss, window_scale = value_of(get_mss()), value_of(get_window_scale())
                local cookie = get_fast_open_cookie()
                if cookie then -- C12: RFC 7413 allows no more than 16 bytes
                    fast_open = cookie.len <= 16 and cookie.value:tohex(true) or nil
                elseif get_fast_open_request() then
                    fast_open = "request"
                end
            end
            offer = {
                mss = mss, window_scale = window_scale, sack_permitted = has_sack, timestamps = has_timestamps,
                fast_open = fast_open, tsval = tsval, tsecr = tsecr,
            }
        end
    end
    return offer, identity
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

-- Get pinfo.src_port and pinfo.dst_port.
local src_port_of, dst_port_of

--- Returns the segment of a usual frame, as read_segment does, with header only if the rules need it. It carries no
-- payload, so that the frame has no other header.
-- @param connection the record of its connection, or nil
-- @param the rest as of read_usual
-- @return nil if the bytes are not those of the header
local function usual_segment(connection, stream, pinfo, source_port, destination_port, flags, seq, ack,
                             identification)
    local ports = connection and connection.ports
    if ports and (source_port ~= ports[1] or destination_port ~= ports[2])
        and (source_port ~= ports[2] or destination_port ~= ports[1]) then
        return nil
    end
    if not ports then
        src_port_of, dst_port_of = src_port_of or getter(pinfo, "src_port"), dst_port_of or getter(pinfo, "dst_port")
        if src_port_of(pinfo) ~= source_port or dst_port_of(pinfo) ~= destination_port then
            return nil
        end
    end
    single.header = (identification == 0 or flags % 4 >= 2) and sub(frame_bytes, header_offset + 1, header_offset + 60)
    single.stream, single.source_port, single.destination_port = stream, source_port, destination_port
    single.seq, single.ack, single.flags, single.length = seq, ack, flags, 0
    if not ports or ports[1] == ports[2] then
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
    value_of = value_of, last_value = last_value, read_number = read_number, read_usual = read_usual,
    read_other = read_other, usual_segment = usual_segment, has_plain_options = has_plain_options,
    read_network = read_network, read_offer_and_identity = read_offer_and_identity, network_error = network_error,
    read_segment = read_segment, read_segments = read_segments,
}
