"""``deepspeed --module llava_faba.training``: train EmoLA without a clone of the repository."""

from llava_faba.training.main import main

if __name__ == "__main__":
    raise SystemExit(main())
