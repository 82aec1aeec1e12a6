"""What the spec of an artifact says of its files beside their format: parts, numbers, packing."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from openreg_airflow.artifacts.values import placeholder
from openreg_airflow.section import Name, Section

#: The name of a sequence, which several reports to one authority share.
SequenceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]

#: What a sender is known by to an authority; it stands in file names.
SenderCode = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class SplitSpec(Section):
    """When an artifact becomes several files, each complete and valid."""

    records: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The most records of one file."
    )
    bytes: Annotated[int, Field(ge=512)] | None = Field(
        default=None, description="The most bytes of one file, before it is packed."
    )
    repeat: tuple[Name, ...] = Field(
        default=(),
        description="Tables that stand whole in every file, because their rows belong to no "
        "single record.",
    )

    @model_validator(mode="after")
    def _has_a_limit(self) -> Self:
        if self.records is None and self.bytes is None:
            message = "say at how many records or bytes to split"
            raise ValueError(message)
        return self


class SequenceSpec(Section):
    """Numbers that an authority expects without gaps."""

    name: SequenceName = Field(
        description="Reports and artifacts that name the same sequence share its numbers."
    )
    start: Annotated[int, Field(ge=0)] = Field(default=1, description="The first number of all.")
    digits: Annotated[int, Field(ge=0, le=18)] = Field(
        default=0,
        description="Length that numbers are filled up to with zeros; a longer one stops the run. "
        "0 writes them as they are.",
    )
    reset: Literal["never", "year"] = Field(
        default="never", description="year begins anew with each year of the business date."
    )
    per: Literal["file", "artifact"] = Field(
        default="file", description="Whether each part takes a number or all parts share one."
    )


#: What an Airflow connection is known by.
ConnectionId = Annotated[str, StringConstraints(pattern=r"^[\w#!()\-.:/\\]+$", max_length=250)]


class EncryptSpec(Section):
    """For whom a file is encrypted."""

    connection: ConnectionId = Field(
        description="Airflow connection with the authority's public key in its extra: public_key."
    )
    armor: bool = Field(default=False, description="Whether it is written as text.")


class SignSpec(Section):
    """By whom a file is signed; the signature is a file of its own."""

    connection: ConnectionId = Field(
        description="Airflow connection with our private_key in its extra and its pass phrase as "
        "password."
    )
    armor: bool = Field(default=True, description="Whether it is written as text.")


class PackageSpec(Section):
    """What becomes of a finished file before it is delivered: packed, encrypted, signed."""

    compress: Literal["gzip", "zip"] | None = Field(
        default=None, description="gzip, or a zip archive with the file in it."
    )
    filename: Annotated[str, StringConstraints(pattern=r"^[^/\\:\x00-\x1f\x7f]+$")] | None = Field(
        default=None,
        description="Name of what is delivered: {filename} is that of the file inside, {stem} the "
        "same without its last ending. Left out: .gz or .pgp at its end, or .zip instead of it.",
    )
    encrypt: EncryptSpec | None = Field(default=None, description="PGP encryption.")
    sign: SignSpec | None = Field(default=None, description="Detached PGP signature.")
    checksums: tuple[Literal["sha256", "md5"], ...] = Field(
        default=(), description="Files with the checksum of what is delivered, as sha256sum reads."
    )

    @model_validator(mode="after")
    def _name_is_known(self) -> Self:
        if len(set(self.checksums)) < len(self.checksums):
            message = "checksums names one twice"
            raise ValueError(message)
        for part in placeholder.parse(self.filename or ""):
            if not isinstance(part, str) and (part.name not in ("filename", "stem") or part.format):
                message = f"{part} is unknown here; known are {{filename}} and {{stem}}"
                raise ValueError(message)
        return self

    @property
    def repeatable(self) -> bool:
        """Whether packing the same file again gives the same bytes; PGP takes random keys."""
        return self.encrypt is None and self.sign is None

    def name(self, filename: str) -> str:
        """The name of what is delivered, for the name of the file inside."""
        stem = filename.rpartition(".")[0] or filename
        if self.filename is None:
            name = {"gzip": f"{filename}.gz", "zip": f"{stem}.zip"}.get(
                self.compress or "", filename
            )
            if self.encrypt is not None:
                name += ".asc" if self.encrypt.armor else ".pgp"
            return name
        texts = {"filename": filename, "stem": stem}
        return "".join(
            part if isinstance(part, str) else texts[part.name]
            for part in placeholder.parse(self.filename)
        )

    def names(self, filename: str) -> tuple[str, ...]:
        """The names of all files that are delivered for one."""
        name = self.name(filename)
        signature = (f"{name}.{'asc' if self.sign.armor else 'sig'}",) if self.sign else ()
        return (name, *signature, *(f"{name}.{kind}" for kind in self.checksums))
