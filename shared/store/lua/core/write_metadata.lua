-- Writes to the annex of a run, if it is as it is believed to be.
-- ARGV: 1 now  2… annex (lib/annex.lua)    Answers 1, also when it is written already, or 0 when the expected value is another or
-- there is no such run.
-- uses: clock annex
local a = annex_from(2)
if redis.call('EXISTS', P .. ':run:' .. a.run) == 0 then return 0 end
if not annex_fits(a) then return annex_is_written(a) and 1 or 0 end
annex_write(a)
return 1
