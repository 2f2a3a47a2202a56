-- Makes a group of readers of the audit stream, unless it is there.
-- KEYS  audit
-- ARGV  the group, from where it reads ($: what is written from now on; 0: everything), how long a reader may have been away, milliseconds
-- Gives 1 (made) or 0 (it was there). Readers that have been away for longer and hold nothing are forgotten: each start brings a new one.
local found = redis.call('TYPE', KEYS[1]).ok
if found ~= 'stream' and found ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[1] .. ' is a ' .. found .. ' and not a stream')
end
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')
if not made.err then
    -- How many entries stand before its beginning, so that what is lost can be counted. Redis before 7 does not keep that.
    local stream = {}
    local told = redis.call('XINFO', 'STREAM', KEYS[1])
    for i = 1, #told, 2 do
        stream[told[i]] = told[i + 1]
    end
    if stream['entries-added'] then
        local from_end = ARGV[2] == '$'
        local before = from_end and stream['entries-added'] or stream['entries-added'] - stream.length
        local at = from_end and stream['last-generated-id'] or ARGV[2]
        redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], at, 'ENTRIESREAD', before)
    end
    return 1
end
if not string.find(made.err, 'BUSYGROUP', 1, true) then
    return made
end
for _, reader in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local of = {}
    for i = 1, #reader, 2 do
        of[reader[i]] = reader[i + 1]
    end
    if of.pending == 0 and of.idle > tonumber(ARGV[3]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], of.name)
    end
end
return 0
