-- One request on this server's clock: is its token revoked, and is it within every policy?
-- ARGV[1] is how many of the first KEYS hold revocations (0 to 2): of the user, as the second up to which tokens
-- are revoked by when they were issued, and of this very token. ARGV[2] is the second the token was issued in.
-- Each further key holds the theoretical arrival time of one policy, in microseconds, with its limit and its
-- window in microseconds following in ARGV. All policies are charged or none, and none for a revoked token.
-- Returns {1, second} for a revoked user, {2} for a revoked token, else {0, ...} with four integers for each policy:
-- allowed (1 or 0), remaining, reset and retry, the last two in microseconds.
local revocations, issued = tonumber(ARGV[1]), tonumber(ARGV[2])
if revocations > 0 then
  local second = tonumber(redis.call('GET', KEYS[1]) or '-1')
  if issued <= second then
    return {1, second}
  end
end
if revocations > 1 and redis.call('EXISTS', KEYS[2]) == 1 then
  return {2}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answer, charges, all_allowed = {0}, {}, true
for i = 1, #KEYS - revocations do
  local limit, window = tonumber(ARGV[2 * i + 1]), tonumber(ARGV[2 * i + 2])
  local interval = math.floor(window / limit)
  local allowance = interval * limit
  local start = math.max(tonumber(redis.call('GET', KEYS[revocations + i]) or '0'), now)
  local charged = start + interval
  if charged - now <= allowance then
    charges[i] = charged
    answer[4 * i - 2], answer[4 * i - 1] = 1, math.floor((allowance - (charged - now)) / interval)
    answer[4 * i], answer[4 * i + 1] = charged - now, 0
  else
    all_allowed = false
    answer[4 * i - 2], answer[4 * i - 1] = 0, 0
    answer[4 * i], answer[4 * i + 1] = start - now, charged - now - allowance
  end
end
if all_allowed then
  for i, charged in ipairs(charges) do
    redis.call('SET', KEYS[revocations + i], string.format('%.0f', charged), 'PX', math.ceil((charged - now) / 1000))
  end
end
return answer
