-- Records that a process reached Redis. After a gap in the contact of all of them (longer than gap_us) no run is
-- rescued for one lease, because the workers could not renew theirs. The hold is stored, so the next leader obeys it.
-- uses: clock

-- Corrects stored times after the clock went back by so much: leases would expire that much too late. A time written
-- since then is at most one lease ahead.
local function went_back(by, lease_us)
  for _, name in ipairs({'leases', 'slot-leases', 'consumers'}) do
    local ahead = redis.call('ZRANGEBYSCORE', P .. ':' .. name, '(' .. text(NOW + lease_us), '+inf', 'WITHSCORES')
    for i = 1, #ahead, 2 do
      redis.call('ZADD', P .. ':' .. name, text(math.max(tonumber(ahead[i + 1]) - by, NOW + lease_us)), ahead[i])
    end
  end
  for _, name in ipairs({'workers', 'schedulers'}) do
    for _, one in ipairs(redis.call('ZRANGEBYSCORE', P .. ':' .. name, '(' .. text(NOW), '+inf')) do
      redis.call('ZADD', P .. ':' .. name, text(NOW), one)
    end
  end
  local hold = tonumber(redis.call('GET', P .. ':rescue-hold'))
  if hold and hold > NOW + lease_us then redis.call('SET', P .. ':rescue-hold', text(NOW + lease_us), 'PX', 600000) end
end

-- Answers false when the key of the last contact was overwritten.
local function note_contact(gap_us, lease_us)
  local found = redis.call('GET', P .. ':contact')
  local last = tonumber(found)
  if last and NOW - last > gap_us then redis.call('SET', P .. ':rescue-hold', text(NOW + lease_us), 'PX', 600000) end
  if last and last - NOW > 1000000 then went_back(last - NOW, lease_us) end
  redis.call('SET', P .. ':contact', text(NOW))
  return not found or last ~= nil
end
