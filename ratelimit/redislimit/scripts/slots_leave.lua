-- slots_leave, version 1: gives slots back.
--
--   KEYS   the key of each slot; the same key may come several times
--   ARGV   the token of each slot
--
-- A token that is gone changes nothing. So a process that was paused for longer than its lease
-- frees no slot of another process.

for i, key in ipairs(KEYS) do
  if redis.call('TYPE', key).ok == 'zset' then
    redis.call('ZREM', key, ARGV[i])
  end
end
return 0
