-- redisstore memory writes nothing. It runs without record.lua.
return redis.call('INFO', 'memory')
