-- Writes what is still at the revision that its writer read. Decides nothing else.
-- KEYS  meta, flags, changes, breakers, monitors
-- ARGV  epoch, how many changes to keep, then for each write: the number of its hash in KEYS, field, expected
--       revision, record, and the flag's JSON before and after its rev (both empty: the flag stays)
-- Gives the epoch's verdict as false, or 1 (taken) and 0 (refused) for each write.

-- A script that fails half-way stays half-written, so whatever could fail is tried first.
for i, wanted in ipairs({'hash', 'hash', 'stream', 'hash', 'hash'}) do
    local found = redis.call('TYPE', KEYS[i]).ok
    if found ~= wanted and found ~= 'none' then
        return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. found .. ' and not a ' .. wanted)
    end
end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
    return false
end
redis.call('HINCRBY', KEYS[1], 'rev', 0)

local taken = {}
for i = 3, #ARGV, 6 do
    local records, field, expected, record = KEYS[tonumber(ARGV[i])], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    local stored = redis.call('HGET', records, field)
    local revision = stored and string.match(stored, '^[^ ]*') or '0'
    if revision == expected then
        redis.call('HSET', records, field, record)
        if ARGV[i + 4] ~= '' then
            -- '%.0f' because Lua would write a large number with an exponent.
            local rev = string.format('%.0f', redis.call('HINCRBY', KEYS[1], 'rev', 1))
            local flag = ARGV[i + 4] .. rev .. ARGV[i + 5]
            redis.call('HSET', KEYS[2], field, flag)
            redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'breaker', field, 'rev', rev, 'flag', flag)
        end
        taken[#taken + 1] = 1
    else
        taken[#taken + 1] = 0
    end
end
return taken
