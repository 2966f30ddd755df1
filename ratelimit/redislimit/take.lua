
-- take, version 1: makes groups of charges. A group is all or nothing. The groups do not depend
-- on each other.
--
--   KEYS   the bucket of each charge
--   ARGV   for each group: the number of its charges, and then for each charge
--          cost, quota, window, burst
--   reply  for each charge: 1 if it is allowed, 0 if it is denied, or -1 if the key holds
--          something that is not a bucket; and the nanoseconds until its bucket is full.
--          The units were taken if all charges of the group are allowed.
--
-- A charge with a cost of 0, or over the burst, changes nothing. Others bring their limit to the
-- bucket, even if they are denied. A denial creates no bucket.

-- allows reports whether a bucket holds the cost. A unit that is less than a nanosecond away
-- counts, and so does one that is away by the rounding error of the longest times.
local function allows(units, c)
  local perUnit = c.window / c.quota
  return (c.cost - units) * perUnit <= math.max(0.999, c.burst * perUnit * 2^-50)
end

local function charge(key, arg)
  local c = {
    key = key, cost = tonumber(ARGV[arg]),
    quota = tonumber(ARGV[arg + 1]), window = tonumber(ARGV[arg + 2]), burst = tonumber(ARGV[arg + 3]),
  }
  c.bucket = read(key)
  if c.bucket == false then
    c.outcome = -1
    return c
  end
  c.takes = c.cost > 0 and c.cost <= c.burst
  if c.bucket and c.takes then limit(c.bucket, c.quota, c.window, c.burst) end
  c.units = c.bucket and math.min(c.bucket.units, c.burst) or c.burst
  c.outcome = (c.cost == 0 or c.takes and allows(c.units, c)) and 1 or 0
  return c
end

local reply = {}
local key, arg = 1, 1
while key <= #KEYS do
  local group, all, valid = {}, true, true
  local size = tonumber(ARGV[arg])
  arg = arg + 1
  for i = 1, size do
    local c = charge(KEYS[key], arg)
    all, valid = all and c.outcome == 1, valid and c.outcome >= 0
    group[i] = c
    key, arg = key + 1, arg + 4
  end
  for _, c in ipairs(group) do
    if all and c.takes then
      local b = c.bucket or full(c.quota, c.window, c.burst)
      b.units = b.units - c.cost
      c.units = b.units
      write(c.key, b)
    elseif valid and c.takes and c.bucket and c.bucket.changed then
      write(c.key, c.bucket)
    end
    reply[#reply + 1] = c.outcome
    reply[#reply + 1] = c.units and untilFull(c.units, c.quota, c.window, c.burst) or 0
  end
end
return reply
