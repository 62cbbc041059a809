"""From a network to a file that runs without this package, and from image files to labels.

Every file is compared with what it comes from before it gets its name: an export with the network, an int8 file with
the float32 one.
"""

from reslab.data.preprocessing import Preprocessing
from reslab.deploy.deployed import Deployed, deploy_network
from reslab.deploy.engines import DeployError
from reslab.deploy.evaluation import evaluate_deployed
from reslab.deploy.export_task import ExportError, ExportReport
from reslab.deploy.gate import Comparison, compare
from reslab.deploy.onnx_export import export_onnx
from reslab.deploy.openvino_export import export_openvino
from reslab.deploy.prediction import NamedImage, Prediction, find_images, predict
from reslab.deploy.program_export import export_program
from reslab.deploy.quantization import Gate, QuantizationReport, quantize
from reslab.deploy.quantizers import QuantizationError, quantize_onnx, quantize_openvino
from reslab.deploy.runtime import load_deployed

__all__ = [
    "Comparison",
    "DeployError",
    "Deployed",
    "ExportError",
    "ExportReport",
    "Gate",
    "NamedImage",
    "Prediction",
    "Preprocessing",
    "QuantizationError",
    "QuantizationReport",
    "compare",
    "deploy_network",
    "evaluate_deployed",
    "export_onnx",
    "export_openvino",
    "export_program",
    "find_images",
    "load_deployed",
    "predict",
    "quantize",
    "quantize_onnx",
    "quantize_openvino",
]
