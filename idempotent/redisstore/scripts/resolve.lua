-- redisstore resolve. ARGV: state, retention (microseconds), response.
--
-- Resolve(id, c) =
--     unknown, or running, an effect begun and now >= lease end:
--         c.State is absent    remove the record
--         otherwise            write: c.State, c.Response, expiry = now + c.Retention, no token
--     otherwise                not_unknown

local state, retention, response = ARGV[1], ARGV[2], ARGV[3]

if not r then return 'not_unknown' end
if not (r.state == 'unknown' or r.state == 'running' and r.effect and now >= r.lease_end) then
  return 'not_unknown'
end
if state == 'absent' then
  remove()
else
  finish(state, retention, response)
  redis.call('HDEL', KEYS[1], 'token')
end
wake()
return 'ok'
