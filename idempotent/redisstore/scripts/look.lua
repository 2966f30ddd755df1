-- redisstore look writes nothing. It returns what Wait and ListUnknown ask about a record: its state,
-- and scope, attempt and the rest of the retention in microseconds if a Resolver can settle it.

if not r then return {'absent'} end
if r.state == 'unknown' or r.state == 'running' and r.effect and now >= r.lease_end then
  return {r.state, r.scope, r.attempt, r.expiry - now}
end
return {r.state}
