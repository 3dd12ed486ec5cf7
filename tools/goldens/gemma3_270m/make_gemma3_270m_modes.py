"""Other modes than greedy decoding on Gemma 3 270M (the GGUF published on PyPI), computed by transformers in fp32.

usage: make_gemma3_270m_modes.py MODEL_DIR OUT.json
MODEL_DIR holds the GGUF dequantised to fp32. Runs the cases that the interpreter's transformers has and puts them into
OUT: once with 5.23 (beams), once with 4.55.4 (what version 5 dropped; its MODEL_DIR needs a config.json of version 4).
"""
import json, os, sys, torch, transformers
from transformers import AutoModelForCausalLM, AutoTokenizer
model_dir, out = sys.argv[1:3]
torch.set_num_threads(2)
version = transformers.__version__
VILLAGE, FRANCE, FIBONACCI = "Once upon a time, in a small village by the sea,", "The capital of France is", "def fibonacci(n):\n    "
# name, prompt, parameters as our options name them
CASES = {"5": [("beams_4x64", VILLAGE, {"num_beams": 4, "max_new_tokens": 64, "num_return_sequences": 4}),
               ("beams_penalties", FRANCE, {"num_beams": 3, "max_new_tokens": 16, "length_penalty": 0.5, "early_stopping": True,
                                            "repetition_penalty": 1.2, "no_repeat_ngram_size": 2, "num_return_sequences": 2})],
         "4": [("diverse_beams", VILLAGE, {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.8, "max_new_tokens": 20, "num_return_sequences": 4}),
               ("contrastive", FRANCE, {"penalty_alpha": 0.6, "top_k": 4, "max_new_tokens": 20}),
               ("dola_high", FIBONACCI, {"dola_layers": "high", "max_new_tokens": 16, "repetition_penalty": 1.2}),
               ("constrained", FRANCE, {"num_beams": 4, "force_words_ids": [[236743, 236770], [[529], [531]]], "max_new_tokens": 16})]}[version[0]]
tok = AutoTokenizer.from_pretrained(model_dir)
model = AutoModelForCausalLM.from_pretrained(model_dir, **{"torch_dtype" if version[0] == "4" else "dtype": torch.float32}).eval()
res = json.load(open(out)) if os.path.exists(out) else {"model": "gemma-3-270m-q4_k_m.gguf",
    "reference": "transformers of each case's `transformers`, weights dequantised to fp32, fp32 arithmetic, CPU",
    "fields": {"modes": "prompt_ids (BOS included) -> new_ids, the new tokens of each returned sequence, by generate(**params, do_sample=False); sequences_scores: with beams, each sequence's score"},
    "modes": []}
names = [c[0] for c in CASES]
res["modes"] = [c for c in res["modes"] if c["name"] not in names]
for name, prompt, params in CASES:
    ids = tok(prompt, return_tensors="pt").input_ids
    params = {"do_sample": False, **params}
    with torch.no_grad():
        o = model.generate(ids, return_dict_in_generate=True, output_scores=True, **params)
    ends = {i for i in [model.generation_config.eos_token_id] for i in (i if isinstance(i, list) else [i])}
    new = []
    for row in o.sequences[:, ids.shape[1]:].tolist():
        end = next((i + 1 for i, t in enumerate(row) if t in ends), len(row))
        new.append(row[:end])
    case = {"name": name, "transformers": version, "prompt": prompt, "prompt_ids": ids[0].tolist(), "params": params, "new_ids": new,
            "texts": [tok.decode(n) for n in new]}
    if getattr(o, "sequences_scores", None) is not None:
        case["sequences_scores"] = [round(float(x), 6) for x in o.sequences_scores]
    res["modes"].append(case)
    print(name, repr(case["texts"][0][:70]), case.get("sequences_scores"))
json.dump(res, open(out, "w"), ensure_ascii=False, indent=0)
