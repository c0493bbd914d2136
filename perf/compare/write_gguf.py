"""Writes a GGUF of the shape of a config.json with random BF16 weights.

  write_gguf.py CONFIG OUT

The distribution is that of perf/make_model: embeddings of standard deviation 8, other matrices
0.02, norms near 1. Routers and norms are fp32, as llama.cpp's own converter leaves them.
"""

import json
import sys

import gguf
import numpy

# model_type: llama.cpp's architecture
ARCHITECTURES = {
    "olmoe": gguf.MODEL_ARCH.OLMOE,
    "qwen3_moe": gguf.MODEL_ARCH.QWEN3MOE,
    "qwen2_moe": gguf.MODEL_ARCH.QWEN2MOE,
    "mixtral": gguf.MODEL_ARCH.LLAMA,
}
TENSOR = gguf.MODEL_TENSOR
POOL_ELEMENTS = 1 << 24


class RandomWeights:
    """Weights cut from a pool of normally distributed numbers: as good, and much faster."""

    def __init__(self, seed):
        self.random = numpy.random.default_rng(seed)
        self.pool = self.random.standard_normal(POOL_ELEMENTS, dtype=numpy.float32)

    def bf16(self, deviation, shape):
        scaled = self.pool * numpy.float32(deviation)
        bits = (scaled.view(numpy.uint32) + 0x8000) >> 16
        start = int(self.random.integers(POOL_ELEMENTS))
        count = int(numpy.prod(shape))
        return numpy.resize(numpy.roll(bits.astype(numpy.uint16), -start), count).reshape(shape)

    def fp32(self, mean, deviation, shape):
        values = self.random.standard_normal(shape, dtype=numpy.float32)
        return (mean + deviation * values).astype(numpy.float32)


def expert_count(config):
    return config.get("num_experts") or config["num_local_experts"]


def add_metadata(writer, config):
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_expert_count(expert_count(config))
    writer.add_expert_used_count(config["num_experts_per_tok"])
    width = config.get("moe_intermediate_size") or config["intermediate_size"]
    writer.add_feed_forward_length(width)
    if config["model_type"].startswith("qwen"):
        writer.add_expert_feed_forward_length(width)
    if "shared_expert_intermediate_size" in config:
        writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)


def add_vocabulary(writer, count):
    """No text is ever tokenized; the loader asks for a vocabulary."""
    names = ["<unk>", "<s>", "</s>"] + [f"t{i}" for i in range(3, count)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(names)
    writer.add_token_scores([0.0] * count)
    writer.add_token_types([gguf.TokenType.NORMAL] * count)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def layer_tensors(config):
    """(tensor, shape, kind) of one layer; kind is 'matrix', 'router', 'norm' or 'bias'."""
    hidden = config["hidden_size"]
    head_dim = config.get("head_dim") or hidden // config["num_attention_heads"]
    q = config["num_attention_heads"] * head_dim
    kv = config["num_key_value_heads"] * head_dim
    experts = expert_count(config)
    width = config.get("moe_intermediate_size") or config["intermediate_size"]
    yield TENSOR.ATTN_NORM, (hidden,), "norm"
    yield TENSOR.ATTN_Q, (q, hidden), "matrix"
    yield TENSOR.ATTN_K, (kv, hidden), "matrix"
    yield TENSOR.ATTN_V, (kv, hidden), "matrix"
    yield TENSOR.ATTN_OUT, (hidden, q), "matrix"
    if config["model_type"] == "olmoe":
        yield TENSOR.ATTN_Q_NORM, (q,), "norm"
        yield TENSOR.ATTN_K_NORM, (kv,), "norm"
    if config["model_type"] == "qwen3_moe":
        yield TENSOR.ATTN_Q_NORM, (head_dim,), "norm"
        yield TENSOR.ATTN_K_NORM, (head_dim,), "norm"
    if config["model_type"] == "qwen2_moe":
        for tensor, rows in ((TENSOR.ATTN_Q, q), (TENSOR.ATTN_K, kv), (TENSOR.ATTN_V, kv)):
            yield tensor, (rows,), "bias"
    yield TENSOR.FFN_NORM, (hidden,), "norm"
    yield TENSOR.FFN_GATE_INP, (experts, hidden), "router"
    yield TENSOR.FFN_GATE_EXP, (experts, width, hidden), "matrix"
    yield TENSOR.FFN_UP_EXP, (experts, width, hidden), "matrix"
    yield TENSOR.FFN_DOWN_EXP, (experts, hidden, width), "matrix"
    shared = config.get("shared_expert_intermediate_size")
    if shared:
        yield TENSOR.FFN_GATE_INP_SHEXP, (hidden,), "router"
        yield TENSOR.FFN_GATE_SHEXP, (shared, hidden), "matrix"
        yield TENSOR.FFN_UP_SHEXP, (shared, hidden), "matrix"
        yield TENSOR.FFN_DOWN_SHEXP, (hidden, shared), "matrix"


def all_tensors(config):
    """(name, shape, kind) of the model."""
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    yield gguf.TENSOR_NAMES[TENSOR.TOKEN_EMBD] + ".weight", (vocab, hidden), "embedding"
    for layer in range(config["num_hidden_layers"]):
        for tensor, shape, kind in layer_tensors(config):
            name = gguf.TENSOR_NAMES[tensor].format(bid=layer)
            yield f"{name}.{'bias' if kind == 'bias' else 'weight'}", shape, kind
    yield gguf.TENSOR_NAMES[TENSOR.OUTPUT_NORM] + ".weight", (hidden,), "norm"
    yield gguf.TENSOR_NAMES[TENSOR.OUTPUT] + ".weight", (vocab, hidden), "matrix"


def weights_of(random, shape, kind):
    if kind == "embedding":
        return random.bf16(8, shape)
    if kind == "matrix":
        return random.bf16(0.02, shape)
    return random.fp32(1.0 if kind == "norm" else 0.0, 0.02, shape)


def is_bf16(kind):
    return kind in ("embedding", "matrix")


def write_gguf(config, path):
    architecture = ARCHITECTURES[config["model_type"]]
    writer = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[architecture])
    add_metadata(writer, config)
    add_vocabulary(writer, config["vocab_size"])
    tensors = list(all_tensors(config))
    for name, shape, kind in tensors:
        bytes_each = 2 if is_bf16(kind) else 4
        count = int(numpy.prod(shape))
        if is_bf16(kind):
            # Raw types take their shape in bytes.
            raw_shape = (*shape[:-1], shape[-1] * bytes_each)
            writer.add_tensor_info(name, raw_shape, numpy.dtype(numpy.uint8), count * bytes_each,
                                   raw_dtype=gguf.GGMLQuantizationType.BF16)
        else:
            writer.add_tensor_info(name, shape, numpy.dtype(numpy.float32), count * bytes_each)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = RandomWeights(1)
    for _, shape, kind in tensors:
        writer.write_tensor_data(weights_of(random, shape, kind))
    writer.close()


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        write_gguf(json.load(file), sys.argv[2])
