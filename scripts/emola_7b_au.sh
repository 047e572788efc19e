#!/usr/bin/env bash
# The paper's settings for FABA-Instruct, AU task: LLaVA-1.5-7B, LoRA, the records' own landmark vectors.
set -euo pipefail
deepspeed "$(dirname "$0")/train_emola.py" \
    --deepspeed "$(dirname "$0")/zero3.json" \
    --lora_enable True --lora_r 128 --lora_alpha 256 --learning_rate 1e-4 --mm_projector_lr 2e-5 \
    --model_name_or_path liuhaotian/llava-v1.5-7b --version v1 \
    --vision_tower openai/clip-vit-large-patch14-336 --mm_projector_type mlp2x_gelu \
    --mm_vision_select_layer -2 --mm_use_im_start_end False --mm_use_im_patch_token False \
    --image_aspect_ratio pad --group_by_modality_length True \
    --data_path "${DATA:-data}/FABAInstruct/train/train_au_anno.json" --image_folder "${DATA:-data}" \
    --facial_prior_expert precomputed --facial_prior_normalization none \
    --bf16 True --num_train_epochs 1 --per_device_train_batch_size 16 \
    --lr_scheduler_type cosine --warmup_ratio 0.03 --weight_decay 0. \
    --model_max_length 2048 --gradient_checkpointing True --lazy_preprocess True \
    --dataloader_num_workers 4 --logging_steps 1 --save_strategy epoch --report_to tensorboard --seed 1 \
    --output_dir "${OUTPUT:-checkpoints}/llava-v1.5-7b-emola-au-lora" \
    "$@"
