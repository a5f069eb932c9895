"""The keys of `RedisStore`, and its scripts, each of which Redis runs as one step."""

from __future__ import annotations

VERSION = "2"
"""Version of the keys; a store of a newer one is refused, an older one is brought up to it."""
NAMES = (
    "version",
    "generation",  # a random name of what is here; a database that was emptied gets another one
    "place",  # the last place that was given to an event
    "contents",  # what is known of each event: its id and a digest of its content
    "events",  # of a user, by place
    "items",
    "versions",
    "last",  # the last version of an item
    "records",  # of a kind, by key
    "erased",  # users that were deleted, by hash
    "removals",  # rises when events are removed
    "key",  # of these hashes
    "checked",
    "ids",  # version 1
    "user",  # version 1
)
# One slot of a cluster, as scripts need: the part in braces decides.
KEYS = {name: f"{{twotower}}:{name}" for name in NAMES}

OF_ERASED = ("contents", "place", "erased", "removals", "key")

# Every script begins by saying what it talks to. KEYS: version, generation. ARGV: version, a new name.
BEGIN = """
local generation = redis.call('get', KEYS[2])
if not generation then
  generation = ARGV[2]
  redis.call('set', KEYS[1], ARGV[1])
  redis.call('set', KEYS[2], generation)
end
"""
# Keeps events that are not known yet. KEYS: contents, place, prefix of the users' events. ARGV: id, digest,
# user, event, ...
APPEND = (
    BEGIN
    + """
for i = 3, #ARGV, 4 do
  local known = redis.call('hget', KEYS[3], ARGV[i])
  if known and known ~= ARGV[i + 1] then
    return {generation, -1, ARGV[i]}
  end
end
local new = 0
for i = 3, #ARGV, 4 do
  if redis.call('hsetnx', KEYS[3], ARGV[i], ARGV[i + 1]) == 1 then
    redis.call('zadd', KEYS[5] .. ':' .. ARGV[i + 2], redis.call('incr', KEYS[4]), ARGV[i + 3])
    new = new + 1
  end
end
return {generation, new, ''}
"""
)
# Returns a user's events after a place, up to another. KEYS: of the user, removals. ARGV: the places.
EVENTS = (
    BEGIN
    + """
local found = redis.call('zrangebyscore', KEYS[3], '(' .. ARGV[3], ARGV[4], 'withscores')
return {generation, found, redis.call('get', KEYS[4]) or '0'}
"""
)
# Returns the last place. KEYS: place.
LAST = (
    BEGIN
    + """
return {generation, redis.call('get', KEYS[3]) or '0'}
"""
)
# Keeps an item with the number of its change. KEYS: items, their versions, the last version. ARGV: key, item.
PUT = (
    BEGIN
    + """
local version = redis.call('incr', KEYS[5])
redis.call('hset', KEYS[3], ARGV[3], ARGV[4])
redis.call('zadd', KEYS[4], version, ARGV[3])
return {generation, version}
"""
)
# Returns key, item, version of the items changed since, and the counters. KEYS: items, their versions, the
# last version, place, removals. ARGV: the version.
SINCE = (
    BEGIN
    + """
local changed = redis.call('zrangebyscore', KEYS[4], '(' .. ARGV[3], '+inf', 'withscores')
local found = {}
for i = 1, #changed, 2 do
  table.insert(found, changed[i])
  table.insert(found, redis.call('hget', KEYS[3], changed[i]))
  table.insert(found, changed[i + 1])
end
local counters = {}
for i = 5, 7 do
  table.insert(counters, redis.call('get', KEYS[i]) or '0')
end
return {generation, found, counters}
"""
)
# Keeps records that are not known yet. KEYS: those of their kind. ARGV: key, record, ...
RECORD = (
    BEGIN
    + """
for i = 3, #ARGV, 2 do
  redis.call('hsetnx', KEYS[3], ARGV[i], ARGV[i + 1])
end
return {generation, #ARGV}
"""
)
# Deletes a user's events and notes that. KEYS: of the user, contents, place, deletions, removals, the key.
# ARGV: a new key, the digest or '', the time.
FORGET = (
    BEGIN
    + """
redis.call('setnx', KEYS[8], ARGV[3])
if ARGV[4] == '' then
  return {generation, redis.call('get', KEYS[8])}
end
local gone = redis.call('zrange', KEYS[3], 0, -1)
for _, text in ipairs(gone) do
  redis.call('hdel', KEYS[4], cjson.decode(text)[1])
end
redis.call('del', KEYS[3])
local number = redis.call('llen', KEYS[6]) + 1
local place = tonumber(redis.call('get', KEYS[5]) or '0')
redis.call('rpush', KEYS[6], cjson.encode({number, ARGV[4], place, #gone, tonumber(ARGV[5])}))
redis.call('incr', KEYS[7])
return {generation, #gone}
"""
)
# Skips numbers: records of nobody take those of deletions. KEYS: place, deletions. ARGV: the numbers.
GO_ON = (
    BEGIN
    + """
if tonumber(redis.call('get', KEYS[3]) or '0') < tonumber(ARGV[3]) then
  redis.call('set', KEYS[3], ARGV[3])
end
for number = redis.call('llen', KEYS[4]) + 1, tonumber(ARGV[4]) do
  redis.call('rpush', KEYS[4], cjson.encode({number, '', 0, 0, 0}))
end
return {generation}
"""
)
# Deletes a user's events before a time. KEYS: of the user, contents, removals. ARGV: the time.
EXPIRE = (
    BEGIN
    + """
local gone = 0
for _, text in ipairs(redis.call('zrange', KEYS[3], 0, -1)) do
  local event = cjson.decode(text)
  if event[5] < tonumber(ARGV[3]) then
    redis.call('zrem', KEYS[3], text)
    redis.call('hdel', KEYS[4], event[1])
    gone = gone + 1
  end
end
if gone > 0 then
  redis.call('incr', KEYS[5])
end
return {generation, gone}
"""
)
# Brings a user's list of version 1 up to version 2. KEYS: the list, contents, place, the user's events. ARGV:
# id, digest, event, ...
BRING_UP = """
if redis.call('type', KEYS[1]).ok ~= 'list' then
  return 0
end
for i = 1, #ARGV, 3 do
  redis.call('hset', KEYS[2], ARGV[i], ARGV[i + 1])
  redis.call('zadd', KEYS[4], redis.call('incr', KEYS[3]), ARGV[i + 2])
end
redis.call('del', KEYS[1])
return 1
"""
