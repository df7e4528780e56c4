"""Decides whether the hot path is compiled; all else about the package is in pyproject.toml.

CMUX_PROXY_COMPILE=1 compiles, and fails where that is not possible; 0 never compiles; unset
compiles where a C compiler and Python's headers are found, and says so where they are not.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from setuptools import Distribution, Extension, setup
from setuptools.command.build_ext import build_ext

# One compilation unit, so that calls between these modules are plain C calls. Left out are what is
# subclassed or replaced by users, what runs once, and what tests replace.
HOT_PATH = {
    "http1": [
        "body", "chunked_body", "expectation", "field_kinds", "fields", "framing", "head",
        "head_limits", "hop_by_hop", "keep_alive", "new_head", "request_body", "request_target",
        "reserved_fields", "response_body", "response_coding", "scan", "serialize", "trailers",
        "upgrade",
    ],
    "http2": [
        "back_pressure", "block_reader", "client_connection", "client_frames", "connection_parts",
        "engine", "error_codes", "field_memory", "flood_budget",
        "frame_faults", "frame_handler", "frame_reader", "frame_types", "frame_writer", "handler",
        "header_block", "header_field", "hpack_decoder", "hpack_encoder", "hpack_integer",
        "http2_limits", "http2_stream", "huffman", "huffman_code", "last_request",
        "line_memory", "outgoing_frames", "peer_settings", "rare_frames", "receive_windows",
        "request_composer", "request_streams", "response_composer", "response_handler",
        "response_streams", "server_connection", "static_table", "stream_ends", "stream_table",
    ],
    "observe": [
        "counters", "histogram", "observer", "outcome", "port_activity", "record",
    ],
    "routing": ["port_field", "router", "target"],
    "upstream": [
        "connection", "dial_owner", "dial_window", "dialer", "frame_sender",
        "http2_events", "http2_settings", "http2_slot",
        "http2_upstream", "pool", "slot_carrier", "slot_set", "target_queue",
        "waiters",
    ],
    "net": [
        "busy_poll", "closing", "flow_control", "timers", "tls_engine", "tls_handshake",
        "tls_stream", "unread_bytes",
    ],
    "downstream": [
        "http1_connection", "http1_request", "http1_response_writer", "http2_client",
        "http2_client_stream", "http2_connection", "http2_grpc", "http2_link", "http2_requests",
        "http2_response_writer", "http2_websocket", "lingering_close", "refusals",
        "request_head_reader", "tls_connection",
    ],
    "relay": [
        "accounting", "body_transfer", "client_request", "connection_registry", "downstream",
        "exchange", "exchange_end", "exchange_pool", "failures", "loop_detection",
        "progress_timeout", "request", "response", "response_writer", "services", "state",
        "stream_budget", "timeouts", "tunnel", "tunnel_side", "upstream_lease", "upstream_request",
        "websocket_closing", "websocket_pings", "websocket_session", "websocket_stream",
    ],
    "websocket": ["close_codes", "tunnel_frames", "tunnel_reader"],
}  # fmt: skip
# Modules in Cython, which the compiled build alone has. What does I/O needs Linux's epoll.
CYTHON = {
    "http1": ["_fast_scan"],
    "http2": ["_fast_frames"],
    "net": [
        "_busy_polling", "_event_source", "_malloc", "_native_acceptor", "_native_splice",
        "_native_stream", "_reactor", "_send_queue", "_stream_factory", "_stream_reading",
        "_stream_sending", "_turns",
    ],
    "observe": ["_fast_lines"],
    "websocket": ["_fast_mask"],
}  # fmt: skip
SOURCE = Path("src/cmux_proxy")
# What mypyc writes to free an object.
DEALLOCATOR = re.compile(r"\w+_dealloc\(\w+ \*self\)\n.*?CPy_TRASHCAN_END\(self\)\n", re.DOTALL)
# What mypyc writes to import a module, once.
IMPORT = re.compile(
    r"^ *+(?=(?:static int|int|char|PyObject \*) ?"
    r"(?:CPyInit\w+|CPyExec_\w+|CPyDef_\w+_____top_level__)\((?:void|PyObject \*module)\)\s*\{)",
    re.MULTILINE,
)


def is_wanted() -> bool:
    """Return whether to compile; say once why not where nobody has decided."""
    choice = os.environ.get("CMUX_PROXY_COMPILE", "")
    if choice not in ("", "0", "1"):
        sys.exit(f"CMUX_PROXY_COMPILE is {choice!r}; it may be 1, 0 or unset")
    if choice:
        return choice == "1"
    if sys.implementation.name == "cpython" and can_compile():
        return True
    sys.stderr.write("cmux-proxy: no C compiler with Python's headers: a pure Python build\n")
    return False


def can_compile() -> bool:
    """Return whether a C extension can be built here, by building the smallest one."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(
            "#include <Python.h>\n"
            'static struct PyModuleDef probe = {PyModuleDef_HEAD_INIT, .m_name = "probe"};\n'
            "PyMODINIT_FUNC PyInit_probe(void) { return PyModule_Create(&probe); }\n"
        )
        command = build_ext(Distribution({"ext_modules": [Extension("probe", [str(source)])]}))
        command.build_lib = command.build_temp = folder
        command.ensure_finalized()
        try:
            command.run()
        except Exception:
            return False
        return True


def extensions() -> list[Extension]:
    """Return the Cython modules and the compiled modules of the hot path."""
    from Cython.Build import cythonize
    from mypyc.build import mypycify

    cython_modules = [
        Extension(f"cmux_proxy.{room}.{name}", [str(SOURCE / room / f"{name}.pyx")])
        for room in CYTHON
        for name in CYTHON[room]
        if room != "net" or sys.platform == "linux"
    ]
    modules = [str(SOURCE / room / f"{name}.py") for room in HOT_PATH for name in HOT_PATH[room]]
    hot_path = mypycify(["--config-file=", "--ignore-missing-imports", *modules], opt_level="3")
    for extension in hot_path:
        for source in extension.sources:
            mend_source(Path(source))
        # Otherwise each call between functions goes through a table, and none can be inlined.
        extension.extra_compile_args.append("-fvisibility=hidden")
    found = [*cythonize(cython_modules, include_path=["src"], build_dir="build"), *hot_path]
    # What a debugger knows of C lines takes a third of the time, and most of a file.
    if "-g" not in os.environ.get("CFLAGS", ""):
        for extension in found:
            extension.extra_compile_args.append("-g0")
    return found


def mend_source(source: Path) -> None:
    """Change what mypyc writes: how objects are freed, and where the code of imports goes.

    The linker puts cold functions beside each other: an import loads none of the code of requests
    into memory, and requests run in fewer pages.
    """
    text = DEALLOCATOR.sub(without_trashcan, source.read_text("utf-8"))
    source.write_text(IMPORT.sub("__attribute__((cold)) ", text), "utf-8")


def without_trashcan(deallocator: re.Match[str]) -> str:
    """Return a deallocator that frees at once, unless the garbage collector knows the object.

    Deep inside others, the interpreter links what it frees later by the collector's header of each
    object. mypyc 2.4.1 asks for that in all classes, also in acyclic ones, which have no header:
    the link overwrites what is before them in memory.
    """
    text = deallocator[0]
    if "PyObject_GC_UnTrack" in text:
        return text
    return "\n".join(line for line in text.split("\n") if "CPy_TRASHCAN_" not in line)


# Metadata alone, which is asked for first, needs no extensions.
is_build = not {"egg_info", "dist_info", "sdist"} & set(sys.argv)
setup(ext_modules=extensions() if is_build and is_wanted() else [])
