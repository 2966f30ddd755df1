-- redisstore renew. ARGV: token, lease (microseconds).
--
-- Renew(o, d) =
--     running, and o.Token is the record's    write: lease end = now + d
--     otherwise                               lost

local token, lease_end = ARGV[1], now + ARGV[2]

if not r or r.state ~= 'running' or r.token ~= token then return 'lost' end
write(false, math.max(lease_end, r.expiry), 'lease_end', decimal(lease_end))
return 'ok'
