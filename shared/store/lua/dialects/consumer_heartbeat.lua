-- Renews the leases of connected consumers, and finds deliveries to take back: those of consumers that have been gone
-- for long, and those that were never acknowledged because their connection ended.
-- ARGV: 1 now  2 lease_us  3 grace_us (a disconnected consumer may return within)  4 gap_us  5 hold_us
--       (lib/rescue_hold.lua)  6 msgpack {consumers present, consumers gone, slots of connections present}
-- Answers {{{consumer, execution…}, …}, {{consumer, execution}, …}}: deliveries of consumers that are gone, and those
-- never acknowledged; none during the hold after an outage, because no process could report who was connected.
-- A delivery is answered again after AGAIN unless it was taken back, so one that cannot be does not block the others.
-- flags: allow-oom
-- uses: clock offers rescue_hold
local lease, grace_us, gap_us, hold_us = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local reported = cmsgpack.unpack(ARGV[6])
local AGAIN = 2000000
note_contact(gap_us, hold_us)
for i, until_us in ipairs({NOW + lease, NOW + grace_us}) do
  for _, consumer in ipairs(reported[i]) do
    if redis.call('ZSCORE', P .. ':consumers', consumer) then
      redis.call('ZADD', P .. ':consumers', until_us, consumer)
    end
  end
end
for _, slot in ipairs(reported[3]) do
  if redis.call('ZSCORE', P .. ':offered', slot) then redis.call('ZADD', P .. ':offered', NOW + lease, slot) end
end
local lost, unacknowledged = {}, {}
if (tonumber(redis.call('GET', P .. ':rescue-hold')) or 0) > NOW then return {lost, unacknowledged} end
for _, consumer in ipairs(redis.call('ZRANGEBYSCORE', P .. ':consumers', '-inf', text(NOW), 'LIMIT', 0, 10)) do
  local handed = redis.call('SRANDMEMBER', P .. ':in-flight:' .. consumer, 100)
  if #handed == 0 then
    redis.call('ZREM', P .. ':consumers', consumer)
    redis.call('HDEL', P .. ':consumers:about', consumer)
  else
    redis.call('ZADD', P .. ':consumers', NOW + AGAIN, consumer)
    lost[#lost + 1] = {consumer, unpack(handed)}
  end
end
for _, slot in ipairs(redis.call('ZRANGEBYSCORE', P .. ':offered', '-inf', text(NOW), 'LIMIT', 0, 100)) do
  local offer = offer_of(slot)
  if offer and unacknowledged_run(offer) then
    redis.call('ZADD', P .. ':offered', NOW + AGAIN, slot)
    unacknowledged[#unacknowledged + 1] = {offer.consumer, offer.execution}
  else
    drop_offer(slot)
  end
end
return {lost, unacknowledged}
