"""Which implementation runs is decided by the device and dtype, and always with a reason."""

import pytest
import torch

from protein2text_kernels.bias_gelu import bias_gelu
from protein2text_kernels.registry import choice_for, forced, ran


def test_the_cpu_takes_plain_torch_and_says_why() -> None:
    bias_gelu(torch.zeros(2, 3), torch.zeros(3))
    assert ran["bias_gelu"].name == "naive"
    assert "cpu" in ran["bias_gelu"].reason


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
