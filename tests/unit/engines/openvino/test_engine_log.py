import os
import subprocess
import sys

from llmbench.engines.openvino.engine_log import caught_output, read_effective

_LOG = """\
Model: OV Tokenizer
  NETWORK_NAME: tokenizer
  INFERENCE_NUM_THREADS: 1
EXECUTION_DEVICES:
 CPU: A CPU
SchedulerConfig {
  max_num_batched_tokens: 18446744073709551615
  max_num_seqs: 256
  enable_prefix_caching: false
 }
Model: LLM with Paged Attention
  NETWORK_NAME: Model0
  NUM_STREAMS: 1
  INFERENCE_NUM_THREADS: 2
  MODEL_DISTRIBUTION_POLICY:
EXECUTION_DEVICES:
 CPU: A CPU
"""


def test_the_language_model_is_told_from_its_tokenizers() -> None:
    """Only the language model's properties count, and an endless limit is called one."""
    found = read_effective(_LOG)

    assert {
        "NETWORK_NAME": "Model0",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": "2",
        "MODEL_DISTRIBUTION_POLICY": "",
    } == found.properties
    assert {
        "max_num_batched_tokens": "no limit",
        "max_num_seqs": "256",
        "enable_prefix_caching": "false",
    } == found.scheduler
    assert found.attention == "paged attention"


def test_a_draft_s_properties_are_kept_apart() -> None:
    """The main model is told first; what belongs to the draft says so."""
    draft = _LOG[_LOG.index("Model: LLM") :].replace("THREADS: 2", "THREADS: 1")
    found = read_effective(_LOG + draft)

    assert ("2", "1") == tuple(
        found.properties[name] for name in ("INFERENCE_NUM_THREADS", "draft INFERENCE_NUM_THREADS")
    )


def test_the_parts_of_a_scheduler_stand_behind_a_dot() -> None:
    """A part's settings are nested in the log, its own parts too."""
    log = (
        "SchedulerConfig { \n  use_cache_eviction: true\nCacheEvictionConfig { \n  start_size: 32\n"
        "KVCrushConfig { \n  budget: 0\n }\n }\n  max_num_seqs: 256\n }\nlater: 1\n"
    )

    assert {
        "use_cache_eviction": "true",
        "cache_eviction_config.start_size": "32",
        "cache_eviction_config.kvcrush_config.budget": "0",
        "max_num_seqs": "256",
    } == read_effective(log).scheduler


def test_a_silent_engine_leaves_everything_open() -> None:
    """Without a log nothing is claimed."""
    found = read_effective("")

    assert found.properties == {}
    assert found.attention is None


def test_warnings_are_caught_beside_it() -> None:
    """Standard error is another descriptor, and arrives as such."""
    program = (
        "import os\n"
        "from llmbench.engines.openvino.engine_log import caught_output\n"
        "with caught_output() as said, caught_output(2) as warned:\n"
        "    os.write(1, b'said')\n"
        "    os.write(2, b'warned')\n"
        "assert (said.text, warned.text) == ('said', 'warned')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert ("said", "warned") == (done.stdout, done.stderr)


def test_what_native_code_prints_is_caught_and_passed_on() -> None:
    """Bytes written to descriptor 1 behind Python's back are caught, and still arrive."""
    program = (
        "import os\n"
        "from llmbench.engines.openvino.engine_log import caught_output\n"
        "with caught_output() as caught:\n"
        "    os.write(1, b'from below\\n')\n"
        "assert caught.text == 'from below\\n', caught\n"
        "print('after')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)

    assert done.stdout == "from below\nafter\n"
    assert caught_output is not None
    assert os.get_inheritable(1)
