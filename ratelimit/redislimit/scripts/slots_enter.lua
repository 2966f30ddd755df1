-- slots_enter, version 1: takes a slot for a request, if one is free.
--
--   KEYS   the slots of one rule and key
--   ARGV   token, max, lease in milliseconds, 1 to take a slot even if none is free or else 0
--
-- The slots are a sorted set. A member is the random token of a running request, and its score is
-- when its lease ends, in milliseconds of this server's clock. The key lives as long as its last
-- lease. Returns 1 if a slot was free, otherwise 0.

local key, token, most, lease = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('ZREMRANGEBYSCORE', key, '-inf', now)

-- If the clock was set back, leases end too late.
local late = string.format('(%.0f', now + lease)
for _, other in ipairs(redis.call('ZRANGEBYSCORE', key, late, '+inf')) do
  redis.call('ZADD', key, now + lease, other)
end

local free = redis.call('ZCARD', key) < most
if free or ARGV[4] == '1' then
  redis.call('ZADD', key, now + lease, token)
  redis.call('PEXPIRE', key, ARGV[3])
end
return free and 1 or 0
