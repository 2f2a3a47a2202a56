-- Counts what the audit stream has let go before a group of readers came to it, and moves the group on behind it, so that it is counted once.
-- KEYS  audit
-- ARGV  the group
-- Gives how many. Redis before 7 does not count what a group has read: 0.
local function fields(list)
    local of = {}
    for i = 1, #list, 2 do
        of[list[i]] = list[i + 1]
    end
    return of
end

-- Whether the place a stands before b; both are '<milliseconds>-<number>'.
local function is_before(a, b)
    local a_ms, a_number = string.match(a, '^(%d+)-(%d+)$')
    local b_ms, b_number = string.match(b, '^(%d+)-(%d+)$')
    if tonumber(a_ms) ~= tonumber(b_ms) then
        return tonumber(a_ms) < tonumber(b_ms)
    end
    return tonumber(a_number) < tonumber(b_number)
end

-- The last place before one.
local function before(id)
    local ms, number = string.match(id, '^(%d+)-(%d+)$')
    if number ~= '0' then
        return ms .. '-' .. string.format('%.0f', tonumber(number) - 1)
    end
    return string.format('%.0f', tonumber(ms) - 1) .. '-18446744073709551615'
end

local stream = fields(redis.call('XINFO', 'STREAM', KEYS[1]))
local added = stream['entries-added']
for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local of = fields(group)
    local read = of['entries-read']
    if of.name == ARGV[1] and added and read then
        local gone = added - stream.length
        local first = stream['first-entry']
        local last_gone = first and before(first[1]) or stream['last-generated-id']
        -- What it has read beyond the gap is not to be read again.
        if gone > read and is_before(of['last-delivered-id'], last_gone) then
            redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], last_gone, 'ENTRIESREAD', gone)
            return gone - read
        end
    end
end
return 0
