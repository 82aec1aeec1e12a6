from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from openreg_airflow.notify.spec import NotifySection

MAIL = {"kind": "email", "connection": "mail", "to": ["desk@example.org"]}


def test_receivers_are_told_of_blocks_unless_they_ask_for_more() -> None:
    section = NotifySection.model_validate(
        {"targets": {"desk": MAIL, "ops": MAIL | {"on": ["blocked", "warned"]}}}
    )
    assert [target.on for target in section.targets.values()] == [
        ("blocked",),
        ("blocked", "warned"),
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"to": []}, "at least 1 item"),
        ({"to": ["no address"]}, "match pattern"),
        ({"to": ["a@b.example\nBcc: c@d.example"]}, "match pattern"),
        ({"to": ["a@b.example,c@d.example"]}, "match pattern"),
        ({"on": ["early"]}, "'blocked', 'warned' or 'late'"),
        ({"on": []}, "at least 1 item"),
        ({"kind": "pigeon"}, "expected tags"),
        ({"password": "x"}, "Extra inputs"),
        ({"connection": ""}, "match pattern"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        NotifySection.model_validate({"targets": {"desk": MAIL | changes}})
