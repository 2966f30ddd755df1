
-- adjust, version 1: takes units, even if the bucket holds fewer, or gives them back.
--
--   KEYS   the bucket
--   ARGV   cost, quota, window, burst; the limit is only for a new bucket
--
-- Giving back never fills a bucket above its burst, and creates none.

local cost = tonumber(ARGV[1])
local b = read(KEYS[1])
if b == false then return redis.error_reply('WRONGTYPE the key holds something that is not a bucket') end
if cost > 0 and not b then b = full(tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])) end
if b then
  b.units = math.min(b.units - cost, b.burst)
  write(KEYS[1], b)
end
return 0
