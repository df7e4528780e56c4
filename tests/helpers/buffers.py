"""Buffers that run a callback as they are released.

A class of Python has no say in that before Python 3.12 (PEP 688): the type is made with the C API.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final

# Numbers of the stable ABI: Include/typeslots.h.
_GET_BUFFER: Final = 1
_RELEASE_BUFFER: Final = 2

_GetBuffer = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_void_p, ctypes.c_int)
_ReleaseBuffer = ctypes.PYFUNCTYPE(None, ctypes.py_object, ctypes.c_void_p)

_fill: Final = ctypes.pythonapi.PyBuffer_FillInfo
_fill.argtypes = [
    ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t, ctypes.c_int,
    ctypes.c_int,
]  # fmt: skip
_make_type: Final = ctypes.pythonapi.PyType_FromSpec
_make_type.restype = ctypes.py_object


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("function", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("size", ctypes.c_int),
        ("item_size", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    )


def releasing(data: bytes, on_release: Callable[[], None]) -> Any:
    """Return an object whose buffer is `data`; `on_release` is called each time it is released."""

    def get_buffer(exporter: object, view: int, flags: int) -> int:
        return int(_fill(view, exporter, data, len(data), 1, flags))

    def release_buffer(_exporter: object, _view: int) -> None:
        on_release()

    functions = (_GetBuffer(get_buffer), _ReleaseBuffer(release_buffer))
    made = _make_type(ctypes.byref(_spec(*functions)))
    # It calls them as long as it lives.
    made.functions = functions
    return made()


def _spec(*functions: Any) -> _Spec:
    get_buffer, release_buffer = (ctypes.cast(each, ctypes.c_void_p) for each in functions)
    slots = (_Slot * 3)(_Slot(_GET_BUFFER, get_buffer), _Slot(_RELEASE_BUFFER, release_buffer))
    return _Spec(b"tests.Releasing", object.__basicsize__, 0, 0, slots)
