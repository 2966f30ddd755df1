-- redisstore acquire. ARGV: fingerprint, token, scope, lease, retention (microseconds).
--
-- Acquire(c) =
--     absent                   write: running, c's fingerprint, token and scope, attempt 1, no effect,
--                                     lease end = now + c.Lease, expiry = now + c.Retention
--                              acquired, attempt 1
--     another fingerprint      mismatch
--     done, not_kept           done or not_kept, with the response
--     unknown                  unknown
--     c.Token is the record's  write: lease end = now + c.Lease; the expiry stays
--                              acquired, the same attempt
--     now < lease end          running, lease left = lease end - now
--     an effect was begun      unknown; write nothing
--     otherwise                write as for an absent record, but attempt + 1
--                              acquired, attempt + 1

local fingerprint, token, scope = ARGV[1], ARGV[2], ARGV[3]
local lease_end, expiry = now + ARGV[4], now + ARGV[5]

local function take(attempt)
  -- No field of an earlier run stays. Without a key there must be no DEL: after it, Redis would not
  -- refuse the new record when it is out of memory.
  if exists then remove() end
  write(true, math.max(lease_end, expiry),
    'v', '1', 'state', 'running', 'fingerprint', fingerprint, 'token', token, 'scope', scope,
    'attempt', decimal(attempt), 'effect', '0', 'lease_end', decimal(lease_end), 'expiry', decimal(expiry))
  return {'acquired', attempt}
end

if not r then return take(1) end
if r.fingerprint ~= fingerprint then return {'mismatch'} end
if r.state == 'done' or r.state == 'not_kept' then
  return {r.state, redis.call('HGET', KEYS[1], 'response')}
end
if r.state == 'unknown' then return {'unknown'} end
if r.token == token then
  write(false, math.max(lease_end, r.expiry), 'lease_end', decimal(lease_end))
  return {'acquired', r.attempt}
end
if now < r.lease_end then return {'running', r.lease_end - now} end
if r.effect then return {'unknown'} end
return take(r.attempt + 1)
