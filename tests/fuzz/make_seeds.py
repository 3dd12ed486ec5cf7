#!/usr/bin/env python3
"""Writes the starting inputs of the fuzz targets: make_seeds.py OUT makes OUT/TARGET/NAME.

They come from the golden set (configurations, tokenizers, templates) and from small files made here
(GGUF, safetensors), so that every target starts from inputs its reader accepts.
"""

import json
import struct
import sys
from pathlib import Path

GOLDENS = Path(__file__).resolve().parent.parent / "goldens"

# GGUF's codes of value types, and of tensor types with (values a block, bytes a block).
UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
TENSOR_TYPES = {
    "F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22),
    "Q5_1": (7, 32, 24), "Q8_0": (8, 32, 34), "Q2_K": (10, 256, 84), "Q3_K": (11, 256, 110),
    "Q4_K": (12, 256, 144), "Q5_K": (13, 256, 176), "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18),
    "IQ4_XS": (23, 256, 136), "BF16": (30, 1, 2), "MXFP4": (39, 32, 17),
}  # fmt: skip


def gguf_string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind, value):
    if kind == STRING:
        return gguf_string(value)
    if kind == ARRAY:
        element, values = value
        head = struct.pack("<IQ", element, len(values))
        return head + b"".join(gguf_value(element, v) for v in values)
    return struct.pack({UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?"}[kind], value)


def gguf(metadata, tensors, version=3, alignment=32):
    """metadata: {key: (kind, value)}; tensors: [(name, shape innermost first, type name)], all zero."""
    out = struct.pack("<4sIQQ", b"GGUF", version, len(tensors), len(metadata))
    for key, (kind, value) in metadata.items():
        out += gguf_string(key) + struct.pack("<I", kind) + gguf_value(kind, value)
    sizes = []
    offset = 0
    for name, shape, type_name in tensors:
        code, per_block, block_bytes = TENSOR_TYPES[type_name]
        count = 1
        for n in shape:
            count *= n
        size = count // per_block * block_bytes
        out += gguf_string(name) + struct.pack("<I", len(shape)) + struct.pack(f"<{len(shape)}Q", *shape)
        out += struct.pack("<IQ", code, offset)
        sizes.append(size)
        offset += -(-size // alignment) * alignment
    out += bytes(-len(out) % alignment)
    for size in sizes:
        out += bytes(-(-size // alignment) * alignment)
    return out


def llama_gguf(vocabulary_model):
    """The smallest llama a reader accepts: one layer, 32 wide, with a vocabulary."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ["a", "b", "ab", "\u2581"]
    metadata = {
        "general.architecture": (STRING, "llama"),
        "llama.block_count": (UINT32, 1),
        "llama.context_length": (UINT32, 64),
        "llama.embedding_length": (UINT32, 32),
        "llama.feed_forward_length": (UINT32, 32),
        "llama.attention.head_count": (UINT32, 2),
        "llama.attention.head_count_kv": (UINT32, 1),
        "llama.attention.layer_norm_rms_epsilon": (FLOAT32, 1e-5),
        "llama.rope.freq_base": (FLOAT32, 10000.0),
        "tokenizer.ggml.model": (STRING, vocabulary_model),
        "tokenizer.ggml.tokens": (ARRAY, (STRING, tokens)),
        "tokenizer.ggml.token_type": (ARRAY, (INT32, [2, 3, 3] + [6] * 256 + [1] * 4)),
        "tokenizer.ggml.bos_token_id": (UINT32, 1),
        "tokenizer.ggml.eos_token_id": (UINT32, 2),
        "tokenizer.ggml.add_bos_token": (BOOL, True),
        "tokenizer.chat_template": (STRING, "{% for m in messages %}{{ m.content }}{% endfor %}"),
    }
    if vocabulary_model == "llama":
        metadata["tokenizer.ggml.scores"] = (ARRAY, (FLOAT32, [-float(i) for i in range(len(tokens))]))
    else:
        metadata["tokenizer.ggml.pre"] = (STRING, "llama-bpe")
        metadata["tokenizer.ggml.merges"] = (ARRAY, (STRING, ["a b"]))
    block = "blk.0."
    tensors = [
        ("token_embd.weight", (32, len(tokens)), "Q8_0"),
        ("output_norm.weight", (32,), "F32"),
        (block + "attn_norm.weight", (32,), "F32"),
        (block + "ffn_norm.weight", (32,), "F32"),
        (block + "attn_q.weight", (32, 32), "F16"),
        (block + "attn_k.weight", (32, 16), "BF16"),
        (block + "attn_v.weight", (32, 16), "Q4_0"),
        (block + "attn_output.weight", (32, 32), "Q5_0"),
        (block + "ffn_gate.weight", (32, 32), "Q5_1"),
        (block + "ffn_up.weight", (32, 32), "IQ4_NL"),
        (block + "ffn_down.weight", (32, 32), "MXFP4"),
    ]
    return gguf(metadata, tensors)


def safetensors(tensors, metadata=None):
    """tensors: {name: (dtype, shape, bytes)}."""
    header = {"__metadata__": metadata} if metadata else {}
    data = b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def prompt_caches():
    """Rows of the model in prompt_cache_fuzz.cpp: a full layer, and one with a window of 8."""
    for name, length, bound, sinks in [("short", 3, 0, 0), ("long", 70, 0, 0), ("bounded", 140, 9, 2), ("no_sinks", 130, 5, 0)]:
        tensors = {"tokens": ("I32", [length], struct.pack(f"<{length}i", *(i % 100 for i in range(length))))}
        for layer, (heads, keys, values, window) in enumerate([(2, 2, 3, 0), (1, 2, 2, 8)]):
            seen = window or bound - sinks or length
            first = max(0, length - (min(window, bound) if window and bound else seen)) // 64 * 64
            kinds = [("", length - first)] + ([("sink_", sinks)] if first and sinks and not window else [])
            for kind, positions in kinds:
                for part, dim in (("keys", keys), ("values", values)):
                    shape = [positions, heads, dim]
                    tensors[f"layers.{layer}.{kind}{part}"] = ("F32", shape, bytes(4 * positions * heads * dim))
        about = {"format": "mlx-genkit prompt cache", "version": "1", "model": "fuzz", "model_type": "fuzz",
                 "rope_length": str(length), "max_kv_size": str(bound), "num_sink_tokens": str(sinks)}  # fmt: skip
        yield name, safetensors(tensors, about)


CALLER_OPTIONS = {
    "max_new_tokens": 8, "do_sample": True, "temperature": 0.7, "top_k": 5, "top_p": 0.9, "min_p": 0.1, "seed": 3,
    "eos_token_id": [1, 2], "stop_strings": ["end"],
}  # fmt: skip


def json_keys(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from json_keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from json_keys(inner)


def seeds():
    """Yields (target, name, content)."""
    configs = sorted(GOLDENS.glob("models/*/config*.json"))
    for path in configs:
        name = f"{path.parent.name}_{path.stem}"
        yield "json", name, path.read_bytes()
        yield "config", name, path.read_bytes()
    for path in sorted(GOLDENS.glob("models/*/generation_config.json")):
        yield "generation_config", path.parent.name, path.read_bytes()
    yield "generation_config", "caller", json.dumps(CALLER_OPTIONS).encode()
    yield "json", "numbers", b'{"a": [0, -1, 1.5e300, 1e-400, 18446744073709551615, true, null, "\\u00e9\\ud83d\\ude00"]}'

    for model in ("llama", "gpt2"):
        for target in ("gguf", "gguf_model", "gguf_tokenizer"):
            yield target, f"llama_with_{model}_vocabulary", llama_gguf(model)
    for type_name, (_, per_block, _) in TENSOR_TYPES.items():
        yield "gguf", f"tensor_{type_name}", gguf({"a": (UINT32, 1)}, [("t", (per_block, 2), type_name)])
    yield "gguf", "version_2", gguf({"a": (STRING, "b")}, [], version=2)
    yield "gguf", "nested", gguf({"a": (ARRAY, (STRING, ["x", ""])), "b": (ARRAY, (BOOL, [True]))}, [])

    yield "safetensors", "empty", safetensors({})
    yield "safetensors", "scalar", safetensors({"s": ("F32", [], bytes(4))})
    sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
    every = {f"t.{dtype}": (dtype, [2, 3], bytes(6 * size)) for dtype, size in sizes.items()}
    yield "safetensors", "every_dtype", safetensors(every, {"format": "pt"})

    direction = struct.pack("<4f", 1, -2, 0.5, 0)
    about = {"format": "mlx_genkit.steering_vectors", "format_version": "1", "num_blocks": "4", "suggested_layer": "2",
             "hidden_size": "4", "model_hash": "llama", "layers": '{"2": {"residual_norm": 3.5, "auc": 1}}'}  # fmt: skip
    both = {"direction.0": ("F32", [4], direction), "direction.2": ("F32", [4], direction)}
    yield "steering_vectors", "ours", safetensors(both, about)
    yield "steering_vectors", "rows", safetensors({"mean": ("F16", [2, 4], bytes(16))})
    yield "steering_vectors", "any_block", safetensors({"v": ("F32", [4], direction)})
    hint = {"general.architecture": (STRING, "controlvector"), "controlvector.model_hint": (STRING, "llama"),
            "controlvector.layer_count": (UINT32, 2), "mlx_genkit.method": (STRING, "logistic")}  # fmt: skip
    yield "steering_vectors", "gguf", gguf(hint, [("direction.1", (4,), "F32"), ("direction.3", (4,), "F32")])

    for name, content in prompt_caches():
        yield "prompt_cache", name, content

    for path in sorted(GOLDENS.glob("tokenizers/*/tokenizer.json")):
        yield "tokenizer", path.parent.name, path.read_bytes()

    templates = {case["template"] for case in json.loads((GOLDENS / "jinja.json").read_text())["cases"]}
    for number, template in enumerate(sorted(templates)):
        yield "chat_template", f"jinja_{number:03}", template.encode()
    for path in sorted(GOLDENS.glob("tokenizers/*/chat_template.jinja")):
        yield "chat_template", path.parent.name, path.read_bytes()


def main():
    out = Path(sys.argv[1])
    words = {"config": set(), "generation_config": set(), "tokenizer": set()}
    for target, name, content in seeds():
        path = out / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if target in words:
            words[target].update(key for key in json_keys(json.loads(content)) if key.isascii() and key.isidentifier() and len(key) > 3)
    # The words that matter to a reader of JSON are its keys.
    for target, keys in words.items():
        (out / f"{target}.dict").write_text("".join(f'"\\"{key}\\":"\n' for key in sorted(keys)))


if __name__ == "__main__":
    main()
