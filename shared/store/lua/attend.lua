-- Says which consumers are connected and which have gone, and hears of those that nobody has been connected with for long:
-- what they were handed is to be taken back.
-- ARGV: 1 now  2 lease_us  3 grace_us (one that went may come back within)  4 gap_us  5 hold_us (lib/contact.lua)
--       6 number of those present  7… consumers present, then those gone
-- Answers a list of {consumer, execution…}: what is to be taken back, if anything. Nothing is while the hold after an outage
-- lasts, because nobody could say who was there.
-- flags: allow-oom
-- uses: clock contact
local lease, present = tonumber(ARGV[2]), tonumber(ARGV[6])
contact(tonumber(ARGV[4]), tonumber(ARGV[5]))
for i = 7, #ARGV do
  local until_us = i < 7 + present and NOW + lease or NOW + tonumber(ARGV[3])
  if redis.call('ZSCORE', P .. ':consumers', ARGV[i]) then redis.call('ZADD', P .. ':consumers', until_us, ARGV[i]) end
end
local lost = {}
if (tonumber(redis.call('GET', P .. ':hold')) or 0) > NOW then return lost end
for _, consumer in ipairs(redis.call('ZRANGEBYSCORE', P .. ':consumers', '-inf', text(NOW), 'LIMIT', 0, 10)) do
  local handed = redis.call('SRANDMEMBER', P .. ':handed:' .. consumer, 100)
  if #handed == 0 then
    redis.call('ZREM', P .. ':consumers', consumer)
    redis.call('HDEL', P .. ':consumers:about', consumer)
  else
    lost[#lost + 1] = {consumer, unpack(handed)}
  end
end
return lost
