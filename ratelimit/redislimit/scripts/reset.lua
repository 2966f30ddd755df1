-- reset, version 1: fills the bucket of KEYS[1], whatever the key holds.

return redis.call('DEL', KEYS[1])
