-- Writes to the metadata of a run, if the compared field has the expected value.
-- ARGV: 1 now  2… metadata (lib/metadata.lua)
-- Answers 1, also when it is written already, or 0 when the field has another value or there is no such run.
-- uses: clock metadata
local a = metadata_from(2)
if redis.call('EXISTS', P .. ':run:' .. a.run) == 0 then return 0 end
if not metadata_fits(a) then return metadata_is_written(a) and 1 or 0 end
write_metadata(a)
return 1
