-- Slots of a limit that no execution holds: sorted set `slots:<gate>`, holder by the time it took the slot. A holder is
-- a run (16 bytes) or a slot of a lease (its 16 bytes and a number). A lease that a client took is a hash
-- `slot-lease:<lease>` (gates, slots, holder as JSON) and an entry of `slot-leases` by its end.
-- uses: clock gates
local function has_room(gate, slots)
  return taken_at(gate) + slots <= gate_max(gate) and redis.call('EXISTS', P .. ':limit:' .. gate[1] .. ':waiters') == 0
end

-- The sets in which a holder has yet to take a slot, one for each limit; or nil and the refusal: 'closed' or 'full',
-- the limit, since when its oldest slot is held.
local function slots_to_take(limits, holder)
  local slots = {}
  for _, name in ipairs(limits) do
    local gate = {'shared:' .. name, 0}
    local at, most = P .. ':slots:' .. gate[1], gate_max(gate)
    if most == 0 then return nil, 'closed', name end
    if most < math.huge and not redis.call('ZSCORE', at, holder) then
      if not has_room(gate, 1) then return nil, 'full', name, redis.call('ZRANGE', at, 0, 0, 'WITHSCORES')[2] end
      slots[#slots + 1] = at
    end
  end
  return slots
end

local function end_lease(lease)
  local at = P .. ':slot-lease:' .. lease
  local gates, slots = unpack(redis.call('HMGET', at, 'gates', 'slots'))
  redis.call('DEL', at)
  redis.call('ZREM', P .. ':slot-leases', lease)
  if not gates then return false end
  for _, name in ipairs(cmsgpack.unpack(gates)) do
    for i = 1, tonumber(slots) do redis.call('ZREM', P .. ':slots:' .. name, lease .. i) end
    admit(name)
  end
  return true
end

local function end_lapsed_leases()
  local lapsed = redis.pcall('ZRANGEBYSCORE', P .. ':slot-leases', '-inf', text(NOW), 'LIMIT', 0, 100)
  if lapsed.err then return end   -- overwritten: the rest of the call does not depend on it
  for _, lease in ipairs(lapsed) do end_lease(lease) end
end
