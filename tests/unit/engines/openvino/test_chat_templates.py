"""Chats carried on token by token, under the chat templates of published models."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

from llmbench.engines.openvino.tokenizer import Tokenizer
from llmbench.errors import InputError

LLAMA_2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '<s>[INST] ' + message['content'].strip() + ' [/INST]' }}{% else %}"
    "{{ ' '  + message['content'].strip() + ' </s>' }}{% endif %}{% endfor %}"
)
MISTRAL_3 = (
    "{{ '<s>' }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + '[/INST]' }}{% else %}"
    "{{ ' ' + message['content']|trim + '</s>' }}{% endif %}{% endfor %}"
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
GEMMA = (
    "{{ '<bos>' }}{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' "
    "else message['role']) + '\\n' + message['content']|trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
ALPACA = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '### Instruction:\\n' + message['content'] + '\\n' }}"
    "{% else %}{{ '### Response:\\n\\n' + message['content'] + '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Response:\\n' }}{% endif %}"
)
REWRITING = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'Q: ' + message['content'] }}{% else %}"
    "{{ '<answer>' + message['content'] }}{% endif %}{% endfor %}"
)


class Rendered:
    """A tokenizer of single characters that renders a template as transformers does; its end of text is 0."""

    def __init__(self, template: str) -> None:
        self.chat_template = template

    def get_bos_token_id(self) -> int:
        """None."""
        return -1

    def get_eos_token_id(self) -> int:
        """Stands for the end of an answer."""
        return 0

    def encode(self, text: str, *, add_special_tokens: bool) -> Any:  # noqa: ARG002
        """A character is a token."""
        return SimpleNamespace(input_ids=SimpleNamespace(data=[[ord(letter) for letter in text]]))

    def apply_chat_template(self, chat: Sequence[Mapping[str, str]], *, add_generation_prompt: bool) -> str:
        """A chat as text."""
        rendered = jinja2.Environment(autoescape=False).from_string(self.chat_template)  # noqa: S701
        return rendered.render(messages=chat, add_generation_prompt=add_generation_prompt)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (LLAMA_2, " </s><s>[INST] next [/INST]"),
        (MISTRAL_3, "</s>[INST] next[/INST]"),
        (CHATML, "<|im_end|>\n<|im_start|>user\nnext<|im_end|>\n<|im_start|>assistant\n"),
        (GEMMA, "<end_of_turn>\n<start_of_turn>user\nnext<end_of_turn>\n<start_of_turn>model\n"),
        (ALPACA, "\n### Instruction:\nnext\n### Response:\n"),
    ],
)
@pytest.mark.parametrize("response", ["yes", " yes"])
def test_a_chat_goes_on_after_the_very_tokens_of_before(template: str, expected: str, response: str) -> None:
    """White space that a template puts before an answer is no rewriting; an end of text is not doubled."""
    tokenizer = Tokenizer(Rendered(template))
    earlier = tokenizer.encode("first", chat=True)
    response = tuple(ord(letter) for letter in response)

    ids = tokenizer.go_on(earlier, (*response, 0), "next")

    assert (*earlier, *response, *(ord(letter) for letter in expected)) == ids


def test_a_template_that_rewrites_an_answer_is_refused() -> None:
    """What the engine keeps of earlier tokens would be wrong."""
    tokenizer = Tokenizer(Rendered(REWRITING))

    with pytest.raises(InputError, match="rewrites earlier turns"):
        tokenizer.go_on(tokenizer.encode("first", chat=True), (), "next")
