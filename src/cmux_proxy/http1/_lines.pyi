# The compiled twin has the very interface of lines.py.
from cmux_proxy.http1.lines import FieldLines as FieldLines
from cmux_proxy.http1.lines import request_line as request_line
from cmux_proxy.http1.lines import status_line as status_line
