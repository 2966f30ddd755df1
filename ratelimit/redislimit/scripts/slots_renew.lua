-- slots_renew, version 1: starts the leases of slots again.
--
--   KEYS   the key of each slot; the same key may come several times
--   ARGV   lease in milliseconds, then the token of each slot
--
-- A token that is gone is not added again, because another request may have its slot. A token
-- whose lease is over, but which is still there, was not replaced: its lease starts again too.

local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for i, key in ipairs(KEYS) do
  local token = ARGV[i + 1]
  if redis.call('TYPE', key).ok == 'zset' and redis.call('ZSCORE', key, token) then
    redis.call('ZADD', key, ends, token)
    redis.call('PEXPIRE', key, ARGV[1])
  end
end
return 0
