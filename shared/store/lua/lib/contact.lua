-- Notes that somebody reached Redis. After a gap in everybody's contact (longer than gap_us) nothing is rescued for one
-- lease, because the workers could not renew theirs either. The hold is stored, so the next leader obeys it too.
local function contact(gap_us, lease_us)
  local last = tonumber(redis.call('GET', P .. ':contact'))
  if last and NOW - last > gap_us then redis.call('SET', P .. ':hold', text(NOW + lease_us), 'PX', 600000) end
  redis.call('SET', P .. ':contact', text(NOW))
end
