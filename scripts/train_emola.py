"""Train EmoLA: ``deepspeed scripts/train_emola.py --deepspeed scripts/zero3.json --data_path ...``.

Takes every flag of LLaVA's train.py and the --facial_prior_* flags; ``--help`` lists them.
"""

from llava_faba.training.main import main

if __name__ == "__main__":
    raise SystemExit(main())
