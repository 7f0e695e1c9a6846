-- C and Z. The connection's row: how the latest attempt was opened and closed, its history and what both ends offer.
--
-- Each function works out its value from the record when it is asked, so that it holds for the capture so far (C17).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, notes = require("vocabulary"), require("state"), require("notes")

local SYN, PLAIN, KINDS = vocabulary.SYN, vocabulary.PLAIN, vocabulary.KINDS
local end_name, join_anomalies = state.end_name, notes.join_anomalies

--- Returns how the latest attempt was opened: the first of C4 that fits.
local function establishment_of(connection)
    local attempt = connection.attempt
    if not (attempt.syn_seen or attempt.syn_ack_seen) then
        return "not-captured"
    elseif attempt.opened then
        if attempt.simultaneous_open then
            return "simultaneous"
        elseif attempt.syn_seen and attempt.syn_ack_matched and attempt.third_step_seen then
            return "complete"
        end
        return "partial"
    elseif attempt.aborted then
        return "aborted"
    elseif attempt.refused then
        return "refused"
    elseif attempt.unreachable then
        return "unreachable"
    end
    return attempt.syn_ack_matched and "half-open" or "unanswered"
end

--- Returns how the latest attempt was closed: the first of C5 that fits.
local function termination_of(connection)
    local attempt = connection.attempt
    if attempt.close_complete then
        if attempt.simultaneous_close then
            return "simultaneous"
        end
        return attempt.merged and "three-way" or "four-way"
    elseif attempt.reset_by then
        return "reset"
    elseif connection[1].fin_seq and connection[2].fin_seq then
        return "unacknowledged"
    elseif connection[1].fin_seq or connection[2].fin_seq then
        return "half-closed"
    end
    return "none"
end

--- Returns who closed the latest attempt (C6), or nil.
local function closed_by_of(connection)
    local attempt = connection.attempt
    if attempt.simultaneous_close then
        return "both"
    end
    local by = attempt.first_fin_by or attempt.reset_by
    return by and end_name(connection, by) or nil
end

--- Returns Zeek's connection state of the latest attempt: the first of Z2 that fits.
local function conn_state_of(connection)
    local attempt, client, server = connection.attempt, connection.client, 3 - connection.client
    -- Was a SYN or SYN-ACK of this end seen? note_syn and note_syn_ack (opening) keep it by the index of the end.
    local of_client, of_server = attempt[client], attempt[server]
    local client_fin, server_fin = connection[client].fin_seq, connection[server].fin_seq
    if attempt.close_complete then -- Z2.1
        return "SF"
    elseif attempt.reset_by == server then -- Z2.2
        if of_client then
            return of_server and "RSTR" or "REJ"
        end
        return of_server and "RSTRH" or "OTH"
    elseif attempt.reset_by == client then -- Z2.3
        return of_server and "RSTO" or of_client and "RSTOS0" or "OTH"
    elseif client_fin and server_fin then -- Z2.4
        return "SF"
    elseif client_fin then -- Z2.5
        return of_server and "S2" or of_client and "SH" or "OTH"
    elseif server_fin then -- Z2.6
        return of_client and "S3" or of_server and "SHR" or "OTH"
    elseif of_client then -- Z2.7
        return of_server and "S1" or "S0"
    end
    return "OTH"
end

--- Returns the letters that a segment gives, in their order (Z1).
-- @param flags the lowest five of its flags
-- @param has_payload true if it carries payload
local function letters_of(flags, has_payload)
    local fin, syn, rst = flags % 2 >= 1, flags % 4 >= 2, flags % 8 >= 4
    if syn and (rst or fin) then
        return "Q"
    elseif rst then
        return fin and "I" or "R"
    end
    local letters = ""
    if syn then
        letters = KINDS[flags] == SYN and "S" or "H"
    end
    if has_payload then
        letters = letters .. "D"
    elseif KINDS[flags] == PLAIN then
        letters = letters .. "A"
    end
    return fin and letters .. "F" or letters
end

-- Z1: these letters by the end that sent the segment and its lowest five flags, plus 32 if it carries payload. Those of
-- the second end are in lower case.
local LETTERS = { {}, {} }
for flags = 0, 31 do
    LETTERS[1][flags], LETTERS[1][flags + 32] = letters_of(flags, false), letters_of(flags, true)
    LETTERS[2][flags], LETTERS[2][flags + 32] = LETTERS[1][flags]:lower(), LETTERS[1][flags + 32]:lower()
end

--- Adds the letters of a segment to the history (Z1), which is kept as if the first end were the client.
local function note_history(connection, segment)
    local letters = LETTERS[segment.sender][segment.flags % 32 + (segment.length > 0 and 32 or 0)]
    for index = 1, #letters do
        local letter = letters:sub(index, index)
        if not connection.history_letters:find(letter, 1, true) then
            connection.history_letters = connection.history_letters .. letter
        end
    end
end

--- Returns the history by the present choice of client (Z1), or nil if it is empty.
local function history_of(connection)
    local letters = connection.history_letters
    if connection.client == 2 then
        letters = "^" .. letters:gsub("%a", function(letter)
            local upper = letter:upper()
            return letter == upper and letter:lower() or upper
        end)
    end
    return letters ~= "" and letters or nil
end

--- Returns whether the sender of a SYN or SYN-ACK offers ECN (C13, RFC 3168).
local function offers_ecn(kind, flags)
    local ece, cwr = flags % 128 >= 64, flags % 256 >= 128
    if kind == SYN then
        return ece and cwr
    end
    return ece and not cwr
end

--- Returns whether all ends whose offer is known make it (C13); nil if neither is known.
-- @param own, other what the sender and its peer offer: true, false or nil
local function agreed(own, other)
    if own == nil then
        return other
    elseif other == nil then
        return own
    end
    return own and other
end

--- Puts what the sender of a SYN or SYN-ACK offers into its annotation (C12, C13, C17).
local function note_offer(connection, segment, annotation)
    local own, offer = { ecn = offers_ecn(segment.kind, segment.flags) }, segment.offer
    if offer then
        own.sack_permitted, own.timestamps = offer.sack_permitted == true, offer.timestamps == true
        annotation.mss, annotation.window_scale = offer.mss, offer.window_scale
        annotation.fast_open = offer.fast_open
    end
    connection.offers[segment.sender] = own
    local other = connection.offers[segment.peer] or {}
    annotation.sack_permitted = agreed(own.sack_permitted, other.sack_permitted)
    annotation.timestamps = agreed(own.timestamps, other.timestamps)
    annotation.ecn = agreed(own.ecn, other.ecn)
end

--- Returns the summary of a connection at the moment.
local function summary_of(connection)
    local client, server = connection.client, 3 - connection.client
    return {
        establishment = establishment_of(connection), termination = termination_of(connection),
        closed_by = closed_by_of(connection),
        conn_state = conn_state_of(connection), history = history_of(connection),
        handshake_time = connection.handshake_time, teardown_time = connection.teardown_time, -- C8, C10
        anomalies = join_anomalies(connection.anomalies), -- C16
        client = connection.addresses[client], client_port = connection.ports[client], -- C1
        server = connection.addresses[server], server_port = connection.ports[server],
        client_state = connection[client].state, server_state = connection[server].state, -- C7
    }
end

return { note_history = note_history, note_offer = note_offer, summary_of = summary_of }
