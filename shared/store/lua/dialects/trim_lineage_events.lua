-- Deletes the lineage events that arrived first, beyond any of the bounds, at most ARGV[5] a call.
-- ARGV: 1 now  2 most events  3 most bytes of all  4 longest life (us)  5 batch    Answers how many were deleted.
-- flags: allow-oom
-- uses: lineage_events
local most, most_bytes, life_us, batch = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
return trim_lineage(most, most_bytes, life_us, batch)
