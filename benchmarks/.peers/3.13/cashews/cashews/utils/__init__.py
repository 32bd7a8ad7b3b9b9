try:
    from ._bitarray_lib import Bitarray
except ImportError:
    from ._bitarray import Bitarray  # type: ignore[assignment]
from .object_size import get_obj_size
from .split_hash import get_indexes

__all__ = [
    "Bitarray",
    "get_obj_size",
    "get_indexes",
]
