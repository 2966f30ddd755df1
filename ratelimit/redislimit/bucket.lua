-- The token bucket of redislimit, version 1. take.lua and adjust.lua begin with this file.
--
-- A bucket is one string of six numbers:
--
--   units   the units that it held at the time "at", with a fraction; below zero is a debt
--   at      a time of this server, in microseconds
--   quota   the limit: quota units come back in every window, up to burst
--   window  in nanoseconds
--   burst
--   keep    the time, in microseconds, at which it is full by every earlier limit
--
-- A bucket without a key is full. So a key lives until its bucket is full by the present limit
-- and by all earlier ones.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- read returns the bucket of a key as it is now, nil if there is none, or false if the key holds
-- something else. If the server's clock was set back, the bucket goes on from the present time.
local function read(key)
  local value = redis.pcall('GET', key)
  if not value then return nil end
  if value.err then return false end
  local units, at, quota, window, burst, keep =
    string.match(value, '^(-?[%d.e+-]+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
  local b = {
    units = tonumber(units), at = tonumber(at),
    quota = tonumber(quota), window = tonumber(window), burst = tonumber(burst),
    keep = tonumber(keep), changed = false,
  }
  if not b.units or b.quota == 0 or b.window == 0 then return false end
  if b.at > now then
    b.keep, b.at, b.changed = b.keep - (b.at - now), now, true
  end
  b.units = math.min(b.units + (now - b.at) * 1000 * b.quota / b.window, b.burst)
  return b
end

-- full returns a bucket that has never been charged.
local function full(quota, window, burst)
  return { units = burst, quota = quota, window = window, burst = burst, keep = 0 }
end

-- untilFull returns the nanoseconds until a bucket with a limit holds the burst.
local function untilFull(units, quota, window, burst)
  return math.max(burst - units, 0) * window / quota
end

-- limit gives a bucket another limit. Its units stay, up to the new burst.
local function limit(b, quota, window, burst)
  if b.quota == quota and b.window == window and b.burst == burst then return end
  b.keep = math.max(b.keep, now + untilFull(b.units, b.quota, b.window, b.burst) / 1000)
  b.quota, b.window, b.burst = quota, window, burst
  b.units, b.changed = math.min(b.units, burst), true
end

local function write(key, b)
  local left = untilFull(b.units, b.quota, b.window, b.burst) / 1000000
  local ttl = math.ceil(math.max(left, (b.keep - now) / 1000, 1))
  redis.call('SET', key, string.format('%.17g %.0f %.0f %.0f %.0f %.0f',
    b.units, now, b.quota, b.window, b.burst, math.max(b.keep, 0)), 'PX', string.format('%.0f', ttl))
end
