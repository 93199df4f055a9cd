"""The built-in texts that a conversion is checked with, apart from the steps that several modules run on them."""

TEXTS = tuple(
    " ".join(paragraph.split())
    for paragraph in """
The old lighthouse had not been lit for thirty years, but every evening the keeper's daughter climbed the
narrow stairs, cleaned the glass, and looked out over the water until the last boats were home.

Water boils at a lower temperature on a mountain because the air above it weighs less. That is why rice
takes longer to cook in a village at four thousand metres than in a city by the sea.

To measure how fast a program runs, start a clock, run it many times, and write down every result. The
average alone tells little: look at the spread, and ask what else the machine was doing.

When the committee met on Tuesday, nobody could remember who had proposed the new bridge. The mayor
thought it was the engineer, the engineer thought it was the mayor, and the minutes of the meeting were
lost.

In the United States, the president is elected every four years. The capital of France is Paris, the
largest planet in the solar system is Jupiter, and the chemical symbol for gold is Au.

She opened the letter, read it twice, and put it back into its envelope. Then she walked to the kitchen,
made a cup of tea, and sat down at the table to think about what she should say to her brother.
""".strip().split("\n\n")
)
"""English of our own writing, about 230 words."""

PLAIN_TEXT = "It took 3 minutes and 14 seconds, or 194 in all."
RICH_TEXT = "Café 7½ €: 😀🚀 日本語, 2026-04-01!"
"""Accents, emoji, other scripts and digits."""
