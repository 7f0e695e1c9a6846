-- C and Z. The connection's row: how the latest attempt was opened and closed, its history and what both ends offer.
--
-- Each function works out its value from the record when it is asked, so that it holds for the capture so far (C17).
--
-- SPDX-License-Identifier: GPL-2.0-or-later

local vocabulary, state, notes = require("vocabulary"), require("state"), require("notes")

local floor, find = math.floor, string.find
local SYN, PLAIN, KINDS = vocabulary.SYN, vocabulary.PLAIN, vocabulary.KINDS
local end_name, fin_counts, is_passive = state.end_name, state.fin_counts, state.is_passive
local is_beyond, is_simultaneous, join_anomalies = state.is_beyond, state.is_simultaneous, notes.join_anomalies

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
    elseif attempt.syn_ack_matched then
        return "half-open"
    elseif attempt.unreachable then
        return "unreachable"
    end
    return attempt.invalid_answer and "invalid-answer" or "unanswered"
end

--- Returns whether the close is merged (T3): the FIN of the passive end was the first to acknowledge the other.
local function is_merged(connection)
    for index = 1, 2 do
        local this_end, peer = connection[index], connection[3 - index]
        if is_passive(this_end, peer) then
            local before = this_end.fin_acked_before
            return before == nil or is_beyond(peer.fin_seq + 1, before)
        end
    end
    return false
end

--- Returns how the latest attempt was closed: the first of C5 that fits.
local function termination_of(connection)
    local one, two, attempt = connection[1], connection[2], connection.attempt
    local of_one, of_two = fin_counts(one, two), fin_counts(two, one)
    if attempt.close_complete then
        if is_simultaneous(connection) then
            return "simultaneous"
        end
        return is_merged(connection) and "three-way" or "four-way"
    elseif attempt.reset_by then
        return "reset"
    elseif of_one and of_two then
        return "unacknowledged"
    end
    return (of_one or of_two) and "half-closed" or "none"
end

--- Returns who began to close the latest attempt: the first of C6 that fits, or nil.
local function closed_by_of(connection)
    if is_simultaneous(connection) then
        return "both"
    end
    for index = 1, 2 do
        local this_end, peer = connection[index], connection[3 - index]
        if fin_counts(this_end, peer) and not is_passive(this_end, peer) then
            return end_name(connection, index)
        end
    end
    local by = connection.attempt.reset_by
    return by and end_name(connection, by) or nil
end

--- Returns whose RST ended the latest attempt (C6), or nil.
local function reset_by_of(connection)
    local attempt = connection.attempt
    return attempt.reset_by and not attempt.close_complete and end_name(connection, attempt.reset_by) or nil
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
    if find(connection.history_letters, letters, 1, true) then
        return
    end
    for index = 1, #letters do
        local letter = letters:sub(index, index)
        if not find(connection.history_letters, letter, 1, true) then
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

-- How Zeek takes an end to have ended (Z2): by a FIN, by an RST, by an RST after a FIN.
local ENDED_BY_FIN, ENDED_BY_RST, ENDED_BY_RST_AFTER_FIN = "closed", "reset", "closed-reset"

--- Notes what a segment with FIN or RST means to Zeek for its sender (Z2).
local function note_zeek_end(connection, segment)
    local flags, attempt, own, other = segment.flags, connection.attempt, segment.sender + 2, segment.peer + 2
    local before = attempt[own]
    if flags % 8 < 4 then -- no RST
        if flags % 2 >= 1 and before ~= ENDED_BY_RST and before ~= ENDED_BY_RST_AFTER_FIN then
            attempt[own] = ENDED_BY_FIN
            if attempt[other] == ENDED_BY_RST_AFTER_FIN then
                attempt[other] = ENDED_BY_FIN
            end
        end
    elseif not before then
        attempt[own] = ENDED_BY_RST
    elseif before == ENDED_BY_FIN and attempt[other] ~= ENDED_BY_FIN then
        attempt[own] = ENDED_BY_RST_AFTER_FIN
    end
end

