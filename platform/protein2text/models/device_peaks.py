"""How fast a device can be at most, for judging how well a step uses it."""

import re

DENSE_BF16_TFLOPS = (
    # Dense bfloat16 on tensor cores; where a datasheet states the rate with sparsity, half of it.
    (r"H100 PCIe", 756.0),  # NVIDIA H100 datasheet: 1,513 with sparsity
    (r"H100 NVL", 835.0),  # NVIDIA H100 NVL datasheet: 1,671 with sparsity
    (r"H100 80GB HBM3|H100 SXM", 989.0),  # NVIDIA H100 datasheet, SXM5: 1,979 with sparsity
    (r"GH200", 989.0),  # NVIDIA GH200 datasheet: 1,979 with sparsity
    (r"H200 NVL", 835.0),  # NVIDIA H200 datasheet, NVL: 1,671 with sparsity
    (r"H200", 989.0),  # NVIDIA H200 datasheet, SXM5: 1,979 with sparsity
    (r"B200", 2250.0),  # NVIDIA HGX B200 datasheet: 36,000 with sparsity on eight
    (r"A100", 312.0),  # NVIDIA A100 datasheet, SXM4 and PCIe
    (r"A40", 149.7),  # NVIDIA A40 datasheet
    (r"A10", 125.0),  # NVIDIA A10 datasheet
    (r"L40S", 362.0),  # NVIDIA L40S datasheet: 733 with sparsity
    (r"L4", 121.0),  # NVIDIA L4 datasheet: 242 with sparsity
)
"""Pattern of a device's name as torch tells it, whole words, and its peak; the first that fits counts."""


def dense_bf16_tflops(device_name: str) -> float | None:
    """TFLOP/s of the datasheet; None for a device that the table lacks, and for a part of one (MIG), which has less."""
    if "MIG" in device_name:
        return None
    return next((peak for name, peak in DENSE_BF16_TFLOPS if re.search(rf"\b(?:{name})\b", device_name)), None)
