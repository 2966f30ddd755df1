-- redisstore begin_effect. ARGV: token.
--
-- BeginEffect(o) =
--     running, and o.Token is the record's    write: effect
--     otherwise                               lost

local token = ARGV[1]

if not r or r.state ~= 'running' or r.token ~= token then return 'lost' end
write(false, math.max(r.lease_end, r.expiry), 'effect', '1')
return 'ok'
