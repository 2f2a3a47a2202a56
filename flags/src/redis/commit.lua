-- Writes what is still at the revision that its writer read, and publishes the changes. Decides nothing else.
-- KEYS  meta, flags, changes, breakers, monitors, families, audit
-- ARGV  epoch, declared revision, how many changes to keep, how many audit entries, the oldest audit entry to keep,
--       then for each write: the number of its hash in KEYS, field, expected revision, record; the flag's JSON before
--       and after its rev (both empty: the flag stays) and whether that is a refresh (1) or a change; the family (empty:
--       none) and by how much its number of breakers that are not closed changes; how many audit entries follow, and these
-- Gives the term's verdict as false, or 1 (taken) and 0 (refused) for each write.

-- A script that fails half-way stays half-written, so whatever could fail is tried first.
for i, wanted in ipairs({'hash', 'hash', 'stream', 'hash', 'hash', 'hash', 'stream'}) do
    local found = redis.call('TYPE', KEYS[i]).ok
    if found ~= wanted and found ~= 'none' then
        return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. found .. ' and not a ' .. wanted)
    end
end
local epoch, revision, last_rev, channel = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'revision', 'rev', 'channel'))
if epoch ~= ARGV[1] or (revision or '0') ~= ARGV[2] then
    return false
end
-- What HINCRBY adds to, whatever this script adds.
if last_rev and not (#last_rev <= 18 and string.match(last_rev, '^%d+$')) then
    return redis.error_reply('WRONGTYPE rev of ' .. KEYS[1] .. ' is no whole number')
end

-- The number of the flag that stands there, for a refresh.
local function standing_rev(breaker)
    return string.match(redis.call('HGET', KEYS[2], breaker) or '', '"rev":(%d+)')
end

-- Tells a change to those who are subscribed. A writer without rights on the channel leaves it to the stream, and says so. The
-- epoch is in the name because all databases of a server share its channels.
local function publish(id, breaker, flag)
    local name = KEYS[3] .. ':' .. ARGV[1]
    local heard = redis.pcall('PUBLISH', name, id .. '\n' .. breaker .. '\n' .. flag)
    if type(heard) ~= 'number' then
        redis.call('HDEL', KEYS[1], 'channel')
        channel = false
    elseif channel ~= name then
        redis.call('HSET', KEYS[1], 'channel', name)
        channel = name
    end
end

local taken, audited, i = {}, false, 6
while i <= #ARGV do
    local records, field, expected, record = KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    local before, after, refresh = ARGV[i + 4], ARGV[i + 5], ARGV[i + 6] == '1'
    local family, not_closed_by, entries = ARGV[i + 7], ARGV[i + 8], tonumber(ARGV[i + 9])
    local stored = redis.call('HGET', records, field)
    local revision = stored and string.match(stored, '^[^ ]*') or '0'
    if revision == expected then
        redis.call('HSET', records, field, record)
        if before ~= '' then
            local rev = refresh and standing_rev(field)
            if rev then
                redis.call('HSET', KEYS[2], field, before .. rev .. after)
            else
                -- '%.0f' because Lua would write a large number with an exponent.
                rev = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'rev', 1))
                local flag = before .. rev .. after
                redis.call('HSET', KEYS[2], field, flag)
                local id = redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[3], '*', 'breaker', field, 'rev', rev, 'flag', flag)
                publish(id, field, flag)
            end
        end
        if family ~= '' and expected == '0' then
            redis.call('HINCRBY', KEYS[6], family .. ':known', 1)
        end
        if not_closed_by ~= '0' then
            redis.call('HINCRBY', KEYS[6], family .. ':not_closed', not_closed_by)
        end
        for entry = 1, entries do
            redis.call('XADD', KEYS[7], 'MAXLEN', '~', ARGV[4], '*', 'breaker', field, 'entry', ARGV[i + 9 + entry])
            audited = true
        end
        taken[#taken + 1] = 1
    else
        taken[#taken + 1] = 0
    end
    i = i + 10 + entries
end
if audited then
    redis.call('XTRIM', KEYS[7], 'MINID', '~', ARGV[5])
end
return taken
