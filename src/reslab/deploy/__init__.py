"""From a network to a file that runs without this package: exports, each compared with the network before it counts."""

from reslab.deploy.export import ExportError, ExportReport, export_onnx, export_program

__all__ = ["ExportError", "ExportReport", "export_onnx", "export_program"]
