"""Names in llm_bench's reports; the module stands alone, for writer and reader may not import each other."""

LLM_BENCH_COLUMNS = (
    *("iteration", "model", "framework", "device", "pretrain_time(s)"),
    *("initial_sys_mem(MiB)", "initial_rss_mem(MiB)", "compile_max_rss_mem(MiB)", "compile_max_sys_mem(MiB)"),
    *("compile_max_increase_rss_mem(MiB)", "compile_max_increase_sys_mem(MiB)"),
    *("input_size", "infer_count", "generation_time(s)", "output_size", "latency(ms)"),
    *("1st_latency(ms)", "2nd_avg_latency(ms)", "precision", "max_rss_mem(MiB)", "max_sys_mem(MiB)"),
    *("max_increase_rss_mem(MiB)", "max_increase_sys_mem(MiB)", "prompt_idx", "chat_idx"),
    *("1st_infer_latency(ms)", "2nd_infer_avg_latency(ms)", "num_beams", "batch_size"),
    *("tokenization_time", "detokenization_time", "result_md5", "start", "end"),
)

LLM_BENCH_TIMES = {
    "generation_time": "generation_time(s)",
    "latency": "latency(ms)",
    "first_latency": "1st_latency(ms)",
    "second_avg_latency": "2nd_avg_latency(ms)",
    "first_infer_latency": "1st_infer_latency(ms)",
    "second_infer_avg_latency": "2nd_infer_avg_latency(ms)",
    "tokenization_time": "tokenization_time",
    "detokenization_time": "detokenization_time",
}
"""Times by their names in the JSON, with their names in the CSV."""

LLM_BENCH_PEAKS = ("max_rss_mem", "max_sys_mem", "max_increase_rss_mem", "max_increase_sys_mem")
"""Memory in the JSON; in the CSV with its unit."""
