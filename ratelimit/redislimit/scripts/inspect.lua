-- Shows a bucket of redislimit:
--
--   redis-cli --eval scripts/inspect.lua 'ratelimit:{pmWkWSBCL51Bfkhn79xPuA}:default'

local value = redis.call('GET', KEYS[1])
if not value then return 'no bucket: it is full' end
if #value ~= 40 then return 'not a bucket' end
local units, at, keep, perUnit, burst = struct.unpack('<ddddd', value)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
return {
  string.format('units now     %.3f of %.0f', math.min(units + math.max(now - at, 0) * 1000 / perUnit, burst), burst),
  string.format('one unit in   %.6f s', perUnit / 1e9),
  string.format('last written  %.3f s ago', (now - at) / 1e6),
  string.format('full in       %.3f s', math.max((burst - units) * perUnit / 1e9 - (now - at) / 1e6, 0)),
  string.format('expires in    %.3f s', redis.call('PTTL', KEYS[1]) / 1000),
}
