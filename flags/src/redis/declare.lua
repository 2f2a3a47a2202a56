-- Publishes what a service declares unless a higher revision is declared, sets the epoch if there is none, and gives the
-- epoch and the revision in force. Finds out whether changes will be published, so that followers know before the first.
-- KEYS  meta
-- ARGV  an epoch to set if there is none, the revision, the declarations' JSON, how the channel's name begins
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1])
redis.call('HSETNX', KEYS[1], 'rev', '0')
redis.call('HSETNX', KEYS[1], 'revision', '0')
local revision = redis.call('HGET', KEYS[1], 'revision')
if tonumber(revision) <= tonumber(ARGV[2]) then
    if redis.call('HGET', KEYS[1], 'declared') ~= ARGV[3] then
        redis.call('HSET', KEYS[1], 'revision', ARGV[2], 'declared', ARGV[3])
    end
    revision = ARGV[2]
end
local epoch = redis.call('HGET', KEYS[1], 'epoch')
local channel = ARGV[4] .. ':' .. epoch
if redis.call('HGET', KEYS[1], 'channel') ~= channel and type(redis.pcall('PUBLISH', channel, '')) == 'number' then
    redis.call('HSET', KEYS[1], 'channel', channel)
end
return {epoch, revision}
