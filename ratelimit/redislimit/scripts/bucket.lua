-- The token buckets of redislimit, version 1. take.lua and adjust.lua begin with this file.
--
-- A bucket is a string of five numbers, each a little-endian double (inspect.lua shows them):
--
--   units    the units that it held at the time "at", with a fraction; below zero is a debt
--   at       a time of this server, in microseconds
--   keep     the time, in microseconds, until which the key lives
--   perUnit  its limit: the nanoseconds in which one unit comes back,
--   burst    up to the burst
--
-- A bucket without a key is full. So by the time "keep", it is full by its limit and by all
-- earlier ones. To set the expiry less often, keep is later than it must be: by the time in
-- which an empty bucket is full.

local max, min, pack, unpack = math.max, math.min, struct.pack, struct.unpack

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- read returns the bucket of a key as it is now, nil if there is none, or false if the key holds
-- something else. If the server's clock was set back, the bucket goes on from the present time.
local function read(key)
  local value = redis.pcall('GET', key)
  if not value then return nil end
  if value.err or #value ~= 40 then return false end
  local units, at, keep, perUnit, burst = unpack('<ddddd', value)
  local sum = units + at + keep + perUnit + burst
  local finite = sum - sum == 0
  if not (finite and perUnit > 0 and burst >= 1 and units <= burst) then return false end
  if now > at then units = min(units + (now - at) * 1000 / perUnit, burst) end
  return { units = units, keep = keep, perUnit = perUnit, burst = burst, changed = now < at }
end

-- setLimit gives a bucket another limit. Its units stay, up to the new burst. The bucket is full
-- by its earlier limits at the time "owed".
local function setLimit(b, perUnit, burst)
  b.owed = max(b.owed or 0, now + (b.burst - b.units) * b.perUnit / 1000)
  b.units, b.perUnit, b.burst, b.changed = min(b.units, burst), perUnit, burst, true
end

local function write(key, b)
  local need = max(b.owed or 0, now + (b.burst - b.units) * b.perUnit / 1000)
  local live = b.keep and b.keep >= need
  local keep = live and b.keep or need + b.burst * b.perUnit / 1000
  local value = pack('<ddddd', b.units, now, keep, b.perUnit, b.burst)
  if live then
    redis.call('SET', key, value, 'KEEPTTL')
  else
    redis.call('SET', key, value, 'PX', string.format('%.0f', min((keep - now) / 1000 + 1, 2^53)))
  end
end
