"""What is said to the server: keys, scripts, and the messages between processes.

An entry has two keys: its value, and the lease of the run that is to make it. One server
orders all commands, so the token in the lease is the fence: whoever stores has to show it.
What follows the token there is a mark that somebody waits, without which a run that ends
tells nobody.
"""

from enum import Enum
from hashlib import sha1
from secrets import token_hex
from typing import Final, NamedTuple


def new_token() -> str:
    """Return what is unique: it stands for a lease, a version, or a process."""
    return token_hex(8)


#: Characters of a token.
TOKEN_SIZE: Final = len(new_token())


class Names(NamedTuple):
    """The keys of one entry: all in one slot of a cluster."""

    value: str
    lease: str


class Keyspace(NamedTuple):
    """What a namespace's keys and its channel are called."""

    namespace: str

    @property
    def channel(self) -> str:
        """The channel of the namespace's messages."""
        return f"async-lru:{self.namespace}"

    def generation(self, function: str) -> str:
        """Return the key of a function's generation, which ``cache_clear`` changes."""
        return f"async-lru:{self.namespace}:{function}:generation"

    def entry(self, function: str, generation: str, hash_: str) -> Names:
        """Return the keys of an entry."""
        stem = f"async-lru:{self.namespace}:{function}:{generation}:{{{hash_}}}"
        return Names(f"{stem}:value", f"{stem}:lease")


class Kind(Enum):
    """What a message tells of an entry, or of all of a function."""

    #: A run has stored its result.
    STORED = "s"
    #: A run has ended without.
    RELEASED = "r"
    #: It was invalidated, or put.
    CHANGED = "c"
    #: The function has a new generation.
    CLEARED = "g"


class Message(NamedTuple):
    """What has happened to an entry, told to all processes by what has done it."""

    kind: Kind
    #: The cache that has done it, which need not be told.
    origin: str
    #: The token of the value that is there now; of the lease, if there is none.
    version: str
    generation: str
    hash: str
    function: str

    def pack(self) -> str:
        """Return what is sent."""
        return " ".join((self.kind.value, *self[1:]))

    @staticmethod
    def unpack(packed: bytes | str) -> "Message | None":
        """Return what was received, or None if somebody else has sent it."""
        try:
            text = packed if isinstance(packed, str) else packed.decode()
            kind, *rest = text.split(" ", 5)
            return Message(Kind(kind), *rest)
        except (TypeError, ValueError):
            return None


class Script(NamedTuple):
    """A script, and the name by which a server that has seen it knows it."""

    text: str
    sha: str


def _script(text: str) -> Script:
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


#: Returns the value and the milliseconds it has left; or how long the lease of somebody
#: else has left, which is marked then; or nothing, and the lease is the caller's. What is
#: no string, or would stay for ever, is not ours.
#: Keys: value, lease. Arguments: token, milliseconds, "1" if a value is no answer.
ACQUIRE: Final = _script("""
local value = redis.pcall('GET', KEYS[1])
if value and (type(value) == 'table' or ARGV[3] == '0') then
  local left = redis.call('PTTL', KEYS[1])
  if type(value) == 'string' and left >= 0 then return {value, left} end
  redis.call('DEL', KEYS[1])
end
local lease = redis.pcall('GET', KEYS[2])
if type(lease) == 'string' and string.find(lease, '^%x+%+?$') then
  local left = redis.call('PTTL', KEYS[2])
  if string.sub(lease, 1, #ARGV[1]) == ARGV[1] then
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
    return false
  elseif left >= 0 then
    redis.pcall('SETRANGE', KEYS[2], #ARGV[1], '+')
    return left
  end
end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return false
""")

#: Stores the value if the lease is the caller's; tells whether it was. The others are told
#: if one of them waits, or may have an older value. By how much less the lease has left than
#: when the script was sent, it has been on its way, and the value has less left, too.
#: Keys: value, lease. Arguments: token, value, milliseconds, channel, message, "1" if they
#: are told in any case, the most milliseconds that the lease had left.
STORE: Final = _script("""
local lease = redis.pcall('GET', KEYS[2])
if type(lease) ~= 'string' or string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
local told = #lease > #ARGV[1] or ARGV[6] == '1' or redis.call('EXISTS', KEYS[1]) == 1
local late = math.max(ARGV[7] - redis.call('PTTL', KEYS[2]), 0)
local left = ARGV[3] - late
if left > 0 then redis.call('SET', KEYS[1], ARGV[2], 'PX', left) else redis.call('DEL', KEYS[1]) end
redis.call('DEL', KEYS[2])
if told then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return 1
""")

#: Gives the lease back if it is the caller's, and tells those who wait.
#: Keys: lease. Arguments: token, channel, message.
RELEASE: Final = _script("""
local lease = redis.pcall('GET', KEYS[1])
if type(lease) ~= 'string' or string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if #lease > #ARGV[1] then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1
""")

#: Prolongs the lease if it is the caller's.
#: Keys: lease. Arguments: token, milliseconds.
RENEW: Final = _script("""
local lease = redis.pcall('GET', KEYS[1])
if type(lease) ~= 'string' or string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")

#: Replaces the value, or drops it where there is none, and takes the lease from its run. A
#: full server lets a script go on that has dropped something first.
#: Keys: value, lease. Arguments: value or "", milliseconds, channel, message.
CHANGE: Final = _script("""
redis.call('DEL', KEYS[1], KEYS[2])
if ARGV[1] ~= '' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
redis.call('PUBLISH', ARGV[3], ARGV[4])
return 1
""")

#: Returns the generation of a function; sets it if there is none, or returns nothing if
#: there is no room for it.
#: Keys: generation. Arguments: the new one.
GENERATION: Final = _script("""
local generation = redis.pcall('GET', KEYS[1])
if type(generation) == 'string' and #generation == #ARGV[1] and
   string.find(generation, '^%x+$') then
  return generation
end
if redis.pcall('SET', KEYS[1], ARGV[1]).err then return false end
return ARGV[1]
""")

#: Begins a new generation: nobody finds what was stored before, not even if the server
#: has no room for the new one. It is made of the one before and the token, so that one that
#: has ended does not come back when the script is run twice. Returns it.
#: Keys: generation. Arguments: token, channel, message with the token for the generation.
CLEAR: Final = _script("""
local ended = redis.pcall('GET', KEYS[1])
if type(ended) ~= 'string' then ended = '' end
local generation = string.sub(redis.sha1hex(ended .. ARGV[1]), 1, #ARGV[1])
redis.call('DEL', KEYS[1])
redis.pcall('SET', KEYS[1], generation)
redis.call('PUBLISH', ARGV[2], (string.gsub(ARGV[3], ARGV[1], generation)))
return generation
""")
