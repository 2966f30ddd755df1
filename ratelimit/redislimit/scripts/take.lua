
-- take, version 1: makes groups of charges, one after another. A group is all or nothing.
--
--   KEYS   the bucket of each charge
--   ARGV   each charge as four doubles: its cost, its limit as in a bucket (perUnit, burst),
--          and how many more charges its group has
--   reply  for each charge: 1 if it is allowed, 0 if it is denied, or -1 if the key holds
--          something that is not a bucket; and the nanoseconds until its bucket is full.
--          The units were taken if all charges of the group are allowed.
--
-- A charge with a cost of 0, or over the burst, changes nothing. Others bring their limit to the
-- bucket, even if they are denied. A denial creates no bucket.

-- A key has the same bucket in all groups. The changed ones are written at the end.
local buckets, reply = {}, {}
local first, all = 1, true -- of the group
for i = 1, #KEYS do
  local key = KEYS[i]
  local cost, perUnit, burst, more = unpack('<dddd', ARGV[i])
  local b = buckets[key]
  if b == nil then
    b = read(key)
    buckets[key] = b
  end
  local outcome = 1
  if b == false then
    outcome = -1
  elseif cost > burst then
    outcome = 0
  elseif cost > 0 and b then
    if b.perUnit ~= perUnit or b.burst ~= burst then setLimit(b, perUnit, burst) end
    -- A unit that is less than a nanosecond away counts, and so does one that is away by the
    -- rounding error of the longest times.
    local missing = cost - b.units
    if missing > 0 and missing * perUnit > max(0.999, burst * perUnit * 2^-50) then
      outcome = 0
    end
  end
  reply[2 * i - 1] = outcome
  all = all and outcome == 1
  if more == 0 then -- the last one of its group
    for j = first, i do
      key = KEYS[j]
      cost, perUnit, burst = unpack('<ddd', ARGV[j])
      b = buckets[key]
      if all and cost > 0 then
        if not b then
          b = { units = burst, perUnit = perUnit, burst = burst }
          buckets[key] = b
        end
        b.units, b.changed = b.units - cost, true
      end
      reply[2 * j] = b and min(max(burst - b.units, 0) * perUnit, 2^62) or 0 -- an int64
    end
    first, all = i + 1, true
  end
end
for key, b in pairs(buckets) do
  if b and b.changed then write(key, b) end
end
return reply
