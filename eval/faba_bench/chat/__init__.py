"""One client of OpenAI-compatible servers, for `faba-bench ask` and `llava-faba data annotate`; without torch."""