--- Returns Zeek's connection state of the latest attempt: the first row of Z2 that fits.
local function conn_state_of(connection)
    local attempt, client_index, server_index = connection.attempt, connection.client, 3 - connection.client
    -- Was an opening of this end seen? remember_syn and note_syn_ack (opening) keep it by the index of the end.
    local of_client = attempt[client_index] or connection[server_index].syn_ack_seen and connection[client_index].spoke
    local of_server = attempt[server_index]
    local client, server = attempt[client_index + 2], attempt[server_index + 2]
    if server == ENDED_BY_RST or server == ENDED_BY_RST_AFTER_FIN then
        local both_at_once = client == ENDED_BY_RST and not connection.history_letters:find("[Dd]")
        if both_at_once or of_client and not of_server and not client then
            return "REJ"
        end
        return (of_client or client) and "RSTR" or "RSTRH"
    elseif client == ENDED_BY_RST or client == ENDED_BY_RST_AFTER_FIN then
        if of_server or server then
            return "RSTO"
        end
        return (history_of(connection) or ""):find("^%^?S[^HAFGIQ]*R") and "RSTOS0" or "OTH"
    elseif client then
        return server and "SF" or of_server and "S2" or "SH"
    elseif server then
        return of_client and "S3" or "SHR"
    elseif of_client then
        return of_server and "S1" or "S0"
    end
    return "OTH"
end

-- C13: what the flags AE, CWR and ECE of the server's segment settle, by those of the client's. ECE counts 1, CWR 2,
-- AE 4, as the flags AE 256, CWR 128 and ECE 64 divided by 64 do.
local ECN = {
    [7] = { [1] = "rfc3168", [2] = "accecn", [3] = "accecn", [4] = "accecn", [6] = "accecn" }, -- AE, CWR and ECE
    [3] = { [1] = "rfc3168" }, -- CWR and ECE
}

--- Returns the flags that one of two sets of AE, CWR and ECE has.
local function union(one, other)
    local flags = 0
    for _, flag in ipairs({ 1, 2, 4 }) do
        if one % (2 * flag) >= flag or other % (2 * flag) >= flag then
            flags = flags + flag
        end
    end
    return flags
end

--- Puts what the sender of a SYN or SYN-ACK offers into its annotation, and what both ends have settled so far (C12,
-- C13, C17).
local function note_offer(connection, segment, annotation)
    local offer = segment.offer
    if offer then
        annotation.mss, annotation.window_scale = offer.mss, offer.window_scale
        annotation.fast_open = offer.fast_open
    end
    local offers, ecn = connection.offers, floor(segment.flags / 64) % 8
    local before = offers[segment.sender]
    if before and before.seq == segment.seq and segment.role == SYN then
        ecn = union(before.ecn, ecn)
    end
    -- G2: of several headers in a frame nothing tells whose the options are. Then there is no offer.
    offers[segment.sender] = {
        seq = segment.seq, ecn = ecn,
        sack_permitted = offer and offer.sack_permitted == true, timestamps = offer and offer.timestamps == true,
    }
    local client, server = offers[connection.client], offers[3 - connection.client]
    if client and server and client.timestamps ~= nil and server.timestamps ~= nil then
        annotation.sack_permitted = client.sack_permitted and server.sack_permitted
        annotation.timestamps = client.timestamps and server.timestamps
        annotation.ecn = ECN[client.ecn] and ECN[client.ecn][server.ecn] or "none"
    end
end

--- Returns the summary of a connection at the moment.
local function summary_of(connection)
    local client, server = connection.client, 3 - connection.client
    return {
        establishment = establishment_of(connection), termination = termination_of(connection),
        closed_by = closed_by_of(connection), reset_by = reset_by_of(connection),
        conn_state = conn_state_of(connection), history = history_of(connection),
        handshake_time = connection.handshake_time, teardown_time = connection.teardown_time, -- C8, C10
        anomalies = join_anomalies(connection.anomalies), -- C16
        client = connection.addresses[client], client_port = connection.ports[client], -- C1
        server = connection.addresses[server], server_port = connection.ports[server],
        client_state = connection[client].state, server_state = connection[server].state, -- C7
    }
end

return {
    establishment_of = establishment_of, note_history = note_history, note_zeek_end = note_zeek_end,
    note_offer = note_offer, summary_of = summary_of,
}
