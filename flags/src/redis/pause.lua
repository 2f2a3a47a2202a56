-- Pauses the scope or ends its pause, if its pause is still the one that was read. Decides nothing else.
-- KEYS  meta, audit
-- ARGV  the pause that was read (JSON; empty: none), the new one (likewise), the audit entry, how many of them to keep
-- Gives 1 (taken) or 0 (somebody came between).
for i, wanted in ipairs({'hash', 'stream'}) do
    local found = redis.call('TYPE', KEYS[i]).ok
    if found ~= wanted and found ~= 'none' then
        return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. found .. ' and not a ' .. wanted)
    end
end
local stored = redis.call('HGET', KEYS[1], 'pause') or ''
if (stored == '') ~= (ARGV[1] == '') then
    return 0
end
if stored ~= '' then
    local found, read = cjson.decode(stored), cjson.decode(ARGV[1])
    for _, field in ipairs({'by', 'why', 'since_ms', 'until_ms'}) do
        if found[field] ~= read[field] then
            return 0
        end
    end
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'breaker', '', 'entry', ARGV[3])
if ARGV[2] == '' then
    redis.call('HDEL', KEYS[1], 'pause')
else
    redis.call('HSET', KEYS[1], 'pause', ARGV[2])
end
return 1
