"""Read faces with a checkpoint: python examples/read_faces.py CHECKPOINT face.jpg ..."""

import sys

import llava_faba

checkpoint, *pictures = sys.argv[1:]
model = llava_faba.load_model(checkpoint)  # unpacks as LLaVA's four: tokenizer, model, image processor, context length
for picture in pictures:
    for question in ("What AUs are conveyed by this face?", "What is the emotion of this face?"):
        prediction = llava_faba.predict(model, picture, question, max_new_tokens=64)
        print(f"{picture}: prior {prediction.status}; {question} {prediction.text!r}")
