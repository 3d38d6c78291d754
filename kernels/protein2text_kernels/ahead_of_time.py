"""Compile every kernel for Hopper on a machine without a GPU, and read what the machine code says.

A kernel that spills registers, asks for more shared memory than a multiprocessor has, or multiplies matrices without
the warp-group instructions is found here. Triton must not be in interpreter mode (``TRITON_INTERPRET=0``).
"""

import importlib
import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OPERATIONS = ("bias_gelu", "qkv_rope", "residual_layer_norm", "ragged_cross_attention", "splice")
"""Folders with a ``triton.py``, each of which lists its ``cases()``."""
CAPABILITY = 90
MAX_SHARED_BYTES = 227 * 1024
"""Shared memory that a block may use at this capability (CUDA C programming guide, technical specifications)."""
ESM2 = ((320, 20), (1280, 20), (2560, 40))
"""Width and heads of the encoders that the presets name: 8M, 650M and 3B."""
DTYPES = {"float32": "*fp32", "float16": "*fp16", "bfloat16": "*bf16"}
"""Operands and Triton's pointers to them."""


@dataclass(frozen=True)
class Case:
    """A kernel with everything that its machine code depends on."""

    kernel: Any
    dtype: str
    """Of the operands: ``float32``, ``float16`` or ``bfloat16``."""
    tile: str
    """Sizes as the table shows them."""
    constexprs: dict[str, Any]
    num_warps: int
    num_stages: int = 1
    other_types: dict[str, str] = field(default_factory=dict)
    """Triton's types of the arguments that are no operands, such as ``i32`` and ``*fp32``."""
    multiplies: bool = False
    """The kernel multiplies matrices, so in half precision its code must hold HGMMA."""

    @property
    def signature(self) -> dict[str, str]:
        """Triton's type of each argument; what is not named otherwise points to operands."""
        types = dict.fromkeys(self.constexprs, "constexpr") | self.other_types
        return {name: types.get(name, DTYPES[self.dtype]) for name in self.kernel.arg_names}

    @property
    def specialized(self) -> list[str]:
        """Ragged sizes that Triton makes machine code for the values of; strides are a model's own and may be."""
        integers = [each for each in self.kernel.params if self.signature[each.name] == "i32"]
        return [each.name for each in integers if "stride" not in each.name and not each.do_not_specialize]

    @property
    def name(self) -> str:
        return str(self.kernel.__name__)


@dataclass(frozen=True)
class Compiled:
    """What the machine code of a case holds."""

    case: Case
    registers: int
    stack_bytes: int
    local_bytes: int
    spills: int
    """Loads and stores of local memory."""
    shared_bytes: int
    num_hgmma: int

    @property
    def problems(self) -> list[str]:
        """Why the case must not be shipped; none if it may."""
        found = []
        if self.stack_bytes or self.local_bytes or self.spills:
            found.append(f"spills: {self.stack_bytes} B stack, {self.local_bytes} B local, {self.spills} LDL/STL")
        if self.shared_bytes > MAX_SHARED_BYTES:
            found.append(f"{self.shared_bytes} B of shared memory; a block has {MAX_SHARED_BYTES}")
        if self.case.multiplies and self.case.dtype != "float32" and not self.num_hgmma:
            found.append("no HGMMA: its products run on the older tensor-core path")
        if self.case.specialized:
            found.append(f"compiled anew for values of {', '.join(self.case.specialized)}")
        return found

    def row(self) -> dict[str, str]:
        """What the table says of it."""
        import triton

        values = {
            "kernel": self.case.name, "dtype": self.case.dtype, "tile": self.case.tile, "warps": self.case.num_warps,
            "stages": self.case.num_stages, "registers": self.registers, "spill_instructions": self.spills,
            "stack_bytes": self.stack_bytes, "shared_bytes": self.shared_bytes, "hgmma": self.num_hgmma,
            "problems": "; ".join(self.problems), "triton": triton.__version__,
        }  # fmt: skip
        return {name: str(value) for name, value in values.items()}


def all_cases() -> list[Case]:
    """Every shipped kernel, tile and dtype."""
    modules = (importlib.import_module(f"protein2text_kernels.{operation}.triton") for operation in OPERATIONS)
    return [case for module in modules for case in module.cases()]


def compile_case(case: Case, folder: Path) -> Compiled:
    """Compile for sm_90 and disassemble.

    Args:
        folder: for the cubin, which stays there.

    Raises:
        CalledProcessError: the disassembler failed.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types = case.signature.values()
    attributes = {(place,): [["tt.divisibility", 16]] for place, kind in enumerate(types) if "*" in kind}
    source = ASTSource(fn=case.kernel, signature=case.signature, constexprs=case.constexprs, attrs=attributes)
    options = {"num_warps": case.num_warps, "num_stages": case.num_stages}
    compiled = triton.compile(source, target=GPUTarget("cuda", CAPABILITY, 32), options=options)
    path = folder / f"{case.name}-{case.dtype}-{len(list(folder.iterdir()))}.cubin"
    path.write_bytes(compiled.asm["cubin"])
    usage, code = _run("cuobjdump", "-res-usage", path), _run("nvdisasm", "-c", path)
    read = {key: int(value) for key, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    return Compiled(
        case, read["REG"], read["STACK"], read["LOCAL"], len(re.findall(r"\b(?:LDL|STL)\b", code)),
        compiled.metadata.shared, len(re.findall(r"\bHGMMA\b", code)),
    )  # fmt: skip


def compile_all() -> list[Compiled]:
    """`compile_case` of `all_cases`."""
    with tempfile.TemporaryDirectory() as folder:
        return [compile_case(case, Path(folder)) for case in all_cases()]


def _run(program: str, *arguments: object) -> str:
    """One of the CUDA tools in Triton's wheel."""
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / program
    return subprocess.run([path, *map(str, arguments)], check=True, capture_output=True, text=True).stdout
