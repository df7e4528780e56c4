"""HTTP/2 without I/O: from bytes of a client to calls, and from heads and bodies to frames.

The connection
    server_connection  what the owner of a connection calls; handler: what it is called with
    engine             what all connections of a worker share; http2_limits: what one may use
    client_frames      acts on the frames of a client; frame_handler: what it takes
    request_streams    opens streams with requests, and ends them with trailers
    http2_stream       one stream; stream_table: all of them; stream_ends: how they end
    receive_windows    what a client may send; outgoing_frames: what waits to be sent
    back_pressure      who is to send no more for now
    peer_settings      the client's settings
    flood_budget       how often something may be done

Frames
    frame_reader       the bytes of a client -> frames; rare_frames: those besides HEADERS and DATA
    header_block       HEADERS and CONTINUATION frames -> one block
    frame_writer       makes frames; _fast_frames is the compiled twin for those of each response
    frame_types        their numbers; frame_faults: what is wrong with one

Fields
    hpack_decoder      a block -> a list of fields; field_memory: those that tables share
    last_request       a block that came last, and may come again
    header_field       one field, judged; request_composer: a list -> a head of HTTP/1.1
    hpack_encoder      a head of HTTP/1.1 -> a block; line_memory: its lines, remembered
    hpack_integer      integers; huffman: strings; huffman_code: their code
    static_table       the fields that every table has

error_codes has the codes of RST_STREAM and GOAWAY, errors the exceptions that name a broken rule.

Requests become heads of HTTP/1.1, so that one scan judges all requests. Does not know sockets,
event loops, clocks, logs, configuration or exchanges; times and limits are plain numbers.
"""
