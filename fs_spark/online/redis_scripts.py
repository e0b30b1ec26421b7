"""What the server does as one step each, in its own Lua."""

from __future__ import annotations

from typing import Final

UPDATE: Final = """
local changed = 0
for i = 1, #KEYS do
  local held = redis.call('GETRANGE', KEYS[i], 0, 7)
  local write = #held < 8
  if not write then
    local a, b = struct.unpack('>I4I4', held)
    local c, d = struct.unpack('>I4I4', ARGV[i])
    write = c > a or (c == a and d >= b)
  end
  if write then
    redis.call('SET', KEYS[i], ARGV[i])
    changed = changed + 1
  end
end
return changed
"""
"""Values of later Delta versions (the first eight bytes) in place of earlier ones."""

PUSH: Final = """
local changed = 0
for i = 1, #KEYS do
  local held = redis.call('GETRANGE', KEYS[i], 0, 23)
  local write = #held < 24
  local at = 1
  while not write and at < 24 do
    local a = struct.unpack('>I4', held, at)
    local b = struct.unpack('>I4', ARGV[i], at)
    if b > a then write = true end
    if b < a then break end
    at = at + 4
  end
  if write then
    redis.call('SET', KEYS[i], ARGV[i], 'PX', ARGV[#ARGV])
    changed = changed + 1
  end
end
return changed
"""
"""Pushed rows of a later order (the first 24 bytes) in place of earlier ones; the last argument is their life in ms."""

EXPIRE: Final = """
for i = 1, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
return #KEYS
"""

BEGIN: Final = """
redis.call('SET', KEYS[1], '1', 'PX', ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
"""
"""A generation that is being written: lease and entry. KEYS alive, generations; ARGV generation, when, lease in ms."""

SWITCH: Final = """
local held = redis.call('GET', KEYS[1])
if (held or '') ~= ARGV[1] then return 0 end
local entry = redis.call('HGET', KEYS[3], ARGV[3])
if not entry or entry == 'dead' then return -1 end
redis.call('SET', KEYS[1], ARGV[2])
for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[2], 'current', ARGV[2])
return 1
"""
"""Another record in force, if what is expected is. KEYS current, about, generations; ARGV expected, new, generation,
then fields and values. 0 where another came, -1 where the generation was taken for dead and removed."""

BURY: Final = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local held = redis.call('GET', KEYS[3])
if held and string.match(held, '^%d+') == ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], ARGV[1], 'dead')
return 1
"""
"""A generation that nobody writes and nobody reads is dead, so that it can never be switched to, and its keys may go.
KEYS alive, generations, current."""
