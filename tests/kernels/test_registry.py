"""Which implementation runs is decided by the device and dtype, and always with a reason."""

import pytest
import torch

from protein2text_kernels.bias_gelu import bias_gelu
from protein2text_kernels.ragged_cross_attention import ragged_cross_attention
from protein2text_kernels.registry import Choice, choice_for, forced, ran
from protein2text_kernels.splice import splice
from protein2text_kernels.splice.plan import plan


def test_the_cpu_takes_plain_torch_and_says_why() -> None:
    bias_gelu(torch.zeros(2, 3), torch.zeros(3))
    assert ran["bias_gelu"].name == "naive"
    assert "cpu" in ran["bias_gelu"].reason


def test_what_an_operation_cannot_take_is_its_own_reason() -> None:
    """Also where Triton is asked for, and not the reason of the call before."""
    wide = torch.zeros(1, 2, 1, 130)
    rows = torch.zeros(0, 1, 130)
    with forced("triton"):
        ragged_cross_attention(
            wide, wide, wide, rows, rows, cu_seqlens_B1=torch.zeros(2, dtype=torch.int32), lengths=[0], scale=1.0
        )
    assert ran["ragged_cross_attention"] == Choice("naive", "heads of 130 channels; the kernels take 128")
    words = torch.zeros(3, 2, requires_grad=True)
    with forced("triton"):
        splice(words, torch.zeros(1, 2), plan([1, 0], {1: 0}, 1))
    assert ran["splice"] == Choice("naive", "the words want a gradient; the kernel leaves them none")


def test_float64_takes_plain_torch_on_a_gpu_too() -> None:
    choice = choice_for(torch.device("cuda", 7), torch.float64)
    assert (choice.name, choice.reason) == ("naive", "torch.float64; the kernels compute float32, float16 and bfloat16")


def test_the_environment_can_keep_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROTEIN2TEXT_KERNELS", "naive")
    choice_for.cache_clear()
    assert choice_for(torch.device("cuda"), torch.bfloat16).reason == "PROTEIN2TEXT_KERNELS=naive"
    choice_for.cache_clear()


def test_a_forced_implementation_runs_within_its_block_only() -> None:
    rows, bias = torch.randn(3, 5), torch.randn(5)
    plain = bias_gelu(rows, bias)
    with forced("triton"):
        torch.testing.assert_close(bias_gelu(rows, bias), plain)
        assert ran["bias_gelu"].reason == "forced"
        with forced("naive"):
            bias_gelu(rows, bias)
            assert ran["bias_gelu"].name == "naive"
    bias_gelu(rows, bias)
    assert ran["bias_gelu"].name == "naive"
