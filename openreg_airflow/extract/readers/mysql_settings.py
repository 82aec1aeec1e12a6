"""Settings of MySQL's and MariaDB's sessions that both ways of reading them need."""

from __future__ import annotations

#: A server or a login (init_connect) may be set to cut a result without an error: the values of
#: GROUP_CONCAT, for which this is more than any server allows in one, and the rows of a SELECT.
UNCUT = f"group_concat_max_len = {1 << 30}, sql_select_limit = {2**64 - 1}"
