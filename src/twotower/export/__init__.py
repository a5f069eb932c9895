"""Towers for other runtimes."""

from twotower.export.onnx import Exported, export_onnx

__all__ = ["Exported", "export_onnx"]
