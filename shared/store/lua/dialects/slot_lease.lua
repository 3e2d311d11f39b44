-- Takes slots of limits for a while, renews such a lease, or returns its slots.
-- ARGV: 1 now  2 'take' | 'renew' | 'give'  3 lease (16 bytes)  4 it lasts (us)  5 slots  6 holder (JSON)
--       7… limits, or for 'give' the id of this call
-- Answers {'taken'}, {'full', limit, since when its oldest slot is held or ''}, {'exceeds_limit', limit} (its maximum
-- is lower), {'renewed'}, {'given'} or {'gone'}.
-- flags: allow-oom
-- uses: calls clock gates slots
local action, lease, until_us, slots, holder = ARGV[2], ARGV[3], NOW + tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
end_lapsed_leases()
local at = P .. ':slot-lease:' .. lease
if action == 'give' then
  if answer_before(ARGV[7]) then return {'given'} end
  if not end_lease(lease) then return {'gone'} end
  keep_answer(ARGV[7], 'given')
  return {'given'}
end
if action == 'renew' then
  if redis.call('EXISTS', at) == 0 then return {'gone'} end
  redis.call('ZADD', P .. ':slot-leases', until_us, lease)
  return {'renewed'}
end
if redis.call('EXISTS', at) == 1 then return {'taken'} end   -- a repeated call
local gates = {}
for i = 7, #ARGV do
  local gate = {'shared:' .. ARGV[i], 0}
  local most = gate_max(gate)
  if most < math.huge then
    if slots > most then return {'exceeds_limit', ARGV[i]} end
    if not has_room(gate, slots) then
      return {'full', ARGV[i], redis.call('ZRANGE', P .. ':slots:' .. gate[1], 0, 0, 'WITHSCORES')[2] or ''}
    end
    gates[#gates + 1] = gate[1]
  end
end
for _, name in ipairs(gates) do
  for i = 1, slots do redis.call('ZADD', P .. ':slots:' .. name, NOW, lease .. i) end
end
redis.call('HSET', at, 'gates', cmsgpack.pack(gates), 'slots', slots, 'holder', holder)
redis.call('ZADD', P .. ':slot-leases', until_us, lease)
return {'taken'}
