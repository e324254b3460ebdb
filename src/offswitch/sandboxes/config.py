"""What a bubblewrap sandbox holds and how much it may use."""

import posixpath
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MEBIBYTE = 1024 * 1024

HOME = "/home/agent"

# Served by the host's system or by the sandbox itself; nothing can be put there.
_RESERVED = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/proc",
    "/dev",
    "/sys",
    "/run",
    "/etc",
)


def _absolute(path: str) -> str:
    if not path.startswith("/") or posixpath.normpath(path) != path or path == "/" or "\0" in path:
        raise ValueError(f"{path!r} is not an absolute, normalised path of a file inside the sandbox")
    for reserved in _RESERVED:
        if path == reserved or path.startswith(reserved + "/"):
            raise ValueError(f"{path!r} cannot be put in: {reserved} belongs to the sandbox's system")
    return path


InsidePath = Annotated[str, AfterValidator(_absolute)]


class File(BaseModel):
    """A file that is in the sandbox from its start.

    Attributes:
        content: Its text.
        mode: Its permission bits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: str
    mode: int = Field(default=0o644, ge=0, le=0o777)


class BubblewrapConfig(BaseModel):
    """Settings of one bubblewrap sandbox. Sizes are in bytes.

    Attributes:
        files: Files that the agent may change, by path. Outside the home and /tmp, each one's directory becomes a
            writable one.
        programs: Files that the agent can read and run but not change, by path (mode 0755 unless given).
        memory: Most memory for all processes and the temporary file systems together.
        pids: Most processes and threads.
        disk: Size of the home directory.
        tmp: Size of /tmp.
        file_size: Largest single file.
        hostname: The machine's name.
        environment: Further environment variables of every command.
        path: The PATH of every command.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[InsidePath, File] = Field(default_factory=dict)
    programs: dict[InsidePath, File] = Field(default_factory=dict)
    memory: int = Field(default=512 * MEBIBYTE, ge=64 * MEBIBYTE)
    pids: int = Field(default=128, ge=8)
    disk: int = Field(default=64 * MEBIBYTE, ge=MEBIBYTE)
    tmp: int = Field(default=64 * MEBIBYTE, ge=MEBIBYTE)
    file_size: int = Field(default=256 * MEBIBYTE, ge=MEBIBYTE)
    hostname: str = Field(default="desk", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    environment: dict[str, str] = Field(default_factory=dict)
    path: str = "/usr/local/bin:/usr/bin:/bin"

    def __hash__(self) -> int:
        # Inspect keeps sandbox settings in sets; pydantic cannot hash a model that holds dictionaries.
        return hash(self.model_dump_json())

    @model_validator(mode="after")
    def _programs_stay_out_of_reach(self) -> Self:
        for program in self.programs:
            for place in self.writable():
                if program == place or program.startswith(place + "/"):
                    raise ValueError(
                        f"program {program!r} would lie under {place}, where the agent can replace it"
                    )
        return self

    def writable(self) -> list[str]:
        """Directories that the agent can write to: home, /tmp, and those of ``files`` elsewhere."""
        places = [HOME, "/tmp"]
        for path in sorted(self.files, key=len):
            if not any(path.startswith(place + "/") for place in places):
                directory = posixpath.dirname(path)
                if directory == "/":
                    raise ValueError(f"file {path!r} cannot lie in the root directory, which is read-only")
                places.append(directory)
        return places
