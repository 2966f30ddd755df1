-- redisstore finish. ARGV: token, state, retention (microseconds), response.
--
-- Finish(o, c) =
--     absent, and c.State is absent or unknown           ok
--     absent, or o.Token is not the record's             lost
--     not running                                        ok
--     c.State is absent                                  remove the record
--     c.State is unknown, and no effect was begun        remove the record
--     otherwise    write: c.State, c.Response, expiry = now + c.Retention; the token stays

local token, state, retention, response = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if not r and (state == 'absent' or state == 'unknown') then return 'ok' end
if not r or r.token ~= token then return 'lost' end
if r.state ~= 'running' then return 'ok' end
if state == 'absent' or state == 'unknown' and not r.effect then
  remove()
else
  finish(state, retention, response)
end
wake()
return 'ok'
