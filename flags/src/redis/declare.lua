-- Publishes what a service declares, sets the epoch if there is none, and gives the one in force.
-- KEYS  meta
-- ARGV  an epoch to set if there is none, the declarations' JSON
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1])
redis.call('HSETNX', KEYS[1], 'rev', '0')
if redis.call('HGET', KEYS[1], 'declared') ~= ARGV[2] then
    redis.call('HSET', KEYS[1], 'declared', ARGV[2])
end
return redis.call('HGET', KEYS[1], 'epoch')
