"""Write a GGUF file as a folder with safetensors in bfloat16 and a tokenizer.

python gguf_conversion.py model.gguf folder

Source: transformers documentation, "GGUF": `from_pretrained` with `gguf_file`.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

gguf, folder = map(Path, sys.argv[1:])
AutoModelForCausalLM.from_pretrained(
    gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
).save_pretrained(folder)
AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
