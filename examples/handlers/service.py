# python3 examples/handlers/service.py 8080
# rokini run orders --group billing --handler http --url http://127.0.0.1:8080/
import base64
import http.server
import json
import sys


class Service(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # so that connections are kept

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for record in event["Records"]:
            print("billed", base64.b64decode(record["kinesis"]["data"]).decode(), flush=True)  # the work
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Service)
print("listening at", server.server_port, flush=True)
server.serve_forever()
