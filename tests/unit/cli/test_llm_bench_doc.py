import re
from pathlib import Path

import click

from llmbench.cli import run
from llmbench.cli.options.llm_bench import REPLACEMENTS

DOC = (Path(__file__).parents[3] / "docs" / "llm_bench.md").read_text(encoding="utf-8")
LLM_BENCH = """
    --apply_chat_template --assistant_confidence_threshold --batch_size --cb_config --chat_iter
    --convert_tokenizer --device --disable_prompt_permutation --draft_cb_config --draft_device --draft_model
    --embedding_max_length --embedding_normalize --embedding_pad_to_max_length --embedding_padding_side
    --embedding_pooling --embedding_prompt --empty_lora --end_token_stopping --frame_rate --framework
    --from_onnx --full_chat --genai --height --images --infer_count --load_config --lora --lora_alphas
    --lora_mode --mask_image --max_ngram_size --media --memory_consumption --memory_consumption_cooldown
    --memory_consumption_dir --memory_consumption_interval --memory_sampler --model --negative_prompt
    --num_assistant_tokens --num_beams --num_frames --num_iters --num_prefill_tokens --num_steps --optimum
    --output_dir --prompt --prompt_file --prompt_index --pruning_ratio --relevance_weight --report --report_json
    --reranking_max_length --reranking_top_n --sd_generation_config --seed --set_torch_thread
    --speaker_embeddings --speech_language --speech_voice --static_reshape --streaming --strength --subsequent
    --task --taylorseer_config --texts --texts_file --tokens_len --torch_compile_backend --torch_compile_dynamic
    --torch_compile_input_module --torch_compile_options --use_cb --video --video_frames --vocoder_path --width
    -bs -d -f -i -ic -lc -m -mc -mc_dir -mi -n -np -od -p -pf -pi -r -rj -s -t -tl -v -vf
"""
"""The options of llm_bench on 2026-08-21."""
OPTIONS = {name for option in run.command.params if isinstance(option, click.Option) for name in option.opts}


def _rows(heading: str) -> list[str]:
    """The first cells of the table below a heading."""
    section = DOC.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert rows, heading
    return rows


def test_what_is_said_to_have_the_same_name_has_it() -> None:
    """Each option of that table is an option of run, with dashes in place of underscores."""
    named = {
        name.replace("_", "-") for row in _rows("The same name") for name in re.findall(r"`(-[\w-]+)`", row)
    }

    assert set() == named - OPTIONS


def test_what_is_said_not_to_be_here_is_not() -> None:
    """An option that has come is moved to its table."""
    named = {name.replace("_", "-") for row in _rows("Not here") for name in re.findall(r"`(--[\w-]+)`", row)}

    assert set() == named & OPTIONS


def test_each_option_that_is_not_here_is_answered_with_what_to_type() -> None:
    """On the command line as on the page, in both tables of what is called otherwise or missing."""
    rows = [*_rows("Another name, or not needed"), *_rows("Not here")]
    named = {name.replace("_", "-") for row in rows for name in re.findall(r"`(--?[\w-]+)`?", row)}

    assert set() == named - OPTIONS - set(REPLACEMENTS)
    assert set() == OPTIONS & set(REPLACEMENTS)


def test_every_option_of_llm_bench_is_here_or_answered_with_what_to_type() -> None:
    """A pasted command line works, or says which part of it to change into what."""
    named = {name.replace("_", "-") for name in LLM_BENCH.split()}

    assert set() == named - OPTIONS - set(REPLACEMENTS)
