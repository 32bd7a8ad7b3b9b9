"""The protocol: keys and scripts on the server, and messages between processes.

An entry has two keys: its value, and the lease of the run that makes it. One server puts
all commands in order, so the token in the lease is the fence: a store has to show it. A
``+`` after the token marks that another run waits, and needs a message when this one ends.
"""

from enum import Enum
from hashlib import sha1
from secrets import token_hex
from typing import Final, NamedTuple


def new_token() -> str:
    """Return a unique token: of a lease, a version, a generation or a cache."""
    return token_hex(8)


#: Characters of a token.
TOKEN_SIZE: Final = len(new_token())


#: A lifetime that no server refuses: about a hundred years.
MAX_MILLISECONDS: Final = 100 * 365 * 24 * 3600 * 1000


class EntryKeys(NamedTuple):
    """The keys of one entry, both in one slot of a cluster."""

    value: str
    lease: str


class Keyspace(NamedTuple):
    """The names of a namespace's keys and of its channel."""

    namespace: str

    @property
    def channel(self) -> str:
        """The channel of the namespace's messages."""
        return f"async-lru:{self.namespace}"

    @property
    def probe_key(self) -> str:
        """A key that never exists."""
        return f"async-lru:{self.namespace}:probe"

    def generation_key(self, function: str) -> str:
        """Return the key of a function's generation, which ``cache_clear`` changes."""
        return f"async-lru:{self.namespace}:{function}:generation"

    def entry_keys(self, function: str, generation: str, hash_: str) -> EntryKeys:
        """Return the keys of an entry."""
        stem = f"async-lru:{self.namespace}:{function}:{generation}:{{{hash_}}}"
        return EntryKeys(f"{stem}:value", f"{stem}:lease")


def text_of(answer: "bytes | str") -> str:
    """Return an answer as text, which the client may have decoded already."""
    return answer if isinstance(answer, str) else answer.decode()


class MessageKind(Enum):
    """What a message says about an entry, or about all entries of a function."""

    #: A run has stored its result.
    STORED = "s"
    #: A run has stored its failure, which is no reason to drop an older value.
    FAILED = "f"
    #: A run has ended without storing a result.
    RELEASED = "r"
    #: The entry was invalidated or put.
    CHANGED = "c"
    #: The function has a new generation.
    CLEARED = "g"


class Message(NamedTuple):
    """A message to all processes about something that a cache did to an entry."""

    kind: MessageKind
    #: The cache that did it, which needs no message.
    sender_id: str
    #: The token of the entry's value now; if it has none, of the lease.
    version: str
    generation: str
    hash: str
    function: str

    @property
    def is_local(self) -> bool:
        """Whether it tells of a change made in this process, before the server does."""
        return not self.generation

    def pack(self) -> str:
        """Return the message as text to send."""
        return " ".join((self.kind.value, *self[1:]))

    @staticmethod
    def unpack(packed: bytes | str) -> "Message | None":
        """Return a received message, or None if it is not one of ours."""
        try:
            kind, *rest = text_of(packed).split(" ", 5)
            return Message(MessageKind(kind), *rest)
        except (TypeError, ValueError):
            return None


class Script(NamedTuple):
    """A Lua script, and the hash by which a server that has run it finds it."""

    text: str
    sha: str


def _script(text: str) -> Script:
    return Script(text, sha1(text.encode(), usedforsecurity=False).hexdigest())


#: Returns the value and its remaining milliseconds; or the remaining milliseconds of
#: another run's lease and its token, after marking that a run waits; or nothing if the
#: caller now has the lease. What is not a string, or never expires, is not ours, and is
#: deleted. A full server refuses the lease and the mark: it could not keep the value
#: either, so nobody should wait for one.
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
    local mark = redis.pcall('SETRANGE', KEYS[2], #ARGV[1], '+')
    return type(mark) == 'table' and mark or {left, string.sub(lease, 1, #ARGV[1])}
  end
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return false
""")

#: Stores the value if the caller has the lease; returns 1, or 0 if it has not. Publishes
#: the message if another run waits, or another process may have an older value. The lease
#: shows how long the script was in transit, and the lifetime of the value is cut by that.
#: Keys: value, lease. Arguments: token, value, milliseconds, channel, message, "1" to
#: publish in any case, the most milliseconds the lease had left when the script was sent.
STORE: Final = _script("""
local lease = redis.pcall('GET', KEYS[2])
if type(lease) ~= 'string' or string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
local publish = #lease > #ARGV[1] or ARGV[6] == '1' or redis.call('EXISTS', KEYS[1]) == 1
local late = math.max(ARGV[7] - redis.call('PTTL', KEYS[2]), 0)
local left = ARGV[3] - late
if left > 0 then redis.call('SET', KEYS[1], ARGV[2], 'PX', left) else redis.call('DEL', KEYS[1]) end
redis.call('DEL', KEYS[2])
if publish then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
return 1
""")

#: Releases the lease if the caller has it; publishes the message if another run waits.
#: Keys: lease. Arguments: token, channel, message.
RELEASE: Final = _script("""
local lease = redis.pcall('GET', KEYS[1])
if type(lease) ~= 'string' or string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if #lease > #ARGV[1] then redis.call('PUBLISH', ARGV[2], ARGV[3]) end
return 1
""")

#: Renews the lease if the caller has it.
#: Keys: lease. Arguments: token, milliseconds.
RENEW: Final = _script("""
local lease = redis.pcall('GET', KEYS[1])
if type(lease) ~= 'string' or string.sub(lease, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")

#: Deletes the value and takes the lease from its run. If there is a new value, its lease
#: follows, so that the value is stored like that of a run: unless the entry is changed
#: again, and without what it was late. A full server lets a script write once it has
#: deleted something.
#: Keys: value, lease. Arguments: channel, message, token or "", milliseconds.
CHANGE: Final = _script("""
redis.call('DEL', KEYS[1], KEYS[2])
if ARGV[3] ~= '' then redis.pcall('SET', KEYS[2], ARGV[3], 'PX', ARGV[4]) end
redis.call('PUBLISH', ARGV[1], ARGV[2])
return 1
""")

#: Returns the generation of a function; sets it if there is none, and returns nothing if
#: there is no room for it.
#: Keys: generation. Arguments: the generation to set.
GENERATION: Final = _script("""
local generation = redis.pcall('GET', KEYS[1])
if type(generation) == 'string' and #generation == #ARGV[1] and
   string.find(generation, '^%x+$') then
  return generation
end
if redis.pcall('SET', KEYS[1], ARGV[1]).err then return false end
return ARGV[1]
""")

#: Shows that the server accepts writes, which a replica does not.
#: Keys: any that does not exist.
PROBE: Final = _script("return redis.call('DEL', KEYS[1])")

#: Begins a new generation and returns it: nobody finds what was stored before, even if
#: the server has no room for the new generation. It is a hash of the previous one and the
#: token, so that running the script twice does not bring back one that has ended.
#: Keys: generation. Arguments: token, channel, message with the token as the generation.
CLEAR: Final = _script("""
local ended = redis.pcall('GET', KEYS[1])
if type(ended) ~= 'string' then ended = '' end
local generation = string.sub(redis.sha1hex(ended .. ARGV[1]), 1, #ARGV[1])
redis.call('DEL', KEYS[1])
redis.pcall('SET', KEYS[1], generation)
redis.call('PUBLISH', ARGV[2], (string.gsub(ARGV[3], ARGV[1], generation)))
return generation
""")
