
-- adjust, version 1: takes units, even if the bucket holds fewer, or gives them back.
--
--   KEYS   the bucket
--   ARGV   three doubles: the cost, and the limit for a new bucket (perUnit, burst)
--
-- Giving back never fills a bucket above its burst, and creates none.

local cost, perUnit, burst = unpack('<ddd', ARGV[1])
local b = read(KEYS[1])
if b == false then
  return redis.error_reply('WRONGTYPE the key holds something that is not a bucket')
end
if not b and cost > 0 then b = { units = burst, perUnit = perUnit, burst = burst } end
if b then
  b.units = min(b.units - cost, b.burst)
  write(KEYS[1], b)
end
return 0
