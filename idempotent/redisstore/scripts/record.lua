-- redisstore layout 1. This file begins every script: it reads the record of KEYS[1] into r, which
-- is nil if the record is absent. The scripts follow docs/STORE_GUIDE.md line by line.
--
-- A record is a hash. Which fields it has depends on its state. Times are microseconds since 1970
-- on this server's clock, in decimal.
--
--   v            the layout: 1
--   state        running, done, not_kept or unknown
--   fingerprint  in hexadecimal
--   token        of the owner, in hexadecimal; none after Resolve
--   expiry       the end of the retention
--   scope        in hexadecimal                 running, unknown
--   attempt      1, and 1 more per takeover     running, unknown
--   effect       1 if an effect was begun       running
--   lease_end    the end of the lease           running
--   response     any bytes                      done, not_kept, unknown
--
-- Only these fields decide whether a record is alive. The key's time to live is longer.

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- decimal formats an integer. By itself, Lua prints 14 digits.
local function decimal(n) return string.format('%.0f', n) end

-- integer returns the number that a field holds. It is nil if the field holds no such number.
local function integer(field) return field and string.match(field, '^%d+$') and tonumber(field) or nil end

-- expire makes the key live until a time, and a second longer, because Redis counts milliseconds.
local function expire(ends)
  redis.call('PEXPIRE', KEYS[1], decimal(math.ceil((ends - now) / 1000) + 1000))
end

-- write writes fields of a record that lives until a time. Redis refuses an HSET if it is out of
-- memory, but not after a command of the same script that has written and needs no memory. So if
-- nothing of this write may be refused, PEXPIRE comes first.
local function write(refusable, ends, ...)
  if not refusable then expire(ends) end
  redis.call('HSET', KEYS[1], ...)
  if refusable then expire(ends) end
end

-- finish writes the end of a run. Only the response of a done record may be refused.
local function finish(state, retention, response)
  local expiry = now + retention
  write(state == 'done', expiry, 'state', state, 'response', response, 'expiry', decimal(expiry))
  redis.call('HDEL', KEYS[1], 'effect', 'lease_end')
  if state ~= 'unknown' then redis.call('HDEL', KEYS[1], 'scope', 'attempt') end
end

-- remove removes the record.
local function remove() redis.call('DEL', KEYS[1]) end

-- wake tells those who wait for the record. It is a hint, so it may fail: a user who is allowed to
-- write may be forbidden to publish.
local function wake() redis.pcall('PUBLISH', KEYS[1], '') end

local r
local f = redis.call('HMGET', KEYS[1],
  'v', 'state', 'fingerprint', 'token', 'expiry', 'scope', 'attempt', 'effect', 'lease_end')
local exists = f[1] or redis.call('EXISTS', KEYS[1]) == 1
if exists then
  r = {
    state = f[2], fingerprint = f[3], token = f[4], expiry = integer(f[5]), scope = f[6],
    attempt = integer(f[7]), effect = f[8] == '1', lease_end = integer(f[9]),
  }
  local open = r.scope and r.attempt
  local states = {
    running = open and r.token and (f[8] == '0' or f[8] == '1') and r.lease_end,
    unknown = open, done = true, not_kept = true,
  }
  if f[1] ~= '1' or not (states[r.state] and r.fingerprint and r.expiry) then
    return redis.error_reply('ERR redisstore: the key does not hold a record of layout 1')
  end
  if now >= r.expiry and not (r.state == 'running' and now < r.lease_end) then
    r = nil -- a record that is not alive is absent, whether it was removed or not
  end
end
