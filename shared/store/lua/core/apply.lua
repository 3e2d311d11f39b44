-- Replaces the catalog's tasks of one source by those of a file, in one step. Tasks made through the API stay. A task
-- of the file replaces one of the API with the same name, never the other way round.
-- ARGV: 1 now  2 source ('file' | 'api')  3 '1' to remove the source's tasks that are not named
--       4 limits (msgpack {name: max}) or '' to leave them  5 number that the file applied last must have, '' for any
--       6 description of the file (lib/applied.lua, msgpack) or ''  7 '1' when a signature may be replaced by none
--       8… per task: name, hash, body, signature, schedule ('' for none)
-- Answers {added…}, {changed…}, {removed…}, {unchanged…}, {owned by the file…}; {'stale'} when another file was applied
-- since, {'repeated'} when this very call was made before.
-- uses: apply
return apply_tasks()
