-- Judges every policy of one request on this server's clock and charges all of them or none.
-- KEYS[i] holds the theoretical arrival time of policy i, in microseconds.
-- ARGV[2i-1] is its limit, ARGV[2i] its window in microseconds.
-- Returns for each policy: allowed (1 or 0), remaining, reset and retry, the last two in microseconds.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local verdicts, charges, all_allowed = {}, {}, true
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local interval = math.floor(window / limit)
  local allowance = interval * limit
  local start = math.max(tonumber(redis.call('GET', key) or 0), now)
  local charged = start + interval
  if charged - now <= allowance then
    charges[i] = charged
    verdicts[#verdicts + 1] = {1, math.floor((allowance - (charged - now)) / interval), charged - now, 0}
  else
    all_allowed = false
    verdicts[#verdicts + 1] = {0, 0, start - now, charged - now - allowance}
  end
end
if all_allowed then
  for i, key in ipairs(KEYS) do
    redis.call('SET', key, string.format('%.0f', charges[i]), 'PX', math.ceil((charges[i] - now) / 1000))
  end
end
return verdicts
