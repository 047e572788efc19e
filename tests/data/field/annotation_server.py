"""A chat-completions server on 127.0.0.1 with habits that public reports describe; the habit is the path's first part.

python annotation_server.py PORT, then --base-url http://127.0.0.1:PORT/HABIT/v1
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ANSWER = (
    "The face shows a broad and happy expression with bright eyes.\n"
    "AU6 - Cheek raiser: the cheeks are lifted and push the lower lids up.\n"
    "AU12 - Lip corner puller: the corners of the mouth are drawn up and back."
)
THOUGHTS = (
    "<think>\nLet me look at the face. AU4 is active because there is a crease between the brows. Then AU25 is "
    "active, for the lips part a little. On second look neither fits what I see.\n</think>\n\n"
)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def answer(self, code, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        habit = self.path.split("/")[1]

        def reply(content, finish="stop"):
            message = {"role": "assistant", "content": content}
            return {
                "id": "x",
                "object": "chat.completion",
                "choices": [{"index": 0, "message": message, "finish_reason": finish}],
                "usage": {"prompt_tokens": 1000, "completion_tokens": 120, "total_tokens": 1120},
            }

        if habit == "think":  # right: label 6, 12 and no thoughts in the record
            self.answer(200, reply(THOUGHTS + ANSWER))
        elif habit == "nomax" and "max_tokens" in request:  # right: the other field, and no image lost
            self.answer(
                400,
                {
                    "error": {
                        "message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.",
                        "param": "max_tokens",
                        "code": "unsupported_parameter",
                    }
                },
            )
        elif habit == "list":  # right: the text parts, joined
            self.answer(200, reply([{"type": "text", "text": ANSWER}]))
        elif habit == "surrogate":  # right: kept with U+FFFD, the others go on
            self.answer(200, json.dumps(reply(ANSWER + " XX")).replace(" XX", " \\ud83d.").encode())
        else:
            self.answer(200, reply(ANSWER))


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
