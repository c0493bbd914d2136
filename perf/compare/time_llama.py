"""Times llama.cpp on a GGUF: one prompt, then greedy steps behind a short one, as `switchyard bench`.

  time_llama.py GGUF THREADS PROMPT TOKENS

Prints {"decode": tok/s, "prefill": tok/s}.
"""

import json
import random
import sys
import time

import llama_cpp
import numpy

DECODE_PROMPT = 8
WARM_TOKENS = 64


def load(path, threads, context):
    return llama_cpp.Llama(model_path=path, n_ctx=context, n_batch=512, n_ubatch=512,
                           n_threads=threads, n_threads_batch=threads, logits_all=False,
                           verbose=False)


def random_ids(model, count):
    source = random.Random(1)
    return [source.randrange(3, model.n_vocab()) for _ in range(count)]


def seconds_of(model, ids):
    begin = time.perf_counter()
    model.eval(ids)
    llama_cpp.llama_synchronize(model.ctx)
    return time.perf_counter() - begin


def time_prefill(model, count):
    model.reset()
    return count / seconds_of(model, random_ids(model, count))


def best_token(model):
    logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
    return int(numpy.argmax(numpy.ctypeslib.as_array(logits, shape=(model.n_vocab(),))))


def time_decode(model, count):
    """Only the model's own work is timed: choosing the token in Python is not llama.cpp's."""
    model.reset()
    model.eval(random_ids(model, DECODE_PROMPT))
    seconds = 0.0
    for _ in range(count):
        seconds += seconds_of(model, [best_token(model)])
    return count / seconds


def main():
    path, threads, prompt, tokens = sys.argv[1], *map(int, sys.argv[2:5])
    model = load(path, threads, max(prompt, DECODE_PROMPT + tokens) + 1)
    time_prefill(model, min(prompt, WARM_TOKENS))
    decode = time_decode(model, tokens)
    print(json.dumps({"decode": decode, "prefill": time_prefill(model, prompt)}))


if __name__ == "__main__":
    main()
