from .backend import _Redis

__all__ = ["Redis"]


class Redis(_Redis):
    pass
