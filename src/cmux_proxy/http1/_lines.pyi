# The compiled twin has the very interface of lines.py.
from cmux_proxy.http1.lines import FieldLines as FieldLines
from cmux_proxy.http1.lines import head_end as head_end
from cmux_proxy.http1.lines import request_head as request_head
from cmux_proxy.http1.lines import response_head as response_head
