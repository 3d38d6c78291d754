"""Kernels: one folder per operation, its plain form beside the fast one."""
