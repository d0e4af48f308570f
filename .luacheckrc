std = "lua51"
read_globals = { "redis", "KEYS", "ARGV" }
max_line_length = false -- headers are prose
-- A shared block is copied whole, also where a script needs only some of it.
files["lua/*/*.lua"] = { ignore = { "211/out_of_range", "211/digits", "211/condemn", "211/is_condemned", "211/drop", "211/epochs", "211/member", "211/reshare", "231/changed" } }
include_files = { "lua/*/*.lua" }
exclude_files = { "lua/_lib/*.lua" }
